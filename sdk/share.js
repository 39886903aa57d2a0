// The share and the marker, kept in the app's own IndexedDB.
//
// The share is 32 random bytes without which nothing in the enclave's storage opens. The marker
// says that a vault was made on this device, so that emptied storage on the enclave's side is
// seen as loss and not as a fresh start. There is one record per (enclave origin, account):
//
//   database "kms-enclave-sdk", version 1, object store "accounts", key [origin, account]
//   { share: Uint8Array(32) | null, marker: boolean, revision: integer, begun: integer, ended: integer,
//     lineage?: { vault: string, epoch: integer } | null, log?: { since: string, size: integer } | null }
//
// `share` is null if the app keeps the share elsewhere, and once a vault was destroyed. `lineage` is the
// newest state of the vault that was seen here, so that an older backup does not pass for the newest; it
// outlives the vault's loss, and goes when the vault is destroyed. Another vault's takes its place only when the SDK
// itself had that one made, restored or destroyed: one that is just there contradicts the record, and witness.js
// tells the app. It cannot tell that from one thing: the vault of another lineage that the app had restored with a
// `seen` of its own, in place of a lost one, by a tab that ended before it had written that down. Until that
// vault is destroyed, or restored once more, it counts as one that is just there. `log` is the longest state of the
// vault's audit log that was seen, as audit.consistent gave it; it goes with its vault. Records of older SDKs have neither. The three
// counters never go back, and that is why a record is never deleted: `revision` counts what was said
// of vaults (one was made, one is forgotten), `begun` the creations begun with this share, `ended`
// those whose outcome is known.
//
// Several tabs write the record, each about what its own worker did a moment before. A vault
// whose share is deleted is lost for good, so one rule stands over all others: a share goes only if
// nothing can have been made with it since its vault was asked to be destroyed. A creation says that
// it begins before it is posted, and one that ended unheard (a crash) counts as open for ever: then
// the share outlives its vault, which is untidy but loses nothing. A marker that is wrong is mended:
// missing, by the next status (`heal`); left over, it shows as a lost vault, which is destroyed once more.

import { transact } from "./database.js";
import { KmsError, asKmsError } from "./errors.js";

const DATABASE = "kms-enclave-sdk";
const STORE = "accounts";

/** Length of a share in bytes. */
export const SHARE_BYTES = 32;

/** @typedef {import("./types.d.ts").Lineage} Lineage */

/** How the log was seen: `since` of audit.consistent, and how many entries there were. @typedef {{ since: string, size: number }} SeenLog */

/** @typedef {{ share: Uint8Array<ArrayBuffer> | null, marker: boolean, revision: number, begun: number, ended: number, lineage?: Lineage | null, log?: SeenLog | null }} Stored */

/**
 * What a worker is launched with.
 * @typedef {object} Held
 * @property {Uint8Array<ArrayBuffer>} share 32 bytes
 * @property {boolean} marker
 * @property {number} revision of the record it is from
 */

/** @type {Readonly<Stored>} */
const EMPTY = Object.freeze({ share: null, marker: false, revision: 0, begun: 0, ended: 0 });

/**
 * The record of one account at one enclave.
 *
 * Every method is one transaction that is on disk when the promise resolves, or rejects with a
 * KmsError: `storage_unavailable` if the browser refuses to store or has not answered within ten
 * seconds (it may still be written later), `storage_full`, or `integrity` if the record is not
 * what this class wrote, which is then left alone.
 */
export class ShareStore {
  /** @type {IDBValidKey} */ #key;
  /** @type {Uint8Array<ArrayBuffer> | undefined} */ #given;

  /**
   * @param {string} origin of the enclave
   * @param {string} account
   * @param {Uint8Array} [given] the share, if the app keeps it elsewhere
   */
  constructor(origin, account, given) {
    this.#key = [origin, account];
    this.#given = given && new Uint8Array(given);
  }

