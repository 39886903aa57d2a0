import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach, beforeEach, test } from "node:test";
import { answer, page, transact } from "../database.js";

const { IDBFactory } = createRequire(new URL("../../e2e/package.json", import.meta.url))("fake-indexeddb");

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});
afterEach(() => page.comeBack());

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

test("a page that is left ends what it is at, and what waits behind it", async () => {
  await write(put(1));
  const held = write(hold);
  const behind = write(put(2));
  const failures = Promise.all([assert.rejects(held, /aborted/), assert.rejects(behind)]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  page.leave();
  await failures;
  await assert.rejects(write(put(3)), /left/); // and begins nothing
  page.comeBack();
  assert.equal(await read(), 1);
  assert.equal(await write(put(4)), 4);
});
