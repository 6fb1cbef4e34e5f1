// @ts-check
'use strict';
// A PouchDB as an app on a device has it, driven by lines of JSON on stdin:
//
//   node pouchdb_client.js PACKAGES FOLDER URL
//
//   {"put": DOC}         writes a document into the app's own database
//   {"replicate": {…}}   replicates it to the URL, with PouchDB's own options; from there, if `back`
//   {"wait": ID}         waits until the app's own database has a document
//
// What happens is told in lines of JSON on stdout: {"event": NAME, "says": …}. It ends when stdin does.

const { createRequire } = require('module');
const readline = require('readline');

const [packages, folder, target] = process.argv.slice(2);
const load = createRequire(packages + '/');
/** @type {import('pouchdb-core').Static} */
const PouchDB = load('pouchdb-core')
  .plugin(load('pouchdb-adapter-leveldb'))
  .plugin(load('pouchdb-adapter-http'))
  .plugin(load('pouchdb-replication'));

const EVENTS = ['change', 'paused', 'denied', 'requestError', 'error', 'complete'];
/** @type {(event: string, says?: unknown) => void} */
const tell = (event, says = null) => process.stdout.write(JSON.stringify({ event, says }) + '\n');
/** @type {(error: { [field: string]: unknown }) => object} */
const plain = (error) => ({
  status: error.status, name: error.name, id: error.id, reason: error.reason, message: error.message,
});
const local = new PouchDB(folder, { adapter: 'leveldb' });

/** @param {{ retry?: boolean, back?: boolean }} options */
function replicate(options) {
  const again = options.retry ? { back_off_function: () => 100 } : {};
  const ends = options.back ? [target, local] : [local, target];
  const running = PouchDB.replicate(ends[0], ends[1], { ...options, ...again });
  EVENTS.forEach((name) => running.on(name, (says) => {
    tell(name, says && (says.name || says instanceof Error) ? plain(says) : says);
  }));
  running.catch(() => {}); // told as an event
}

/** @param {string} id */
function wait(id) {
  const feed = local.changes({ since: 0, live: true }).on('change', (change) => {
    if (change.id !== id) return;
    feed.cancel();
    local.get(id).then((says) => tell('doc', says));
  });
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { put, replicate: options, wait: id } = JSON.parse(line);
  if (options) replicate(options);
  else if (id) wait(id);
  else local.put(put).then((says) => tell('put', says), (error) => tell('failed', plain(error)));
}).on('close', () => process.exit(0));
