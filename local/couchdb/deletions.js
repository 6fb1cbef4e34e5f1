// @ts-check
'use strict';
// A deleted database stays deleted. express-pouchdb finds a database by asking whether it exists,
// and opens it some moments later. If it is deleted in between, opening creates it again, empty.
//
// So a deletion waits until the requests for its database are answered, and requests that come in
// meanwhile wait for the deletion. Feeds are not waited for: PouchDB ends them.

/** @typedef {import('express').RequestHandler} Handler */

// A request that is never answered must not keep a database for ever.
const LIMIT_MS = 5000;

class Turns {
  constructor() {
    /** @type {Set<Promise<void>>} */
    this.running = new Set();
    /** @type {Promise<void>} */
    this.deletion = Promise.resolve();
    this.users = 0;
  }

  /** @param {Promise<void>} end */
  async use(end) {
    await this.deletion;
    this.running.add(end);
    end.then(() => this.running.delete(end));
  }

  /** @param {Promise<void>} end */
  async delete(end) {
    const before = this.deletion;
    this.deletion = end;
    await before;
    const limit = new Promise((resolve) => setTimeout(resolve, LIMIT_MS).unref());
    await Promise.race([Promise.all(this.running), limit]);
  }
}

/** @param {import('express').Express} app */
function install(app) {
  /** @type {Map<string, Turns>} */
  const databases = new Map();

  /** @type {Handler} */
  const inTurn = async (req, res, next) => {
    if (res.destroyed) return; // a long poll whose client has gone; its end was told already
    const name = req.params.db;
    const turns = databases.get(name) || new Turns();
    databases.set(name, turns);
    turns.users += 1;
    const end = new Promise((/** @type {(value: void) => void} */ resolve) => {
      res.on('close', resolve);
    });
    end.then(() => {
      turns.users -= 1;
      if (turns.users === 0) databases.delete(name);
    });
    const isFeed = !['normal', undefined].includes(/** @type {any} */ (req.query.feed));
    if (req.method === 'DELETE' && req.path === '/') await turns.delete(end);
    else if (isFeed) await turns.deletion;
    else await turns.use(end);
    next();
  };
  app.use('/:db', inTurn);
}

module.exports = { install };
