// How a relay comes to be allowed: a key, a service worker, a subscription, the user's yes, and a
// registration at the relay, in this order. Whatever fails, what was made before is undone, except for what only
// another dialog could undo: the key, and the lease once the user has said yes. Those are said in the error, and taken by the next attempt.

import { encodeBytes } from "./bytes.js";
import { KmsError, asKmsError } from "./errors.js";
import * as browser from "./push-browser.js";
import { RelayClient } from "./push-client.js";
import { endOf, keyFor, registerToken, stashFor } from "./push-lease.js";
import { finish } from "./push-revoke.js";
import * as store from "./push-store.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./kms.d.ts").CallOptions} CallOptions */
/** @typedef {import("./types.d.ts").Key} Key */
/** @typedef {import("./types.d.ts").Lease} Lease */
/** @typedef {import("./push-plan.js").Plan} Plan */
/** @typedef {import("./push-store.js").Record} Record */

const ID_BYTES = 16;

/** An id for a subscription at a relay. */
export const newId = () => encodeBytes(crypto.getRandomValues(new Uint8Array(ID_BYTES)));

/**
 * Does all of it; the scope is this call's alone (browser.alone).
 *
 * @param {Kms} kms
 * @param {Plan} plan
 * @param {CallOptions} call
 * @returns {Promise<Record>}
 * @throws {KmsError} with details.step and details.left
 */
export async function grant(kms, plan, call) {
  const attempt = new Attempt(kms, plan, call);
  try {
    return await attempt.run();
  } catch (error) {
    throw await attempt.undone(asKmsError(error, "internal", attempt.step));
  }
}

class Attempt {
  step = "record";
  #kms;
  #plan;
  #call;
  /** @type {Record | undefined} written */ #record;
  /** @type {Set<string>} */ #left = new Set();
  /** @type {Lease | undefined} */ #lease;

  /**
   * @param {Kms} kms
   * @param {Plan} plan
   * @param {CallOptions} call
   */
  constructor(kms, plan, call) {
    this.#kms = kms;
    this.#plan = plan;
    this.#call = call;
  }

