import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach, beforeEach, test } from "node:test";

/** What the page tells of itself. @type {Map<string, () => void>} */
const listeners = new Map();
globalThis.addEventListener = (type, listener) => listeners.set(type, listener);
const { answer, transact } = await import("../database.js");
const leave = () => listeners.get("pagehide")();
const comeBack = () => listeners.get("pageshow")();

const { IDBFactory } = createRequire(new URL("../../e2e/package.json", import.meta.url))("fake-indexeddb");

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});
afterEach(comeBack);

const put = (value) => (transaction) => new Promise((resolve, reject) => {
  transaction.oncomplete = () => resolve(value);
  transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
  transaction.objectStore("records").put(value, "key");
});

/** Holds a transaction open for as long as it is not aborted. */
const hold = (transaction) => new Promise((_, reject) => {
  transaction.onabort = () => reject(new Error("aborted"));
  const more = () => (transaction.objectStore("records").get("key").onsuccess = more);
  more();
});

const write = (work) => transact("database", ["records"], "readwrite", work);
const read = () => transact("database", ["records"], "readonly", async (transaction) => answer(transaction.objectStore("records").get("key")));

test("a database is made with its stores, and what was written is there", async () => {
  assert.equal(await write(put(1)), 1);
  assert.equal(await read(), 1);
});

const soon = () => new Promise((resolve) => setTimeout(resolve, 20));

test("a page that is left ends what it is at, and what waits behind it; shown again, it begins that anew", async () => {
  await write(put(1));
  let held = 0;
  const first = write((transaction) => (++held === 1 ? hold(transaction) : put(2)(transaction)));
  const behind = write(put(3));
  await soon();
  assert.equal(held, 1);
  leave();
  await soon();
  const later = write(put(4));
  await soon();
  assert.equal(held, 1, "a page that is left begins nothing");
  comeBack();
  assert.deepEqual(await Promise.all([first, behind, later]), [2, 3, 4]);
  assert.equal(held, 2);
});

test("while it is away it holds the database for nobody else", async () => {
  await write(put(1));
  let held = 0;
  const work = write((transaction) => (++held === 1 ? hold(transaction) : put(2)(transaction)));
  await soon();
  leave();
  await soon();
  const request = indexedDB.open("database", 1); // another tab
  const database = await new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
  const found = await Promise.race([answer(database.transaction("records", "readwrite").objectStore("records").get("key")), new Promise((resolve) => setTimeout(resolve, 2000, "locked out"))]);
  database.close();
  assert.equal(found, 1);
  comeBack();
  assert.equal(await work, 2);
});

test("a page that is left while the database is being made makes it when it is shown again", async () => {
  const made = write(put(1));
  leave();
  await soon();
  assert.deepEqual(await indexedDB.databases(), []);
  comeBack();
  assert.equal(await made, 1);
});

test("the time that a page is away is not the storage's", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const work = write(put(1));
  leave();
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(11_000);
  comeBack();
  assert.equal(await work, 1);
});

test("storage that does not answer within ten seconds is not waited for", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.indexedDB = { open: () => ({}) };
  const work = write(put(1));
  t.mock.timers.tick(9_999);
  const early = await Promise.race([work.catch((error) => error), new Promise((resolve) => setImmediate(resolve, "waits"))]);
  assert.equal(early, "waits");
  t.mock.timers.tick(1);
  await assert.rejects(work, /10000 ms/);
});

test("what fails by itself is not repeated", async () => {
  let times = 0;
  await assert.rejects(write(async (transaction) => {
    times += 1;
    transaction.abort();
    throw new Error("no");
  }), /no/);
  assert.equal(times, 1);
});
