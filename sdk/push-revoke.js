// How a relay's permission ends. The user's yes ends the lease and its key in the enclave: what follows tidies up, and can
// be repeated: the push service drops the subscription, with which every token that is still about is worthless; the relay deletes its record.

import { KmsError, asKmsError } from "./errors.js";
import * as browser from "./push-browser.js";
import { RelayClient } from "./push-client.js";
import { dropToken, farewellFor, lookAt, now } from "./push-lease.js";
import * as store from "./push-store.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./kms.d.ts").CallOptions} CallOptions */
/** @typedef {import("./push.d.ts").Step} Step */
/** @typedef {import("./push-store.js").Record} Record */

/**
 * Asks the user, and ends it all.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<import("./push.d.ts").Revoked>}
 */
export async function revoke(kms, record, call) {
  if (record.state === "revoked") return await finish(record);
  if (await runs(kms, record, call)) record = await asked(kms, record, call);
  return await finish(await ended(record));
}

/**
 * Whether there is something that the user has to be asked to end.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 */
async function runs(kms, record, call) {
  const { lease, locked } = await lookAt(kms, record.lease, call);
  return locked || (lease !== undefined && lease.state !== "ended");
}

/**
 * A token for the relay is asked for first: afterwards nobody gives one. It is kept before the user is asked, so that a page that ends
 * meanwhile does not end with it.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<Record>}
 */
async function asked(kms, record, call) {
  const farewell = await farewellFor(kms, record, call);
  const kept = (await store.amend(record.scope, { farewell })) ?? record;
  try {
    await kms.lease.revoke({ lease: record.lease }, call);
  } catch (error) {
    if (await stillRuns(kms, record)) {
      await store.amend(record.scope, { farewell: undefined });
      throw error;
    }
  }
  return kept;
}

/**
 * Whether the lease runs after an error, as far as can be said. The caller's signal may have fired after the user's yes.
 *
 * @param {Kms} kms
 * @param {Record} record
 */
async function stillRuns(kms, record) {
  try {
    return await runs(kms, record, {});
  } catch {
    return true;
  }
}

/**
 * What a page that ended in the middle has left: if the user's yes came, the rest is done.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @param {CallOptions} call
 * @returns {Promise<Record>}
 */
export async function settled(kms, record, call) {
  if (record.state !== "active" || !record.farewell) return record;
  return (await runs(kms, record, call)) ? record : await ended(record);
}

/**
 * @param {Record} record
 * @returns {Promise<Record>}
 */
async function ended(record) {
  dropToken(record);
  const former = record.farewell ? [...record.former, record.farewell] : record.former;
  /** @type {Partial<Record>} */ const members = { state: "revoked", former, farewell: undefined, leaseUntil: Math.min(record.leaseUntil, now()) };
  return (await store.amend(record.scope, members)) ?? { ...record, ...members };
}

/**
 * Does what is left to do for a record: of one that is revoked everything, of one that is active, former registrations.
 *
 * @param {Record} record
 * @returns {Promise<import("./push.d.ts").Revoked>}
 */
export async function finish(record) {
  const over = record.state === "revoked";
  /** @type {Step[]} */ const left = [];
  const step = async (/** @type {Step["step"]} */ name, /** @type {() => Promise<void>} */ work) => {
    await work().catch((error) => left.push({ step: name, problem: asKmsError(error, "internal", name) }));
  };
  if (over) await step("unsubscribe", () => browser.unsubscribe(record.scope));
  let forgotten = record.former.length > 0 || !over;
  /** @type {import("./push-store.js").Farewell[]} */ const former = [];
  for (const each of record.former) {
    await step("forget", async () => {
      former.push(each);
      if (!(await told(record.relay, each))) forgotten = false;
      former.pop();
    });
  }
  if (over && record.registered && left.some((each) => each.step === "unsubscribe")) left.push({ step: "unregister" }); // with the worker the way to the subscription would go
  else if (over && record.registered) await step("unregister", () => browser.unregister(record.scope));
  if (over && left.length === 0) await store.forget(record.scope);
  else if (former.length !== record.former.length) await store.amend(record.scope, { former });
  return { left, forgotten: forgotten && former.length === 0 };
}

/**
 * Has a relay forget a subscription. False if it will not take the token any more.
 *
 * @param {string} relay
 * @param {import("./push-store.js").Farewell} farewell
 * @returns {Promise<boolean>}
 */
async function told(relay, { id, token, exp }) {
  if (exp <= now()) return false;
  try {
    await new RelayClient(relay).remove(id, token, {});
    return true;
  } catch (error) {
    if (!(error instanceof KmsError) || error.retryable) throw error;
    return error.details.problem === "unknown-subscription";
  }
}
