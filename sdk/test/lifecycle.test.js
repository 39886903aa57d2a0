// One connection: workers and their ends, time, dialogs, events, arguments.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KmsError } from "../errors.js";
import { settled, turns } from "./standins.js";
import { DEVICE, answer, clock, enclave, methods, newStore, outcome, record, session, silence, tab } from "./tab.js";

test("a worker that dies is replaced once: repeatable calls are repeated, others are interrupted, what waits is posted", async () => {
  const kms = await tab();
  for (const method of ["jwt.sign", "keys.create", "vault.destroy"]) enclave.held.add(method);
  await kms.call("vault.create", DEVICE);
  const [sign, create, destroy] = [kms.call("jwt.sign", {}), outcome(kms.call("keys.create", {})), outcome(kms.call("vault.destroy", {}))];
  await turns();
  enclave.held.clear();
  session().die();
  const later = kms.call("keys.list", {});
  await Promise.all([sign, later]);
  assert.deepEqual([await create, await destroy], ["interrupted", "interrupted"]);
  assert.deepEqual(methods(), ["jwt.sign", "keys.list"]);
  assert.equal(enclave.sessions.length, 2);
  assert.deepEqual(kms.closed, []);
});

test("a second death ends the connection: everything is interrupted, now and later, and closed is emitted once", async () => {
  const kms = await tab();
  session().die();
  await turns();
  enclave.held.add("jwt.sign");
  const sign = outcome(kms.call("jwt.sign", {}));
  await turns();
  session().die();
  assert.equal(await sign, "interrupted");
  assert.equal(await outcome(kms.call("keys.list", {})), "interrupted");
  assert.equal(await outcome(kms.call("vault.create", DEVICE)), "interrupted");
  assert.deepEqual(kms.closed, ["interrupted"]);
  kms.close();
  assert.deepEqual(kms.closed, ["interrupted"]);
  assert.equal(session().open, false);
});

test("a page that is left and shown again gets a new worker, however often, and that counts as no death", async () => {
  const kms = await tab();
  for (let trips = 1; trips <= 3; trips += 1) {
    enclave.held.add("jwt.sign");
    const sign = kms.call("jwt.sign", {}, { timeoutMs: 60_000 });
    await turns();
    enclave.held.clear();
    session().leave();
    await sign;
    assert.equal(enclave.sessions.length, trips + 1);
  }
  session().die(); // the first one
  await kms.call("keys.list", {});
  assert.deepEqual([enclave.sessions.length, kms.closed], [5, []]);
  assert.deepEqual(enclave.sessions.map(({ open }) => open), [false, false, false, false, true]);
});

test("a page that is left while its worker starts again is no refusal: it is started once more", async () => {
  let launches = 0;
  const launch = (...args) => {
    launches += 1;
    const left = new KmsError("launch_refused", "while it started, the page was left", { retryable: true, details: { cause: "left" } });
    return launches === 2 || launches === 3 ? Promise.reject(left) : enclave.launch(...args);
  };
  const kms = await tab({ launch });
  session().leave();
  await kms.call("keys.list", {});
  assert.deepEqual([launches, kms.closed], [4, []]);
});

test("a restart that is refused ends the connection with that reason", async () => {
  let launches = 0;
  const launch = (...args) => (++launches === 1 ? enclave.launch(...args) : Promise.reject(new KmsError("launch_refused", "another release")));
  const kms = await tab({ launch });
  session().die();
  assert.equal(await outcome(kms.call("keys.list", {})), "launch_refused");
  assert.deepEqual(kms.closed, ["launch_refused"]);
});

test("a worker that answers neither calls nor pings is replaced", async () => {
  const kms = await tab();
  enclave.held.add("jwt.sign");
  session().ping = () => {};
  const sign = kms.call("jwt.sign", {}, { timeoutMs: 60_000 });
  await turns();
  enclave.held.clear();
  clock.pass(10_000);
  await sign;
  assert.equal(enclave.sessions.length, 2);
});

