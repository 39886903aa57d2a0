// Requests to a relay: how long, how often, and what its problems become; and its stream of events.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { KmsError } from "../errors.js";
import { allowRelay } from "../push.js";
import { RelayClient } from "../push-client.js";
import { eventsOf } from "../push-events.js";
import { isLow } from "../push-status.js";
import { APP, problem, RELAY, World } from "./push-standins.js";

/** @type {World} */ let world;
beforeEach(() => {
  world = new World();
  world.relay.set("id", { sent: 0, tokens: [] });
});

const state = (options = {}) => new RelayClient(RELAY).state("id", "secret", options);
const failure = (promise) => promise.then(() => assert.fail("nothing failed"), (error) => error);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("what a relay says to try later is tried then, and not before", async () => {
  let first = true;
  world.fails.set("GET", () => first && ((first = false), { status: 503, problem: "unavailable", headers: { "retry-after": "1" } }));
  const from = Date.now();
  assert.equal((await state()).sent, 0);
  assert.ok(Date.now() - from >= 990, `${Date.now() - from} ms`);
});

test("a Retry-After that is too long to wait is the caller's to know", async () => {
  for (const [header, seconds] of [["600", 600], [new Date(Date.now() + 600_000).toUTCString(), 600], ["soon", undefined]]) {
    world.requests = [];
    world.fails.set("GET", { status: 429, problem: "too-many-requests", headers: { "retry-after": header } });
    const { code, retryable, details } = await failure(state());
    assert.deepEqual([code, retryable], ["quota_exceeded", true]);
    if (seconds) assert.ok(Math.abs(details.retryAfter - seconds) < 3 && world.requests.length === 1, header);
    else assert.deepEqual([details.retryAfter, world.requests.length], [undefined, 3]);
  }
});

for (const [code, status, word] of [["denied", 401, "unauthorized"], ["denied", 403, "forbidden"], ["not_found", 404, "unknown-subscription"], ["denied", 422, "stash-refused"], ["invalid_request", 413, "too-large"], ["internal", 418, "teapot"]]) {
  test(`the relay's problem ${word} is ${code}`, async () => {
    world.fails.set("GET", { status, problem: word });
    const error = await failure(state());
    assert.ok(error instanceof KmsError);
    assert.deepEqual([error.code, error.retryable, error.details], [code, false, { relay: RELAY, status, problem: word }]);
    assert.equal(world.requests.length, 1);
  });
}

for (const [what, body] of [["HTML", "<p>not found"], ["a state of another form", '{"id":1}'], ["a huge answer", `${JSON.stringify({ id: "id", sent: 0, failed: 0, queued: 0, tokens: { left: 0, until: 0 }, state: "active" })}${" ".repeat(100_000)}`]]) {
  test(`${what} is not a relay's`, async () => {
    world.fails.set("GET", () => new Response(body));
    assert.equal((await failure(state())).code, "unsupported");
  });
}

test("a relay that does not answer is given ten seconds, and the caller's signal ends it at once", async (t) => {
  const hang = ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(new Error("aborted"))));
  world.fails.set("GET", hang);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 20);
  assert.equal((await failure(state({ signal: stop.signal }))).code, "cancelled");
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const failing = failure(state());
  for (let i = 0; i < 60; i += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(1000);
  }
  const error = await failing;
  assert.deepEqual([error.code, error.retryable], ["timeout", true]);
});

async function* pieces(...texts) {
  for (const text of texts) yield new TextEncoder().encode(text);
}
const streamOf = (...texts) => ReadableStream.from(pieces(...texts));
const all = async (stream, silenceMs = 1000) => {
  const events = [];
  for await (const event of eventsOf(stream, silenceMs)) events.push(event);
  return events;
};

test("events, however they are cut; comments are none", async () => {
  const text = ': relay\n\nid: 7\nevent: receipt\ndata: {"a":\ndata: 1}\n\n: \n\nevent: tokens\ndata:{}\n\nevent: half\ndata: x';
  const wanted = [{ id: "7", type: "receipt", data: '{"a":\n1}' }, { id: undefined, type: "tokens", data: "{}" }];
  assert.deepEqual(await all(streamOf(text)), wanted);
  assert.deepEqual(await all(streamOf(...text)), wanted);
});

test("a stream that is silent, or has no end of an event, ends", async () => {
  assert.deepEqual(await all(new ReadableStream({ pull: () => new Promise(() => {}) }), 20), []);
  assert.deepEqual(await all(streamOf("data: ", "x".repeat(70_000), "\n\ndata: y\n\n")), []);
});

