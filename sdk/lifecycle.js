// One connection: a session, its replacement if the worker dies, and what the SDK adds to some calls.
//
// The worker is restarted once, with a new frame and a new handshake. A second death ends the
// connection: something is wrong with it that restarting does not mend. A page that is left takes its worker
// with it, so that no unlocked vault outlives it; shown again, it gets another one. Other tabs make and destroy
// the same vault; where that leaves this worker with another share or marker than the stored ones,
// it is launched again with those. Neither is a death.

import { AGAIN, Channel, browserClock } from "./channel.js";
import { KmsError, asKmsError } from "./errors.js";
import { Events } from "./events.js";
import { Heartbeat } from "./heartbeat.js";
import { launch } from "./launch.js";
import { METHODS } from "./methods.js";
import { Mirror } from "./mirror.js";
import { LEFT } from "./session.js";
import { Witness, lineageOf, persistenceOf } from "./witness.js";

/** The enclave ends a dialog after ten minutes; one that stays longer no longer stops the clocks. */
const DIALOG_MS = 10 * 60_000 + 10_000;

/** What is not in the table is left to the enclave, which may be newer. */
const UNKNOWN = Object.freeze({ repeatable: false, dialog: false });

/** Another tab may replace the share while this one is launched with it, but not for ever. */
const RELAUNCHES = 3;

/** @typedef {Omit<import("./launch.js").Plan, "held"> & { store: import("./share.js").ShareStore, mirror?: import("./mirror.js").MirrorStore }} Plan */

/** After these the vault's lineage is another one, and a status says which. */
const CHANGES = new Set(["keys.rotate", "keys.revoke", "slots.remove", "slots.change", "recovery.enable"]);

/** These add nothing to the audit log. */
const UNLOGGED = /^(audit|enclave)\.|^vault\.status$|^keys\.(list|get)$|^challenge\.verify$|^mirror\.(changes|records|offer)$/;

/** So long after a launch, or a call that changes something, the mirror is brought up to date; and so long another tab has to tell what this one misses. */
const MIRROR_MS = 500;

/** What surrounds a call: see CallOptions in channel.js. @typedef {Pick<import("./channel.js").CallOptions, "prepare" | "succeeded" | "undone">} Around */

export class Connection {
  #plan;
  #launch;
  #clock;
  /** @readonly */ events = new Events();
  #channel;
  #heart;
  /** @type {import("./session.js").Session | undefined} */ #session;
  /** @type {import("./share.js").Held | undefined} */ #held;
  /** @type {import("./kms.d.ts").Launch | undefined} */ #report;
  /** @type {Promise<void> | undefined} */ #opening;
  /** @type {Promise<void> | undefined} */ #switching;
  /** @type {unknown} */ #dialogTimer;
  /** Keeps the vault's records for the app; nothing if the plan has no place for them. @type {Mirror | undefined} */ #mirror;
  /** @type {unknown} */ #mirrorTimer;
  #following = false; // whether the mirror is being brought up to date
  #followAgain = false; // whether something was done meanwhile
  #missed = 0; // how often it could not be
  #deaths = 0;
  #ended = false;
  /** Holds what the enclave shows against what was seen here. */ #witness;
  #sessionVault = false; // whether this worker holds a vault with persistence "session", which no share or marker is about

