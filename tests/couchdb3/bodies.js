// @ts-check
'use strict';
// What CouchDB 3 refuses before it looks at anything else: a request line that is too long, text
// that is no UTF-8, members of its own that it does not know, numbers that are not finite, and what
// is nested so deeply that it ends the process of the validation functions.

const { isUtf8 } = require('buffer');

const MAX_REQUEST_LINE = 8190; // and its line end
const MAX_DEPTH = 75_000;
const NO_JSON = { error: 'bad_request', reason: 'invalid UTF-8 JSON' };

/** @type {(req: import('http').IncomingMessage) => boolean} */
const isTooLong = (req) => `${req.method} ${req.url} HTTP/1.1`.length > MAX_REQUEST_LINE;

/**
 * Whether a JSON text has half a character, as \ud800.
 * @param {string} body
 */
function hasHalfCharacter(body) {
  if (!body.includes('\\u')) return false;
  let found = false;
  try {
    JSON.parse(body, (key, value) => {
      found ||= [key, value].some((text) => typeof text === 'string' && /\p{Surrogate}/u.test(text));
      return value;
    });
  } catch (error) { /* no JSON, or nested too deeply */ }
  return found;
}

/**
 * The value of a JSON text, null where it is none.
 * @param {Buffer | string} body
 * @returns {any}
 */
function parsed(body) {
  try { return JSON.parse(String(body)); } catch (error) { return null; }
}

/**
 * A JSON text without what is in its strings.
 * @param {string} body
 */
const bare = (body) => body.replace(/"(?:[^"\\]|\\.)*"/g, '""');

/**
 * The answer to numbers that are not finite: integers are parsed, and fail later.
 * @param {string} body
 * @returns {[number, object] | null}
 */
function numbersRefusal(body) {
  const numbers = bare(body).match(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi) || [];
  const infinite = numbers.filter((number) => !Number.isFinite(Number(number)));
  if (infinite.some((number) => /[.e]/i.test(number))) return [400, NO_JSON];
  return infinite.length ? [500, { error: 'unknown_error', reason: 'badarith', ref: 1 }] : null;
}

/** @param {string} body */
function depth(body) {
  let now = 0, most = 0;
  for (const character of bare(body)) {
    if ('[{'.includes(character)) most = Math.max(most, now += 1);
    else if (']}'.includes(character)) now -= 1;
  }
  return most;
}

/**
 * The answer to one document that ends the process of the validation functions.
 * @param {string} body
 * @returns {[number, object] | null}
 */
function depthRefusal(body) {
  if (depth(body) <= MAX_DEPTH) return null;
  const crash = { error: 'os_process_error', reason: '{exit_status,139}' };
  const { docs } = parsed(body) || {};
  return Array.isArray(docs) ? [201, docs.map((doc) => ({ id: doc._id, ...crash }))] : [500, crash];
}

/**
 * The status and the answer to a body that is refused, null where it is not.
 * @param {Buffer} body
 * @returns {[number, object] | null}
 */
function refusal(body) {
  if (!isUtf8(body) || hasHalfCharacter(body.toString())) return [400, NO_JSON];
  const text = body.toString();
  const refused = numbersRefusal(text) || (text.length > MAX_DEPTH ? depthRefusal(text) : null);
  if (refused || !text.includes('"__proto__"')) return refused;
  const value = parsed(body);
  const docs = value && Array.isArray(value.docs) ? value.docs : [value];
  return docs.some((/** @type {any} */ doc) => doc && Object.hasOwn(doc, '__proto__'))
    ? [400, { error: 'doc_validation', reason: 'Bad special document member: __proto__' }] : null;
}

module.exports = { isTooLong, parsed, refusal };
