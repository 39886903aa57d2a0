import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { hexOf, integrityOf } from "../bytes.js";
import { KmsError } from "../errors.js";
import { launch } from "../launch.js";
import { parseRelease } from "../pin.js";
import { install } from "./dom.js";
import { turns } from "./standins.js";

const wasm = await integrityOf(new TextEncoder().encode("wasm"));
const measurement = hexOf(await integrityOf(new TextEncoder().encode("loader")));
const release = parseRelease(`https://kms.example/r/${measurement.slice(0, 32)}/kms.html`, undefined);
const hello = { kmsEnclave: 1, type: "ready", version: "1.0.0", commit: "c", measurement, wasm };
const held = { share: new Uint8Array(32), marker: false, revision: 0 };
const listener = { message() {}, dialog() {}, pong() {}, died() {} };

/** Timers that are running. */
const timers = new Map();
const { setTimeout: start, clearTimeout: stop } = globalThis;
let ports, launched;

beforeEach(() => {
  install();
  timers.clear();
  ports = [];
  launched = [];
  globalThis.setTimeout = (run, milliseconds) => {
    const timer = start(() => (timers.delete(timer), run()), milliseconds);
    timers.set(timer, milliseconds);
    return timer;
  };
  globalThis.clearTimeout = (timer) => (timers.delete(timer), stop(timer));
  globalThis.fetch = async () => new Response(new Uint8Array(8));
});

afterEach(() => {
  for (const timer of timers.keys()) stop(timer);
  Object.assign(globalThis, { setTimeout: start, clearTimeout: stop });
  for (const { session } of launched) session.dispose();
  for (const port of ports) port.close();
});

/** The enclave's frame: dialog, host, shadow root, frame. */
const frame = () => document.body.children.at(-1)?.children[0].children[0].children.find(({ localName }) => localName === "iframe");

/** What the loader posts to the app. */
function post(data, { source = frame().contentWindow, origin = release.origin } = {}) {
  window.dispatchEvent(Object.assign(new Event("message"), { data, source, origin }));
}

/** Begins a launch whose frame's loader and worker are the test. */
async function begin(plan = {}) {
  const promise = launch({ release, account: "alice", container: document.body, minimum: "unpinned", timeoutMs: 5000, held: async () => held, ...plan }, listener);
  promise.then((result) => launched.push(result), () => {});
  await turns(3);
  const handshakes = [];
  if (frame()) frame().contentWindow = { postMessage: (message, origin, [app, loader]) => (ports.push(app, loader), handshakes.push({ message, origin, app, loader })) };
  return { promise, handshakes };
}

test("a launch: one ready message, one handshake, one event; no timer is left", async () => {
  const { promise, handshakes } = await begin();
  post(hello);
  await turns();
  assert.equal(handshakes.length, 1);
  assert.equal(handshakes[0].origin, release.origin);
  post(hello); // a second one changes nothing
  handshakes[0].app.postMessage('{"event":"ready","data":{"timings":{"start":3,"odd":"x"},"memory":9}}');
  const { report } = await promise;
  assert.deepEqual([report.level, report.measurement, report.memory, report.timings.enclave], ["unpinned", measurement, 9, { start: 3 }]);
  assert.equal(handshakes.length, 1);
  assert.deepEqual([...timers.values()], [], "timers that would keep the attempt");
});

test("messages of others are not heard", async () => {
  const { promise, handshakes } = await begin();
  post(hello, { source: {} });
  post(hello, { origin: "https://evil.example" });
  post({ ...hello, kmsEnclave: 2 });
  await turns();
  assert.equal(handshakes.length, 0);
  post({ ...hello, measurement: "0".repeat(96) });
  await assert.rejects(promise, (error) => error.code === "launch_refused" && error.details.cause === "wrong-pin");
  assert.equal(handshakes.length, 0);
  assert.equal(document.body.children.length, 0, "the frame is gone");
  assert.deepEqual([...timers.values()], []);
});

test("a loader that refuses, a store that fails and a worker that fails are told, and nothing is left", async () => {
  const refused = await begin();
  post({ kmsEnclave: 1, type: "refused", reason: "policy", message: "another policy" });
  await assert.rejects(refused.promise, { code: "launch_refused", message: /another policy/ });

  const { promise } = await begin({ held: () => Promise.reject(new KmsError("storage_full", "share: full")) });
  await assert.rejects(promise, { code: "storage_full" });

  const failing = await begin();
  post(hello);
  await turns();
  failing.handshakes[0].loader.postMessage({ type: "failed", code: "integrity", message: "other bytes" });
  await assert.rejects(failing.promise, { code: "integrity" });
  assert.equal(document.body.children.length, 0);
  assert.deepEqual([...timers.values()], []);
});

test("timeoutMs ends it, says what it waited for, and takes the frame away", async () => {
  globalThis.fetch = (url) => (String(url).endsWith(".wasm") ? Promise.resolve(new Response(new Uint8Array(8))) : new Promise(() => {}));
  const { promise } = await begin({ timeoutMs: 100, held: () => new Promise(() => {}) });
  post(hello);
  await assert.rejects(promise, { code: "timeout", retryable: true, message: /not within 100 ms; still waiting for: share/ });
  assert.equal(document.body.children.length, 0);
  assert.deepEqual([...timers.values()], []);
});

test("no frame where none can load, and no launch in an old browser", async () => {
  const { promise } = await begin({ container: document.createElement("div") });
  await assert.rejects(promise, { code: "invalid_request" });
  globalThis.isSecureContext = false;
  await assert.rejects((await begin()).promise, { code: "unsupported" });
});
