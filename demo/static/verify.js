// Verification with nothing but public keys: WebCrypto in the app's own page.
// The enclave is not asked, and nothing of it is used.

const utf8 = new TextEncoder();

/** @param {Uint8Array} bytes @returns {string} base64url without padding */
export function encode(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {string} text base64url without padding @returns {Uint8Array} */
export function decode(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}

/**
 * The RFC 7638 thumbprint of a public JWK: SHA-256 over its required members,
 * in lexicographic order and without white space (section 3).
 */
export async function thumbprint(jwk) {
  const required = { EC: ["crv", "kty", "x", "y"], OKP: ["crv", "kty", "x"] }[jwk.kty]; // RFC 7638 section 3.2, RFC 8037 section 2
  const canonical = JSON.stringify(Object.fromEntries(required.map((name) => [name, jwk[name]])));
  return encode(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(canonical))));
}

const schemes = {
  ES256: { key: { name: "ECDSA", namedCurve: "P-256" }, signature: { name: "ECDSA", hash: "SHA-256" } },
  EdDSA: { key: { name: "Ed25519" }, signature: { name: "Ed25519" } },
};

/** Whether signature is the key's over data. @param key as keys.create returns it */
export async function verify(key, signature, data) {
  const scheme = schemes[key.alg];
  const handle = await crypto.subtle.importKey("jwk", key.publicKey.jwk, scheme.key, true, ["verify"]);
  return crypto.subtle.verify(scheme.signature, handle, signature, data);
}

/** The parts of a JWS in compact serialisation (RFC 7515 section 7.1). Reading is not verifying. */
export function read(token) {
  const [header, claims, signature] = token.split(".");
  const json = (part) => JSON.parse(new TextDecoder().decode(decode(part)));
  return { header: json(header), claims: json(claims), signature: decode(signature), signed: utf8.encode(`${header}.${claims}`) };
}

/**
 * What may be said of a token: that its header names this key and this
 * algorithm, that the signature is the key's, and that the claims with one
 * bit changed are refused.
 */
export async function verifyToken(key, token) {
  const { header, claims, signature, signed } = read(token);
  return {
    header, claims,
    named: header.kid === key.kid && header.alg === key.alg && header.typ === "JWT",
    valid: await verify(key, signature, signed),
    forgeryRefused: !(await verify(key, signature, flip(signed))),
  };
}

/** What a challenge signature covers: prefix ‖ 0 ‖ u32be(len(context)) ‖ context ‖ data. */
export function challengeMessage(context, data) {
  const prefix = utf8.encode("kms-enclave/challenge/v1\0");
  const name = utf8.encode(context);
  const message = new Uint8Array(prefix.length + 4 + name.length + data.length);
  message.set(prefix);
  new DataView(message.buffer).setUint32(prefix.length, name.length);
  message.set(name, prefix.length + 4);
  message.set(data, prefix.length + 4 + name.length);
  return message;
}

/** A copy with its last bit changed. */
export function flip(bytes) {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - 1] ^= 1;
  return copy;
}
