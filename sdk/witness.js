// What this app has seen of a vault, held against what the enclave shows now: its lineage, and its log.
//
// The enclave cannot notice that all of its storage was put back; the app's can, because it is another one.
// What was seen is stored (share.js) before the enclave is asked, so that another tab's work is not
// taken for a lie. What contradicts it is told to the app, each way in which it does once. It stops
// nothing but the mirror: whether to go on is the user's to decide.

import { isLineage, isSeenLog } from "./share.js";

/** So long after a launch, or after what may have been logged, the log is looked at: what comes in between is looked at together. */
const LOG_MS = 1000;

/** How a vault contradicts what was seen here. @typedef {"rolled-back" | "another-vault" | "log-taken-back" | "log-replaced"} Contradiction */

/**
 * The connection, as far as it is watched.
 * @typedef {object} Watched
 * @property {(method: string, params: unknown) => Promise<unknown>} call
 * @property {() => import("./share.js").Held | undefined} held what the present worker was launched with
 * @property {() => boolean} onDevice whether there is a worker, and its vault is one that share and marker are about
 * @property {() => boolean} ended
 * @property {(data: { code: "integrity", message: string, retryable: false, details: { reason: Contradiction, seen: string, found: string } }) => void} alert
 */

export class Witness {
  #store;
  #clock;
  #watched;
  /** @type {unknown} */ #timer;
  /** The lineage that is stored, as far as this tab knows, so that not every status is a transaction. @type {import("./share.js").Lineage | undefined} */ #noted;
  #doubting = false; // whether the enclave is being asked again, because it showed what contradicts what was seen
  /** What the app was told of that. @type {Set<Contradiction>} */ #alerted = new Set();
  /** Whether this worker has shown that its log continues the one that was seen here. */ fits = false;

  /**
   * @param {import("./share.js").ShareStore} store
   * @param {import("./channel.js").Clock} clock
   * @param {Watched} watched
   */
  constructor(store, clock, watched) {
    this.#store = store;
    this.#clock = clock;
    this.#watched = watched;
  }

  /** Whether the enclave has shown nothing yet that contradicts what was seen. */
  get trusts() {
    return this.#alerted.size === 0;
  }

  /**
   * The record says so already: a vault was made, or none is left.
   *
   * @param {import("./share.js").Lineage | undefined} lineage
   */
  stored(lineage) {
    this.#noted = lineage;
  }

  /** The worker is gone; its successor has shown nothing yet. */
  leave() {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.fits = false;
  }

  /**
   * Remembers which state of the vault was seen, and looks whether it is an older one than that. Nothing waits
   * for it: if it cannot be written, the next restore is told less.
   *
   * @param {unknown} status
   */
  note(status) {
    const lineage = vouched(status);
    const held = this.#watched.held();
    if (!lineage || !held) return;
    if (this.#noted && sameState(lineage, this.#noted)) return;
    void this.#compare(held, lineage);
  }

  /**
   * @param {import("./share.js").Held} held
   * @param {import("./share.js").Lineage} lineage
   */
  async #compare(held, lineage) {
    try {
      const stored = await this.#store.note(held, lineage);
      // Also where it is a lower one: another tab may have restored that, on purpose, and the vault grows from there.
      this.#noted = stored.lineage ?? undefined;
      if (this.#contradiction(stored, held, lineage)) await this.#doubt();
    } catch {
      this.#noted = undefined;
    }
  }

  /**
   * How a state of a vault contradicts what is stored. Another vault does only if the record is that of this launch:
   * a tab that is late speaks of a vault that is gone.
   *
   * @param {import("./share.js").Stored} stored
   * @param {import("./share.js").Held} held
   * @param {import("./share.js").Lineage} found
   * @returns {Contradiction | undefined}
   */
  #contradiction(stored, held, found) {
    const { lineage: seen } = stored;
    if (!seen) return undefined;
    if (seen.vault === found.vault) return found.epoch < seen.epoch ? "rolled-back" : undefined;
    return this.#store.isOf(stored, held) ? "another-vault" : undefined;
  }

