// @ts-check
'use strict';
// A proxy that makes the embedded server answer like CouchDB 3 where the two differ and code could
// come to depend on it (docs/couchdb.md):
//   - seqs are opaque strings; one that it did not give is refused with 400 "Malformed sequence",
//     one of a database that was deleted and made again starts from the beginning
//     and a database's update_seq is another string than its last_seq
//   - _all_dbs heeds a range and a limit
//   - _db_updates tells half a second later, and only if _global_changes is there (feed.js)
//   - logins: hashed again, forgotten late, locked; _users is for administrators (logins.js)
//   - long ids, text that is no UTF-8, numbers that are not finite, and one document that is nested
//     more than 75,000 deep are refused (bodies.js)
//   - whoever has a login and no right to a database gets 403, not 401
//   - a member who writes the security object gets 500 no_majority, one who makes an index
//     500 error_saving_ddoc
//   - a revision of nothing is a conflict, whatever a validate_doc_update says
//   - _replicate never answers who asks for one that has answered and is still ending
//   - _revs_diff does not miss a revision that it knows as a part of a history
//   - a new database admits administrators only
//   - the configuration is kept by node
//   - the state of a replication that is not over is the scheduler's to say, not the document's
//   - the welcome document is CouchDB's
//
//   node proxy.js BACKEND_URL          prints {"port": N}; ends when its stdin closes

const http = require('http');
const { isTooLong, parsed, refusal } = require('./bodies');
const { Feed } = require('./feed');
const { LOCKED, Logins } = require('./logins');

/** @typedef {import('http').IncomingMessage} Request */
/** @typedef {import('http').ServerResponse} Response */
/** @typedef {import('http').OutgoingHttpHeaders} Headers */
/** @typedef {{ response: Request, body: Buffer }} Answer */
/** @typedef {{ [field: string]: any }} Json */

const backend = new URL(process.argv[2]);
const ADMIN = { authorization: `Basic ${Buffer.from(`${backend.username}:${backend.password}`).toString('base64')}` };
// The vendor tells it from a real one (tests/kit/tiers.py).
const WELCOME = { couchdb: 'Welcome', version: '3.3.3', vendor: { name: 'stand-in' } };
const ADMINS_ONLY = { names: [], roles: ['_admin'] };
const MALFORMED = { error: 'bad_request', reason: "Malformed sequence supplied in 'since' parameter." };
/** @type {{ [part: string]: Json }} */
const TO_MEMBERS = {
  _security: { error: 'error', reason: 'no_majority' },
  _index: { error: 'error_saving_ddoc', reason: 'Unknown error while saving the design document.' },
};
const AGENT = new http.Agent({ keepAlive: true });

/** @type {(n: number | string, kind?: string) => string} */
const opaque = (n, kind = 'seq') => `${n}-g1AAAA${Buffer.from(kind + n).toString('hex')}`;
/** @type {(seq: string) => string | null} */
const plain = (seq) => {
  const [, n] = /^(\d+)-g1AAAA/.exec(seq) || [];
  return n !== undefined && [opaque(n), opaque(n, 'info')].includes(seq) ? n : null;
};

/** @type {(text: Buffer | string | null) => any} */
const parse = (text) => JSON.parse(String(text));

/**
 * @param {string | undefined} method
 * @param {string} path
 * @param {Headers} headers
 * @param {Buffer | string} [body]
 * @returns {Promise<Answer>}
 */