  /**
   * Share and marker to launch with; the share is made, written and read back if there is none.
   *
   * @returns {Promise<Held>}
   */
  async obtain() {
    const stored = await this.read();
    if (this.#given || stored.share) return this.#held(stored);
    await this.#change((found) => this.#withShare(found));
    return this.#held(await this.read());
  }

  /**
   * A creation begins: from now on the share stays, whatever other tabs destroy, until `end` or `mark`.
   * Call one of them once for each `begin`, unless the outcome is not known.
   *
   * @returns {Promise<Held>} what the vault must be made with
   */
  async begin() {
    await this.#change((found) => ({ ...this.#withShare(found), begun: found.begun + 1 }));
    return this.#held(await this.read());
  }

  /**
   * A creation that was begun has made nothing.
   *
   * @returns {Promise<void>}
   */
  async end() {
    await this.#change((found) => (found.ended < found.begun ? { ...found, ended: found.ended + 1 } : found));
  }

  /**
   * A creation that was begun has made a vault with this share: that is remembered, whatever other
   * tabs did to the record meanwhile. What was known of the vault before it goes with that one: whoever
   * restores an older state on purpose has it, and its later backups are to be accepted.
   *
   * @param {Uint8Array<ArrayBuffer>} share
   * @param {Lineage} [lineage] of the vault that was made
   * @returns {Promise<Stored>} the record now
   */
  async mark(share, lineage) {
    const now = await this.#change(({ revision, begun, ended }) => {
      const known = Math.max(begun, ended + 1); // the record was deleted with all of the app's storage
      return { share: this.#given ? null : share, marker: true, revision: revision + 1, begun: known, ended: ended + 1, lineage: lineage ?? null, log: null };
    });
    if (!(await this.read()).marker) throw unkept("marker");
    return now;
  }

  /**
   * Remembers the newest state of the vault that was seen. Of the vault that the record is about it only
   * grows, whichever tab says so. A record that is about none gets one only from the launch that it is of: a tab that
   * is late speaks of a vault that is gone. Another vault never takes the place of one: that is for `mark`.
   *
   * @param {Held} held what the worker was launched with that has said so
   * @param {Lineage} lineage epoch 0 means that it is not known, as while the vault is locked, and is not remembered
   * @returns {Promise<Stored>} the record now: its lineage is another one if the given one is older than what was seen, or of another vault
   */
  note(held, lineage) {
    return this.#change((found) => {
      const known = found.lineage;
      const grows = known ? known.vault === lineage.vault && lineage.epoch > known.epoch : lineage.epoch > 0 && this.isOf(found, held);
      return grows ? { ...found, lineage } : found;
    });
  }

  /**
   * Remembers how the log was seen. It only grows, whichever tab says so, and a tab that is late speaks of a log that is gone.
   *
   * @param {Held} held what the worker was launched with whose log it is
   * @param {SeenLog} log
   * @returns {Promise<Stored>} the record now
   */
  keep(held, log) {
    return this.#change((found) => (this.isOf(found, held) && (found.log?.size ?? 0) < log.size ? { ...found, log } : found));
  }

  /**
   * Whether a record is about the vault of the launch that held these.
   *
   * @param {Stored} stored
   * @param {Held} held
   */
  isOf(stored, held) {
    return stored.marker && stored.revision === held.revision && this.holds(stored, held.share);
  }

  /**
   * Writes the marker that a crash kept from being written, if the record is still that of this launch.
   *
   * @param {Held} held what the worker was launched with that now has a vault open
   * @returns {Promise<void>}
   */
  async heal(held) {
    await this.#change((found) => {
      const same = this.#given ? found.revision === held.revision : this.holds(found, held.share);
      return same && !found.marker ? { ...found, marker: true } : found;
    });
  }

  /**
   * The record as it is; give it to `forget`, if the user is about to be asked.
   *
   * @returns {Promise<Stored>}
   */
  read() {
    return this.#transaction("readonly", (found) => found);
  }

  /**
   * A vault was destroyed. Forgets its marker and its lineage, unless another one was made since the record was read;
   * and its share, unless one can have been.
   *
   * @param {Stored} asked the record before the user was asked
   * @returns {Promise<Stored>} the record now
   */
  forget(asked) {
    return this.#change((found) => {
      const other = !sameShare(found.share, asked.share);
      if (other || found.revision !== asked.revision) return found;
      const quiet = asked.begun === asked.ended && found.begun === asked.begun;
      return { ...found, share: quiet ? null : found.share, marker: false, revision: found.revision + 1, lineage: null, log: null };
    });
  }

  /**
   * Whether a worker that was launched with this share has the right one.
   *
   * @param {Stored} stored
   * @param {Uint8Array} share
   * @returns {boolean} true as well if the app keeps the share elsewhere
   */
  holds(stored, share) {
    return this.#given !== undefined || sameShare(stored.share, share);
  }

  /**
   * @param {Stored} stored
   * @returns {Held}
   */
  #held({ share, marker, revision }) {
    const ours = this.#given ?? share;
    if (!ours) throw unkept("share");
    return { share: ours, marker, revision };
  }

  /**
   * @param {Stored} found
   * @returns {Stored}
   */
  #withShare(found) {
    return this.#given || found.share ? found : { ...found, share: crypto.getRandomValues(new Uint8Array(SHARE_BYTES)) };
  }

  /** @param {(found: Stored) => Stored} next */
  #change(next) {
    return this.#transaction("readwrite", next);
  }

  /**
   * Reads the record and replaces it in one transaction, which is atomic across tabs; the same
   * object leaves it alone.
   *
   * @param {IDBTransactionMode} mode
   * @param {(found: Stored) => Stored} next
   * @returns {Promise<Stored>} the record afterwards
   */
  async #transaction(mode, next) {
    try {
      return await transact(DATABASE, [STORE], mode, (transaction) => run(transaction, this.#key, next));
    } catch (error) {
      if (error instanceof DOMException && error.name === "QuotaExceededError") {
        throw asKmsError(error, "storage_full", "share: the app's storage is full");
      }
      throw asKmsError(error, "storage_unavailable", "share: the app's IndexedDB cannot be used; allow storage for this site");
    }
  }
}