const now = () => Math.floor(Date.now() / 1000);
test("a stash is low when it is used up, or near its end with more to be had; not by the relay's measure", () => {
  const terms = { tokenSeconds: 900, leaseUntil: now() + 7200 };
  assert.equal(isLow({ left: 1, until: now() + 900 }, terms), true);
  assert.equal(isLow({ left: 4, until: now() + 900 }, terms), false, "a relay calls this low");
  assert.equal(isLow({ left: 4, until: now() + 100 }, terms), true);
  assert.equal(isLow({ left: 4, until: now() + 100 }, { ...terms, leaseUntil: now() + 101 }), false, "there is no more to be had");
});

test("watching: receipts and alerts are told, the stash is renewed once, and it goes on where it was", { timeout: 20_000 }, async () => {
  const relay = await allowRelay(world.kms, { relay: RELAY, worker: "/worker.js", scope: "/push/", contact: "mailto:push@app.example" });
  const streams = [
    ['id: 5\nevent: receipt\ndata: {"message":"m","outcome":"sent","status":201,"sent":1,"at":2}\n\n', 'id: 6\nevent: tokens\ndata: {"left":1,"until":9}\n\nid: 7\nevent: tokens\ndata: {"left":0,"until":0}\n\n'],
    [], "over",
  ];
  world.fails.set("GET /events", () => {
    const next = streams.shift();
    return next === "over" ? problem(404, "unknown-subscription") : new Response(streamOf(...next), { headers: { "content-type": "text/event-stream" } });
  });
  const events = [];
  relay.watch((event) => events.push(event));
  world.hear({ kmsPush: "alert", kind: "rate", scope: `${APP}/push/` });
  world.hear({ kmsPush: "alert", kind: "rate", scope: `${APP}/other/` });
  while (events.at(-1)?.type !== "ended") await pause(20);
  assert.deepEqual(events.map(({ type }) => type), ["alert", "receipt", "tokens", "tokens", "ended"]);
  assert.deepEqual([events[2].renewed.tokens.left, events[3].renewed, events[4].problem.code], [4, undefined, "not_found"]);
  const asked = world.requests.filter(({ name }) => name === "GET /events");
  assert.deepEqual(asked.map(({ headers }) => headers["last-event-id"]), [undefined, "7", "7"]);
  assert.equal(world.requests.filter(({ name }) => name === "PUT /tokens").length, 1);
});

test("watching: a relay that always says that it has no token is given some only now and then, whichever tab hears it", { timeout: 20_000 }, async (t) => {
  const relay = await allowRelay(world.kms, { relay: RELAY, worker: "/worker.js", scope: "/push/", contact: "mailto:push@app.example" });
  const low = 'event: tokens\ndata: {"left":0,"until":0}\n\n';
  const hear = async () => {
    const streams = [[low], "over"];
    world.fails.set("GET /events", () => {
      const next = streams.shift();
      return next === "over" ? problem(404, "unknown-subscription") : new Response(streamOf(...next), { headers: { "content-type": "text/event-stream" } });
    });
    const events = [];
    relay.watch((event) => events.push(event));
    while (events.at(-1)?.type !== "ended") await pause(20);
    return events.find(({ type }) => type === "tokens").renewed !== undefined;
  };
  const { now } = Date;
  let later = 0;
  t.mock.method(Date, "now", () => now() + later);
  const renewed = [];
  for (const seconds of [0, 1, 470, 490]) { // four tokens of sixty an hour: every eight minutes
    later = 1000 * seconds;
    renewed.push(await hear());
  }
  assert.deepEqual(renewed, [true, false, false, true]);
});

test("watching: a token that is refused is replaced once; stop ends it", { timeout: 20_000 }, async () => {
  const relay = await allowRelay(world.kms, { relay: RELAY, worker: "/worker.js", scope: "/push/", contact: "mailto:push@app.example" });
  world.fails.set("GET /events", { status: 401, problem: "unauthorized" });
  const events = [];
  const { stop } = relay.watch((event) => events.push(event));
  while (events.at(-1)?.type !== "ended") await pause(20);
  assert.deepEqual(events.map(({ type }) => type), ["problem", "ended"]);
  assert.equal(world.calls.filter((name) => name === "token.relay").length, 2);
  stop();
});

test("watching ends with the connection", async () => {
  const relay = await allowRelay(world.kms, { relay: RELAY, worker: "/worker.js", scope: "/push/", contact: "mailto:push@app.example" });
  world.fails.set("GET /events", () => new Response(streamOf(": relay\n\n"), { headers: { "content-type": "text/event-stream" } }));
  const events = [];
  relay.watch((event) => events.push(event));
  world.listeners.get("closed")({ code: "interrupted", reason: "the app closed this connection" });
  await pause(50);
  assert.deepEqual(events.map(({ type, problem }) => [type, problem.code]), [["ended", "interrupted"]]);
  assert.equal(world.listeners.size, 0);
});
