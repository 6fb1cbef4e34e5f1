// @ts-check
'use strict';
// Runs validation functions as CouchDB's oldest engine would: ECMAScript 5, nothing newer within
// reach, the documents from another realm than the function's.
//
//   node validation.js         reads a case a line, answers each with a line; ends with its stdin
//
// {"text": FUNCTION, "args": [newDoc, oldDoc, userCtx, secObj], "copied": BOOLEAN}
//   → {} where it returns, {"forbidden": REASON} where it refuses, {"failed": WHY} for all else.
// With "copied", newDoc is copied as PouchDB copies documents: a field __proto__ becomes the
// document's prototype.

const readline = require('readline');
const vm = require('vm');
const acorn = require('../../local/couchdb/node_modules/acorn');

/** @type {{ [object: string]: string }} */
const ES5 = {
  globalThis: `Object Function Array String Boolean Number Date RegExp Error EvalError RangeError
    ReferenceError SyntaxError TypeError URIError Math JSON NaN Infinity undefined eval parseInt
    parseFloat isNaN isFinite decodeURI decodeURIComponent encodeURI encodeURIComponent`,
  Object: `length name prototype getPrototypeOf getOwnPropertyDescriptor getOwnPropertyNames create
    defineProperty defineProperties seal freeze preventExtensions isSealed isFrozen isExtensible
    keys`,
  Array: 'length name prototype isArray',
  String: 'length name prototype fromCharCode',
  Number: 'length name prototype',
  'Array.prototype': `length constructor toString toLocaleString concat join pop push reverse shift
    slice sort splice unshift indexOf lastIndexOf every some forEach map filter reduce reduceRight`,
  'String.prototype': `length constructor toString valueOf charAt charCodeAt concat indexOf
    lastIndexOf localeCompare match replace search slice split substring toLowerCase
    toLocaleLowerCase toUpperCase toLocaleUpperCase trim`,
};

const realm = vm.createContext({});
const objects = Object.keys(ES5).map((name) => [vm.runInContext(name, realm), ES5[name].split(/\s+/)]);
for (const [object, known] of objects.reverse()) {
  for (const name of Object.getOwnPropertyNames(object)) {
    if (!known.includes(name)) Reflect.deleteProperty(object, name);
  }
}

/** @type {Map<string, Function>} */
const functions = new Map();

/** @param {string} text */
function functionOf(text) {
  if (!functions.has(text)) {
    acorn.parseExpressionAt(`(${text})`, 0, { ecmaVersion: 5 });
    functions.set(text, vm.runInContext(`(${text})`, realm));
  }
  return /** @type {Function} */ (functions.get(text));
}

/**
 * @param {any} value
 * @returns {any}
 */
function copy(value) {
  if (!value || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(copy);
  /** @type {{ [key: string]: unknown }} */
  const copied = {};
  for (const key of Object.keys(value)) copied[key] = copy(value[key]);
  return copied;
}

/** @param {{ text: string, args: unknown[], copied: boolean }} asked */
function run({ text, args, copied }) {
  try {
    const [newDoc, ...others] = args;
    functionOf(text)(copied ? copy(newDoc) : newDoc, ...others);
    return {};
  } catch (thrown) {
    const reason = thrown && /** @type {{ forbidden?: unknown }} */ (thrown).forbidden;
    return typeof reason === 'string' ? { forbidden: reason } : { failed: String(thrown) };
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  process.stdout.write(JSON.stringify(run(JSON.parse(line))) + '\n');
});
