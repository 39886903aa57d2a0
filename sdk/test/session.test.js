import assert from "node:assert/strict";
import { test } from "node:test";
import { Session } from "../session.js";

/** A session whose loader and worker are the test. */
function setUp(t) {
  const heard = [];
  const handshakes = [];
  const listener = Object.fromEntries(["message", "dialog", "pong", "left", "died"].map((name) => [name, (what) => heard.push([name, what])]));
  const view = {
    removed: false,
    iframe: { contentWindow: { postMessage: (...args) => handshakes.push(args) } },
    remove: () => (view.removed = true),
    show: (open) => heard.push(["show", open]),
  };
  const page = new EventTarget();
  const session = new Session(view, listener, page);
  session.connect("https://kms.example", { account: "alice", share: new Uint8Array(32), marker: true, wasm: new ArrayBuffer(8) });
  const [[message, origin, transfer]] = handshakes;
  const [worker, loader] = transfer;
  t.after(() => (session.dispose(), worker.close(), loader.close()));
  return { session, view, page, heard, message, origin, transfer, worker, loader };
}

/** Until so many were heard; and a little longer, for what must not be. */
async function hear(heard, n) {
  for (const end = Date.now() + 5000; heard.length < n && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 10));
}

test("the handshake goes to the enclave's origin only, with two ports and the module handed over", (t) => {
  const { message, origin, transfer } = setUp(t);
  assert.equal(origin, "https://kms.example");
  assert.deepEqual(Object.keys(message).sort(), ["account", "kmsEnclave", "marker", "share", "type", "wasm"]);
  assert.equal(message.type, "connect");
  assert.equal(transfer.length, 3);
  assert.equal(transfer[2], message.wasm);
});

test("the first event starts it; replies, other events and pongs are the listener's", async (t) => {
  const { session, heard, worker, loader } = setUp(t);
  worker.postMessage('{"event":"ready","data":{"memory":5}}');
  assert.deepEqual(await session.started, { memory: 5 });
  worker.postMessage('{"id":1,"result":{}}');
  worker.postMessage({ id: 2 }); // not text, not ours
  loader.postMessage({ type: "dialog", open: true });
  loader.postMessage({ type: "dialog", open: "yes" });
  loader.postMessage({ type: "pong", id: 3 });
  loader.postMessage({ type: "pong", id: "3" });
  loader.postMessage("noise");
  loader.postMessage(null);
  await hear(heard, 4);
  assert.deepEqual(heard.filter(([name]) => name === "message"), [["message", '{"id":1,"result":{}}']]);
  assert.deepEqual(heard.filter(([name]) => name !== "message"), [["dialog", true], ["dialog", false], ["pong", 3]]);
});

test("a worker that cannot start says why: known codes stay, others are launch_refused", async (t) => {
  for (const [sent, code] of [["integrity", "integrity"], ["unsupported", "unsupported"], ["made_up", "launch_refused"], [undefined, "launch_refused"]]) {
    const { session, loader } = setUp(t);
    loader.postMessage({ type: "failed", code: sent, message: "no." });
    await assert.rejects(session.started, { name: "KmsError", code, message: /did not start: no$/ });
  }
  const refused = setUp(t);
  refused.loader.postMessage({ type: "refused", reason: "handshake", message: "malformed" });
  await assert.rejects(refused.session.started, { code: "launch_refused", details: { cause: "refused", reason: "handshake" } });
});

test("death is told once, and nothing after it", async (t) => {
  const { session, heard, worker, loader } = setUp(t);
  loader.postMessage({ type: "died", message: "trap." });
  loader.postMessage({ type: "died", message: "again" });
  await hear(heard, 1);
  worker.postMessage('{"id":1,"result":{}}');
  loader.postMessage({ type: "dialog", open: true });
  worker.close();
  await hear(heard, 1);
  assert.deepEqual(heard, [["died", "the enclave's worker ended (trap)"]]);
  await assert.rejects(session.started, { code: "launch_refused" });
});

test("a page that is left is no death; a start that it ends says so, and may be tried again", async (t) => {
  const { session, heard, worker, loader } = setUp(t);
  loader.postMessage({ type: "left" });
  loader.postMessage({ type: "died", message: "late" });
  await hear(heard, 1);
  worker.close();
  await hear(heard, 1);
  assert.deepEqual(heard, [["left", undefined]]);
  await assert.rejects(session.started, { code: "launch_refused", retryable: true, details: { cause: "left" } });
});

test("a page that is left takes the frame away at once, and is told when it is shown again", async (t) => {
  const { view, page, heard, worker, loader } = setUp(t);
  page.dispatchEvent(new Event("pagehide"));
  assert.equal(view.removed, true);
  loader.postMessage({ type: "left" });
  worker.close();
  await hear(heard, 0);
  assert.deepEqual(heard, []);
  page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
  assert.deepEqual(heard, []);
  for (let i = 0; i < 2; i++) page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.deepEqual(heard, [["left", undefined]]);
});

test("a port that is closed at the other end is a death", async (t) => {
  const { heard, worker } = setUp(t);
  worker.close();
  await hear(heard, 1);
  assert.deepEqual(heard.map(([name]) => name), ["died"]);
});

test("dispose takes the frame away, without a word to the listener", async (t) => {
  const { session, view, heard, loader } = setUp(t);
  session.dispose();
  loader.postMessage({ type: "died", message: "late" });
  await hear(heard, 0);
  assert.equal(view.removed, true);
  assert.deepEqual(heard, []);
});
