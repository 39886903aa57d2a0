// The service worker's side of push: counts every push before it is shown, and notices what should not be.
//
// This is a script, and no module, because not every browser's service workers can be modules. push-worker.js
// is the same for those that are. What it keeps is described in push-store.js, which it cannot import.

(() => {
  "use strict";

  /** @typedef {import("./push-store.js").Record} Record */
  /** @typedef {import("./push-store.js").Counted} Counted */
  /** @typedef {import("./push-worker.d.ts").PushOptions} PushOptions */
  /** @typedef {import("./push-worker.d.ts").PushData} PushData */

  const DATABASE = "kms-enclave-push";
  const STORES = ["relays", "arrivals"];

  const STORAGE_MS = 5000; // a message is shown even where the storage does not answer
  const SHOW_MS = 5000; // for the app's own `show`
  const HOUR_MS = 3_600_000;
  const MAX_RECENT = 10_001; // times of pushes that are kept: one more than the highest rate that can be asked for

  /** The parts of ServiceWorkerGlobalScope that are used here; the page's types, which tsc has, are without it. */
  const worker = /** @type {any} */ (self);

  /** @param {PushOptions} options */
  function handlePush(options) {
    if (typeof options?.show !== "function") throw new TypeError("handlePush: show: a function wanted");
    const open = new URL(options.open ?? worker.registration.scope, worker.location.href);
    if (open.origin !== worker.location.origin) throw new TypeError("handlePush: open: a page of the worker's own origin wanted");
    worker.addEventListener("push", (/** @type {any} */ event) => event.waitUntil(pushed(event.data, options)));
    worker.addEventListener("notificationclick", (/** @type {any} */ event) => event.waitUntil(clicked(event.notification, open.href)));
    worker.addEventListener("pushsubscriptionchange", (/** @type {any} */ event) => event.waitUntil(changed()));
  }

  /**
   * @param {PushData | null} data
   * @param {PushOptions} options
   */
  async function pushed(data, options) {
    const now = Date.now();
    /** @type {string[]} */ const noticed = [];
    await attempt(() => edit((counted, record) => count(counted, record, now, noticed)));
    const { title, ...rest } = await shownOf(data, options, noticed);
    try {
      await worker.registration.showNotification(title, rest);
    } catch (error) {
      await attempt(() => edit((counted) => void (counted.unshown += 1)));
      throw error;
    } finally {
      await tell({ kmsPush: "arrived" });
      for (const kind of noticed) await tell({ kmsPush: "alert", kind });
    }
  }

  /**
   * Counts one push, and notices what it may not be.
   *
   * @param {Counted} counted
   * @param {Record | undefined} record
   * @param {number} now
   * @param {string[]} noticed
   */
  function count(counted, record, now, noticed) {
    counted.arrived += 1;
    counted.last = now;
    counted.recent = [...counted.recent.filter((at) => at > now - HOUR_MS && at <= now), now].slice(-MAX_RECENT);
    if (record?.state !== "active" || now >= record.leaseUntil * 1000) noticed.push("after-lease");
    if (record && counted.recent.length > record.pushesPerHour) noticed.push("rate");
    for (const kind of noticed) alert(counted, kind, now);
  }

  /**
   * @param {Counted} counted
   * @param {string} kind
   * @param {number} now
   */
  function alert(counted, kind, now) {
    const before = counted.alerts.find((each) => each.kind === kind);
    if (before) Object.assign(before, { last: now, times: before.times + 1 });
    else counted.alerts.push(/** @type {any} */ ({ kind, first: now, last: now, times: 1 }));
  }

  /**
   * What the app shows of it, or the fallback.
   *
   * @param {PushData | null} data
   * @param {PushOptions} options
   * @param {string[]} noticed
   */
  async function shownOf(data, { show, fallback = { title: "New message" } }, noticed) {
    try {
      const shown = await within(SHOW_MS, Promise.resolve(show(data)));
      if (typeof shown?.title !== "string") throw new TypeError("show: a title wanted");
      return shown;
    } catch {
      noticed.push("unreadable");
      await attempt(() => edit((counted) => alert(counted, "unreadable", Date.now())));
      return fallback;
    }
  }

  /**
   * @param {any} notification
   * @param {string} url
   */
  async function clicked(notification, url) {
    notification.close();
    const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = pages.find((/** @type {any} */ each) => each.url === url) ?? pages[0];
    if (!page) return await worker.clients.openWindow(url);
    await page.focus();
    page.postMessage({ kmsPush: "click", scope: worker.registration.scope, data: notification.data });
  }

  // The subscription cannot be registered at the relay from here: the enclave needs a page.
  const changed = () => tell({ kmsPush: "subscription" });

  /** @param {object} message */
  async function tell(message) {
    for (const page of await worker.clients.matchAll({ type: "window", includeUncontrolled: true })) page.postMessage({ ...message, scope: worker.registration.scope });
  }

  /**
   * Without the storage less is noticed, but everything is shown.
   *
   * @param {() => Promise<void>} work
   */
  async function attempt(work) {
    try {
      await within(STORAGE_MS, work());
    } catch (error) {
      console.error("push: a push could not be counted:", error);
    }
  }

  /**
   * Changes what is counted of this scope, in one transaction; it is on disk when this resolves.
   *
   * @param {(counted: Counted, record: Record | undefined) => void} change
   * @returns {Promise<void>}
   */
  async function edit(change) {
    const database = await open();
    const { scope } = worker.registration;
    try {
      await new Promise((resolve, reject) => {
        const transaction = database.transaction(STORES, "readwrite", { durability: "strict" });
        transaction.oncomplete = () => resolve(undefined);
        transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
        const [relays, arrivals] = STORES.map((name) => transaction.objectStore(name));
        relays.get(scope).onsuccess = (/** @type {any} */ { target: { result: record } }) => {
          arrivals.get(scope).onsuccess = (/** @type {any} */ { target: { result: counted = { arrived: 0, unshown: 0, recent: [], alerts: [] } } }) => {
            change(counted, record);
            arrivals.put(counted, scope);
          };
        };
      });
    } finally {
      database.close();
    }
  }

  /** @returns {Promise<IDBDatabase>} */
  function open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
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
      timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms`)), milliseconds);
    });
    return Promise.race([promise, /** @type {Promise<never>} */ (limit)]).finally(() => clearTimeout(timer));
  }

  worker.kmsPush = Object.freeze({ handlePush });
})();
