// @ts-check
// How an app computes an owner id (docs/design.md), in a browser or in Node.js 20 or later.
// chalicelib/domain/addresses.py does the same in Python. It also refuses addresses.

/**
 * Normalise an e-mail address. The cloud sends mail to this form.
 *
 * @param {string} address as somebody typed it
 * @returns {string}
 */
export function normaliseAddress(address) {
  const typed = address.trim();
  const at = typed.lastIndexOf('@');
  const local = typed.slice(0, at).normalize('NFKC').toLowerCase();
  const domain = typed.slice(at + 1).toLowerCase();
  return `${local}@${new URL(`http://${domain}`).hostname}`;
}

/**
 * Compute the owner id of an address that the cloud accepts.
 *
 * @param {string} address as somebody typed it
 * @returns {Promise<string>} 32 hex digits
 */
export async function ownerIdOf(address) {
  const octets = new TextEncoder().encode(normaliseAddress(address));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', octets));
  return Array.from(digest.slice(0, 16), (octet) => octet.toString(16).padStart(2, '0')).join('');
}
