// The share and the marker, kept in the app's own IndexedDB.
//
// The share is 32 random bytes without which nothing in the enclave's storage opens. The marker
// says that a vault was made on this device, so that emptied storage on the enclave's side is
// seen as loss and not as a fresh start. There is one record per (enclave origin, account):
//
//   database "kms-enclave", version 1, object store "accounts", key [origin, account]
//   { share: Uint8Array(32) | null, marker: boolean, revision: integer }
//
// `share` is null if the app keeps the share elsewhere. `revision` grows with every marker written:
// a tab that destroyed a vault forgets the record only if no other tab has made a new vault since.

import { KmsError, asKmsError } from "./errors.js";

const DATABASE = "kms-enclave";
const STORE = "accounts";
const BLOCKED_MS = 10_000; // storage that does not answer in this time counts as unavailable

/** Length of a share in bytes. */
export const SHARE_BYTES = 32;

/**
 * @typedef {object} Held
 * @property {Uint8Array<ArrayBuffer>} share
 * @property {boolean} marker
 * @property {number} revision
 */

/** @typedef {{ share: Uint8Array<ArrayBuffer> | null, marker: boolean, revision: number }} Stored */

/** The record of one account at one enclave. */
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
   * The share to launch with; made, written and read back if there is none. Atomic across tabs.
   *
   * @returns {Promise<Held>}
   * @throws {KmsError} `storage_unavailable`, `storage_full`, or `integrity` if the record is not what was written
   */
  async obtain() {
    const stored = await this.#read();
    if (this.#given) return { share: this.#given, marker: stored?.marker ?? false, revision: stored?.revision ?? 0 };
    if (stored?.share) return { share: stored.share, marker: stored.marker, revision: stored.revision };
    await this.#change((found) => (found?.share ? found : { ...found, marker: found?.marker ?? false, revision: found?.revision ?? 0, share: newShare() }));
    const written = await this.#read();
    if (!written?.share) throw new KmsError("storage_unavailable", "share: the app's IndexedDB did not keep what was written; allow storage for this site");
    return { share: written.share, marker: written.marker, revision: written.revision };
  }

  /**
   * Remembers that a vault was made with this share, whatever other tabs did to the record meanwhile.
   *
   * @param {Uint8Array<ArrayBuffer>} share the one that the vault was made with
   * @returns {Promise<void>}
   * @throws {KmsError} as `obtain`
   */
  async mark(share) {
    await this.#change((found) => ({ share: this.#given ? null : share, marker: true, revision: (found?.revision ?? 0) + 1 }));
    const written = await this.#read();
    if (!written?.marker) throw new KmsError("storage_unavailable", "marker: the app's IndexedDB did not keep what was written; allow storage for this site");
  }

  /**
   * Writes the marker that a crash kept from being written, if the record is still that of this share.
   *
   * @param {Uint8Array<ArrayBuffer>} share the one that opened a vault
   * @returns {Promise<void>}
   * @throws {KmsError} as `obtain`
   */
  async heal(share) {
    await this.#change((found) => {
      const same = this.#given ? found !== undefined : found?.share && sameBytes(found.share, share);
      return found && same && !found.marker ? { ...found, marker: true, revision: found.revision + 1 } : found;
    });
  }

  /**
   * The revision now; give it to `forget`.
   *
   * @returns {Promise<number>}
   * @throws {KmsError} as `obtain`
   */
  async revision() {
    return (await this.#read())?.revision ?? 0;
  }

  /**
   * Forgets share and marker, unless a vault was made since that revision.
   *
   * @param {number} revision
   * @returns {Promise<void>}
   * @throws {KmsError} as `obtain`
   */
  async forget(revision) {
    await this.#change((found) => (found && found.revision !== revision ? found : undefined));
  }

  /** @returns {Promise<Stored | undefined>} */
  #read() {
    return this.#transaction("readonly", (found) => found);
  }

  /** @param {(found: Stored | undefined) => Stored | undefined} next */
  #change(next) {
    return this.#transaction("readwrite", next);
  }

  /**
   * Reads the record and replaces it in one transaction: undefined deletes it, the same object leaves it alone.
   *
   * @param {IDBTransactionMode} mode
   * @param {(found: Stored | undefined) => Stored | undefined} next
   * @returns {Promise<Stored | undefined>} the record afterwards
   */
  async #transaction(mode, next) {
    try {
      return await within(BLOCKED_MS, openDatabase().then((database) => run(database, mode, this.#key, next)));
    } catch (error) {
      if (error instanceof DOMException && error.name === "QuotaExceededError") {
        throw asKmsError(error, "storage_full", "share: the app's storage is full");
      }
      throw asKmsError(error, "storage_unavailable", "share: the app's IndexedDB cannot be used; allow storage for this site");
    }
  }
}

function newShare() {
  return crypto.getRandomValues(new Uint8Array(SHARE_BYTES));
}

/** @returns {Promise<IDBDatabase>} a connection for one transaction */
function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {IDBDatabase} database closed afterwards
 * @param {IDBTransactionMode} mode
 * @param {IDBValidKey} key
 * @param {(found: Stored | undefined) => Stored | undefined} next
 * @returns {Promise<Stored | undefined>} when the transaction is on disk
 */
function run(database, mode, key, next) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode, { durability: "strict" });
    const store = transaction.objectStore(STORE);
    /** @type {Stored | undefined} */ let after;
    /** @type {unknown} */ let failure;
    const get = store.get(key);
    get.onsuccess = () => {
      try {
        const found = checked(get.result);
        after = next(found);
        if (after === undefined && found) store.delete(key);
        else if (after !== found) store.put(after, key);
      } catch (error) {
        failure = error;
        transaction.abort();
      }
    };
    transaction.oncomplete = () => (database.close(), resolve(after));
    transaction.onabort = () => (database.close(), reject(failure ?? transaction.error ?? new Error("transaction aborted")));
  });
}

/**
 * @param {unknown} record
 * @returns {Stored | undefined}
 * @throws {KmsError} `integrity` if it is not what `run` wrote; it is left alone
 */
function checked(record) {
  if (record === undefined) return undefined;
  const { share, marker, revision } = /** @type {Partial<Stored>} */ (record ?? {});
  const shareFits = share === null || (share instanceof Uint8Array && share.length === SHARE_BYTES);
  if (shareFits && typeof marker === "boolean" && Number.isSafeInteger(revision)) return /** @type {Stored} */ (record);
  throw new KmsError("integrity", `share: the record in the app's IndexedDB (${DATABASE}, ${STORE}) is not what the SDK wrote; it was left alone`);
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @returns {boolean} not in constant time: both come from the same place
 */
export function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/**
 * @template T
 * @param {number} milliseconds
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function within(milliseconds, promise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, /** @type {Promise<never>} */ (limit)]).finally(() => clearTimeout(timer));
}
