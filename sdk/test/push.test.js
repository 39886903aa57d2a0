// Relays that are allowed and revoked, with every step on the way failing once.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { KmsError } from "../errors.js";
import { allowRelay, relays } from "../push.js";
import * as store from "../push-store.js";
import { APP, RELAY, SERVICE, World } from "./push-standins.js";

const SCOPE = `${APP}/push/relay/`;
const OPTIONS = { relay: RELAY, worker: "/worker.js", scope: "/push/relay/", contact: "mailto:push@app.example" };

/** @type {World} */ let world;
beforeEach(() => {
  world = new World();
});

const allow = (options = {}, call) => allowRelay(world.kms, { ...OPTIONS, ...options }, call);
const failure = (promise) => promise.then(() => assert.fail("nothing failed"), (error) => error);
const records = async () => (await store.all("https://kms.example", "alice")).map(({ state }) => state);

test("a relay is allowed: everything in order, and read back by another page", async () => {
  const relay = await allow();
  assert.deepEqual(world.calls, [
    "GET", "lease.list", "keys.list", "keys.create", "register", "subscribe", "token.vapid", "lease.grant", "token.vapid", "token.relay", "PUT",
  ]);
  const [lease] = world.leases;
  assert.deepEqual([lease.relay, lease.service, lease.tokenSeconds, lease.expiresAt - lease.grantedAt], [RELAY, SERVICE, 43_200, 43_200]);
  assert.equal(world.relay.get(relay.id).tokens.length, 4);
  const [again] = await relays(world.kms);
  assert.deepEqual([again.relay, again.scope, again.id, again.kid, again.lease], [RELAY, SCOPE, relay.id, relay.kid, lease.id]);
  assert.deepEqual(await relays({ release: { origin: "https://kms.example", account: "bob" } }), []);
});

test("only the relay's origin is asked, without cookies, redirects or a referrer; tokens are in one header and nowhere else", async (t) => {
  const said = [];
  for (const level of ["log", "info", "warn", "error", "debug"]) t.mock.method(console, level, (...args) => said.push(args));
  const relay = await allow();
  await relay.renew();
  await relay.status();
  for (const { url, origin, headers, ...rest } of world.requests) {
    assert.equal(origin, RELAY);
    assert.deepEqual([rest.credentials, rest.redirect, rest.referrerPolicy, rest.cache], ["omit", "error", "no-referrer", "no-store"]);
    assert.ok(!url.includes("secret"), url);
  }
  world.fails.set("PUT /tokens", { status: 422, problem: "stash-refused" });
  const error = await failure(relay.renew());
  assert.deepEqual([error.code, error.details.problem, error.retryable], ["denied", "stash-refused", false]);
  assert.ok(!JSON.stringify([error.message, error.details, String(error.stack), said]).includes("secret"));
});

for (const [member, value] of Object.entries({ relay: "https://relay.example/path", scope: "https://other.example/", worker: "https://cdn.example/w.js", contact: "somebody", lifeSeconds: 10, tokenSeconds: 86_401, stash: 1, pushesPerHour: 0, perHour: 241, strange: 1, module: "yes" })) {
  test(`options: ${member} ${JSON.stringify(value)} is refused before anything is done`, async () => {
    const error = await failure(allow({ [member]: value }));
    assert.deepEqual([error.code, error.details.member, world.calls.length], ["invalid_request", member, 0]);
  });
}

