// What browsers keep, taken away or carried over by hand: the enclave's storage, and the app's. Under WebDriver WebKitGTK keeps nothing
// at all over a restart, not even first-party storage, which it keeps for users.

import { eventually } from "./process.mjs";

/** Waits until what the app keeps is the vault's newest state. */
export const mirrored = (page, { account }, timeoutMs = 20_000) => eventually("the mirror", () => page.evaluate(async (account) => {
  const answer = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const database = await answer(indexedDB.open("kms-enclave-mirror"));
  if (!database.objectStoreNames.contains("mirrors")) return database.close();
  const kept = await answer(database.transaction("mirrors").objectStore("mirrors").get([kms.release.origin, account]));
  database.close();
  const { commit } = await kms.mirror.records({ after: "vault/-" }); // nothing comes after it
  return kept?.generation > 0 && kept.commit >= commit;
}, account), { timeoutMs });

/** In the app's page: everything in its IndexedDB, as JSON. */
export async function readAppStorage() {
  const answer = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const plain = (value) => (value?.share ? { ...value, share: Array.from(value.share) } : value);
  const databases = [];
  for (const { name, version } of await indexedDB.databases()) {
    const database = await answer(indexedDB.open(name));
    const stores = [];
    for (const store of database.objectStoreNames) {
      const objects = database.transaction(store).objectStore(store);
      const [keys, values] = await Promise.all([answer(objects.getAllKeys()), answer(objects.getAll())]);
      stores.push({ store, records: values.map((value, i) => ({ key: keys[i], value: plain(value) })) });
    }
    databases.push({ name, version, stores });
    database.close();
  }
  return databases;
}

/** In the app's page: puts it back. */
export async function writeAppStorage(databases) {
  const bytes = (value) => (value?.share ? { ...value, share: new Uint8Array(value.share) } : value);
  for (const { name, version, stores } of databases) {
    await new Promise((resolve, reject) => {
      const open = indexedDB.open(name, version);
      open.onupgradeneeded = () => stores.forEach(({ store }) => open.result.createObjectStore(store));
      open.onerror = () => reject(open.error);
      open.onsuccess = () => {
        const transaction = open.result.transaction(stores.map(({ store }) => store), "readwrite");
        for (const { store, records } of stores) {
          for (const { key, value } of records) transaction.objectStore(store).put(bytes(value), key);
        }
        transaction.oncomplete = () => (open.result.close(), resolve());
        transaction.onabort = () => reject(transaction.error);
      };
    });
  }
}

/**
 * The app's page again after the browser was restarted, with what the app itself keeps; the enclave is yet to be started.
 *
 * @param {import("./harness.mjs").Bench} bench
 */
export async function restartApp(bench, page, options) {
  const kept = bench.engine === "webkit" ? await page.evaluate(readAppStorage) : [];
  await bench.restart(options);
  const again = await bench.open();
  await again.evaluate(writeAppStorage, kept);
  return again;
}

/** Empties the enclave's storage for this app's partition, as Clear-Site-Data or eviction would. */
export async function emptyEnclaveStorage(bench, page) {
  const { app, host } = bench.site;
  const html = (body) => ({ headers: { "content-type": "text/html" }, body });
  host.intercept = ({ pathname }) => (pathname === "/empty.html" ? html("empty") : undefined);
  // With the app's own headers: Firefox changes its process for another opener policy.
  app.extra.set("/empty.html", { headers: { "content-type": "text/html", ...app.pageHeaders() }, body: `<iframe src="${host.origin}/empty.html"></iframe>` });
  await page.goto(`${app.origin}/empty.html`);
  const frame = await page.frame(`${host.origin}/empty.html`);
  await frame.evaluate(async () => {
    // By its name: WebKitGTK does not list the databases of third-party frames.
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase("kms-enclave");
      request.onsuccess = ({ oldVersion }) => (oldVersion > 0 ? resolve() : reject(new Error("there was nothing to empty")));
      request.onerror = request.onblocked = () => reject(new Error("not deleted"));
    });
  });
  await bench.visit(page);
}