function ask(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: backend.hostname, port: backend.port, method, path, headers, agent: AGENT },
      (response) => {
        /** @type {Buffer[]} */
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('end', () => resolve({ response, body: Buffer.concat(parts) }));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/**
 * @param {Response} res
 * @param {number} status
 * @param {Json | Buffer} value
 * @param {Headers} [headers]
 */
function send(res, status, value, headers = {}) {
  const body = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
  res.writeHead(status, { 'content-type': 'application/json', ...headers, 'content-length': body.length });
  res.end(body);
}

/** @type {Set<string>} */
const deleted = new Set(); // names of databases that were deleted, whether or not they were made again

// Integers become opaque wherever a seq stands.
/**
 * @param {Json} value
 * @returns {Json}
 */
function withOpaqueSeqs(value) {
  for (const key of ['last_seq', 'update_seq', 'seq']) {
    if (Number.isInteger(value[key])) value[key] = opaque(value[key], key === 'update_seq' ? 'info' : 'seq');
  }
  (value.results || []).forEach(withOpaqueSeqs);
  return value;
}

/**
 * @param {string[]} names
 * @param {URLSearchParams} params
 */
function withinRange(names, params) {
  const [start, end, limit] = ['start_key', 'end_key', 'limit'].map((key) => parse(params.get(key)));
  const within = names.filter((name) => (start === null || name >= start) && (end === null || name <= end));
  return limit === null ? within : within.slice(0, limit);
}

/**
 * @param {any[]} list
 * @param {URL} url
 */
function changedList(list, url) {
  if (url.pathname === '/_all_dbs') return withinRange(list.sort(), url.searchParams);
  if (url.pathname === '/_dbs_info') list.forEach((row) => row.info && withOpaqueSeqs(row.info));
  return list;
}

// express-pouchdb keeps the state in the document; CouchDB 3 has a scheduler, and its own words.
/** @type {{ [state: string]: string }} */
const SCHEDULED = { triggered: 'running', error: 'crashing' };

/** @param {Json} doc */
function withoutState(doc) {
  if (doc && SCHEDULED[doc._replication_state]) delete doc._replication_state;
  return doc;
}

const logins = new Logins(ask, ADMIN);
const feed = new Feed(async () => (await ask('GET', '/_global_changes', ADMIN)).response.statusCode === 200);

/**
 * Pass on what the server behind tells of databases that were written.
 * @returns {Promise<never>}
 */
async function follow() {
  for (let since = 'now'; ;) {
    const { body } = await ask('GET', `/_db_updates?feed=longpoll&since=${since}`, ADMIN);
    const { results, last_seq } = parsed(body);
    const updated = results.filter((/** @type {Json} */ row) => row.type === 'updated');
    updated.forEach((/** @type {Json} */ row) => feed.add(row.db_name, 'updated'));
    since = last_seq;
  }
}

/**
 * @param {Request} req
 * @param {Response} res
 * @param {URL} url
 */
async function dbUpdates(req, res, url) {
  if (!await feed.isKept()) return send(res, 404, { error: 'not_found', reason: 'Database does not exist.' });
  const since = url.searchParams.get('since') || '0';
  /** @type {{ [since: string]: number }} */
  const ends = { 0: 0, now: feed.end };
  const number = ends[since] ?? plain(since);
  if (number === null) return send(res, 400, MALFORMED);
  return send(res, 200, withOpaqueSeqs(await feed.read(Number(number), url.searchParams, req)));
}

// A replication that has answered is still ending for a moment.
const ENDS_MS = 1000;
const ending = new Map(); // source and target → { source, until }

/**
 * @param {Request} req
 * @param {Response} res
 * @param {Buffer} body
 * @param {Headers} headers
 */
async function replicate(req, res, body, headers) {
  const { source, target } = parsed(body) || {};
  const key = JSON.stringify([source, target]);
  if (ending.has(key) && ending.get(key).until > Date.now()) return undefined;
  const got = await ask('POST', '/_replicate', headers, body);
  ending.set(key, { source, until: Date.now() + ENDS_MS });
  return send(res, Number(got.response.statusCode), got.body);
}

function jobs() {
  const now = [...ending.values()].filter((one) => one.until > Date.now());
  return { total_rows: now.length, offset: 0, jobs: now.map(({ source }) => ({ source, doc_id: null })) };
}

/**
 * Whether a document is written over a revision that is not there. A replicator may do that.
 * @param {Request} req
 * @param {URL} url
 * @param {Buffer} body
 */
async function followNothing(req, url, body) {
  const [, db, id] = /^\/([^_/][^/]*)\/([^_/][^/]*)$/.exec(url.pathname) || [];
  const { _rev: rev } = parsed(body) || {};
  if (req.method !== 'PUT' || !id || !/^\d+-[0-9a-f]+$/.test(rev)) return false;
  if (url.searchParams.get('new_edits') === 'false') return false;
  return (await ask('GET', `/${db}/${id}`, ADMIN)).response.statusCode === 404;
}

/**
 * CouchDB's words where the server behind has others.
 * @param {Request} req
 * @param {URL} url
 * @param {Headers} own
 * @param {number} status
 * @param {any} body
 * @returns {Promise<[number, any]>}
 */
async function inItsWords(req, url, own, status, body) {
  const [, database, part] = /^(\/[^/]+)\/(_security|_index)$/.exec(url.pathname) || [];
  if (part && ['PUT', 'POST'].includes(String(req.method)) && [401, 403].includes(status)) {
    const isMember = (await ask('GET', database, own)).response.statusCode === 200;
    if (isMember) return [500, TO_MEMBERS[part]];
  }
  if (status === 401 && own.authorization && String(body).includes('You are not authorized to access this db.')) {
    return [403, { error: 'forbidden', reason: 'You are not allowed to access this db.' }];
  }
  return [status, body];
}

/**
 * Leave out of an answer of _revs_diff what is known as a part of a history, without its content.
 * @param {URL} url
 * @param {Headers} own
 * @param {Json} missing
 */
async function withoutKnown(url, own, missing) {
  for (const [id, row] of Object.entries(missing)) {
    const path = `${url.pathname.replace(/_revs_diff$/, '')}${encodeURIComponent(id)}?open_revs=all&revs=true`;
    const { response, body } = await ask('GET', path, { ...own, accept: 'application/json' });
    if (response.statusCode !== 200) continue;
    /** @type {Json[]} */
    const leaves = parse(body).map((/** @type {Json} */ leaf) => leaf.ok).filter(Boolean);
    const known = leaves.flatMap(({ _revisions: { start, ids } }) => (
      ids.map((/** @type {string} */ digest, /** @type {number} */ age) => `${start - age}-${digest}`)
    ));
    row.missing = row.missing.filter((/** @type {string} */ rev) => !known.includes(rev));
    if (!row.missing.length) delete missing[id];
  }
  return missing;
}

// CouchDB's scheduler lets go of a removed replication a moment later. Until then a document with the
// same source and target is a duplicate to it, and fails for good.
const FORGETS_MS = 300;
/** @type {Map<string, { until: number, ends: string }>} */
const removed = new Map(); // id → { until, ends }
const failed = new Set();
/** @type {(doc: Json) => string} */
const endsOf = (doc) => JSON.stringify([doc.source, doc.target]);

/**
 * @param {Request} req
 * @param {URL} url
 * @param {Buffer} body
 * @param {Headers} own
 */
async function noteReplication(req, url, body, own) {
  const id = decodeURIComponent(url.pathname.replace('/_replicator/', ''));
  if (req.method === 'DELETE') {
    const doc = parse((await ask('GET', `/_replicator/${encodeURIComponent(id)}`, own)).body);
    removed.set(id, { until: Date.now() + FORGETS_MS, ends: endsOf(doc) });
  } else if (req.method === 'PUT') {
    const ends = endsOf(parse(body));
    const isKnown = [...removed.values()].some((one) => one.until > Date.now() && one.ends === ends);
    if (isKnown) failed.add(id);
  }
}

/** @param {Headers} own */
async function scheduler(own) {
  const { body } = await ask('GET', '/_replicator/_all_docs?include_docs=true', own);
  /** @type {Json[]} */
  const rows = parse(body).rows;
  const docs = rows.map((row) => row.doc).filter((doc) => doc.source);
  return {
    total_rows: docs.length,
    docs: docs.map((doc) => ({
      database: '_replicator',
      doc_id: doc._id,
      state: failed.has(doc._id) ? 'failed' : SCHEDULED[doc._replication_state] || doc._replication_state || 'initializing',
      info: doc._replication_state_reason ? { error: doc._replication_state_reason } : {},
    })),
  };
}

/**
 * Refuse what CouchDB refuses before all else; whether it was refused.
 * @param {Request} req
 * @param {Response} res
 * @param {URL} url
 * @param {Buffer} body
 */
async function isRefused(req, res, url, body) {
  const [name] = logins.nameAndPassword(req);
  if (logins.isLocked(req)) return send(res, 403, LOCKED);
  if (logins.isStillKnown(name) && url.pathname === '/_session') {
    return send(res, 200, { ok: true, userCtx: { name, roles: [] } });
  }
  const refused = url.pathname.startsWith('/_users') && await logins.usersRefusal(req, url.pathname);
  if (refused) return send(res, ...refused);
  const isJson = (req.headers['content-type'] || 'application/json').startsWith('application/json');
  const wrong = isJson && ['PUT', 'POST'].includes(String(req.method)) && refusal(body);
  if (wrong) return send(res, ...wrong);
  if (await followNothing(req, url, body)) {
    return send(res, 409, { error: 'conflict', reason: 'Document update conflict.' });
  }
  return false;
}

/**
 * @param {Request} req
 * @param {Response} res
 */
async function answer(req, res) {
  if (isTooLong(req)) {
    res.writeHead(400, { connection: 'close', 'content-length': 0 });
    return res.end();
  }
  const url = new URL(/** @type {string} */ (req.url), 'http://proxy');
  const parts = [];
  for await (const part of req) parts.push(part);
  if (await isRefused(req, res, url, Buffer.concat(parts)) !== false) return undefined;
  if (url.pathname === '/') return send(res, 200, WELCOME);
  if (url.pathname.startsWith('/_config')) return send(res, 404, { error: 'not_found', reason: 'missing' });
  const own = { authorization: req.headers.authorization || '' };
  if (url.pathname === '/_scheduler/docs/_replicator') return send(res, 200, await scheduler(own));
  if (url.pathname.startsWith('/_scheduler/docs/_replicator/')) {
    const id = /** @type {string} */ (url.pathname.split('/').pop());
    const { until = 0 } = removed.get(decodeURIComponent(id)) || {};
    return until > Date.now() ? send(res, 200, { state: 'running' }) : send(res, 404, { error: 'not_found', reason: 'missing' });
  }
  if (url.pathname.startsWith('/_replicator/') && !url.pathname.startsWith('/_replicator/_')) {
    await noteReplication(req, url, Buffer.concat(parts), own);
  }
  if (url.pathname === '/_db_updates' && logins.isAdmin(req)) return dbUpdates(req, res, url);
  if (url.pathname === '/_scheduler/jobs') return send(res, 200, jobs());
  if (url.pathname === '/_replicate' && req.method === 'POST') {
    const headers = { ...req.headers, host: backend.host, 'accept-encoding': 'identity' };
    return replicate(req, res, Buffer.concat(parts), headers);
  }
  const since = url.searchParams.get('since');
  if (url.pathname.endsWith('/_changes') && since && since !== '0' && since !== 'now') {
    const n = plain(since);
    if (n === null) {
      return send(res, 400, MALFORMED);
    }
    // A seq past the end is of a database that was deleted and made again: start from the beginning. Or else the
    // database was restored from a backup: nothing comes, and the same seq.
    const info = parse((await ask('GET', url.pathname.replace(/\/_changes$/, ''), own)).body);
    const isPast = info.update_seq !== undefined && Number(n) > info.update_seq;
    if (isPast && !deleted.has(info.db_name)) return send(res, 200, { results: [], last_seq: since, pending: 0 });
    url.searchParams.set('since', isPast ? '0' : n);
  }
  const path = url.pathname.replace('/_node/_local/_config', '/_config') + url.search;
  // No compression: the answer is read and changed here.
  const headers = { ...req.headers, host: backend.host, 'accept-encoding': 'identity' };
  const got = await ask(req.method, path, headers, Buffer.concat(parts));
  const [, database] = /^\/([^/]+)\/?$/.exec(url.pathname) || [];
  if (req.method === 'DELETE' && got.response.statusCode === 200) {
    if (database) {
      feed.add(decodeURIComponent(database), 'deleted');
      deleted.add(decodeURIComponent(database));
    }
    logins.noteRemoval(url.pathname);
  }
  if (req.method === 'POST') logins.noteRemovals(url.pathname, parsed(Buffer.concat(parts)));
  if (req.method === 'PUT' && database && got.response.statusCode === 201) {
    feed.add(decodeURIComponent(database), 'created');
    const security = JSON.stringify({ admins: ADMINS_ONLY, members: ADMINS_ONLY });
    const json = { ...own, 'content-type': 'application/json', 'content-length': Buffer.byteLength(security) };
    await ask('PUT', `${url.pathname.replace(/\/$/, '')}/_security`, json, security);
  }
  let body = got.body;
  try {
    const value = parse(body);
    if (url.pathname.startsWith('/_replicator/')) {
      /** @type {Json[]} */
      const rows = value.rows || [];
      rows.forEach((row) => withoutState(row.doc));
      body = Buffer.from(JSON.stringify(withoutState(value)));
    } else if (url.pathname.endsWith('/_revs_diff') && got.response.statusCode === 200) {
      body = Buffer.from(JSON.stringify(await withoutKnown(url, own, value)));
    } else if (Array.isArray(value)) {
      body = Buffer.from(JSON.stringify(changedList(value, url)));
    } else if (value && typeof value === 'object' && value._id === undefined) {
      body = Buffer.from(JSON.stringify(withOpaqueSeqs(value)));
    }
  } catch (error) { /* not JSON: as it came */ }
  const { 'transfer-encoding': _, 'content-length': __, ...rest } = got.response.headers;
  const status = /** @type {number} */ (got.response.statusCode);
  const [told, said] = await inItsWords(req, url, own, status, body);
  await logins.note(req, status, String(got.body)); // before the answer: the next request may be locked
  return send(res, told, said, rest);
}

const server = http.createServer({ maxHeaderSize: 1 << 20 }, (req, res) => {
  answer(req, res).catch((error) => send(res, 502, { error: 'proxy', reason: String(error) }));
});
follow();
server.listen(0, '127.0.0.1', () => {
  const address = /** @type {import('net').AddressInfo} */ (server.address());
  process.stdout.write(JSON.stringify({ port: address.port }) + '\n');
});
process.stdin.resume().on('end', () => process.exit(0));
