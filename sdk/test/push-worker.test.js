// The service worker's side, with a scope of ours around it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { beforeEach, test } from "node:test";
import * as store from "../push-store.js";

const { IDBFactory, IDBKeyRange } = createRequire(new URL("../../e2e/package.json", import.meta.url))("fake-indexeddb");

const APP = "https://app.example";
const SCOPE = `${APP}/push/relay/`;

let listeners, shown, told, windows, opened;
const scopeOf = {
  location: new URL(`${APP}/worker.js`),
  registration: { scope: SCOPE, showNotification: async (title, options) => void shown.push({ title, ...options, counted: (await store.read(SCOPE)).counted.arrived }) },
  clients: { matchAll: async () => windows, openWindow: async (url) => void opened.push(url) },
  addEventListener: (name, listener) => (listeners[name] = listener),
};
globalThis.self = scopeOf;
const { handlePush } = await import("../push-worker.js");
const classic = scopeOf.kmsPush;

beforeEach(() => {
  Object.assign(globalThis, { indexedDB: new IDBFactory(), IDBKeyRange });
  [listeners, shown, told, windows, opened] = [{}, [], [], [], []];
});

/** Runs an event to its end. */
async function fire(name, event = {}) {
  let work;
  listeners[name]({ ...event, waitUntil: (promise) => (work = promise) });
  await work;
}

const data = (value) => ({ json: () => JSON.parse(value), text: () => value });
const push = (value) => fire("push", { data: data(value) });
const now = () => Math.floor(Date.now() / 1000);
const allowed = (members = {}) => store.write({ scope: SCOPE, state: "active", leaseUntil: now() + 60, pushesPerHour: 60, ...members }, { anew: true });
const counted = async () => (await store.read(SCOPE)).counted;
const alerts = async () => (await counted()).alerts.map(({ kind, times }) => `${kind} ${times}`);
const page = (url = `${APP}/`) => ({ url, postMessage: (message) => told.push(message), focus: async () => told.push("focus") });
const show = (message) => ({ title: "A message", body: message.json().body });

test("a push is counted before it is shown, and pages are told", async () => {
  await allowed();
  windows = [page()];
  classic.handlePush({ show });
  await push('{"body":"hello"}');
  await push('{"body":"again"}');
  assert.deepEqual(shown, [{ title: "A message", body: "hello", counted: 1 }, { title: "A message", body: "again", counted: 2 }]);
  assert.deepEqual([(await counted()).arrived, await alerts()], [2, []]);
  assert.deepEqual(told, Array(2).fill({ kmsPush: "arrived", scope: SCOPE }));
});

for (const [what, record] of Object.entries({ "after the lease's end": { leaseUntil: now() - 1 }, "after the relay was revoked": { state: "revoked" }, "where no relay is allowed": undefined })) {
  test(`a push ${what} is shown, and an alert`, async () => {
    if (record) await allowed(record);
    windows = [page()];
    classic.handlePush({ show });
    await push('{"body":"late"}');
    assert.deepEqual([shown.length, await alerts()], [1, ["after-lease 1"]]);
    assert.deepEqual(told.at(-1), { kmsPush: "alert", kind: "after-lease", scope: SCOPE });
  });
}

test("more than the user's rate is an alert, each time; what is older than an hour does not count", async () => {
  await allowed({ pushesPerHour: 2 });
  await store.recount(SCOPE, (each) => void (each.recent = [Date.now() - 3_600_001]));
  classic.handlePush({ show });
  for (let i = 0; i < 4; i += 1) await push('{"body":""}');
  assert.deepEqual(await alerts(), ["rate 2"]);
});

for (const [what, broken] of Object.entries({ throws: () => { throw new Error("no"); }, "gives nothing": () => undefined, "rejects": async () => { throw new Error("no"); } })) {
  test(`a show that ${what}: the fallback is shown`, async () => {
    await allowed();
    classic.handlePush({ show: broken, fallback: { title: "Something" } });
    await push("x");
    assert.deepEqual([shown[0].title, await alerts()], ["Something", ["unreadable 1"]]);
  });
}

test("a show that never ends: the fallback is shown after five seconds", { timeout: 10_000 }, async () => {
  await allowed();
  classic.handlePush({ show: () => new Promise(() => {}) });
  const from = Date.now();
  await push("x");
  assert.ok(Date.now() - from >= 4900);
  assert.equal(shown[0].title, "New message");
});

test("storage that fails keeps nothing from being shown", async (t) => {
  t.mock.method(console, "error", () => {});
  scopeOf.registration.showNotification = async (title) => void shown.push({ title });
  globalThis.indexedDB = { open: () => { throw new Error("no storage"); } };
  classic.handlePush({ show });
  await push('{"body":""}');
  assert.equal(shown.length, 1);
});

test("what the browser does not show is counted as such, and fails", async () => {
  await allowed();
  scopeOf.registration.showNotification = async () => { throw new Error("no window"); };
  classic.handlePush({ show });
  await assert.rejects(push('{"body":""}'), /no window/);
  const { arrived, unshown } = await counted();
  assert.deepEqual([arrived, unshown], [1, 1]);
});

test("a click brings an open page to the front, or opens one", async () => {
  let closed = 0;
  const notification = { data: { thread: 7 }, close: () => (closed += 1) };
  classic.handlePush({ show, open: "/inbox.html" });
  await fire("notificationclick", { notification });
  assert.deepEqual([opened, closed], [[`${APP}/inbox.html`], 1]);
  windows = [page(`${APP}/other.html`), page(`${APP}/inbox.html`)];
  await fire("notificationclick", { notification });
  assert.deepEqual([opened.length, told], [1, ["focus", { kmsPush: "click", scope: SCOPE, data: { thread: 7 } }]]);
});

test("of a subscription that the browser has changed pages are told", async () => {
  await allowed();
  windows = [page()];
  classic.handlePush({ show });
  await fire("pushsubscriptionchange");
  assert.deepEqual(told, [{ kmsPush: "subscription", scope: SCOPE }]);
});

test("options are checked, through the module", () => {
  assert.throws(() => handlePush({}), TypeError);
  assert.throws(() => handlePush({ show, open: "https://other.example/" }), TypeError);
});
