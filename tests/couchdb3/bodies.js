// @ts-check
'use strict';
// What CouchDB 3 refuses before it looks at anything else: a request line that is too long, text
// that is no UTF-8, members of its own that it does not know.

const { isUtf8 } = require('buffer');

const MAX_REQUEST_LINE = 8190; // and its line end

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
 * The answer to a body that is refused, null where it is not.
 * @param {Buffer} body
 */
function refusal(body) {
  if (!isUtf8(body) || hasHalfCharacter(body.toString())) {
    return { error: 'bad_request', reason: 'invalid UTF-8 JSON' };
  }
  if (!body.includes('"__proto__"')) return null;
  const value = parsed(body);
  const docs = value && Array.isArray(value.docs) ? value.docs : [value];
  return docs.some((/** @type {any} */ doc) => doc && Object.hasOwn(doc, '__proto__'))
    ? { error: 'doc_validation', reason: 'Bad special document member: __proto__' } : null;
}

module.exports = { isTooLong, parsed, refusal };
