import assert from "node:assert/strict";
import { test } from "node:test";
import { Channel } from "../channel.js";
import { Events } from "../events.js";
import { Heartbeat } from "../heartbeat.js";
import { TestClock, settled } from "./standins.js";

const once = { repeatable: false, dialog: false, timeoutMs: 1000 };
const again = { repeatable: true, dialog: false, timeoutMs: 1000 };

/** A channel whose worker is the test. */
function setUp({ attached = true } = {}) {
  const clock = new TestClock();
  const channel = new Channel(clock);
  const posted = [];
  const worker = (text) => posted.push(JSON.parse(text));
  if (attached) channel.attach(worker);
  return { clock, channel, posted, worker };
}

test("request and reply", async () => {
  const { channel, posted } = setUp();
  const call = channel.call("keys.get", { kid: "k", label: undefined }, again);
  assert.deepEqual(posted, [{ v: 1, id: 1, method: "keys.get", params: { kid: "k" } }]);
  channel.receive({ id: 7, result: {} });
  channel.receive({ id: 1, result: { key: 5 } });
  assert.deepEqual(await call, { key: 5 });
  channel.receive({ id: 1, result: { key: 6 } });
  assert.equal(channel.pending, 0);
});

test("errors keep code, message, retryable and details", async () => {
  const { channel } = setUp();
  const call = channel.call("keys.get", { kid: "" }, again);
  channel.receive({ id: 1, error: { code: "invalid_request", message: "kid: wanted", retryable: false, details: { member: "/params/kid" } } });
  await assert.rejects(call, { name: "KmsError", code: "invalid_request", message: "kid: wanted", retryable: false, details: { member: "/params/kid" } });
  const newer = channel.call("keys.get", {}, again);
  channel.receive({ id: 2, error: { code: "out_of_tea", message: "none left" } });
  await assert.rejects(newer, { code: "internal", details: { code: "out_of_tea" } });
});

test("params that are no JSON, or too long, are refused before they are posted", async () => {
  const { channel, posted } = setUp();
  const circle = {};
  circle.self = circle;
  for (const params of [circle, { n: 1n }, () => {}, { data: "x".repeat(1 << 20) }, { data: "€".repeat(350_000) }]) {
    await assert.rejects(channel.call("challenge.sign", params, once), { code: "invalid_request" });
  }
  assert.equal(posted.length, 0);
});

test("never more at once than the worker takes, in order, and queued time does not count", async () => {
  const { clock, channel, posted } = setUp();
  const calls = Array.from({ length: 600 }, (_, at) => channel.call("jwt.sign", { at }, again));
  let answered = 0;
  for (let most = 0; answered < 600; answered += 1) {
    most = Math.max(most, channel.pending);
    assert.ok(most <= 256, `${most}`);
    if (answered % 10 === 0) clock.pass(3); // posted calls wait 3 ms for every ten replies, queued ones longer
    channel.receive({ id: posted[answered].id, result: { at: posted[answered].params.at } });
  }
  assert.deepEqual(await Promise.all(calls), Array.from({ length: 600 }, (_, at) => ({ at })));
});

test("time-out: counted from posting, cancels, and frees the slot only when the worker answers", async () => {
  const { clock, channel, posted, worker } = setUp({ attached: false });
  const call = channel.call("keys.create", {}, once);
  clock.pass(5000);
  assert.equal(await settled(call), false);
  channel.attach(worker);
  clock.pass(999);
  assert.equal(await settled(call), false);
  clock.pass(1);
  await assert.rejects(call, { code: "timeout", retryable: false });
  assert.deepEqual(posted[1], { v: 1, id: 2, method: "enclave.cancel", params: { id: 1 } });
  assert.equal(channel.pending, 2);
  channel.receive({ id: 2, result: { cancelled: true } });
  channel.receive({ id: 1, error: { code: "cancelled", message: "" } });
  assert.equal(channel.pending, 0);
  assert.equal(clock.timers.size, 0);
});

test("a dialog stops the clock", async () => {
  const { clock, channel } = setUp();
  const call = channel.call("vault.destroy", {}, once);
  clock.pass(900);
  channel.pause(true);
  const other = channel.call("keys.list", {}, again);
  clock.pass(60_000);
  assert.equal(await settled(call), false);
  channel.pause(false);
  clock.pass(99);
  assert.equal(await settled(call), false);
  clock.pass(1);
  await assert.rejects(call, { code: "timeout" });
  clock.pass(899);
  assert.equal(await settled(other), false);
  clock.pass(1);
  await assert.rejects(other, { code: "timeout", retryable: true });
});