  /**
   * @param {Plan} plan
   * @param {{ launch?: typeof launch, clock?: import("./channel.js").Clock }} [outside] tests bring their own
   */
  constructor(plan, outside = {}) {
    this.#plan = plan;
    this.#launch = outside.launch ?? launch;
    this.#clock = outside.clock ?? browserClock;
    this.#mirror = plan.mirror && new Mirror(plan.mirror, (method, params) => this.call(method, params));
    this.#witness = new Witness(plan.store, this.#clock, {
      call: (method, params) => this.call(method, params),
      held: () => this.#held,
      onDevice: () => this.#session !== undefined && !this.#sessionVault,
      ended: () => this.#ended,
      alert: (data) => this.events.emit("alert", data),
    });
    this.#channel = new Channel(this.#clock, () => this.#heart.watch());
    this.#heart = new Heartbeat(
      {
        ping: (id) => this.#session?.ping(id),
        needed: () => this.#session !== undefined && this.#channel.pending > 0,
        lost: () => void this.#died("the enclave's worker does not answer any more"),
      },
      this.#clock,
    );
  }

  /** How the present worker was launched; only after `open`. */
  get report() {
    return /** @type {import("./kms.d.ts").Launch} */ (this.#report);
  }

  /**
   * Launches a worker and lets it have what waits. Takes at most the plan's timeoutMs.
   *
   * @returns {Promise<void>}
   * @throws {KmsError} as `launch`
   */
  open() {
    this.#opening = this.#open();
    return this.#opening;
  }

  async #open() {
    const { session, held, report } = await this.#launch(
      { ...this.#plan, held: () => this.#plan.store.obtain() },
      {
        message: (text) => void this.#message(text),
        dialog: (open) => this.#dialog(open),
        pong: (id) => this.#heart.pong(id),
        left: () => void this.#left(),
        died: (message) => void this.#died(message),
      },
    );
    if (this.#ended) return session.dispose();
    this.#session = session;
    this.#held = held;
    this.#report = report;
    this.#channel.attach((text) => session.post(text));
    this.#missed = 0;
    this.#witness.lookAtLog();
    this.#mirrorSoon();
  }

  /**
   * Calls a method.
   *
   * timeoutMs is one budget in milliseconds (1 to 2^31-1; the plan's if there is none) for everything that
   * machines do for this call: what the SDK does before it is posted (storage, a new launch), the
   * enclave's own work, repetitions, and what the SDK does after the reply. Time in the queue and time
   * with a dialog open do not count. signal ends it at any time: `cancelled` if the enclave has not begun,
   * what the enclave answers if it has, and if it has answered, that answer.
   *
   * @param {string} method
   * @param {unknown} params an object for JSON text of at most 1 MiB
   * @param {import("./kms.d.ts").CallOptions} [options]
   * @returns {Promise<unknown>}
   * @throws {KmsError} `invalid_request`, `cancelled`, `timeout`; `interrupted` if the worker ended or the connection is closed; what
   *   the enclave answers; `storage_unavailable`, `storage_full` or `integrity` of the app's own storage
   */
  async call(method, params, options = {}) {
    const { signal, timeoutMs = this.#plan.timeoutMs } = checkOptions(options);
    checkCall(method, timeoutMs);
    const row = Object.hasOwn(METHODS, method) ? METHODS[/** @type {keyof typeof METHODS} */ (method)] : UNKNOWN;
    const result = await this.#channel.call(method, params, { ...row, signal, timeoutMs, ...this.#around(method, params) });
    if (!UNLOGGED.test(method)) {
      this.#witness.lookAtLog();
      this.#mirrorSoon();
    }
    return result;
  }

  /** Ends the worker; nothing can be called any more: what is pending and every further call rejects with `interrupted`. */
  close() {
    this.#end(new KmsError("interrupted", "the app closed this connection"));
  }

  /**
   * What the SDK does before and after a call.
   *
   * @param {string} method
   * @param {unknown} params
   * @returns {Around}
   */
  #around(method, params) {
    if (method === "vault.status") return { succeeded: (status) => this.#seen(status) };
    if (method === "vault.destroy") return this.#aroundDestroy();
    if (method === "vault.create" || method === "backup.restore" || method === "mirror.restore") return this.#aroundCreation(method, params);
    if (method === "vault.unlock" || method === "slots.manage") return { succeeded: (status) => this.#witness.note(status) };
    return CHANGES.has(method) ? { succeeded: () => this.#look() } : {};
  }

  /**
   * A new vault, or one that comes back. A restore is told what was last seen of the vault that was here,
   * so that an older file does not pass for the newest, unless the app says itself what it knows.
   *
   * @param {string} method
   * @param {unknown} params
   * @returns {Around}
   */
  #aroundCreation(method, params) {
    const restored = method !== "vault.create";
    const device = (persistenceOf(params) ?? (restored ? "device" : undefined)) === "device";
    const mirrored = method === "mirror.restore";
    const around = device ? this.#aroundDevice(mirrored) : { succeeded: (/** @type {unknown} */ status) => this.#created(status) };
    if (!restored) return around;
    return {
      ...around,
      prepare: async () => {
        await around.prepare?.();
        if (mirrored) await this.#mirror?.offer();
        return await this.#withSeen(params, mirrored);
      },
    };
  }

  /**
   * @param {unknown} params
   * @param {boolean} logToo whether what was seen of the log is wanted, too
   */
  async #withSeen(params, logToo) {
    const given = /** @type {{ seen?: unknown, since?: unknown }} */ (params ?? {});
    if (typeof given !== "object") return;
    const { lineage, log } = await this.#plan.store.read();
    return { ...(lineage && { seen: lineage }), ...(logToo && log && { since: log.since }), ...given };
  }

  /**
   * @param {boolean} mirrored whether the vault is the one that is mirrored
   * @returns {Around}
   */
  #aroundDevice(mirrored) {
    const { store } = this.#plan;
    let begun = false;
    return {
      prepare: async () => {
        if (this.#sessionVault) return;
        await this.#matching(async () => {
          const held = begun ? await store.obtain() : await store.begin();
          begun = true;
          return held;
        }, "share and marker");
      },
      succeeded: async (status) => {
        await this.#created(status);
        if (!mirrored) this.#forgetMirror();
      },
      // If this fails, the creation counts as open: see share.js.
      undone: () => void (begun && store.end().catch(() => {})),
    };
  }

  /** @returns {Around} */
  #aroundDestroy() {
    const { store } = this.#plan;
    /** @type {import("./share.js").Stored | undefined} */ let asked;
    return {
      prepare: async () => {
        // What the user is shown must be the vault that is there, not this worker's idea of it.
        if (!this.#sessionVault) await this.#matching(() => store.obtain(), "share");
        asked = await store.read();
      },
      succeeded: () => this.#destroyed(asked),
    };
  }

  /**
   * Launches the worker again until it has what is stored. A vault must not be made by one that does
   * not know the marker: it would take loss for a fresh start, or a fresh start for loss.
   *
   * @param {() => Promise<import("./share.js").Held>} stored
   * @param {"share" | "share and marker"} what
   * @returns {Promise<void>}
   * @throws {KmsError} `conflict` if other tabs change them all the time; as `open`
   */
  async #matching(stored, what) {
    for (let launches = 0; !this.#ended; launches += 1) {
      const { share, marker } = await stored();
      if (this.#held && sameBytes(this.#held.share, share) && (what === "share" || this.#held.marker === marker)) return;
      if (launches === RELAUNCHES) throw new KmsError("conflict", "other tabs make and destroy this vault all the time, nothing was done; try again", { retryable: true });
      await this.#switch();
    }
  }

  /** @returns {Promise<void>} */
  #switch() {
    this.#switching ??= this.#relaunch().finally(() => (this.#switching = undefined));
    return this.#switching;
  }

  async #relaunch() {
    const before = this.#session;
    await this.#channel.drain(this.#plan.timeoutMs);
    // If the worker died meanwhile, its successor gets the stored share anyway.
    if (!before || this.#session !== before) return await this.#opening;
    this.#leave();
    this.#channel.detach("the enclave did not come to an end, and was started again");
    try {
      await this.#reopen();
    } catch (error) {
      const reason = asKmsError(error, "launch_refused", "the enclave could not be launched again");
      this.#end(reason);
      throw reason;
    }
  }

  /** @param {unknown} status */
  async #created(status) {
    this.#sessionVault = persistenceOf(status) === "session";
    const held = this.#held;
    if (this.#sessionVault || !held) return;
    const lineage = lineageOf(status);
    const { marker, revision } = await this.#plan.store.mark(held.share, lineage);
    Object.assign(held, { marker, revision });
    this.#witness.stored(lineage);
  }

  /**
   * A status that speaks of loss or of nothing may only mean that another tab destroyed or made the
   * vault: then it is asked for again, by a worker that knows.
   *
   * @param {unknown} status
   * @returns {Promise<typeof AGAIN | void>}
   */
  async #seen(status) {
    const { state, reason } = /** @type {{ state?: string, reason?: string }} */ (status ?? {});
    const held = this.#held;
    if (!held) return;
    if (state === "lost" || state === "absent") {
      const stored = await this.#plan.store.read();
      const known = state === "absent" ? !stored.marker : reason === "share-missing" ? this.#plan.store.holds(stored, held.share) : stored.marker;
      if (known) return;
      await this.#switch();
      return AGAIN;
    }
    if (persistenceOf(status) !== "device") return;
    if (!held.marker) await this.#plan.store.heal(held);
    held.marker = true;
    this.#witness.note(status);
  }

  /** Asks which state the vault is in, for the memory only. */
  #look() {
    if (!this.#ended) void this.call("vault.status", {}).catch(() => {});
  }

  /** @param {import("./share.js").Stored | undefined} asked the record before the user was asked */
  async #destroyed(asked) {
    const ofDevice = !this.#sessionVault;
    this.#sessionVault = false;
    if (!ofDevice || !asked) return;
    const held = this.#held;
    this.#witness.stored(undefined);
    const { marker, revision } = await this.#plan.store.forget(asked);
    if (held) Object.assign(held, { marker, revision });
    if (!marker) this.#forgetMirror();
  }

  /** Nothing waits for it: its revision says that it is another vault's, too. */
  #forgetMirror() {
    void this.#plan.mirror?.forget().catch(() => {});
  }

  /**
   * Where another tab brought the vault back, or made it anew, with the share that this worker has, the record is about this worker's vault, too.
   *
   * @param {import("./share.js").Stored} stored
   * @param {import("./share.js").Held} held
   */
  #keepUp(stored, held) {
    if (stored.marker && stored.revision > held.revision && this.#plan.store.holds(stored, held.share)) {
      Object.assign(held, { marker: true, revision: stored.revision });
    }
  }

  /**
   * Brings the mirror up to date in a while. Nothing waits for it.
   *
   * @param {number} [milliseconds]
   */
  #mirrorSoon(milliseconds = MIRROR_MS) {
    if (this.#ended || !this.#mirror || !this.#held?.marker) return;
    if (this.#following) return void (this.#followAgain = true);
    this.#mirrorTimer ??= this.#clock.setTimeout(() => {
      this.#mirrorTimer = undefined;
      void this.#follow();
    }, milliseconds);
  }

  async #follow() {
    const held = this.#held;
    const mirror = this.#mirror;
    if (!mirror || !held?.marker || !this.#session || this.#sessionVault) return;
    this.#following = true;
    let again = false;
    try {
      const stored = await this.#plan.store.read();
      this.#keepUp(stored, held);
      if (!this.#plan.store.isOf(stored, held)) return;
      // Storage that was put back must not take the place of what is kept of the newer state.
      if (!this.#witness.fits) await this.#witness.compareLog();
      if (!this.#witness.fits || !this.#witness.trusts) return;
      again = !(await mirror.follow(held.revision));
      this.#missed = again ? this.#missed + 1 : 0;
      if (this.#missed > 2 && Number.isInteger(Math.log2(this.#missed - 2))) await mirror.read(held.revision); // less and less often
    } catch {
      again = false; // the next call that changes something brings it here again
    } finally {
      this.#following = false;
    }
    if (again || this.#followAgain) this.#mirrorSoon();
    this.#followAgain = false;
  }

  /**
   * What the app keeps of the vault.
   *
   * @returns {Promise<import("./kms.d.ts").MirrorStatus>}
   * @throws {KmsError} `storage_unavailable`
   */
  async mirrorStatus() {
    return this.#mirror ? await this.#mirror.status() : { kept: false };
  }

  /** @param {string} text */
  async #message(text) {
    const message = parse(text);
    if (typeof message.event === "string") this.events.emit(message.event, message.data);
    else await this.#channel.receive(message);
  }

  /** @param {boolean} open */
  #dialog(open) {
    if (this.#dialogTimer !== undefined) this.#clock.clearTimeout(this.#dialogTimer);
    this.#dialogTimer = open ? this.#clock.setTimeout(() => this.#dialog(false), DIALOG_MS) : undefined;
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
    await this.#restart();
  }

  /** The page was left, and is there again: the browser had kept it. */
  async #left() {
    if (!this.#session || this.#ended) return;
    this.#leave();
    this.#channel.detach("the page was left");
    await this.#restart();
  }

  async #restart() {
    try {
      await this.#reopen();
    } catch (error) {
      this.#end(asKmsError(error, "launch_refused", "the enclave could not be restarted"));
    }
  }

  /** As `open`; and again for as long as the page is left while the worker starts. */
  async #reopen() {
    for (;;) {
      try {
        return await this.open();
      } catch (error) {
        if (!(error instanceof KmsError) || error.details.cause !== LEFT) throw error;
      }
    }
  }

  /** Drops the session. What it had in memory only is gone. */
  #leave() {
    this.#dialog(false);
    this.#heart.stop();
    this.#witness.leave();
    if (this.#mirrorTimer !== undefined) this.#clock.clearTimeout(this.#mirrorTimer);
    this.#mirrorTimer = undefined;
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

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @returns {boolean} not in constant time: both come from the same place
 */
function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/**
 * @param {import("./kms.d.ts").CallOptions} options
 * @returns {import("./kms.d.ts").CallOptions}
 */
function checkOptions(options) {
  const strange = Object.keys(Object(options)).find((name) => name !== "signal" && name !== "timeoutMs");
  if (typeof options !== "object" || options === null || strange !== undefined) {
    throw new KmsError("invalid_request", `${strange ?? "options"}: unknown option of a call; signal and timeoutMs are known`, { details: { member: strange ?? "options" } });
  }
  return options;
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