test("interrupted in a reply: repeated where that is harmless, never elsewhere, and not called retryable there", async () => {
  const kms = await tab();
  await kms.call("vault.create", DEVICE);
  for (const method of ["jwt.sign", "keys.create"]) enclave.held.add(method);
  const interrupted = { code: "interrupted", message: "the vault was closed meanwhile", retryable: true };
  for (const method of ["jwt.sign", "keys.create"]) {
    const call = kms.call(method, {});
    call.catch(() => {});
    await turns();
    session().reply({ id: session().posted.at(-1).id, error: interrupted });
    await turns();
    clock.pass(500);
    await turns();
    const posted = methods().filter((each) => each === method).length;
    if (method === "jwt.sign") {
      assert.equal(posted, 2);
    } else {
      await assert.rejects(call, { code: "interrupted", retryable: false });
      assert.equal(posted, 1);
    }
  }
});

test("timeoutMs and signal end a call whose storage does not answer", async () => {
  for (const method of ["vault.create", "vault.destroy"]) {
    const store = newStore();
    const kms = await tab({ store });
    silence(store);
    const late = kms.call(method, DEVICE, { timeoutMs: 500 });
    late.catch(() => {});
    await turns();
    clock.pass(499);
    assert.equal(await settled(late), false);
    clock.pass(1);
    await assert.rejects(late, { code: "timeout", retryable: true });
    const stop = new AbortController();
    const aborted = kms.call(method, DEVICE, { signal: stop.signal });
    await turns();
    stop.abort();
    await assert.rejects(aborted, { code: "cancelled" });
    assert.deepEqual(methods(), [], "nothing was posted");
    assert.equal(clock.timers.size, 0);
  }
});

test("timeoutMs is one budget: what the SDK does after the reply is in it", async () => {
  const store = newStore();
  const kms = await tab({ store });
  enclave.held.add("vault.create");
  const create = kms.call("vault.create", DEVICE, { timeoutMs: 500 });
  create.catch(() => {});
  await turns();
  silence(store);
  clock.pass(300);
  answer("vault.create");
  await turns();
  clock.pass(199);
  assert.equal(await settled(create), false);
  clock.pass(1);
  await assert.rejects(create, { code: "timeout", retryable: false, message: /has answered/ });
});

test("signal after the enclave has answered: the answer counts, and nothing more is waited for", async () => {
  const store = newStore();
  const kms = await tab({ store });
  store.mark = () => new Promise(() => {});
  const stop = new AbortController();
  const create = kms.call("vault.create", DEVICE, { signal: stop.signal });
  await turns();
  assert.equal(await settled(create), false);
  stop.abort();
  assert.equal((await create).state, "unlocked");

  enclave.vault = null;
  enclave.held.add("vault.create");
  const early = new AbortController();
  const posted = kms.call("vault.create", DEVICE, { signal: early.signal });
  await turns();
  early.abort(); // the worker does it all the same
  session().answer(session().posted.findLast(({ method }) => method === "vault.create"));
  assert.equal((await posted).state, "unlocked");
});

test("a dialog stops the time of calls that wait for it to be started again", async () => {
  const kms = await tab();
  const other = await tab();
  await other.call("vault.create", DEVICE);
  await other.call("vault.destroy", {});
  const [first] = enclave.sessions;
  enclave.held.add("slots.add");
  const asking = outcome(kms.call("slots.add", {}));
  await turns();
  first.dialog(true);
  const create = kms.call("vault.create", DEVICE, { timeoutMs: 500 }); // needs the new share, and so a new launch
  await turns();
  clock.pass(60_000);
  assert.equal(await settled(create), false);
  first.dialog(false);
  first.reply({ id: first.posted.at(-1).id, error: { code: "cancelled", message: "" } });
  assert.equal(await asking, "cancelled");
  assert.equal((await create).state, "unlocked");
  assert.deepEqual(methods(), ["vault.create"]);
});