test("abort: before, queued, posted, and too late", async () => {
  const { channel, posted, worker } = setUp({ attached: false });
  await assert.rejects(channel.call("a.b", {}, { ...once, signal: AbortSignal.abort() }), { code: "cancelled" });
  const stop = new AbortController();
  const queued = channel.call("a.b", {}, { ...once, signal: stop.signal });
  stop.abort();
  await assert.rejects(queued, { code: "cancelled" });
  channel.attach(worker);
  assert.equal(posted.length, 0);

  const late = new AbortController();
  const call = channel.call("vault.create", {}, { ...once, signal: late.signal });
  late.abort();
  assert.equal(posted[1].method, "enclave.cancel");
  assert.deepEqual(posted[1].params, { id: posted[0].id });
  assert.equal(await settled(call), false, "the worker's word counts");
  channel.receive({ id: posted[0].id, result: { state: "unlocked" } });
  assert.deepEqual(await call, { state: "unlocked" });
  channel.receive({ id: posted[1].id, result: { cancelled: false } });
  assert.equal(channel.pending, 0);
});

test("cancelling works with the worker full", async () => {
  const { channel, posted } = setUp();
  const stop = new AbortController();
  const calls = Array.from({ length: 300 }, (_, at) => channel.call("jwt.sign", {}, { ...again, signal: at === 0 ? stop.signal : undefined }));
  for (const call of calls) call.catch(() => {});
  stop.abort();
  assert.equal(posted.at(-1).method, "enclave.cancel");
  assert.ok(channel.pending <= 256);
});

test("retries: harmless ones, with growing pauses, and not for ever", async () => {
  const { clock, channel, posted } = setUp();
  const conflict = { code: "conflict", message: "another tab was faster", retryable: true };
  const call = channel.call("keys.create", {}, once);
  const pauses = [];
  for (let tries = 1; tries < 4; tries += 1) {
    channel.receive({ id: posted.at(-1).id, error: conflict });
    const before = clock.time;
    while (posted.length === tries) clock.pass(1);
    pauses.push(clock.time - before);
  }
  assert.ok(pauses[0] < pauses[1] && pauses[1] < pauses[2], String(pauses));
  channel.receive({ id: posted.at(-1).id, error: conflict });
  await assert.rejects(call, { code: "conflict" });
  assert.equal(posted.length, 4);
  assert.equal(new Set(posted.map(({ id }) => id)).size, 4, "ids are never used twice");
});

test("what may have been done is repeated only where that is harmless; nobody is asked twice", async () => {
  const { clock, channel, posted } = setUp();
  const timeout = { code: "timeout", message: "storage did not answer", retryable: true };
  const create = channel.call("keys.create", {}, once);
  channel.receive({ id: 1, error: timeout });
  await assert.rejects(create, { code: "timeout" });
  const list = channel.call("keys.list", {}, again);
  channel.receive({ id: 2, error: timeout });
  clock.pass(100);
  channel.receive({ id: 3, result: { keys: [] } });
  assert.deepEqual(await list, { keys: [] });
  const destroy = channel.call("vault.destroy", {}, { ...once, dialog: true });
  channel.receive({ id: 4, error: { code: "conflict", message: "", retryable: true } });
  await assert.rejects(destroy, { code: "conflict" });
  assert.equal(posted.length, 4);
});

test("abort while backing off", async () => {
  const { clock, channel, posted } = setUp();
  const stop = new AbortController();
  const call = channel.call("keys.list", {}, { ...again, signal: stop.signal });
  channel.receive({ id: 1, error: { code: "busy", message: "", retryable: true } });
  stop.abort();
  await assert.rejects(call, { code: "cancelled" });
  clock.pass(10_000);
  assert.equal(posted.length, 1);
});

test("a lost session: repeatable calls go first to the next one, the others are interrupted", async () => {
  const { channel, posted, worker } = setUp();
  const sign = channel.call("jwt.sign", {}, again);
  const create = channel.call("keys.create", {}, once);
  channel.detach("the worker ended");
  const later = channel.call("keys.list", {}, again);
  await assert.rejects(create, { code: "interrupted", retryable: false, message: /the worker ended/ });
  channel.attach(worker);
  assert.deepEqual(posted.slice(2).map(({ method }) => method), ["jwt.sign", "keys.list"]);
  channel.receive({ id: 1, result: "of the dead" });
  channel.receive({ id: 3, result: 1 });
  channel.receive({ id: 4, result: 2 });
  assert.deepEqual(await Promise.all([sign, later]), [1, 2]);
});

