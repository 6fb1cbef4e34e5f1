'use strict';
// What CouchDB 3 refuses before it looks at anything else: a request line that is too long, text
// that is no UTF-8, members of its own that it does not know.

const { isUtf8 } = require('buffer');

const MAX_REQUEST_LINE = 8192;

const isTooLong = (req) => `${req.method} ${req.url} HTTP/1.1`.length > MAX_REQUEST_LINE;

// Half a character may stand in a text as \ud800.
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

function parsed(body) {
  try { return JSON.parse(body); } catch (error) { return null; }
}

// The answer to a body that is refused, null where none is.
function refusal(body) {
  if (!isUtf8(body) || hasHalfCharacter(body.toString())) {
    return { error: 'bad_request', reason: 'invalid UTF-8 JSON' };
  }
  if (!body.includes('"__proto__"')) return null;
  const value = parsed(body);
  const docs = value && Array.isArray(value.docs) ? value.docs : [value];
  return docs.some((doc) => doc && Object.hasOwn(doc, '__proto__'))
    ? { error: 'doc_validation', reason: 'Bad special document member: __proto__' } : null;
}

module.exports = { isTooLong, parsed, refusal };
