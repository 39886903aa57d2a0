// How a relay gets another push subscription: after the browser or the push service has ended the one it had, after its key was
// replaced, or after its lease is over. A scope has one subscription at a time, so the old one goes first; what
// fails after that is repaired by another try.

import { KmsError } from "./errors.js";
import * as browser from "./push-browser.js";
import { RelayClient } from "./push-client.js";
import { newId, termsOf } from "./push-grant.js";
import { dropToken, endOf, farewellFor, keyFor, lookAt, now, registerToken, stashFor, successorOf } from "./push-lease.js";
import { finish } from "./push-revoke.js";
import { noticed } from "./push-status.js";
import * as store from "./push-store.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./kms.d.ts").CallOptions} CallOptions */
/** @typedef {import("./types.d.ts").Key} Key */
/** @typedef {import("./types.d.ts").Lease} Lease */
/** @typedef {import("./push-store.js").Record} Record */

/**
 * @param {Kms} kms
 * @param {Record} record
 * @param {{ rotate: boolean }} how
 * @param {CallOptions} call
 * @returns {Promise<Record>}
 */
export async function resubscribe(kms, record, { rotate }, call) {
  const lease = rotate ? undefined : await running(kms, record, call);
  const next = lease ? { ...record, leaseUntil: endOf(lease) } : await another(kms, record, rotate, call);
  const registration = await browser.activeWorker(record);
  await browser.unsubscribe(record.scope);
  const subscription = await browser.subscribe(registration, next.publicKey);
  try {
    const leased = await underLease(kms, next, lease, subscription.endpoint, call);
    return await registered(kms, record, leased, subscription, call);
  } catch (error) {
    // It serves nobody. Should this fail, the next attempt's first step is the same.
    await browser.unsubscribe(record.scope).catch(() => {});
    throw error;
  }
}

/**
 * The record's lease if it runs, as far as can be said: a vault that is locked says nothing, but gives tokens.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<Pick<Lease, "id" | "expiresAt" | "endedAt" | "service"> | undefined>}
 */
async function running(kms, record, call) {
  const { lease, locked } = await lookAt(kms, record.lease, call);
  if (locked && record.leaseUntil > now()) return { id: record.lease, expiresAt: record.leaseUntil, service: new URL(record.endpoint).origin };
  if (locked) throw new KmsError("locked", "the lease is over; for another one the vault must be unlocked first");
  return lease?.state === "running" ? lease : undefined;
}

/**
 * What takes the record's place: with the key while that is active, or the one that replaced it, or a new one. With another key it is another user's to the
 * relay, so it has another id, and the relay is to forget the old one: while the lease runs there is a token for that.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {boolean} rotate
 * @param {CallOptions} call
 * @returns {Promise<Record>}
 */
async function another(kms, record, rotate, call) {
  let key = await successorOf(kms, record.kid, call);
  if (rotate && key?.kid === record.kid) {
    const farewell = await farewellFor(kms, record, call);
    ({ key } = await kms.keys.rotate({ kid: record.kid }, call));
    // The lease ended with the key: what follows may fail, and this is still to be said to the relay.
    if (farewell) record.former = [...record.former, farewell];
    await store.amend(record.scope, { former: record.former, leaseUntil: Math.min(record.leaseUntil, now()) });
  }
  key ??= (await keyFor(kms, record.relay, call)).key;
  if (key.kid === record.kid) return { ...record };
  dropToken(record);
  return { ...record, kid: key.kid, publicKey: key.publicKey.raw, id: newId(), lease: "" };
}

/**
 * The record with a lease that runs and is for this push service: the one that there is, or another, for which the user is asked.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {Pick<Lease, "id" | "expiresAt" | "endedAt" | "service"> | undefined} lease
 * @param {string} endpoint
 * @param {CallOptions} call
 * @returns {Promise<Record>}
 */
async function underLease(kms, record, lease, endpoint, call) {
  const service = new URL(endpoint).origin;
  if (lease && lease.service !== service) {
    throw new KmsError("conflict", `the browser's push service is another one now, ${service}; revoke ${record.relay} and allow it again`);
  }
  const got = lease ?? (await earlier(kms, record, service, call)) ?? (await kms.lease.grant(termsOf(record, record.kid, endpoint), call)).lease;
  return { ...record, endpoint, lease: got.id, leaseUntil: endOf(got) };
}

/**
 * A lease that an attempt before this one got, and did not come to use.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {string} service
 * @param {CallOptions} call
 */
async function earlier(kms, { kid, relay }, service, call) {
  const { leases } = await kms.lease.list({}, call);
  return leases.find((each) => each.kid === kid && each.relay === relay && each.service === service && each.state === "running");
}

/**
 * Registers it, and then lets go of what it replaces.
 *
 * @param {Kms} kms
 * @param {Record} before
 * @param {Record} record
 * @param {PushSubscription} subscription
 * @param {CallOptions} call
 */
async function registered(kms, before, record, subscription, call) {
  const tokens = await stashFor(kms, record, call);
  const token = await registerToken(kms, record, call);
  const began = Date.now();
  const { created, sent } = await new RelayClient(record.relay).register(record.id, token, { subscription: subscription.toJSON(), publicKey: record.publicKey, tokens }, call);
  const anew = record.id !== before.id; // the relay counts from zero, too
  await store.write(record, { anew });
  if (created && !anew) await store.recount(record.scope, (counted) => forgive(counted, sent, began));
  if (record.former.length > 0) await finish(record);
  return record;
}

/**
 * A relay that has lost what it knew counts from zero: what arrived before is not strange for that, nor what was found strange meanwhile.
 *
 * @param {import("./push-store.js").Counted} counted
 * @param {number} sent
 * @param {number} began milliseconds, before the relay was told
 */
function forgive(counted, sent, began) {
  counted.alerts = counted.alerts.filter(({ kind, first }) => kind !== "unexplained" || first < began);
  counted.noted = (counted.noted ?? 0) + Math.max(0, counted.arrived - sent - noticed(counted));
}
