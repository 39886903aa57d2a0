// Checks of what the enclave made, by code that is not the enclave's: jose for tokens and
// thumbprints, Node's OpenSSL for everything else.

import assert from "node:assert/strict";
import { createHash, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, verify } from "node:crypto";
import { calculateJwkThumbprint, importJWK, jwtVerify } from "jose";

/** The signature algorithm of a purpose. */
export const algOf = { vapid: "ES256", identity: "EdDSA", agreement: "X25519", signing: "EdDSA" };

/** A key's public members hold together: kid, thumbprint, raw and JWK. */
export async function assertKey(key, wanted = {}) {
  assert.equal(key.kid, await calculateJwkThumbprint(key.publicKey.jwk, "sha256"));
  const raw = Buffer.from(key.publicKey.raw, "base64url");
  const { crv, x, y } = key.publicKey.jwk;
  if (key.alg === "ES256") {
    assert.equal(crv, "P-256");
    assert.deepEqual(raw, Buffer.concat([Buffer.from([4]), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]));
  } else {
    assert.equal(crv, key.alg === "EdDSA" ? "Ed25519" : "X25519");
    assert.deepEqual(raw, Buffer.from(x, "base64url"));
  }
  for (const [member, value] of Object.entries(wanted)) assert.equal(key[member], value, member);
  assert.ok(!("d" in key.publicKey.jwk), "a private member in a public key");
}

/** Verifies a JWT with nothing but the public key; returns its header and payload. */
export async function verifyJWT(token, key, options = {}) {
  const jwk = await importJWK(key.publicKey.jwk, key.alg);
  const { protectedHeader, payload } = await jwtVerify(token, jwk, { algorithms: [key.alg], ...options });
  return { header: protectedHeader, payload };
}

function u32be(n) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
}

function labelled(label, context) {
  const text = Buffer.from(context);
  return Buffer.concat([Buffer.from(label), Buffer.from([0]), u32be(text.length), text]);
}

/** Verifies a challenge signature over its documented transcript. */
export function verifyChallenge(key, context, data, signature) {
  const message = Buffer.concat([labelled("kms-enclave/challenge/v1", context), data]);
  const publicKey = createPublicKey({ key: key.publicKey.jwk, format: "jwk" });
  const options = key.alg === "ES256" ? { key: publicKey, dsaEncoding: "ieee-p1363" } : publicKey;
  return verify(key.alg === "ES256" ? "sha256" : null, message, options, Buffer.from(signature, "base64url"));
}

/** A peer for key.agree: its raw public key, and the secret it derives with a key of the enclave. */
export function agreementPeer() {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url");
  const secretWith = (key, context) => {
    const theirs = createPublicKey({ key: key.publicKey.jwk, format: "jwk" });
    const shared = diffieHellman({ privateKey, publicKey: theirs });
    const both = [raw, Buffer.from(key.publicKey.raw, "base64url")].sort(Buffer.compare);
    const salt = createHash("sha256").update(Buffer.concat(both)).digest();
    return Buffer.from(hkdfSync("sha256", shared, salt, labelled("kms-enclave/agree/v1", context), 32)).toString("base64url");
  };
  return { raw: raw.toString("base64url"), secretWith };
}
