// @ts-check
'use strict';
// A proxy that makes the embedded server answer like CouchDB 3 where the two differ and code could
// come to depend on it (docs/couchdb.md):
//   - seqs are opaque strings; one that it did not give is refused with 400 "Malformed sequence",
//     one of a database that was deleted and made again starts from the beginning
//     and a database's update_seq is another string than its last_seq
//   - _db_updates is there once the database _global_changes is; _all_dbs heeds a range and a limit
//   - a new database admits administrators only
//   - the configuration is kept by node
//   - the state of a replication that is not over is the scheduler's to say, not the document's
//   - the welcome document is CouchDB's
//
//   node proxy.js BACKEND_URL          prints {"port": N}; ends when its stdin closes

const http = require('http');

/** @typedef {import('http').IncomingMessage} Request */
/** @typedef {import('http').ServerResponse} Response */
/** @typedef {import('http').OutgoingHttpHeaders} Headers */
/** @typedef {{ response: Request, body: Buffer }} Answer */
/** @typedef {{ [field: string]: any }} Json */

const backend = new URL(process.argv[2]);
// The vendor tells it from a real one (tests/kit/tiers.py).
const WELCOME = { couchdb: 'Welcome', version: '3.3.3', vendor: { name: 'stand-in' } };
const ADMINS_ONLY = { names: [], roles: ['_admin'] };
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
 * @param {Request} req
 * @param {Response} res
 */
async function answer(req, res) {
  const url = new URL(/** @type {string} */ (req.url), 'http://proxy');
  const parts = [];
  for await (const part of req) parts.push(part);
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
  if (url.pathname === '/_db_updates') {
    const { response } = await ask('GET', '/_global_changes', own);
    if (response.statusCode === 404) return send(res, 404, { error: 'not_found', reason: 'Database does not exist.' });
  }
  const since = url.searchParams.get('since');
  if (url.pathname.endsWith('/_changes') && since && since !== '0' && since !== 'now') {
    const n = plain(since);
    if (n === null) {
      return send(res, 400, { error: 'bad_request', reason: "Malformed sequence supplied in 'since' parameter." });
    }
    // A seq past the end is of a database that was deleted and made again: begin anew.
    const info = parse((await ask('GET', url.pathname.replace(/\/_changes$/, ''), own)).body);
    const known = info.update_seq === undefined || Number(n) <= info.update_seq;
    url.searchParams.set('since', known ? n : '0');
  }
  const path = url.pathname.replace('/_node/_local/_config', '/_config') + url.search;
  // No compression: the answer is read and changed here.
  const headers = { ...req.headers, host: backend.host, 'accept-encoding': 'identity' };
  const got = await ask(req.method, path, headers, Buffer.concat(parts));
  if (req.method === 'PUT' && /^\/[^/]+\/?$/.test(url.pathname) && got.response.statusCode === 201) {
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
    } else if (Array.isArray(value)) {
      body = Buffer.from(JSON.stringify(changedList(value, url)));
    } else if (value && typeof value === 'object' && value._id === undefined) {
      body = Buffer.from(JSON.stringify(withOpaqueSeqs(value)));
    }
  } catch (error) { /* not JSON: as it came */ }
  const { 'transfer-encoding': _, 'content-length': __, ...rest } = got.response.headers;
  return send(res, /** @type {number} */ (got.response.statusCode), body, rest);
}

const server = http.createServer((req, res) => {
  answer(req, res).catch((error) => send(res, 502, { error: 'proxy', reason: String(error) }));
});
server.listen(0, '127.0.0.1', () => {
  const address = /** @type {import('net').AddressInfo} */ (server.address());
  process.stdout.write(JSON.stringify({ port: address.port }) + '\n');
});
process.stdin.resume().on('end', () => process.exit(0));
