// @ts-check
'use strict';
// What CouchDB 3 does with logins beside knowing them:
//   - it hashes the password again after the first login, and so changes the user document's revision
//   - it forgets a login a moment after its document was removed
//   - five wrong passwords lock a login for five minutes, an administrator's too
//   - it shows _users to nobody but administrators

const { pbkdf2Sync } = require('crypto');

const FORGETS_MS = 100;
const WRONG_PASSWORDS = 5;
const LOCK_MS = 300000;
const USER = 'org.couchdb.user:';

const LOCKED = {
  error: 'forbidden',
  reason: 'Account is temporarily locked due to multiple authentication failures',
};

/**
 * What is read of a request.
 * @typedef {{ headers: import('http').IncomingHttpHeaders }} Asked
 * @typedef {(method: string, path: string, headers: import('http').OutgoingHttpHeaders, body?: Buffer) =>
 *   Promise<{ response: import('http').IncomingMessage, body: Buffer }>} Ask
 */

class Logins {
  /**
   * @param {Ask} ask sends a request to the server behind
   * @param {{ authorization: string }} admin the administrator's headers
   */
  constructor(ask, admin) {
    this.ask = ask;
    this.admin = admin;
    this.known = new Set(); // Authorization headers that were let in
    this.removed = new Map(); // name → when CouchDB has forgotten it
    this.wrong = new Map(); // client and name → times of wrong passwords
  }

  /**
   * @param {Asked} req
   * @returns {[string, string] | [null, null]}
   */
  nameAndPassword(req) {
    const [, encoded] = /^Basic (.+)$/.exec(req.headers.authorization || '') || [];
    if (encoded === undefined) return [null, null];
    const login = Buffer.from(encoded, 'base64').toString();
    return [login.slice(0, login.indexOf(':')), login.slice(login.indexOf(':') + 1)];
  }

  /** @param {Asked} req */
  isAdmin(req) {
    return req.headers.authorization === this.admin.authorization;
  }

  /** @param {string} name */
  async user(name) {
    const { response, body } = await this.ask('GET', this.path(name), this.admin);
    return response.statusCode === 200 ? JSON.parse(String(body)) : null;
  }

  /** @param {string} name */
  path(name) {
    return `/_users/${encodeURIComponent(USER + name)}`;
  }

  /**
   * For which client and name wrong passwords are counted. CouchDB believes the last address that a
   * proxy beside it names.
   * @param {Asked} req
   */
  counted(req) {
    const address = String(req.headers['x-forwarded-for'] || '127.0.0.1').split(',').pop() || '';
    return `${address.trim()} ${this.nameAndPassword(req)[0]}`;
  }

  /** @param {Asked} req */
  isLocked(req) {
    const times = (this.wrong.get(this.counted(req)) || []).filter((/** @type {number} */ time) => time > Date.now() - LOCK_MS);
    return times.length >= WRONG_PASSWORDS;
  }

  /** @param {string | null} name */
  isStillKnown(name) {
    return (this.removed.get(name) || 0) > Date.now();
  }

  /** @param {string} path */
  noteRemoval(path) {
    const id = path.startsWith('/_users/') ? decodeURIComponent(path.slice('/_users/'.length)) : '';
    if (id.startsWith(USER)) this.removed.set(id.slice(USER.length), Date.now() + FORGETS_MS);
  }

  /**
   * The same of documents that were removed by _bulk_docs.
   * @param {string} path
   * @param {any} body
   */
  noteRemovals(path, body) {
    if (path !== '/_users/_bulk_docs' || !body || !Array.isArray(body.docs)) return;
    for (const doc of body.docs) {
      if (doc && doc._deleted) this.noteRemoval(`/_users/${encodeURIComponent(doc._id)}`);
    }
  }

  /**
   * Note whether a password was right, after the answer.
   * @param {Asked} req
   * @param {number} status
   * @param {string} text
   */
  async note(req, status, text) {
    const [name, password] = this.nameAndPassword(req);
    if (name === null) return;
    if (status === 401 && text.includes('Name or password is incorrect')) {
      const isKnown = await this.isAdminsName(name) || await this.user(name);
      const counted = this.counted(req);
      if (isKnown) this.wrong.set(counted, [...(this.wrong.get(counted) || []), Date.now()]);
    } else if (status < 400 && !this.isAdmin(req) && !this.known.has(req.headers.authorization)) {
      this.known.add(req.headers.authorization);
      await this.hashAgain(name, password);
    }
  }

  /** @param {string} name */
  async isAdminsName(name) {
    const path = `/_config/admins/${encodeURIComponent(name)}`;
    return (await this.ask('GET', path, this.admin)).response.statusCode === 200;
  }

  /**
   * @param {string} name
   * @param {string} password
   */
  async hashAgain(name, password) {
    const user = await this.user(name);
    if (!user || !user.derived_key) return;
    const iterations = user.iterations + 1;
    const derived_key = pbkdf2Sync(password, user.salt, iterations, 20, 'sha1').toString('hex');
    const body = Buffer.from(JSON.stringify({ ...user, iterations, derived_key }));
    const headers = { ...this.admin, 'content-type': 'application/json', 'content-length': body.length };
    await this.ask('PUT', this.path(name), headers, body);
  }

  /**
   * The status and the answer to a request for _users, unless an administrator sends it.
   * @param {Asked} req
   * @param {string} path
   * @returns {Promise<[number, any] | null>}
   */
  async usersRefusal(req, path) {
    if (this.isAdmin(req)) return null;
    const { response, body } = await this.ask('GET', '/_session', { authorization: req.headers.authorization || '' });
    if (response.statusCode !== 200) return [Number(response.statusCode), JSON.parse(String(body))];
    if (/^\/_users\/_(all_docs|changes)/.test(path)) {
      return [401, { error: 'unauthorized', reason: 'You are not a server admin.' }];
    }
    return req.headers.authorization
      ? [403, { error: 'forbidden', reason: 'You are not allowed to access this db.' }]
      : [401, { error: 'unauthorized', reason: 'You are not authorized to access this db.' }];
  }
}

module.exports = { LOCKED, Logins };