const no = new KmsError("cancelled", "the user said no");
const never = new Error("network");
// Which step fails, how, and what only a dialog could undo.
const steps = {
  "relay: unreachable": ["GET", never, "relay", "interrupted", []],
  "relay: not one": ["GET", () => Response.json({ hello: "world" }), "relay", "unsupported", []],
  "key": ["keys.create", new KmsError("quota_exceeded", "full"), "key", "quota_exceeded", []],
  "worker": ["register", new TypeError("no such script"), "worker", "unsupported", ["key"]],
  "subscription: not allowed": ["subscribe", Object.assign(new Error("no"), { name: "NotAllowedError" }), "subscription", "denied", ["key"]],
  "contact": ["token.vapid", new KmsError("invalid_request", "a public domain wanted"), "contact", "invalid_request", ["key"]],
  "lease: the user says no": ["lease.grant", no, "lease", "cancelled", ["key"]],
  "tokens": ["token.relay", new KmsError("quota_exceeded", "too many"), "tokens", "quota_exceeded", ["key", "lease"]],
  "register: refused": ["PUT", { status: 422, problem: "endpoint-refused" }, "register", "denied", ["key", "lease"]],
};
for (const [what, [name, error, step, code, left]] of Object.entries(steps)) {
  test(`allowRelay, ${what}: what was made is undone, and the next attempt succeeds`, { timeout: 30_000 }, async () => {
    world.fails.set(name, error);
    const got = await failure(allow());
    assert.deepEqual([got.code, got.details.step, got.details.left], [code, step, left]);
    assert.deepEqual([[...world.registrations.keys()], await records(), world.relay.size], [[], [], 0]);
    if (step !== "relay" && step !== "key" && step !== "worker" && name !== "subscribe") assert.ok(world.calls.includes("unsubscribe"), "the subscription was given up");
    world.fails.clear();
    await allow();
    assert.deepEqual([world.keys.length, world.leases.length], [1, 1], "the key and the lease that were left are taken");
    assert.deepEqual(await records(), ["active"]);
  });
}

test("allowRelay, record: a storage that fails at the end is undone, too", async () => {
  world.fails.set("PUT", () => void (globalThis.indexedDB = { open: () => { throw new Error("no storage"); } }));
  const before = globalThis.indexedDB;
  const error = await failure(allow());
  globalThis.indexedDB = before;
  assert.deepEqual([error.code, error.details.step, error.details.left], ["storage_unavailable", "record", ["key", "subscription", "lease"]]);
  assert.deepEqual(await records(), ["begun"], "what could not be cleared away is remembered");
  assert.deepEqual([await relays(world.kms), await records(), world.registrations.size], [[], [], 0], "and cleared by the next page");
});

test("an undo that fails is said, and done by the next page", async () => {
  world.fails.set("lease.grant", no).set("unsubscribe", new Error("later"));
  const error = await failure(allow());
  assert.deepEqual(error.details.left, ["key", "subscription"]);
  assert.deepEqual(await records(), ["begun"]);
  world.fails.clear();
  assert.deepEqual([await relays(world.kms), await records(), world.registrations.size], [[], [], 0]);
});

test("a subscription of somebody else at the scope, and a worker that was there before, are left alone", async () => {
  const registration = await navigator.serviceWorker.register("/worker.js", { scope: SCOPE });
  await registration.pushManager.subscribe({ applicationServerKey: new Uint8Array(65) });
  world.fails.set("subscribe", Object.assign(new Error("another key"), { name: "InvalidStateError" }));
  const error = await failure(allow());
  assert.deepEqual([error.code, error.details.reason], ["exists", "scope"]);
  assert.ok(registration.subscription);
  assert.ok(world.registrations.has(SCOPE));
});

test("a scope serves one relay, and a relay has one scope", async () => {
  await allow();
  const calls = world.calls.length;
  const other = await failure(allow({ relay: "https://other.example" }));
  const same = await failure(allow({ scope: "/push/second/" }));
  assert.deepEqual([other.code, other.details.reason, same.code, same.details.reason], ["exists", "scope", "exists", "relay"]);
  assert.equal(world.calls.length, calls, "nobody was asked");
});

test("two at once: one of them is told so", async () => {
  const [first, second] = await Promise.allSettled([allow(), allow()]);
  assert.deepEqual([first.status, second.reason.code, second.reason.retryable], ["fulfilled", "busy", true]);
});

test("a lease with other terms is not taken in silence", async () => {
  world.fails.set("PUT", { status: 422, problem: "endpoint-refused" });
  await failure(allow());
  world.fails.clear();
  const error = await failure(allow({ tokenSeconds: 900 }));
  assert.deepEqual([error.code, error.details.reason, error.details.lease], ["exists", "lease", world.leases[0].id]);
});

test("renew: fresh tokens while locked; the lease only when asked to", async () => {
  const relay = await allow();
  const before = world.relay.get(relay.id).tokens;
  world.locked = true;
  await relay.renew();
  assert.notDeepEqual(world.relay.get(relay.id).tokens, before);
  assert.ok(!world.calls.includes("lease.renew"));
  world.locked = false;
  await relay.renew({ lease: true });
  assert.ok(world.calls.includes("lease.renew"));
});