  /**
   * The enclave showed what contradicts what was seen. That may be what it was when another tab had not
   * yet changed it, so it is asked once more: what was seen was stored before it is asked, and the enclave answers
   * with what is stored. If it still does, the enclave's storage was put back, or replaced.
   */
  async #doubt() {
    if (this.#doubting || this.#watched.ended()) return;
    this.#doubting = true;
    try {
      const found = vouched(await this.#watched.call("vault.status", {}));
      const stored = await this.#store.read();
      const held = this.#watched.held();
      const reason = found && held && this.#contradiction(stored, held, found);
      const seen = stored.lineage;
      if (!reason || !seen) return;
      if (reason === "another-vault") this.#tell(reason, seen.vault, found.vault, `this is another vault (${found.vault}) than the one that this app has seen here (${seen.vault}), so what the enclave stores was replaced`);
      else this.#tell(reason, String(seen.epoch), String(found.epoch), `the vault is in an older state (${found.epoch}) than this app has seen before (${seen.epoch}), so all that the enclave stores was put back`);
    } finally {
      this.#doubting = false;
    }
  }

  /** Looks at the log in a while. */
  lookAtLog() {
    if (this.#watched.ended() || !this.#watched.held()?.marker) return;
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      void this.compareLog().catch(() => {}); // it is looked at again
    }, LOG_MS);
  }

  /**
   * Has the enclave prove that its log continues the one that was seen here, and remembers how it is now.
   * Nothing waits for it.
   */
  async compareLog() {
    const store = this.#store;
    const held = this.#watched.held();
    if (!held?.marker || !this.#watched.onDevice()) return;
    const stored = await store.read(); // before the enclave is asked: what another tab has seen is stored by then
    if (!store.isOf(stored, held)) return;
    const found = consistencyOf(await this.#watched.call("audit.consistent", stored.log ? { since: stored.log.since } : {}));
    if (!found) return;
    this.fits = found.consistent;
    if (found.consistent) return void (await store.keep(held, { since: found.since, size: found.size }));
    const earlier = stored.log?.size ?? 0;
    const gone = found.size < earlier;
    this.#tell(gone ? "log-taken-back" : "log-replaced", String(earlier), String(found.size), gone
      ? `the audit log has ${found.size} entries, and this app has seen ${earlier}: entries ${found.size} to ${earlier - 1} are missing, so what the enclave stores was put back`
      : `the audit log's first ${earlier} entries are not those that this app has seen: what the enclave stores was put back, and used again`);
  }

  /**
   * Tells the app that the enclave's storage is not what it was; each way in which it is not once.
   *
   * @param {Contradiction} reason
   * @param {string} seen
   * @param {string} found
   * @param {string} words
   */
  #tell(reason, seen, found, words) {
    if (this.#alerted.has(reason) || this.#watched.ended()) return;
    this.#alerted.add(reason);
    this.#watched.alert({ code: "integrity", message: `storage: ${words}. Keys that were replaced, revoked or given up since may work again`, retryable: false, details: { reason, seen, found } });
  }
}

/**
 * @param {unknown} status
 * @returns {import("./share.js").Lineage | undefined}
 */
export function lineageOf(status) {
  const { lineage } = /** @type {{ lineage?: unknown }} */ (status ?? {});
  return isLineage(lineage) ? { vault: lineage.vault, epoch: lineage.epoch } : undefined;
}

/**
 * The lineage that a status vouches for: that of a vault on the device, once it is unlocked. While it is locked, nothing
 * has opened what the enclave read, and its epoch is 0 or missing.
 *
 * @param {unknown} status
 * @returns {import("./share.js").Lineage | undefined}
 */
function vouched(status) {
  const { state } = /** @type {{ state?: unknown }} */ (status ?? {});
  const lineage = state === "unlocked" && persistenceOf(status) === "device" ? lineageOf(status) : undefined;
  return lineage && lineage.epoch >= 1 ? lineage : undefined;
}

/**
 * @param {unknown} answer of audit.consistent
 * @returns {{ consistent: boolean, since: string, size: number } | undefined}
 */
function consistencyOf(answer) {
  const { consistent, since, size } = /** @type {{ consistent?: unknown, since?: unknown, size?: unknown }} */ (answer ?? {});
  const seen = { since, size };
  return typeof consistent === "boolean" && isSeenLog(seen) ? { consistent, ...seen } : undefined;
}

/**
 * @param {import("./share.js").Lineage} one
 * @param {import("./share.js").Lineage} other
 */
function sameState(one, other) {
  return one.vault === other.vault && one.epoch === other.epoch;
}

/** @param {unknown} value with or without a persistence */
export function persistenceOf(value) {
  return /** @type {{ persistence?: unknown } | null | undefined} */ (value)?.persistence;
}
