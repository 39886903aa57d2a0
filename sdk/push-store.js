// What is kept of relays, in the app's own IndexedDB: written by pages, read and counted in by service workers.
//
//   database "kms-enclave-push", version 1; keys are scopes, as URLs
//   object store "relays"     Record: which relay a scope serves, with which key, lease and subscription
//   object store "arrivals"   Counted: what the service worker of the scope has counted (push-worker-classic.js)
//
// A record is `begun` before there is a subscription, so that a page that ends in the middle leaves a trace which the next
// one clears away; `active` once the relay has registered it; `revoked` after the user's yes, until every step in `left` is done.
// `farewell` is a relay token, so that the relay can be told to forget a subscription whose lease has ended. It is
// good for nothing else then: the key is gone and the push service refuses what it signed.

import { answer, transact } from "./database.js";
import { asKmsError } from "./errors.js";

const DATABASE = "kms-enclave-push";
const STORES = Object.freeze(["relays", "arrivals"]);

/** How the relay of a subscription can be told to forget it; `exp` is seconds. @typedef {{ id: string, token: string, exp: number }} Farewell */

/**
 * Times are seconds.
 * @typedef {object} Record
 * @property {"begun" | "active" | "revoked"} state
 * @property {string} scope URL
 * @property {string} enclave origin
 * @property {string} account
 * @property {string} relay origin
 * @property {string} worker URL
 * @property {boolean} module
 * @property {boolean} registered whether the worker's registration is of the SDK's making
 * @property {string} contact
 * @property {number} lifeSeconds
 * @property {number} tokenSeconds
 * @property {number} perHour of the lease; 0 until there is one, unless the app wants another than usual
 * @property {number} perDay likewise
 * @property {number} stash
 * @property {number} [restockedAt] when the relay was last given one because it said that it runs low
 * @property {number} pushesPerHour
 * @property {string} id of the subscription at the relay
 * @property {string} kid
 * @property {string} publicKey raw, base64url
 * @property {string} endpoint
 * @property {string} lease
 * @property {number} leaseUntil when it ends or ended
 * @property {Farewell} [farewell] the user is being asked to end it, or was
 * @property {Farewell[]} former registrations that the relay is still to forget
 */

/**
 * Times are milliseconds.
 * @typedef {object} Counted
 * @property {number} arrived
 * @property {number} unshown
 * @property {number} [last]
 * @property {number[]} recent of the last hour
 * @property {{ -readonly [M in keyof import("./push.d.ts").PushAlert]: import("./push.d.ts").PushAlert[M] }[]} alerts
 * @property {number} [noted] how many unexplained pushes the user has been told of
 */

/** @returns {Counted} */
export const nothing = () => ({ arrived: 0, unshown: 0, recent: [], alerts: [] });

/**
 * Everything that is kept of a scope.
 *
 * @param {string} scope
 * @returns {Promise<{ record?: Record, counted: Counted }>}
 * @throws {KmsError} `storage_unavailable`
 */
export function read(scope) {
  return stored("readonly", async (relays, arrivals) => ({
    record: await answer(relays.get(scope)),
    counted: (await answer(arrivals.get(scope))) ?? nothing(),
  }));
}

/**
 * Every record of an account at an enclave.
 *
 * @param {string} enclave
 * @param {string} account
 * @returns {Promise<Record[]>}
 * @throws {KmsError} `storage_unavailable`
 */
export async function all(enclave, account) {
  /** @type {Record[]} */ const records = await stored("readonly", (relays) => answer(relays.getAll()));
  return records.filter((record) => record.enclave === enclave && record.account === account);
}

/**
 * Writes a record, and begins to count anew if `anew`. It is on disk when the promise resolves.
 *
 * @param {Record} record
 * @param {{ anew?: boolean }} [options]
 * @throws {KmsError} `storage_unavailable` or `storage_full`
 */
export function write(record, { anew = false } = {}) {
  return stored("readwrite", async (relays, arrivals) => {
    relays.put(record, record.scope);
    if (anew) arrivals.put(nothing(), record.scope);
  });
}

/**
 * Changes a record, unless there is none (any more).
 *
 * @param {string} scope
 * @param {Partial<Record>} members
 * @returns {Promise<Record | undefined>} as it is now
 * @throws {KmsError} `storage_unavailable` or `storage_full`
 */
export function amend(scope, members) {
  return stored("readwrite", async (relays) => {
    /** @type {Record | undefined} */ const record = await answer(relays.get(scope));
    if (!record) return undefined;
    const amended = { ...record, ...members };
    relays.put(amended, scope);
    return amended;
  });
}

/**
 * Changes what is counted.
 *
 * @param {string} scope
 * @param {(counted: Counted) => void} edit
 * @returns {Promise<Counted>}
 * @throws {KmsError} `storage_unavailable` or `storage_full`
 */
export function recount(scope, edit) {
  return stored("readwrite", async (_, arrivals) => {
    const counted = (await answer(arrivals.get(scope))) ?? nothing();
    edit(counted);
    arrivals.put(counted, scope);
    return counted;
  });
}

/**
 * @param {string} scope
 * @throws {KmsError} `storage_unavailable`
 */
export function forget(scope) {
  return stored("readwrite", async (relays, arrivals) => {
    relays.delete(scope);
    arrivals.delete(scope);
  });
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(relays: IDBObjectStore, arrivals: IDBObjectStore) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function stored(mode, work) {
  try {
    return await transact(DATABASE, STORES, mode, (transaction) => whole(transaction, work));
  } catch (error) {
    const full = /** @type {any} */ (error)?.name === "QuotaExceededError";
    throw asKmsError(error, full ? "storage_full" : "storage_unavailable", "the app's storage for relays");
  }
}

/**
 * @template T
 * @param {IDBTransaction} transaction
 * @param {(relays: IDBObjectStore, arrivals: IDBObjectStore) => Promise<T>} work
 * @returns {Promise<T>} when it is over
 */
function whole(transaction, work) {
  const [relays, arrivals] = STORES.map((name) => transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    /** @type {T} */ let result;
    transaction.oncomplete = () => resolve(result);
    transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
    work(relays, arrivals).then((value) => (result = value), reject);
  });
}
