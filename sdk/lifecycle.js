// One connection: a session, its replacement if the worker dies, and what the SDK adds to some calls.
//
// The worker is restarted once, with a new frame and a new handshake. A second death ends the
// connection: something is wrong with it that restarting does not mend.

import { Channel } from "./channel.js";
import { KmsError, asKmsError } from "./errors.js";
import { Events } from "./events.js";
import { Heartbeat } from "./heartbeat.js";
import { launch } from "./launch.js";
import { METHODS } from "./methods.js";
import { sameBytes } from "./share.js";

/** The enclave ends a dialog after ten minutes; one that stays longer no longer stops the clocks. */
const DIALOG_MS = 10 * 60_000 + 10_000;

/** What is not in the table is left to the enclave, which may be newer. */
const UNKNOWN = Object.freeze({ repeatable: false, dialog: false });

/** @typedef {Omit<import("./launch.js").Plan, "held"> & { store: import("./share.js").ShareStore }} Plan */

export class Connection {
  #plan;
  /** @readonly */ events = new Events();
  #channel = new Channel(undefined, () => this.#heart.watch());
  #heart = new Heartbeat({
    ping: (id) => this.#session?.ping(id),
    needed: () => this.#session !== undefined && this.#channel.pending > 0,
    lost: () => void this.#died("the enclave's worker does not answer any more"),
  });
  /** @type {import("./session.js").Session | undefined} */ #session;
  /** @type {import("./share.js").Held | undefined} */ #held;
  /** @type {import("./kms.d.ts").Launch | undefined} */ #report;
  /** @type {Promise<void> | undefined} */ #switching;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #dialogTimer;
  #deaths = 0;
  #ended = false;
  #sessionVault = false; // whether this worker holds a vault with persistence "session", which no share or marker is about

  /** @param {Plan} plan */
  constructor(plan) {
    this.#plan = plan;
  }

  /** How the present worker was launched. */
  get report() {
    return /** @type {import("./kms.d.ts").Launch} */ (this.#report);
  }

  /**
   * Launches a worker and lets it have what waits.
   *
   * @returns {Promise<void>}
   * @throws {KmsError} as `launch`
   */
  async open() {
    const { session, held, report } = await launch(
      { ...this.#plan, held: () => this.#plan.store.obtain() },
      {
        message: (text) => void this.#message(text),
        dialog: (open) => this.#dialog(open),
        pong: (id) => this.#heart.pong(id),
        died: (message) => void this.#died(message),
      },
    );
    if (this.#ended) return session.dispose();
    this.#session = session;
    this.#held = held;
    this.#report = report;
    this.#channel.attach((text) => session.post(text));
  }

  /**
   * Calls a method.
   *
   * @param {string} method
   * @param {unknown} params
   * @param {import("./kms.d.ts").CallOptions} [options]
   * @returns {Promise<unknown>}
   * @throws {KmsError}
   */
  async call(method, params, { signal, timeoutMs = this.#plan.timeoutMs } = {}) {
    checkCall(method, timeoutMs);
    const row = Object.hasOwn(METHODS, method) ? METHODS[/** @type {keyof typeof METHODS} */ (method)] : UNKNOWN;
    const succeeded = await this.#around(method, params);
    return await this.#channel.call(method, params, { ...row, signal, timeoutMs, succeeded });
  }

  /** Ends the worker; nothing can be called any more. */
  close() {
    this.#end(new KmsError("interrupted", "the app closed this connection"));
  }

  /**
   * What the SDK does before a call, and after it has succeeded.
   *
   * @param {string} method
   * @param {unknown} params
   * @returns {Promise<((result: unknown) => Promise<void> | void) | undefined>}
   */
  async #around(method, params) {
    if (this.#ended) return undefined;
    if (method === "vault.create") {
      if (persistenceOf(params) === "device" && !this.#sessionVault) await this.#rightShare();
      return (status) => this.#created(status);
    }
    if (method === "vault.status") return (status) => this.#seen(status);
    if (method !== "vault.destroy") return undefined;
    const revision = await this.#plan.store.revision();
    return () => this.#destroyed(revision);
  }

  /**
   * A vault is about to be made on this device. Another tab may have replaced the share that this
   * worker was launched with: then it is launched again, with the stored one.
   *
   * @returns {Promise<void>}
   */
  async #rightShare() {
    const { share } = await this.#plan.store.obtain();
    if (this.#held && sameBytes(share, this.#held.share)) return;
    this.#switching ??= this.#relaunch().finally(() => (this.#switching = undefined));
    await this.#switching;
  }

  async #relaunch() {
    const before = this.#session;
    await this.#channel.drain();
    // If the worker died meanwhile, its successor gets the stored share anyway.
    if (!before || this.#session !== before) return;
    this.#leave();
    try {
      await this.open();
    } catch (error) {
      const reason = asKmsError(error, "launch_refused", "the enclave could not be launched again");
      this.#end(reason);
      throw reason;
    }
  }

  /** @param {unknown} status */
  async #created(status) {
    this.#sessionVault = persistenceOf(status) === "session";
    if (this.#sessionVault || !this.#held) return;
    await this.#plan.store.mark(this.#held.share);
    this.#held.marker = true;
  }

  /** @param {unknown} status */
  async #seen(status) {
    const { state } = /** @type {{ state?: string }} */ (status ?? {});
    const there = state === "unlocked" || state === "locked";
    if (!there || persistenceOf(status) !== "device" || !this.#held || this.#held.marker) return;
    await this.#plan.store.heal(this.#held.share);
    this.#held.marker = true;
  }

  /** @param {number} revision of the record when the user was asked */
  async #destroyed(revision) {
    const ofDevice = !this.#sessionVault;
    this.#sessionVault = false;
    if (!ofDevice) return;
    await this.#plan.store.forget(revision);
    if (this.#held) this.#held.marker = false;
  }

  /** @param {string} text */
  async #message(text) {
    const message = parse(text);
    if (typeof message.event === "string") this.events.emit(message.event, message.data);
    else await this.#channel.receive(message);
  }

  /** @param {boolean} open */
  #dialog(open) {
    clearTimeout(this.#dialogTimer);
    if (open) this.#dialogTimer = setTimeout(() => this.#dialog(false), DIALOG_MS);
    this.#channel.pause(open);
    this.#session?.show(open);
  }

  /** @param {string} message */
  async #died(message) {
    if (!this.#session || this.#ended) return;
    this.#leave();
    this.#channel.detach(message);
    this.#deaths += 1;
    if (this.#deaths > 1) return this.#end(new KmsError("interrupted", `${message}, for the second time; connect again`));
    try {
      await this.open();
    } catch (error) {
      this.#end(asKmsError(error, "launch_refused", "the enclave could not be restarted"));
    }
  }

  /** Drops the session. What it had in memory only is gone. */
  #leave() {
    this.#dialog(false);
    this.#heart.stop();
    this.#session?.dispose();
    this.#session = undefined;
    this.#sessionVault = false;
  }

  /** @param {KmsError} error */
  #end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#leave();
    this.#channel.close(error);
    this.events.emit("closed", { code: error.code, reason: error.message });
  }
}

/** @param {unknown} value with or without a persistence */
function persistenceOf(value) {
  return /** @type {{ persistence?: unknown } | null | undefined} */ (value)?.persistence;
}

/**
 * @param {unknown} method
 * @param {unknown} timeoutMs
 */
function checkCall(method, timeoutMs) {
  if (typeof method !== "string") throw new KmsError("invalid_request", "method: a string wanted", { details: { member: "method" } });
  if (!isTimeout(timeoutMs)) throw new KmsError("invalid_request", "timeoutMs: a number of milliseconds from 1 to 2147483647 wanted", { details: { member: "timeoutMs" } });
}

/**
 * @param {unknown} value
 * @returns {value is number} what setTimeout can count
 */
export function isTimeout(value) {
  return typeof value === "number" && value >= 1 && value <= 2 ** 31 - 1;
}

/**
 * @param {string} text
 * @returns {any} an empty object if it is not JSON, which no reply of ours is
 */
function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
