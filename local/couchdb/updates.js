// @ts-check
'use strict';
// CouchDB's GET /_db_updates and POST /_dbs_info, which express-pouchdb lacks: which databases
// changed, and how far each has come. Administrators only, as CouchDB's.
//
// Source: https://docs.couchdb.org/en/stable/api/server/common.html#db-updates
//
// It lies where express-pouchdb has a stub for the first, behind its authentication. A seq is
// NUMBER-BOOT: with one of an earlier boot the feed starts over, and lists every database.

const { EventEmitter } = require('events');
const { jsonParser, sendJSON } = require('express-pouchdb/lib/utils');

/** @typedef {import('pouchdb-core').Static} Static */
/** @typedef {import('express').Request} Request */
/** @typedef {import('express').Response} Response */
/** @typedef {import('pouchdb-core').Database} Database */
/** @typedef {{ db_name: string, type: string, seq: number }} Update */

const LONGPOLL_DEFAULT_MS = 60000;
const DATABASES_AT_ONCE = 100;
// Those of PouchDB and express-pouchdb themselves: views, sessions, the list of databases.
const INTERNAL = /^pouch__|-mrview-|^https?:/;

const boot = Date.now().toString(16);
const announced = new EventEmitter().setMaxListeners(0);
/** @type {Map<string, Update>} */
const latest = new Map(); // name → its latest update; the longest unchanged first
/** @type {Map<string, Database>} */
const open = new Map(); // name → PouchDB
let end = 0;

/**
 * @param {string} name
 * @param {string} type
 */
function announce(name, type) {
  latest.delete(name);
  end += 1;
  latest.set(name, { db_name: name, type, seq: end });
  announced.emit('update');
}

// Names are percent-encoded where PouchDB made them from a URL.
/** @param {string} name */
function plainName(name) {
  try { return decodeURIComponent(name); } catch (error) { return name; }
}

/** @param {string} name */
function isKnown(name) {
  const update = latest.get(name);
  return update !== undefined && update.type !== 'deleted';
}

// Watch what this PouchDB writes, creates and deletes; resolves when all databases are known.
/** @param {Static} PouchDB */
async function watch(PouchDB) {
  PouchDB.on('ref', (db) => {
    if (INTERNAL.test(db.name) || db.adapter !== 'leveldb') return;
    const name = plainName(db.name);
    open.set(name, db);
    const write = db._bulkDocs; // beneath all wrappers: replication's writes pass here too
    db._bulkDocs = (req, opts, callback) => write.call(db, req, opts, (error, result) => {
      if (!error && result.some((row) => !row.error)) announce(name, 'updated');
      callback(error, result);
    });
  });
  PouchDB.on('created', (name) => { // whenever one is opened, too
    if (!INTERNAL.test(name) && !isKnown(plainName(name))) announce(plainName(name), 'created');
  });
  PouchDB.on('destroyed', (name) => {
    open.delete(plainName(name));
    if (isKnown(plainName(name))) announce(plainName(name), 'deleted');
  });
  require('pouchdb-all-dbs')(PouchDB);
  const names = (await PouchDB.allDbs()).filter((name) => !INTERNAL.test(name));
  names.forEach((name) => announce(plainName(name), 'updated'));
}

// The number of a `since`; null if it is none of ours.
/** @param {string} since */
function numberOf(since) {
  if (since === '0') return 0;
  if (since === 'now') return end;
  const [, number, itsBoot] = /^(\d+)-([0-9a-f]+)$/.exec(since) || [];
  if (number === undefined) return null;
  return itsBoot === boot ? Number(number) : 0;
}

/**
 * @param {Request} req
 * @param {Response} res
 */
async function dbUpdates(req, res) {
  const since = numberOf(String(req.query.since ?? '0'));
  if (since === null) {
    return sendJSON(res, 400, { error: 'bad_request', reason: "Malformed sequence supplied in 'since' parameter." });
  }
  if (req.query.feed === 'longpoll' && end <= since) {
    await updateWithin(Number(req.query.timeout) || LONGPOLL_DEFAULT_MS, req);
  }
  const rows = [...latest.values()].filter((row) => row.seq > since);
  const page = rows.slice(0, Number(req.query.limit ?? rows.length));
  const last = page.length < rows.length ? (page.at(-1) || { seq: since }).seq : end;
  return sendJSON(res, 200, {
    results: page.map((row) => ({ ...row, seq: `${row.seq}-${boot}` })),
    last_seq: `${last}-${boot}`,
  });
}

/**
 * @param {number} ms
 * @param {Request} req
 * @returns {Promise<void>}
 */
function updateWithin(ms, req) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      announced.off('update', done);
      resolve();
    }
    announced.once('update', done);
    req.on('close', done);
  });
}

/**
 * @param {Static} PouchDB
 * @param {Request} req
 * @param {Response} res
 */
async function dbsInfo(PouchDB, req, res) {
  const names = req.body.keys;
  if (!Array.isArray(names)) {
    return sendJSON(res, 400, { error: 'bad_request', reason: '`keys` member must exist.' });
  }
  if (names.length > DATABASES_AT_ONCE) {
    return sendJSON(res, 400, { error: 'bad_request', reason: 'too many keys' });
  }
  return sendJSON(res, 200, await Promise.all(names.map((name) => infoOf(PouchDB, name))));
}

/**
 * @param {Static} PouchDB
 * @param {string} name
 */
async function infoOf(PouchDB, name) {
  if (!isKnown(name)) return { key: name, error: 'not_found' };
  if (!open.has(name)) await new Promise((resolve) => new PouchDB(name).once('created', resolve));
  const { update_seq, doc_count } = await new Promise((resolve, reject) => {
    const db = /** @type {Database} */ (open.get(name));
    db._info((error, info) => (error ? reject(error) : resolve(info)));
  });
  return { key: name, info: { db_name: name, update_seq, doc_count } };
}

/** @type {import('express').RequestHandler} */
function adminsOnly(req, res, next) {
  if (req.couchSession.userCtx.roles.includes('_admin')) return next();
  return sendJSON(res, 401, { error: 'unauthorized', reason: 'You are not a server admin.' });
}

// To be called before express-pouchdb is: it is then what express-pouchdb finds for the stub.
/** @param {Static} PouchDB */
function install(PouchDB) {
  const stub = require.resolve('express-pouchdb/lib/routes/db-updates');
  require(stub);
  const routes = (/** @type {import('express').Express} */ app) => {
    // express-pouchdb itself lets administrators only come so far as the first.
    app.get('/_db_updates', (req, res, next) => dbUpdates(req, res).catch(next));
    app.post('/_dbs_info', adminsOnly, jsonParser, (req, res, next) => dbsInfo(PouchDB, req, res).catch(next));
  };
  /** @type {NodeJS.Module} */ (require.cache[stub]).exports = routes;
}

module.exports = { install, watch };
