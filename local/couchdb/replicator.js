// @ts-check
'use strict';
// What CouchDB's replicator asks, and express-pouchdb answers otherwise than CouchDB:
//   - POST _bulk_get without any document is never answered; without a revision it gives the winner
//     only, and for what is missing it has words of its own
//   - GET doc?open_revs=… has no multipart/mixed, in which documents with attachments are fetched
//   - PUT doc?new_edits=false is answered with [], and measured by the wrong revision (validation.js)
//   - PUT doc as multipart/related stores what is compressed as it is, takes documents of 2 MB at
//     most, leaves files behind, and never answers to what is no JSON
//
// All revisions are sent with all their attachments (`atts_since` is not heeded): PouchDB changes
// the `revpos` of an attachment, so CouchDB would not find what a stub stands for.
//
// Source: https://docs.couchdb.org/en/stable/replication/protocol.html

const { randomUUID } = require('crypto');
const { buffer } = require('stream/consumers');
const { gunzipSync } = require('zlib');
const { Form } = require('multiparty');
const { jsonParser, makeOpts, sendError, sendJSON, setLocation } = require('express-pouchdb/lib/utils');

/** @typedef {import('express').Request} Request */
/** @typedef {import('express').Response} Response */
/** @typedef {import('pouchdb-core').Doc} Doc */
/** @typedef {import('pouchdb-core').Leaf} Leaf */
/** @typedef {(req: Request, res: Response, next: import('express').NextFunction) => Promise<unknown>} Handler */

const BAD_REQUEST = { status: 400, name: 'bad_request' };

// _bulk_get.

/** @type {Handler} */
async function bulkGet(req, res, next) {
  const { docs } = req.body;
  if (!Array.isArray(docs)) return next(); // express-pouchdb refuses it
  const results = [];
  for (const asked of docs) {
    const id = asked && asked.id !== undefined ? asked.id : null;
    results.push(...(await found(req, id, asked)).map((leaf) => ({ id, docs: [leaf] })));
  }
  return sendJSON(res, 200, { results });
}

/**
 * The revisions of one document of _bulk_get, or what is wrong with it.
 * @param {Request} req
 * @param {any} id
 * @param {any} asked
 */
async function found(req, id, asked) {
  if (id === null) return [failure(id, null, 'bad_request', 'document id missed')];
  const { revs, latest, attachments } = { ...req.body, ...req.query };
  const open_revs = asked.rev === undefined ? 'all' : [asked.rev];
  try {
    /** @type {Leaf[]} */
    const leaves = await req.db.get(id, makeOpts(req, { open_revs, revs, latest, attachments }));
    return leaves.map((leaf) => (leaf.ok ? leaf : failure(id, asked.rev, 'not_found', 'missing')));
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    return [failure(id, asked.rev ?? 'undefined', name, message)];
  }
}

/** @type {(id: any, rev: any, error: string, reason: string) => Leaf} */
const failure = (id, rev, error, reason) => ({ error: { id, rev, error, reason } });

// multipart/mixed.

/** @type {Handler} */
async function openRevs(req, res, next) {
  const { open_revs, revs, latest } = req.query;
  if (open_revs === undefined || !req.accepts('multipart/mixed')) return next();
  const options = { open_revs, revs, latest, attachments: true, binary: true };
  /** @type {Leaf[]} */
  const leaves = await req.db.get(req.params.id, makeOpts(req, options));
  const mixed = multipart(leaves.map(partOf));
  return res.status(200).type(`multipart/mixed; boundary="${mixed.boundary}"`).end(mixed.body);
}

/** @typedef {{ head: string[], body: Buffer }} Part */

/**
 * A revision as a part: JSON, or multipart/related if it has attachments.
 * @param {Leaf} leaf
 * @returns {Part}
 */
function partOf({ ok: doc, missing }) {
  if (!doc) return { head: ['Content-Type: application/json; error="true"'], body: json({ missing }) };
  const files = Object.entries(doc._attachments || {});
  const head = ['Content-Type: application/json'];
  if (files.length === 0) return { head, body: json(doc) };
  const stubs = files.map(([name, { data, ...rest }]) => [name, { ...rest, length: data.length, follows: true }]);
  const body = json({ ...doc, _attachments: Object.fromEntries(stubs) });
  // A name stands as it is, as CouchDB writes it; only a line end would end the header.
  const related = multipart([{ head, body }, ...files.map(([name, file]) => ({
    head: [
      `Content-Disposition: attachment; filename="${name.replace(/[\r\n]/g, ' ')}"`,
      `Content-Type: ${file.content_type}`,
      `Content-Length: ${file.data.length}`,
    ],
    body: file.data,
  }))]);
  return { head: [`Content-Type: multipart/related; boundary="${related.boundary}"`], body: related.body };
}

/** @type {(value: object) => Buffer} */
const json = (value) => Buffer.from(JSON.stringify(value));

