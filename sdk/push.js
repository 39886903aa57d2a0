// Push for an app that is closed: relays that the user allows to send, by the enclave's leases.
//
//   import { allowRelay, relays } from "./sdk/push.js";
//   const relay = await allowRelay(kms, { relay: "https://relay.example", worker: "/push-worker.js", scope: "/push/relay/", contact: "mailto:push@app.example" });
//   const { url, token } = await relay.sendToken({ ttlSeconds: 3600 });      // for whoever may send
//   await relay.revoke();
//
// Each relay has a key, a push subscription and a service worker's scope of its own, so that ending one ends no other. A relay holds no
// key: it is given tokens that end by themselves. The service worker's side is push-worker.js.

import { KmsError } from "./errors.js";
import * as browser from "./push-browser.js";
import { RelayClient } from "./push-client.js";
import { clear, grant } from "./push-grant.js";
import { endOf, registerToken, stashFor } from "./push-lease.js";
import { demand, planOf } from "./push-plan.js";
import { resubscribe } from "./push-resubscribe.js";
import { finish, revoke, settled } from "./push-revoke.js";
import { statusOf } from "./push-status.js";
import * as store from "./push-store.js";
import { Watch } from "./push-watch.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./kms.d.ts").CallOptions} CallOptions */
/** @typedef {import("./push-store.js").Record} Record */

/**
 * Lets a relay send. See push.d.ts.
 *
 * @type {typeof import("./push.d.ts").allowRelay}
 * @throws {KmsError} with details.step and details.left once something was begun; everything that could be undone without the user is
 */
export async function allowRelay(kms, options, call = {}) {
  const plan = planOf(options);
  browser.demandPush();
  return await browser.alone(plan.scope, async () => new Relay(kms, await grant(kms, plan, call)));
}

/**
 * The relays of this account. See push.d.ts.
 *
 * @type {typeof import("./push.d.ts").relays}
 * @throws {KmsError} `storage_unavailable`
 */
export async function relays(kms) {
  const records = await store.all(kms.release.origin, kms.release.account);
  const active = [];
  for (const record of records) {
    const { state } = record.state === "active" && !record.farewell ? record : await tidied(kms, record);
    if (state === "active") active.push(new Relay(kms, record));
  }
  return active;
}

/**
 * What an earlier page has begun and not ended, ended: unless another is at it.
 *
 * @param {Kms} kms
 * @param {Record} record
 * @returns {Promise<Record>}
 */
async function tidied(kms, record) {
  const work = async () => {
    if (record.state === "begun") await clear(record);
    const now = await settled(kms, record, {});
    if (now.state === "revoked") await finish(now);
    return now;
  };
  return await browser.alone(record.scope, work).catch((error) => {
    if (error instanceof KmsError && error.code === "storage_unavailable") throw error;
    return record;
  });
}

/**
 * The status of a relay of which nothing is left.
 *
 * @param {Record} record as it was
 * @returns {import("./push.d.ts").PushStatus}
 */
function over({ leaseUntil }) {
  const { arrived, unshown, alerts } = store.nothing();
  return Object.freeze({ locked: false, leaseUntil, subscription: "missing", arrivals: Object.freeze({ arrived, unshown, alerts }), advice: [], left: [] });
}

/** @implements {import("./push.d.ts").Relay} */
class Relay {
  #kms;
  #record;

  /**
   * @param {Kms} kms
   * @param {Record} record
   */
  constructor(kms, record) {
    this.#kms = kms;
    this.#record = record;
  }

  get relay() {
    return this.#record.relay;
  }

  get scope() {
    return this.#record.scope;
  }

  get id() {
    return this.#record.id;
  }

  get kid() {
    return this.#record.kid;
  }

  get lease() {
    return this.#record.lease;
  }

  /**
   * As it is stored now: another tab may have changed it.
   *
   * @throws {KmsError} `not_found` if the relay is not allowed any more
   */
  async #fresh() {
    const { record } = await store.read(this.scope);
    if (record?.state !== "active" || record.relay !== this.relay) throw new KmsError("not_found", `${this.relay} is not allowed any more`);
    return (this.#record = record);
  }

  /**
   * @param {{ lease?: boolean } & CallOptions} [options]
   * @throws {KmsError} of lease.renew if asked for; `denied` with reason "lease-expired" or "lease-ended"; of the relay
   */
  async renew({ lease = false, ...call } = {}) {
    let record = await this.#fresh();
    if (lease) {
      const renewed = await this.#kms.lease.renew({ lease: record.lease, lifeSeconds: record.lifeSeconds }, call);
      record = (await store.amend(record.scope, { leaseUntil: endOf(renewed.lease) })) ?? record;
    }
    const tokens = await stashFor(this.#kms, record, call);
    return await new RelayClient(record.relay).stash(record.id, await registerToken(this.#kms, record, call), tokens, call);
  }

  /**
   * @param {{ rotate?: boolean } & CallOptions} [options]
   * @throws {KmsError} of keys.rotate, lease.grant, the browser or the relay; what was done stays, and another call goes on from there
   */
  async resubscribe({ rotate = false, ...call } = {}) {
    await browser.alone(this.scope, async () => {
      this.#record = await resubscribe(this.#kms, await this.#fresh(), { rotate }, call);
    });
  }

  /**
   * @param {{ ttlSeconds: number } & CallOptions} options
   * @returns {Promise<import("./push.d.ts").SendToken>}
   * @throws {KmsError} of token.relay
   */
  async sendToken({ ttlSeconds, ...call }) {
    const { lease, relay, id } = await this.#fresh();
    const { token, exp } = await this.#kms.token.relay({ lease, scope: "send", subscription: id, ttlSeconds }, call);
    return { url: new RelayClient(relay).messages(id), token, exp };
  }

  /**
   * @param {CallOptions} [call]
   * @throws {KmsError} `storage_unavailable`, or `storage_full`
   */
  async status(call = {}) {
    const { record } = await store.read(this.scope);
    if (!record || record.relay !== this.relay) return over(this.#record);
    return await statusOf(this.#kms, await settled(this.#kms, record, call), call);
  }

  async noteAlerts() {
    await store.recount(this.scope, (counted) => {
      counted.noted = (counted.noted ?? 0) + (counted.alerts.find(({ kind }) => kind === "unexplained")?.times ?? 0);
      counted.alerts = [];
    });
  }

  /**
   * @param {(event: import("./push.d.ts").PushEvent) => void} listener
   * @param {{ signal?: AbortSignal }} [options]
   */
  watch(listener, { signal } = {}) {
    demand("listener", typeof listener === "function", "a function wanted");
    const watch = new Watch(this.#kms, this.scope, listener, () => this.renew());
    watch.start(signal);
    return { stop: () => watch.stop() };
  }

  /**
   * @param {CallOptions} [call]
   * @throws {KmsError} of lease.revoke: then nothing has happened, unless it says that the outcome is not known
   */
  async revoke(call = {}) {
    return await browser.alone(this.scope, async () => {
      const { record } = await store.read(this.scope);
      if (!record || record.relay !== this.relay || record.state === "begun") return { left: [], forgotten: true };
      return await revoke(this.#kms, record, call);
    });
  }
}