/** @param {string} what */
function unkept(what) {
  return new KmsError("storage_unavailable", `${what}: the app's IndexedDB did not keep what was written; allow storage for this site`);
}

/**
 * @param {IDBTransaction} transaction
 * @param {IDBValidKey} key
 * @param {(found: Stored) => Stored} next
 * @returns {Promise<Stored>} when the transaction is on disk
 */
function run(transaction, key, next) {
  return new Promise((resolve, reject) => {
    const store = transaction.objectStore(STORE);
    /** @type {Stored} */ let after;
    /** @type {unknown} */ let failure;
    const get = store.get(key);
    get.onsuccess = () => {
      try {
        const found = checked(get.result);
        after = next(found);
        if (after !== found) store.put(after, key);
      } catch (error) {
        failure = error;
        transaction.abort();
      }
    };
    transaction.oncomplete = () => resolve(after);
    transaction.onabort = () => reject(failure ?? transaction.error ?? new Error("transaction aborted"));
  });
}

/**
 * @param {unknown} record
 * @returns {Stored}
 * @throws {KmsError} `integrity` if it is not what `run` wrote; it is left alone
 */
function checked(record) {
  if (record === undefined) return EMPTY;
  const { share, marker, revision, begun, ended, lineage = null, log = null } = /** @type {Partial<Stored>} */ (record ?? {});
  const shareFits = share === null || (share instanceof Uint8Array && share.length === SHARE_BYTES);
  const counts = [revision, begun, ended].every(isCount);
  if (shareFits && typeof marker === "boolean" && counts && (lineage === null || isLineage(lineage)) && (log === null || isSeenLog(log))) return /** @type {Stored} */ (record);
  throw new KmsError("integrity", `share: the record in the app's IndexedDB (${DATABASE}, ${STORE}) is not what the SDK wrote; it was left alone`);
}

/** @param {unknown} value */
function isCount(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * Whether a value names a vault and a state of it, as vault.status does.
 *
 * @param {unknown} value
 * @returns {value is Lineage}
 */
export function isLineage(value) {
  const { vault, epoch } = /** @type {Partial<Lineage>} */ (value ?? {});
  return typeof vault === "string" && /^[\w-]{22}$/.test(vault) && isCount(epoch);
}

/**
 * Whether a value says how a log was seen.
 *
 * @param {unknown} value
 * @returns {value is SeenLog}
 */
export function isSeenLog(value) {
  const { since, size } = /** @type {Partial<SeenLog>} */ (value ?? {});
  return typeof since === "string" && /^[\w-]{1,2732}$/.test(since) && isCount(size);
}

/**
 * @param {Uint8Array | null} a
 * @param {Uint8Array | null} b
 * @returns {boolean} not in constant time: both come from the same place
 */
function sameShare(a, b) {
  if (!a || !b) return a === b;
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
