// @ts-check
'use strict';
// The embedded CouchDB-compatible server: express-pouchdb over LevelDB.
//
//   node server.js DATA_FOLDER [PORT]
//
// The administrator's password comes from the environment (COUCHDB_ADMIN_PASSWORD). When the server
// is ready it prints one line of JSON: {"port": N}. It ends when its stdin closes, and so never
// outlives the process that started it, however that one ended.

const fs = require('fs');
const http = require('http');
const path = require('path');
const express = require('express');
const PouchDB = require('pouchdb-core')
  .plugin(require('pouchdb-adapter-leveldb'))
  .plugin(require('pouchdb-adapter-http'))
  .plugin(require('pouchdb-mapreduce'))
  .plugin(require('pouchdb-replication'))
  .plugin(require('pouchdb-find'));
require('./validation');
const deletions = require('./deletions');
const replicator = require('./replicator');
const rights = require('./rights');
const updates = require('./updates');

const LONGPOLL_DEFAULT_MS = 60000;

const folder = path.resolve(process.argv[2]);
const port = Number(process.argv[3] || 0);
fs.mkdirSync(path.join(folder, 'db'), { recursive: true });

// The administrator is set before the first request: there is no moment in which everyone is one.
const configPath = path.join(folder, 'config.json');
const config = fs.existsSync(configPath) ? JSON.parse(fs.readFileSync(configPath, 'utf8')) : {};
config.admins = { ...config.admins, admin: process.env.COUCHDB_ADMIN_PASSWORD };
fs.writeFileSync(configPath, JSON.stringify(config), { mode: 0o600 });

const LocalPouchDB = PouchDB.defaults({ prefix: path.join(folder, 'db') + path.sep });
updates.install(LocalPouchDB);
replicator.install();
const watched = updates.watch(LocalPouchDB);
const couchdb = require('express-pouchdb')(LocalPouchDB, {
  configPath,
  logPath: path.join(folder, 'log.txt'),
});

// express-pouchdb's own longpoll ignores `timeout` and beats every 6 s for ever, so a quiet feed
// would never answer. Here the request is held until the database has a change past `since`, or
// the time is up; then express-pouchdb answers it as an ordinary request (and checks its rights).
/** @type {(...args: Parameters<import('express').RequestHandler>) => Promise<void>} */
async function holdLongpoll(req, res, next) {
  if (req.query.feed !== 'longpoll') return next();
  req.query.feed = 'normal';
  const name = decodeURIComponent(req.params.db);
  const known = await LocalPouchDB.allDbs();
  if (!known.includes(name)) return next();
  const waiting = new LocalPouchDB(name).changes({
    since: Number(req.query.since) || 0, live: true, limit: 1,
  });
  const timer = setTimeout(() => waiting.cancel(), Number(req.query.timeout) || LONGPOLL_DEFAULT_MS);
  req.on('close', () => waiting.cancel());
  const done = () => { clearTimeout(timer); next(); };
  waiting.once('change', () => waiting.cancel());
  waiting.then(done, done);
}

// CouchDB's security objects have no revisions. Here they are documents, and of two writers at once
// the one would get a conflict: so they write one after the other.
/** @type {Promise<unknown>} */
let securityWritten = Promise.resolve();
/** @type {import('express').RequestHandler} */
function writeSecurityInTurn(req, res, next) {
  const before = securityWritten;
  securityWritten = new Promise((resolve) => res.on('close', resolve));
  before.then(next);
}

/** @param {http.Server} listening */
function portOf(listening) {
  return /** @type {import('net').AddressInfo} */ (listening.address()).port;
}

const app = express();
app.get('/:db/_changes', (req, res, next) => holdLongpoll(req, res, next).catch(next));
app.put('/:db/_security', writeSecurityInTurn);
rights.install(app, () => `http://127.0.0.1:${portOf(server)}`);
deletions.install(app);
app.use('/', couchdb);

const server = http.createServer(app);
server.on('error', (error) => { console.error(String(error)); process.exit(1); });
server.on('listening', () => {
  process.stdout.write(JSON.stringify({ port: portOf(server) }) + '\n');
});
watched.then(() => server.listen(port, '127.0.0.1'));
// One odd request (an attachment whose data is a number) must not end it for everybody; that one
// is never answered, and its client has a time limit.
process.on('uncaughtException', (error) => console.error(String(error)));
process.stdin.resume().on('end', () => process.exit(0));