/** @param {Part[]} parts */
function multipart(parts) {
  const boundary = randomUUID().replaceAll('-', '');
  const pieces = parts.map(({ head, body }) => (
    [Buffer.from(`--${boundary}\r\n${head.join('\r\n')}\r\n\r\n`), body, Buffer.from('\r\n')]
  ));
  return { boundary, body: Buffer.concat([...pieces.flat(), Buffer.from(`--${boundary}--`)]) };
}

// PUT.

/** @type {Handler} */
async function put(req, res, next) {
  const isMultipart = /^multipart\/related/.test(req.headers['content-type'] || '');
  const isReplicated = req.query.new_edits === /** @type {any} */ (false);
  if (!isMultipart && !isReplicated) return next();
  if (req.params.id.startsWith('_local/')) return next();
  const doc = isMultipart ? await related(req) : await jsonOf(req, res);
  doc._id = req.params.id;
  const rev = isReplicated ? await store(req, doc) : (await req.db.put(doc, makeOpts(req, req.query))).rev;
  res.set('ETag', `"${rev}"`);
  setLocation(res, `${req.params.db}/${encodeURIComponent(doc._id)}`);
  return sendJSON(res, 201, { ok: true, id: doc._id, rev });
}

/**
 * @param {Request} req
 * @param {Response} res
 * @returns {Promise<Doc>}
 */
async function jsonOf(req, res) {
  await new Promise((resolve) => jsonParser(req, res, resolve));
  return req.body;
}

/**
 * Store a revision with its own history.
 * @param {Request} req
 * @param {Doc} doc
 */
async function store(req, doc) {
  const [refused] = await req.db.bulkDocs({ docs: [doc] }, makeOpts(req, { new_edits: false }));
  if (refused) throw refused;
  return doc._rev;
}

/**
 * The document of a multipart/related request, with its attachments in it.
 * @param {Request} req
 * @returns {Promise<Doc>}
 */
async function related(req) {
  const [first, ...files] = await partsOf(req);
  const doc = parsed(first);
  const follow = Object.keys(doc._attachments || {}).filter((name) => doc._attachments[name].follows);
  for (const { name, encoding, body } of files) {
    const at = name !== undefined && follow.includes(name) ? follow.indexOf(name) : 0;
    const [of] = follow.splice(at, 1);
    if (of === undefined) break; // more of them than the document names
    const { content_type } = doc._attachments[of];
    doc._attachments[of] = { content_type, data: encoding === 'gzip' ? unzipped(body) : body };
  }
  if (follow.length) throw { ...BAD_REQUEST, message: `an attachment does not follow: ${follow[0]}` };
  return doc;
}

/** @param {Buffer} body */
function unzipped(body) {
  try {
    return gunzipSync(body);
  } catch (error) {
    throw { ...BAD_REQUEST, message: 'an attachment is not what its Content-Encoding says' };
  }
}

/** @typedef {{ name?: string, encoding?: string, body: Buffer }} Sent */

/**
 * @param {Sent | undefined} first
 * @returns {Doc}
 */
function parsed(first) {
  try {
    const doc = JSON.parse(String(first && first.body));
    if (doc && typeof doc === 'object') return doc;
  } catch (error) { /* no JSON */ }
  throw { ...BAD_REQUEST, message: 'invalid_json' };
}

/**
 * @param {Request} req
 * @returns {Promise<Sent[]>}
 */
function partsOf(req) {
  return new Promise((resolve, reject) => {
    /** @type {Promise<Sent>[]} */
    const parts = [];
    const form = new Form({ maxFields: Infinity });
    form.on('part', (part) => {
      // CouchDB does not escape a name, whatever is in it.
      const [, name] = /filename="(.*)"$/s.exec(part.headers['content-disposition'] || '') || [];
      const encoding = part.headers['content-encoding'];
      parts.push(buffer(part).then((body) => ({ name, encoding, body })));
    });
    form.on('error', reject);
    form.on('close', () => Promise.all(parts).then(resolve, reject));
    form.parse(req);
  });
}

/** @type {(handler: Handler) => import('express').RequestHandler} */
const caught = (handler) => (req, res, next) => handler(req, res, next).catch((error) => (
  sendError(res, error)
));

// To be called before express-pouchdb is: its own routes then come after these.
function install() {
  before('bulk-get', (app) => app.post('/:db/_bulk_get', jsonParser, caught(bulkGet)));
  before('documents', (app) => {
    app.get('/:db/:id(*)', caught(openRevs));
    app.put('/:db/:id(*)', caught(put));
  });
}

/**
 * @param {string} name
 * @param {(app: import('express').Express) => void} add
 */
function before(name, add) {
  const path = require.resolve(`express-pouchdb/lib/routes/${name}`);
  const original = require(path);
  const both = (/** @type {import('express').Express} */ app) => { add(app); original(app); };
  /** @type {NodeJS.Module} */ (require.cache[path]).exports = both;
}

module.exports = { install };