test("close: everything fails, now and later", async () => {
  const { clock, channel } = setUp();
  const gone = Object.assign(new Error("closed"), { code: "interrupted" });
  const posted = channel.call("a.b", {}, again);
  const resting = channel.call("c.d", {}, again);
  channel.receive({ id: 2, error: { code: "busy", message: "", retryable: true } });
  channel.close(gone);
  for (const call of [posted, resting, channel.call("e.f", {}, again)]) await assert.rejects(call, { code: "interrupted" });
  assert.equal(clock.timers.size, 0);
});

test("drain: pending calls end, new ones wait for the next session, cancelling still works", async () => {
  const { channel, posted, worker } = setUp();
  const stop = new AbortController();
  const old = channel.call("jwt.sign", {}, { ...again, signal: stop.signal });
  const drained = channel.drain(60_000);
  const waiting = channel.call("keys.list", {}, again);
  stop.abort();
  assert.deepEqual(posted.map(({ method }) => method), ["jwt.sign", "enclave.cancel"]);
  channel.receive({ id: 2, result: { cancelled: true } });
  assert.equal(await settled(drained), false);
  channel.receive({ id: 1, error: { code: "cancelled", message: "" } });
  await drained;
  await assert.rejects(old, { code: "cancelled" });
  channel.attach(worker);
  channel.receive({ id: 3, result: 1 });
  assert.equal(await waiting, 1);
});

test("`succeeded` runs before the call resolves, also after a time-out, and its error is the call's", async () => {
  const { clock, channel } = setUp();
  const seen = [];
  const call = channel.call("vault.create", {}, { ...once, succeeded: (result) => void seen.push(result) });
  clock.pass(1000);
  await assert.rejects(call, { code: "timeout" });
  await channel.receive({ id: 1, result: "late" });
  assert.deepEqual(seen, ["late"]);
  const failing = channel.call("vault.create", {}, { ...once, succeeded: () => Promise.reject(new Error("no room for the marker")) });
  channel.receive({ id: 3, result: "created" });
  await assert.rejects(failing, { message: "no room for the marker" });
});

/** A heartbeat that answers while `alive`. */
function heart(answers) {
  const clock = new TestClock();
  const state = { alive: true, needed: true, lost: 0, pings: 0 };
  const beat = new Heartbeat(
    { ping: (id) => ((state.pings += 1), answers && state.alive && beat.pong(id)), needed: () => state.needed, lost: () => (state.lost += 1) },
    clock,
  );
  return { clock, state, beat };
}

test("heartbeat: a worker that answers lives, one that stops is lost after five seconds, nothing pending means no pings", () => {
  const { clock, state, beat } = heart(true);
  beat.watch();
  clock.pass(60_000);
  assert.equal(state.lost, 0);
  state.alive = false;
  clock.pass(5000);
  assert.equal(state.lost, 0);
  clock.pass(2000);
  assert.equal(state.lost, 1);
  state.needed = false;
  const before = state.pings;
  beat.watch();
  clock.pass(60_000);
  assert.equal(state.pings, before);
  assert.equal(clock.timers.size, 0);
});

test("heartbeat: time that a page slept through is not the worker's silence", () => {
  const { clock, state, beat } = heart(false);
  beat.watch();
  clock.pass(4000);
  for (const timer of clock.timers.values()) timer.at += 3_600_000; // the timer fires an hour late
  clock.pass(3_600_000 + 4000);
  assert.equal(state.lost, 0);
});

test("events: kept until released, then delivered; a throwing listener harms nobody", () => {
  const events = new Events();
  const seen = [];
  globalThis.reportError ??= () => {};
  events.emit("unlocked", 1);
  events.on("unlocked", () => {
    throw new Error("app's own trouble");
  });
  const listener = (data) => seen.push(data);
  events.on("unlocked", listener);
  events.release();
  events.emit("unlocked", 2);
  events.off("unlocked", listener);
  events.emit("unlocked", 3);
  assert.deepEqual(seen, [1, 2]);
  assert.throws(() => events.on("opened", listener), { code: "invalid_request" });
  assert.throws(() => events.on("locked", undefined), { code: "invalid_request" });
});