test("one register token is used for an hour", async () => {
  const relay = await allow();
  for (let i = 0; i < 5; i += 1) await relay.renew();
  assert.equal(world.calls.filter((name) => name === "token.relay").length, 1);
});

test("revoke: a no changes nothing", async () => {
  const relay = await allow();
  world.fails.set("lease.revoke", no);
  const from = world.calls.length;
  assert.equal((await failure(relay.revoke())).code, "cancelled");
  assert.deepEqual(world.calls.slice(from), ["lease.list", "token.relay", "lease.revoke", "lease.list"]);
  assert.deepEqual([await records(), world.relay.size, Boolean(world.registrations.get(SCOPE).subscription)], [["active"], 1, true]);
  assert.equal((await store.read(SCOPE)).record.farewell, undefined);
  await relay.renew();
});

test("revoke: the token first, then the dialog, then the rest", async () => {
  const relay = await allow();
  const from = world.calls.length;
  assert.deepEqual(await relay.revoke(), { left: [], forgotten: true });
  assert.deepEqual(world.calls.slice(from), ["lease.list", "token.relay", "lease.revoke", "unsubscribe", "DELETE", "unregister"]);
  assert.deepEqual([await records(), world.relay.size, world.registrations.size, await relays(world.kms)], [[], 0, 0, []]);
  assert.equal((await failure(relay.renew())).code, "not_found");
  assert.deepEqual(await relay.revoke(), { left: [], forgotten: true });
  assert.equal((await relay.status()).subscription, "missing");
});

for (const [name, error, step] of [["unsubscribe", new Error("no"), "unsubscribe"], ["DELETE", { status: 503, problem: "unavailable", headers: { "retry-after": "600" } }, "forget"], ["unregister", new Error("no"), "unregister"]]) {
  for (const by of ["relays", "status"]) {
    test(`revoke, ${step} fails: said, and done by the next ${by}`, async () => {
      const relay = await allow();
      world.fails.set(name, error);
      const { left } = await relay.revoke();
      const steps = step === "unsubscribe" ? [step, "unregister"] : [step];
      assert.deepEqual(left.map((each) => each.step), steps);
      assert.ok(left[0].problem instanceof KmsError);
      assert.deepEqual([await records(), world.keys[0].state], [["revoked"], "revoked"], "the permission is gone all the same");
      assert.deepEqual((await relay.status()).left.map((each) => each.step), steps, "and said again");
      world.fails.clear();
      if (by === "relays") assert.deepEqual(await relays(world.kms), []);
      else assert.deepEqual((await relay.status()).left, []);
      assert.deepEqual([await records(), world.relay.size, world.registrations.size], [[], 0, 0]);
    });
  }
}

test("revoke: without a token for the relay, or with one that it refuses, it is said that the relay keeps its record", async () => {
  const relay = await allow();
  world.fails.set("token.relay", new KmsError("quota_exceeded", "too many"));
  assert.deepEqual(await relay.revoke(), { left: [], forgotten: false });
  world = new World();
  const another = await allow();
  world.fails.set("DELETE", { status: 401, problem: "unauthorized" });
  assert.deepEqual(await another.revoke(), { left: [], forgotten: false });
  assert.deepEqual(await records(), []);
});

test("revoke: a page that ends after the user's yes leaves the rest to the next one", async () => {
  const relay = await allow();
  world.fails.set("after lease.revoke", new KmsError("interrupted", "the worker died")).set("lease.list", () => world.keys[0].state === "revoked" && new KmsError("interrupted", "gone"));
  assert.equal((await failure(relay.revoke())).code, "interrupted");
  world.fails.clear();
  await store.amend(SCOPE, { farewell: { id: relay.id, token: "secret-register-0", exp: world.now() + 3600 } }); // as the page that was killed had it
  assert.deepEqual([await relays(world.kms), await records(), world.relay.size], [[], [], 0]);
});

test("revoke: a signal that fires after the user's yes comes too late", async () => {
  const relay = await allow();
  const stop = new AbortController();
  world.fails.set("after lease.revoke", () => stop.abort());
  assert.deepEqual(await relay.revoke({ signal: stop.signal }), { left: [], forgotten: true });
});

