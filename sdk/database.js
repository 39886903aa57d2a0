// The app's own IndexedDB, for what the SDK keeps there: the share (share.js), the mirror (mirror.js) and relays (push-store.js).
// Each piece of work is one transaction on a connection of its own.
//
// A page that is left ends its transactions: WebKit keeps such a page with all that it was at, and one
// in mid-transaction would keep the database for itself, and every other tab of the app out of it, for as long as the page is kept.

/** Milliseconds. */
const BLOCKED_MS = 10_000; // storage that does not answer in this time counts as unavailable

/** Transactions that are not over. @type {Set<IDBTransaction>} */
const going = new Set();
let left = false;
let departures = 0;
/** @type {(() => void)[]} */ const waiting = [];

globalThis.addEventListener?.("pagehide", () => {
  left = true;
  departures += 1;
  for (const transaction of going) abort(transaction);
});
globalThis.addEventListener?.("pageshow", () => {
  left = false;
  for (const go of waiting.splice(0)) go();
});

/**
 * One transaction over all object stores of a database, which gets them if it is new. What completes is on disk. One
 * that ends because the page is left is begun anew if the page is shown again. Rejects if the browser has not answered
 * within ten seconds; it may still be written later.
 *
 * @template T
 * @param {string} name
 * @param {readonly string[]} stores
 * @param {IDBTransactionMode} mode
 * @param {(transaction: IDBTransaction) => Promise<T>} work settles when the transaction is over, and has changed nothing but what is stored
 * @returns {Promise<T>}
 */
export async function transact(name, stores, mode, work) {
  for (;;) {
    if (left) await new Promise((resolve) => waiting.push(() => resolve(undefined)));
    const before = departures;
    try {
      return await within(BLOCKED_MS, once(name, stores, mode, work)); // whose time does not run on while the page is away
    } catch (error) {
      if (departures === before) throw error;
    }
  }
}

/**
 * @template T
 * @param {string} name
 * @param {readonly string[]} stores
 * @param {IDBTransactionMode} mode
 * @param {(transaction: IDBTransaction) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function once(name, stores, mode, work) {
  const database = await open(name, stores);
  try {
    if (left) throw new Error("the page was left");
    const transaction = database.transaction([...stores], mode, { durability: "strict" });
    track(transaction);
    return await work(transaction);
  } finally {
    database.close();
  }
}

/**
 * @param {string} name
 * @param {readonly string[]} stores
 * @returns {Promise<IDBDatabase>}
 */
function open(name, stores) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const store of stores) request.result.createObjectStore(store);
      if (request.transaction) track(request.transaction);
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction */
function track(transaction) {
  going.add(transaction);
  const over = () => going.delete(transaction);
  transaction.addEventListener("complete", over);
  transaction.addEventListener("abort", over);
  if (left) abort(transaction);
}

/** @param {IDBTransaction} transaction */
function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // It is over.
  }
}

/**
 * @param {IDBRequest} request
 * @returns {Promise<any>} its result
 */
export function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
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
