// What is true of a relay: the enclave, the relay and the service worker are asked, and what they say is compared.

import { asKmsError } from "./errors.js";
import * as browser from "./push-browser.js";
import { RelayClient, sleep } from "./push-client.js";
import { endOf, lookAt, now, registerToken } from "./push-lease.js";
import { finish } from "./push-revoke.js";
import * as store from "./push-store.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./kms.d.ts").CallOptions} CallOptions */
/** @typedef {import("./types.d.ts").Lease} Lease */
/** @typedef {import("./push.d.ts").PushStatus} PushStatus */
/** @typedef {import("./push.d.ts").RelayState} RelayState */
/** @typedef {import("./push-store.js").Record} Record */
/** @typedef {import("./push-store.js").Counted} Counted */

// A push can arrive before its receipt is written: the relay hears of it from the push service a moment later.
const RECEIPT_WAITS_MS = [500, 1500, 3000];
const LOW_SHARE = 4; // what has less than a quarter of its life left runs low

/**
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<PushStatus>}
 */
export async function statusOf(kms, record, call) {
  const { left } = record.state === "revoked" || record.former.length > 0 ? await finish(record) : { left: [] };
  const { lease, locked, leaseUntil } = await leaseOf(kms, record, call);
  const subscription = await subscriptionOf(record).catch(() => /** @type {const} */ ("missing"));
  const asked = record.state === "active" ? await compared(kms, { ...record, leaseUntil }, call) : {};
  const { counted } = await store.read(record.scope);
  const { arrived, unshown, last, alerts } = counted;
  const found = { lease, locked, leaseUntil, subscription, ...asked };
  return Object.freeze({ ...found, arrivals: Object.freeze({ arrived, unshown, last, alerts }), advice: record.state === "active" ? advice(record, found) : [], left });
}

/**
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 */
async function leaseOf(kms, record, call) {
  const said = await lookAt(kms, record.lease, call).catch(() => ({ lease: undefined, locked: false }));
  const leaseUntil = said.lease ? endOf(said.lease) : record.leaseUntil;
  if (leaseUntil !== record.leaseUntil) await store.amend(record.scope, { leaseUntil }); // the service worker goes by it
  return { ...said, leaseUntil };
}

/**
 * @param {Record} record
 * @returns {Promise<PushStatus["subscription"]>}
 */
async function subscriptionOf({ scope, endpoint }) {
  const subscription = await (await browser.registrationOf(scope))?.pushManager.getSubscription();
  if (!subscription) return "missing";
  return subscription.endpoint === endpoint ? "live" : "changed";
}

/**
 * Asks the relay, and whether its receipts explain what has arrived.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<Pick<PushStatus, "relay" | "problem" | "unexplained" | "outstanding">>}
 */
async function compared(kms, record, call) {
  try {
    const client = new RelayClient(record.relay);
    const token = await registerToken(kms, record, call);
    // Counted before the relay is asked: what comes meanwhile is in neither number, or explained.
    const { counted } = await store.read(record.scope);
    const { arrived } = counted;
    let relay = await client.state(record.id, token, call);
    for (const wait of RECEIPT_WAITS_MS) {
      if (arrived - relay.sent <= noticed(counted)) break; // nothing new to be explained
      await sleep(wait, call.signal);
      relay = await client.state(record.id, token, call);
    }
    const unexplained = Math.max(0, arrived - relay.sent);
    if (unexplained > 0) await store.recount(record.scope, (counted) => notice(counted, unexplained));
    return { relay, unexplained, outstanding: Math.max(0, relay.sent - arrived) };
  } catch (error) {
    return { problem: asKmsError(error, "internal", "the relay was not asked") };
  }
}

/**
 * How many unexplained pushes the user was told of, or is being told of.
 *
 * @param {Counted} counted
 */
export const noticed = ({ noted = 0, alerts }) => noted + (alerts.find(({ kind }) => kind === "unexplained")?.times ?? 0);

/**
 * Notes how many there are, once: those that the user has seen are taken off.
 *
 * @param {Counted} counted
 * @param {number} unexplained
 */
function notice(counted, unexplained) {
  if (unexplained <= noticed(counted)) return;
  const times = unexplained - (counted.noted ?? 0);
  const before = counted.alerts.find(({ kind }) => kind === "unexplained");
  const at = Date.now();
  if (before) Object.assign(before, { last: at, times });
  else counted.alerts.push({ kind: "unexplained", first: at, last: at, times });
}

/**
 * What would make it whole.
 *
 * @param {Record} record
 * @param {Pick<PushStatus, "lease" | "leaseUntil" | "subscription" | "relay">} found
 * @returns {PushStatus["advice"]}
 */
function advice({ tokenSeconds, lifeSeconds }, { lease, leaseUntil, subscription, relay }) {
  const left = leaseUntil - now();
  if (left <= 0 || subscription !== "live" || relay?.state === "gone") return ["resubscribe"];
  /** @type {PushStatus["advice"][number][]} */ const all = [];
  if (relay && isLow(relay.tokens, { tokenSeconds, leaseUntil })) all.push("renew");
  if (left < lifeSeconds / LOW_SHARE && lease && lease.until > lease.expiresAt) all.push("renew-lease");
  return all;
}

/**
 * Whether a stash should be replaced: it is used up, or near its end while the lease has more to give. Relays call a stash that ends within an
 * hour low, which is all the life that a token may have; so this is not theirs to say.
 *
 * @param {RelayState["tokens"]} tokens
 * @param {Pick<Record, "tokenSeconds" | "leaseUntil">} terms
 */
export function isLow({ left, until }, { tokenSeconds, leaseUntil }) {
  const best = Math.min(now() + tokenSeconds, leaseUntil);
  const low = left < 2 || until - now() < tokenSeconds / LOW_SHARE;
  return low && (left < 2 || best - until > tokenSeconds / LOW_SHARE);
}
