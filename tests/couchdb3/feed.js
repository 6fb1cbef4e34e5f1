// @ts-check
'use strict';
// CouchDB's feed of databases: what happens to a database is told up to half a second later, and
// only while the database _global_changes is there. One row for each database and kind of change.
//
// Source: [global_changes] max_write_delay, https://docs.couchdb.org/en/stable/config/misc.html

const { EventEmitter } = require('events');

const WRITE_DELAY_MS = 500;
const LONGPOLL_DEFAULT_MS = 60000;

class Feed {
  /** @param {() => Promise<boolean>} isKept says whether _global_changes is there */
  constructor(isKept) {
    this.isKept = isKept;
    this.rows = new Map(); // "type:name" → row; the longest unchanged first
    this.pending = new Map();
    this.end = 0;
    this.written = new EventEmitter().setMaxListeners(0);
  }

  /**
   * @param {string} name
   * @param {string} type
   */
  add(name, type) {
    if (this.pending.size === 0) setTimeout(() => this.write(), WRITE_DELAY_MS);
    this.pending.set(`${type}:${name}`, { db_name: name, type });
  }

  async write() {
    const rows = [...this.pending];
    this.pending.clear();
    if (!await this.isKept()) return;
    for (const [key, row] of rows) {
      this.rows.delete(key);
      this.end += 1;
      this.rows.set(key, { ...row, seq: this.end });
    }
    this.written.emit('rows');
  }

  /**
   * The rows after `since`: at once, or at the end of a long poll.
   * @param {number} since
   * @param {URLSearchParams} params
   * @param {import('http').IncomingMessage} req
   */
  async read(since, params, req) {
    if (params.get('feed') === 'longpoll' && this.end <= since) {
      await this.rowWithin(Number(params.get('timeout')) || LONGPOLL_DEFAULT_MS, req);
    }
    const rows = [...this.rows.values()].filter((row) => row.seq > since);
    const results = rows.slice(0, Number(params.get('limit') ?? rows.length));
    const isAll = results.length === rows.length;
    // After the end, as of a feed that was restored from a backup, the seq stays as it is.
    const end = Math.max(this.end, since);
    return { results: results.map((row) => ({ ...row })), last_seq: isAll ? end : (results.at(-1) || { seq: since }).seq };
  }

  /**
   * @param {number} ms
   * @param {import('http').IncomingMessage} req
   * @returns {Promise<void>}
   */
  rowWithin(ms, req) {
    return new Promise((resolve) => {
      const done = () => { clearTimeout(timer); this.written.off('rows', done); resolve(); };
      const timer = setTimeout(done, ms);
      this.written.once('rows', done);
      req.on('close', done);
    });
  }
}

module.exports = { Feed };
