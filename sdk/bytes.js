// Bytes as text: base64url without padding (RFC 4648 section 5), which is how the enclave's
// methods carry them, and the hashes of pins and `integrity` attributes.

/**
 * Base64url without padding.
 *
 * @param {ArrayBuffer | ArrayBufferView} data
 * @returns {string}
 */
export function encodeBytes(data) {
  const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * The bytes of base64url text without padding.
 *
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {TypeError} if the text is not the canonical encoding of some bytes
 */
export function decodeBytes(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) throw new TypeError("base64url without padding wanted");
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  if (encodeBytes(bytes) !== text) throw new TypeError("canonical base64url wanted: the unused bits of the last character are not zero");
  return bytes;
}

/**
 * SHA-384 in the form of the `integrity` attribute.
 *
 * @param {BufferSource} data
 * @returns {Promise<string>} "sha384-" and 64 characters of base64
 */
export async function integrityOf(data) {
  return `sha384-${toBase64(new Uint8Array(await crypto.subtle.digest("SHA-384", data)))}`;
}

/**
 * The hash of an `integrity` value in hexadecimal.
 *
 * @param {string} integrity "sha384-" and base64
 * @returns {string} 96 lower-case digits
 */
export function hexOf(integrity) {
  const bytes = fromBase64(integrity.slice(integrity.indexOf("-") + 1));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The `integrity` value of a SHA-384 in hexadecimal; the inverse of hexOf.
 *
 * @param {string} hex 96 digits
 * @returns {string} "sha384-" and 64 characters of base64
 */
export function integrityFromHex(hex) {
  return `sha384-${toBase64(Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16)))}`;
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = "";
  // In pieces: an argument list has a limit, which differs between engines.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** @param {string} text */
function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
