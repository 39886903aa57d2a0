// Who may send: VAPID (RFC 8292), as a push service checks it. Written for the tests with
// node:crypto alone, so that what the product signs is judged by something else than itself.

import { createPublicKey, verify } from "node:crypto";

const DAY = 86_400; // seconds; the longest that a token may be good for (RFC 8292 section 2)

/** Why a push service does not take a request: the HTTP status, and a reason for who reads logs. */
export class Refusal extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// RFC 8292 section 4.2: credentials that are missing are 401, credentials that are wrong 403.
// (Mozilla's autopush answers 401 to some of the second kind; a sender must take both.)
const wrong = (reason) => new Refusal(403, reason);

/** The bytes of base64url without padding, in its one canonical form; undefined of anything else. */
export function decode(text) {
  const bytes = Buffer.from(String(text), "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/** The P-256 point in a raw public key (65 bytes, uncompressed) as a key; undefined if it is none. */
export function publicKey(raw) {
  if (raw?.length !== 65 || raw[0] !== 4) return undefined;
  const [x, y] = [raw.subarray(1, 33), raw.subarray(33)].map((bytes) => bytes.toString("base64url"));
  try {
    return createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
  } catch {
    return undefined; // not on the curve
  }
}

/** The parameters of "vapid t=…, k=…" (RFC 8292 section 3): these two, once each. */
function credentials(header) {
  if (!/^vapid\s/i.test(header ?? "")) throw new Refusal(401, `authorization: got ${header === undefined ? "none" : JSON.stringify(header.slice(0, 20))}, wanted vapid`);
  const pairs = header.slice(6).split(",").map((part) => /^\s*([a-z]+)=([^\s"]+)\s*$/.exec(part));
  const found = Object.fromEntries(pairs.filter(Boolean).map(([, name, value]) => [name, value]));
  if (pairs.length !== 2 || !found.t || !found.k) throw wrong("authorization: got other parameters, wanted t and k");
  return found;
}

function json(part, what) {
  try {
    const value = JSON.parse(decode(part).toString());
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw wrong(`${what}: not a JSON object in base64url`);
}

/** Takes a compact JWS apart, and checks its signature by this key; returns the claims. */
function verified(token, key) {
  const parts = token.split(".");
  if (parts.length !== 3) throw wrong(`token: got ${parts.length} parts, wanted 3`);
  const { alg, typ, crit } = json(parts[0], "token header");
  if (alg !== "ES256" || typ !== "JWT" || crit !== undefined) throw wrong(`token header: got alg ${alg}, typ ${typ}, crit ${crit}, wanted ES256, JWT and none`);
  const signature = decode(parts[2]);
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
  if (signature?.length !== 64 || !verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature)) throw wrong("token: the signature is not by k");
  return json(parts[1], "token claims");
}

function contact(sub) {
  if (typeof sub !== "string" || !URL.canParse(sub)) return false;
  const { protocol, hostname, pathname } = new URL(sub);
  return protocol === "mailto:" ? /^[^@\s]+@[^@\s]+$/.test(pathname) : protocol === "https:" && hostname !== "";
}

/**
 * Checks an Authorization header for a subscription that was made with this key (base64url).
 * audience is the push service's own origin, nowSeconds a Unix time. Throws a Refusal.
 */
export function checkAuthorization(header, { key, audience, nowSeconds }) {
  const { t, k } = credentials(header);
  const verifier = publicKey(decode(k));
  if (!verifier) throw wrong("k: not a P-256 public key");
  if (k !== key) throw wrong("k: not the key that this subscription was made with");
  const { aud, exp, sub } = verified(t, verifier);
  if (aud !== audience) throw wrong(`aud: got ${JSON.stringify(aud)}, wanted ${audience}`);
  if (!Number.isInteger(exp)) throw wrong(`exp: got ${JSON.stringify(exp)}, wanted whole seconds`);
  if (exp <= nowSeconds) throw wrong(`exp: ${nowSeconds - exp} seconds ago`);
  if (exp - nowSeconds > DAY) throw wrong(`exp: in ${exp - nowSeconds} seconds, wanted ${DAY} at most`);
  if (!contact(sub)) throw wrong(`sub: got ${JSON.stringify(sub)}, wanted a mailto: or https: contact`);
}
