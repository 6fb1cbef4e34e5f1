// @ts-check
'use strict';
// Faults of pouchdb-validation, mended. They strike where an edit comes by replication, with its own
// history (`new_edits: false`), into a database that has a validate_doc_update:
//   - it writes the revisions of the stored document over those of the new one before it calls the
//     function; the edit then looks like the revision that is there already, and is dropped
//     without a word. Here the function gets a copy.
//   - the function's oldDoc is the winner. CouchDB's is the nearest ancestor that it has: an edit
//     is measured by what it was made from, not by what somebody else wrote in the meantime.
//   - the function gets no security object.
// And one of every write of many documents: the answer has what was refused first, and the rest in
// the order in which it was checked. CouchDB answers in the order of the request.
//
// Must be loaded before express-pouchdb.

const path = require.resolve('pouchdb-bulkdocs-wrapper');
/** @type {typeof import('pouchdb-bulkdocs-wrapper')} */
const bulkDocsWrapper = require(path);
const { getSecurity } = require('pouchdb-security');

/** @typedef {import('pouchdb-core').Doc} Doc */
/** @typedef {import('pouchdb-core').Database} Database */
/** @typedef {import('pouchdb-bulkdocs-wrapper').Check} Check */

// The nearest ancestor of a replicated revision that is stored here; fails if there is none.
/**
 * @param {Database} db
 * @param {Doc} doc
 */
async function ancestor(db, doc) {
  const { start, ids } = /** @type {Required<Doc>} */ (doc)._revisions;
  for (let age = 1; age < ids.length; age += 1) {
    const rev = `${start - age}-${ids[age]}`;
    const found = await db.get(doc._id, { rev, revs: true }).catch(() => null);
    if (found) return found;
  }
  throw new Error('no ancestor is stored');
}

/** @type {(check: Check) => Check} */
const corrected = (check) => async (doc, args) => {
  /** @type {Database} */
  const base = Object.create(args.base);
  if (args.options.new_edits === false && doc._revisions) {
    base.get = (id, ...rest) => (id === doc._id ? ancestor(args.base, doc) : args.base.get(id, ...rest));
  }
  const secObj = args.options.secObj || await getSecurity.call(args.base);
  const copy = { ...doc };
  await check(copy, { ...args, base, options: { ...args.options, secObj } });
  doc._id = copy._id; // made up where there was none
};

/** @type {typeof bulkDocsWrapper} */
const wrapped = (check) => {
  const write = bulkDocsWrapper(corrected(check));
  return async (bulkDocs, args) => {
    const { docs } = args;
    const rows = await write(bulkDocs, args);
    const places = new Map(docs.map((doc, place) => [doc._id, place]));
    const place = (/** @type {{ id: string }} */ row) => places.get(row.id) ?? docs.length;
    return rows.sort((one, other) => place(one) - place(other));
  };
};
/** @type {NodeJS.Module} */ (require.cache[path]).exports = wrapped;