test("a new launch does not wait for ever for a worker that leaves a call unanswered", async () => {
  const kms = await tab();
  const other = await tab();
  await other.call("vault.create", DEVICE);
  await other.call("vault.destroy", {});
  for (const method of ["keys.create", "jwt.sign"]) enclave.held.add(method);
  const [stuck, sign] = [outcome(kms.call("keys.create", {}, { timeoutMs: 60_000 })), kms.call("jwt.sign", {}, { timeoutMs: 60_000 })];
  const create = kms.call("vault.create", DEVICE, { timeoutMs: 30_000 });
  await turns();
  enclave.held.clear();
  clock.pass(1000);
  assert.equal((await create).state, "unlocked");
  assert.equal(await stuck, "interrupted");
  await sign;
});

test("calls wait out a new launch, and none of them is lost", async () => {
  const kms = await tab();
  const other = await tab();
  await other.call("vault.create", DEVICE);
  await other.call("vault.destroy", {});
  const results = await Promise.all([kms.call("vault.create", DEVICE), kms.call("keys.list", {}), kms.call("jwt.sign", {}), outcome(kms.call("vault.create", DEVICE))]);
  assert.equal(results[3], "exists");
  assert.equal(enclave.sessions.length, 3, "one new launch for both");
  assert.equal(record().marker, true);
});

test("close while a call is being prepared, queued or posted", async () => {
  const store = newStore();
  const kms = await tab({ store });
  enclave.held.add("jwt.sign");
  const posted = outcome(kms.call("jwt.sign", {}));
  await turns();
  silence(store);
  const preparing = outcome(kms.call("vault.create", DEVICE));
  await turns();
  kms.close();
  assert.deepEqual([await posted, await preparing], ["interrupted", "interrupted"]);
  assert.deepEqual(kms.closed, ["interrupted"]);
  assert.equal(clock.timers.size, 0);
});

test("the worker dies while a new launch waits for it", async () => {
  let launches = 0;
  const launch = async (...args) => {
    if (++launches > 1) await turns(); // longer than storage takes
    return await enclave.launch(...args);
  };
  const kms = await tab({ launch });
  const other = await tab();
  await other.call("vault.create", DEVICE);
  await other.call("vault.destroy", {});
  enclave.held.add("jwt.sign");
  const sign = kms.call("jwt.sign", {}, { timeoutMs: 60_000 });
  const create = kms.call("vault.create", DEVICE);
  await turns();
  enclave.held.clear();
  enclave.sessions[0].die();
  assert.equal((await create).state, "unlocked");
  await sign;
  assert.equal(enclave.vault.share, String(record().share));
});

test("locked and unlocked reach their listeners as the enclave tells them", async () => {
  const kms = await tab();
  const heard = [];
  for (const event of ["locked", "unlocked"]) kms.events.on(event, (data) => heard.push([event, data]));
  session().reply({ event: "locked", data: { state: "locked", reason: "idle" } });
  session().reply({ event: "unlocked" });
  assert.deepEqual(heard, [["locked", { state: "locked", reason: "idle" }], ["unlocked", undefined]]);
});

test("a call that is called off while its dialog is open asks the enclave to close it, and the frame goes when that says so", async () => {
  const kms = await tab();
  enclave.held.add("recovery.enable");
  const stop = new AbortController();
  const call = outcome(kms.call("recovery.enable", {}, { signal: stop.signal, timeoutMs: 500 }));
  await turns();
  const { id } = session().posted.at(-1);
  session().dialog(true); // once, however many screens follow
  clock.pass(9 * 60_000);
  assert.equal(session().shown, true);
  stop.abort();
  assert.deepEqual(session().posted.at(-1).params, { id });
  assert.equal(session().posted.at(-1).method, "enclave.cancel");
  session().dialog(false);
  session().reply({ id, error: { code: "cancelled", message: "" } });
  assert.equal(await call, "cancelled");
  assert.equal(session().shown, false);
  assert.equal(clock.timers.size <= 1, true, "nothing but the heartbeat");
});

test("bad arguments", async () => {
  const kms = await tab();
  for (const timeoutMs of [0, -1, NaN, Infinity, 2 ** 31, "5"]) await assert.rejects(kms.call("keys.list", {}, { timeoutMs }), { code: "invalid_request" });
  await assert.rejects(kms.call(5, {}), { code: "invalid_request" });
});