test("resubscribe: the key and the lease that serve are kept, and nobody is asked", async () => {
  const relay = await allow();
  const { endpoint } = world.registrations.get(SCOPE).subscription;
  const from = world.calls.length;
  await relay.resubscribe();
  assert.deepEqual(world.calls.slice(from), ["lease.list", "register", "unsubscribe", "subscribe", "token.vapid", "PUT"]);
  assert.notEqual(world.relay.get(relay.id).subscription.endpoint, endpoint);
});

test("resubscribe at a relay that has lost what it knew: what arrived before is not strange for that, and a theft before and after is", { timeout: 30_000 }, async () => {
  const relay = await allow();
  await store.recount(SCOPE, (counted) => void (counted.arrived = 3));
  world.relay.get(relay.id).sent = 2;
  assert.equal((await relay.status()).arrivals.alerts[0].times, 1);
  world.relay.clear();
  await relay.resubscribe();
  assert.deepEqual((await relay.status()).arrivals.alerts.map(({ times }) => times), [1]);
  await relay.noteAlerts();
  const began = Date.now();
  assert.deepEqual((await relay.status()).arrivals.alerts, []);
  assert.ok(Date.now() - began < 400, "nothing is waited for that is known");
  await store.recount(SCOPE, (counted) => void (counted.arrived = 4));
  assert.equal((await relay.status()).arrivals.alerts.length, 1);
});

test("resubscribe: after a rotation another key, lease and id; a no leaves something to try again", async () => {
  const relay = await allow();
  const { id, kid } = relay;
  await world.kms.keys.rotate({ kid });
  assert.deepEqual((await relay.status()).advice, ["resubscribe"]);
  world.fails.set("lease.grant", no);
  assert.equal((await failure(relay.resubscribe())).code, "cancelled");
  assert.equal(world.registrations.get(SCOPE).subscription, null);
  world.fails.clear();
  await relay.resubscribe();
  assert.notEqual(relay.id, id);
  assert.equal(relay.kid, world.keys[1].kid);
  assert.equal((await store.read(SCOPE)).record.publicKey, world.keys[1].publicKey.raw);
  assert.equal(world.relay.size, 2, "nobody has a token to have the old one deleted");
});

test("resubscribe with rotate: the relay forgets the old one, later if it must be", async () => {
  const relay = await allow();
  const { id } = relay;
  world.fails.set("DELETE", { status: 503, problem: "unavailable", headers: { "retry-after": "600" } });
  await relay.resubscribe({ rotate: true });
  assert.deepEqual([world.relay.has(id), world.relay.has(relay.id)], [true, true]);
  world.fails.clear();
  assert.deepEqual((await relay.status()).left, []);
  assert.deepEqual([...world.relay.keys()], [relay.id]);
});

test("status compares: what no receipt explains is noticed once, and noted", { timeout: 30_000 }, async () => {
  const relay = await allow();
  await store.recount(SCOPE, (counted) => void (counted.arrived = 3));
  world.relay.get(relay.id).sent = 1;
  const said = await relay.status();
  assert.deepEqual([said.unexplained, said.outstanding, said.arrivals.alerts.map(({ kind, times }) => [kind, times])], [2, 0, [["unexplained", 2]]]);
  await relay.noteAlerts();
  assert.deepEqual((await relay.status()).arrivals.alerts, []);
  world.relay.get(relay.id).sent = 5;
  const later = await relay.status();
  assert.deepEqual([later.unexplained, later.outstanding], [0, 2]);
});

test("status: a receipt that comes a moment later explains", async () => {
  const relay = await allow();
  await store.recount(SCOPE, (counted) => void (counted.arrived = 1));
  setTimeout(() => (world.relay.get(relay.id).sent = 1), 200);
  const said = await relay.status();
  assert.deepEqual([said.unexplained, said.arrivals.alerts], [0, []]);
});

test("status: a relay that does not answer is a problem, and the rest is said", { timeout: 30_000 }, async () => {
  const relay = await allow();
  world.fails.set("GET", { status: 500, problem: "unavailable", headers: { "retry-after": "600" } });
  world.locked = true;
  const said = await relay.status();
  assert.deepEqual([said.locked, said.lease, said.relay, said.problem.code, said.problem.details.retryAfter, said.subscription], [true, undefined, undefined, "busy", 600, "live"]);
});