  async run() {
    const [kms, plan, call] = [this.#kms, this.#plan, this.#call];
    await vacant(kms, plan);
    const client = new RelayClient(plan.relay);
    this.step = "relay";
    await client.reach(call); // before anybody is asked
    this.step = "key";
    const { key, lease: running } = await keyFor(kms, plan.relay, call);
    this.#left.add("key");
    this.#lease = running;
    if (running) demandTerms(running, plan);
    const record = await this.#begin(key);
    this.step = "worker";
    const registration = await browser.activeWorker(plan);
    this.step = "subscription";
    const subscription = await browser.subscribe(registration, record.publicKey);
    this.step = "contact";
    await kms.token.vapid({ kid: key.kid, endpoint: subscription.endpoint, subject: plan.contact, ttlSeconds: 1 }, call); // signed for nobody: it says now what stands against contact and endpoint
    this.step = "lease";
    const lease = running ?? (await kms.lease.grant(termsOf(plan, key.kid, subscription.endpoint), call)).lease;
    this.#lease = lease;
    demandService(lease, subscription.endpoint);
    Object.assign(record, { endpoint: subscription.endpoint, lease: lease.id, leaseUntil: endOf(lease), perHour: lease.perHour, perDay: lease.perDay });
    await this.#register(client, record, subscription);
    this.step = "record";
    const active = /** @type {Record} */ ({ ...record, state: "active" });
    await store.write(active, { anew: true });
    return active;
  }

  /** @param {Key} key */
  async #begin({ kid, publicKey: { raw } }) {
    this.step = "record";
    const registered = !(await browser.registrationOf(this.#plan.scope));
    const { origin: enclave, account } = this.#kms.release;
    /** @type {Record} */ const record = {
      ...this.#plan, perHour: this.#plan.perHour ?? 0, perDay: this.#plan.perDay ?? 0, state: "begun", enclave, account, registered, id: newId(), kid, publicKey: raw, endpoint: "", lease: "", leaseUntil: 0, former: [],
    };
    await store.write(record, { anew: true });
    this.#record = record;
    return record;
  }

  /**
   * @param {RelayClient} client
   * @param {Record} record
   * @param {PushSubscription} subscription
   */
  async #register(client, record, subscription) {
    this.step = "tokens";
    const tokens = await stashFor(this.#kms, record, this.#call);
    const token = await registerToken(this.#kms, record, this.#call);
    this.step = "register";
    await client.register(record.id, token, { subscription: subscription.toJSON(), publicKey: record.publicKey, tokens }, this.#call);
  }

  /**
   * Undoes what was made, and says what is left.
   *
   * @param {KmsError} error
   * @returns {Promise<KmsError>}
   */
  async undone(error) {
    const foreign = error.code === "exists" && error.details.reason === "scope"; // a subscription that was there before is not ours to give up
    if (this.#record && !(await clear(this.#record, { keep: foreign }))) this.#left.add("subscription");
    if (this.#lease) this.#left.add("lease");
    const lease = this.#lease && { lease: this.#lease.id };
    const details = { ...error.details, ...lease, step: this.step, left: [...this.#left] };
    return new KmsError(error.code, error.message, { retryable: error.retryable, details, cause: error });
  }
}

/**
 * What lease.grant is asked for.
 *
 * @param {Pick<Plan, "relay" | "lifeSeconds" | "tokenSeconds" | "perHour" | "perDay">} plan
 * @param {string} kid
 * @param {string} endpoint
 * @returns {import("./types.d.ts").GrantLeaseParams}
 */
export function termsOf({ relay, lifeSeconds, tokenSeconds, perHour, perDay }, kid, endpoint) {
  return { kid, relay, endpoint, lifeSeconds, tokenSeconds, ...(perHour && { perHour }), ...(perDay && { perDay }) };
}

/**
 * A lease that runs is taken if it is what the user would be asked for now.
 *
 * @param {Lease} lease
 * @param {Plan} plan
 */
function demandTerms(lease, plan) {
  const same = lease.tokenSeconds === plan.tokenSeconds && (plan.perHour ?? lease.perHour) === lease.perHour && (plan.perDay ?? lease.perDay) === lease.perDay;
  if (!same) throw otherLease(lease, "other terms");
}

/**
 * @param {Lease} lease
 * @param {string} endpoint
 */
export function demandService(lease, endpoint) {
  if (lease.service !== new URL(endpoint).origin) throw otherLease(lease, "another push service");
}

/**
 * @param {Lease} lease
 * @param {string} what
 */
function otherLease({ id, relay }, what) {
  return new KmsError("exists", `${relay} has a lease with ${what}; lease.revoke ends it`, { details: { reason: "lease", lease: id } });
}

/**
 * Makes sure that the scope serves nobody, and that the relay is not allowed at another one. What earlier attempts have left is cleared away.
 *
 * @param {Kms} kms
 * @param {Plan} plan
 */
async function vacant(kms, plan) {
  const { record } = await store.read(plan.scope);
  if (record?.state === "begun") await clear(record);
  if (record?.state === "revoked" && (await finish(record)).left.length > 0) {
    throw new KmsError("busy", `${plan.scope} still has what was allowed to ${record.relay}; try again later, or take another scope`, { retryable: true });
  }
  const taken = record?.state === "active" && (record.relay !== plan.relay || record.enclave !== kms.release.origin || record.account !== kms.release.account);
  if (taken) throw new KmsError("exists", `${plan.scope} serves ${record.relay}; each relay takes a scope of its own`, { details: { reason: "scope" } });
  const mine = await store.all(kms.release.origin, kms.release.account);
  const there = mine.find((each) => each.state === "active" && each.relay === plan.relay);
  if (there) throw new KmsError("exists", `${plan.relay} is allowed already, at ${there.scope}; relays gives it`, { details: { reason: "relay" } });
}

/**
 * Clears away what was begun. The record stays if that does not succeed, and with it the memory of it.
 *
 * @param {Record} record
 * @param {{ keep?: boolean }} [options] keep: the subscription is not of our making
 * @returns {Promise<boolean>}
 */
export async function clear({ scope, registered }, { keep = false } = {}) {
  try {
    if (!keep) await browser.unsubscribe(scope);
    if (registered) await browser.unregister(scope);
    await store.forget(scope);
    return true;
  } catch {
    return false;
  }
}
