// What the enclave gives for a relay: its key, its lease, and tokens under that.

import { KmsError } from "./errors.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./kms.d.ts").CallOptions} CallOptions */
/** @typedef {import("./types.d.ts").Key} Key */
/** @typedef {import("./types.d.ts").Lease} Lease */
/** @typedef {import("./push-store.js").Record} Record */

export const MAX_TOKEN_SECONDS = 86_400; // of any token
const REGISTER_SECONDS = 3600; // of a token for the app's own requests to a relay
const SPARE_SECONDS = 60; // it is not used for longer than until so shortly before its end
const LABEL_CHARS = 64; // of a key

/** Unix seconds. */
export const now = () => Math.floor(Date.now() / 1000);

/** When a lease ends, or ended. @param {Pick<Lease, "endedAt" | "expiresAt">} lease */
export const endOf = (lease) => lease.endedAt ?? lease.expiresAt;

/**
 * The relay's key: that of its running lease if it has one; or one that was made for it, and served nobody else; or a new one.
 *
 * @param {Kms} kms
 * @param {string} relay
 * @param {CallOptions} call
 * @returns {Promise<{ key: Key, lease?: Lease }>} the lease is one that runs
 */
export async function keyFor(kms, relay, call) {
  const { leases } = await kms.lease.list({}, call);
  const lease = leases.find((each) => each.relay === relay && each.state === "running");
  if (lease) return { key: (await kms.keys.get({ kid: lease.kid }, call)).key, lease };
  const strangers = new Set(leases.filter((each) => each.relay !== relay).map(({ kid }) => kid));
  const label = labelOf(relay);
  for await (const key of keys(kms, call)) {
    if (key.purpose === "vapid" && key.state === "active" && key.label === label && !strangers.has(key.kid)) return { key };
  }
  return { key: (await kms.keys.create({ purpose: "vapid", label }, call)).key };
}

/** @param {string} relay */
const labelOf = (relay) => `push: ${new URL(relay).host}`.slice(0, LABEL_CHARS);

/**
 * @param {Kms} kms
 * @param {CallOptions} call
 * @returns {AsyncGenerator<Key, void>}
 */
async function* keys(kms, call) {
  for (let after; ; ) {
    const page = /** @type {import("./types.d.ts").KeyList} */ (await kms.keys.list({ limit: 500, ...(after && { after }) }, call));
    yield* page.keys;
    if (!(after = page.next)) return;
  }
}

/**
 * The key that takes a key's place: itself while it is active, the last of those that replaced it, or none.
 *
 * @param {Kms} kms
 * @param {string} kid
 * @param {CallOptions} call
 * @returns {Promise<Key | undefined>}
 */
export async function successorOf(kms, kid, call) {
  for (let at = kid; ; ) {
    const { key } = await kms.keys.get({ kid: at }, call);
    if (key.state === "active") return key;
    if (!key.successor) return undefined;
    at = key.successor;
  }
}

/**
 * What the enclave says of a lease.
 *
 * @param {Kms} kms
 * @param {string} id
 * @param {CallOptions} call
 * @returns {Promise<{ lease?: Lease, locked: boolean }>}
 */
export async function lookAt(kms, id, call) {
  try {
    const { leases } = await kms.lease.list({}, call);
    return { lease: leases.find((each) => each.id === id), locked: false };
  } catch (error) {
    if (error instanceof KmsError && error.code === "locked") return { locked: true };
    throw error;
  }
}

/**
 * How long a token may live: as long as it is wanted to, but not beyond its lease. One second at least, so that it is the enclave who says that a lease is over.
 *
 * @param {number} wanted seconds
 * @param {number} leaseUntil
 */
const life = (wanted, leaseUntil) => Math.max(1, Math.min(wanted, leaseUntil - now() - 1));

/**
 * A stash.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<string[]>}
 */
export async function stashFor(kms, { lease, leaseUntil, endpoint, contact, tokenSeconds, stash }, call) {
  const { token, more = [] } = await kms.token.vapid({ lease, endpoint, subject: contact, ttlSeconds: life(tokenSeconds, leaseUntil), count: stash }, call);
  return [token, ...more.map((each) => each.token)];
}

/** Tokens of scope register that are in use, by lease and subscription. In memory only. @type {Map<string, { token: string, exp: number }>} */
const inUse = new Map();

/**
 * A token for the app's own requests. One is used for an hour: each counts in what the user has allowed.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<string>}
 */
export async function registerToken(kms, { lease, leaseUntil, tokenSeconds, id }, call) {
  const name = `${lease} ${id}`;
  const known = inUse.get(name);
  if (known && known.exp > now() + SPARE_SECONDS) return known.token;
  const made = await kms.token.relay({ lease, scope: "register", subscription: id, ttlSeconds: life(Math.min(REGISTER_SECONDS, tokenSeconds), leaseUntil) }, call);
  inUse.set(name, { token: made.token, exp: made.exp });
  return made.token;
}

/** Uses a token no more: its lease is over, or the relay refuses it. @param {Record} record */
export const dropToken = ({ lease, id }) => void inUse.delete(`${lease} ${id}`);

/**
 * What the relay can be told to forget a subscription with, after its lease has ended; nothing if the enclave gives no token any more.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<import("./push-store.js").Farewell | undefined>}
 */
export async function farewellFor(kms, { lease, leaseUntil, tokenSeconds, id }, call) {
  try {
    const { token, exp } = await kms.token.relay({ lease, scope: "register", subscription: id, ttlSeconds: life(tokenSeconds, leaseUntil) }, call);
    return { id, token, exp };
  } catch (error) {
    // Ended, expired, or too many tokens: that keeps nobody from revoking.
    if (error instanceof KmsError && ["denied", "not_found", "quota_exceeded"].includes(error.code)) return undefined;
    throw error;
  }
}
