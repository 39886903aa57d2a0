import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { KmsError } from "../errors.js";
import { Connection } from "../lifecycle.js";
import { ShareStore } from "../share.js";
import { EnclaveStandIn, IndexedDBStandIn, TestClock, settled, turns } from "./standins.js";

const ORIGIN = "https://kms.example";
const DEVICE = { persistence: "device", lock: "none" };
const BUSY = { code: "busy", message: "busy", retryable: true };

let enclave, clock;

beforeEach(() => {
  globalThis.indexedDB = new IndexedDBStandIn();
  enclave = new EnclaveStandIn();
  clock = new TestClock();
});

const record = () => indexedDB.record("kms-enclave-sdk", [ORIGIN, "alice"]);

/** A tab with a connection. */
async function tab({ store = new ShareStore(ORIGIN, "alice"), launch = enclave.launch } = {}) {
  const connection = new Connection({ store, timeoutMs: 1000 }, { launch, clock });
  connection.events.release();
  const closed = [];
  connection.events.on("closed", (data) => closed.push(data.code));
  await connection.open();
  return Object.assign(connection, { closed });
}

const session = () => enclave.sessions.at(-1);
const methods = (of = session()) => of.posted.map(({ method }) => method);

/** Has the worker answer what it was posted first and has kept. */
const answer = (method, of = session()) => of.answer(of.posted.find((request) => request.method === method));

/** A store that does not answer from now on. */
function silence(store) {
  for (const name of ["obtain", "begin", "read", "mark", "forget", "heal"]) store[name] = () => new Promise(() => {});
  return store;
}

/** What a call came to, as one word. */
const outcome = (promise) => promise.then(() => "done", (error) => (error instanceof KmsError ? error.code : Promise.reject(error)));

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
    const store = new ShareStore(ORIGIN, "alice");
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
  const store = new ShareStore(ORIGIN, "alice");
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
  const store = new ShareStore(ORIGIN, "alice");
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
  const store = new ShareStore(ORIGIN, "alice");
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

test("a creation that is called off before it is posted keeps no share", async () => {
  const kms = await tab();
  await kms.call("vault.create", DEVICE);
  assert.equal(await outcome(kms.call("vault.create", DEVICE)), "exists");
  const stop = new AbortController();
  const create = outcome(kms.call("vault.create", DEVICE, { signal: stop.signal }));
  stop.abort();
  assert.equal(await create, "cancelled");
  await turns();
  assert.equal(record().begun, 3);
  assert.equal(record().ended, 3);
  await kms.call("vault.destroy", {});
  assert.deepEqual([record().share, record().marker], [null, false]);
});

test("a creation that was refused as busy, then called off, is ended; one that timed out is not, until its reply", async () => {
  const kms = await tab();
  enclave.held.add("vault.create");
  const stop = new AbortController();
  const busy = outcome(kms.call("vault.create", DEVICE, { signal: stop.signal }));
  await turns();
  session().reply({ id: session().posted.at(-1).id, error: BUSY });
  await turns();
  stop.abort();
  assert.equal(await busy, "cancelled");
  await turns();
  assert.deepEqual([record().begun, record().ended], [1, 1]);

  const late = outcome(kms.call("vault.create", DEVICE));
  await turns();
  clock.pass(1000);
  assert.equal(await late, "timeout");
  await turns();
  assert.deepEqual([record().begun, record().ended], [2, 1]);
  const posted = session().posted.findLast(({ method }) => method === "vault.create");
  session().reply({ id: posted.id, error: { code: "exists", message: "" } });
  await turns();
  assert.deepEqual([record().begun, record().ended], [2, 2]);
});

test("a creation that timed out and was done all the same is marked", async () => {
  const kms = await tab();
  enclave.held.add("vault.create");
  const late = outcome(kms.call("vault.create", DEVICE));
  await turns();
  clock.pass(1000);
  assert.equal(await late, "timeout");
  answer("vault.create");
  await turns();
  assert.equal(record().marker, true);
});

test("two tabs destroy at once, and one of them makes a new vault before the other hears of it", async () => {
  const [a, b] = [await tab(), await tab()];
  await a.call("vault.create", DEVICE);
  const [ofA] = enclave.sessions;
  enclave.held.add("vault.destroy");
  const slow = a.call("vault.destroy", {});
  await turns();
  enclave.held.clear();
  await b.call("vault.destroy", {});
  await b.call("vault.create", DEVICE);
  ofA.reply({ id: ofA.posted.at(-1).id, result: {} }); // it wiped what b wiped as well
  await slow;
  await turns();
  assert.equal(String(record().share), enclave.vault.share);
  assert.equal(record().marker, true);
});

test("a tab whose worker has an old share or marker does not call another tab's vault lost", async () => {
  const [a, b] = [await tab(), await tab()];
  await a.call("vault.create", DEVICE);
  const c = await tab(); // launched with the marker
  await a.call("vault.destroy", {});
  assert.equal((await c.call("vault.status", {})).state, "absent");
  await a.call("vault.create", DEVICE);
  assert.equal((await b.call("vault.status", {})).state, "unlocked");
  assert.equal((await c.call("vault.status", {})).state, "unlocked");
});

test("loss stays loss: one more status, and no launch without end", async () => {
  const a = await tab();
  await a.call("vault.create", DEVICE);
  enclave.vault = null; // evicted
  const launches = enclave.sessions.length;
  assert.deepEqual(await a.call("vault.status", {}), { state: "lost", reason: "marker-without-vault" });
  assert.deepEqual(await a.call("vault.status", {}), { state: "lost", reason: "marker-without-vault" });
  assert.ok(enclave.sessions.length <= launches + 1);
  assert.equal(await outcome(a.call("vault.create", DEVICE)), "not_found");
});

test("a worker that does not know of a vault made elsewhere sets none up in silence", async () => {
  const [a, b] = [await tab(), await tab()];
  await a.call("vault.create", DEVICE);
  enclave.vault = null; // evicted
  assert.equal(await outcome(b.call("vault.create", DEVICE)), "not_found");
  assert.equal(record().marker, true);
});

test("destroying asks about the vault that is there, with the right share", async () => {
  const [a, b] = [await tab(), await tab()];
  await a.call("vault.create", DEVICE);
  await a.call("vault.destroy", {});
  await a.call("vault.create", DEVICE);
  const before = enclave.sessions.length;
  await b.call("vault.destroy", {});
  assert.equal(enclave.sessions.length, before + 1);
  assert.deepEqual([record().share, record().marker], [null, false]);
});

const V = "V".repeat(22);
const lineage = (epoch) => ({ vault: V, epoch });
const RESTORE = { lock: "none" };
const posted = (method) => session().posted.findLast((request) => request.method === method)?.params;

test("a lost vault is restored: the marker stays, and the SDK says what it saw last of it", async () => {
  const kms = await tab();
  enclave.lineages = [lineage(1), lineage(4)];
  await kms.call("vault.create", DEVICE);
  assert.deepEqual(record().lineage, lineage(1));
  enclave.vault.lineage = lineage(3);
  await kms.call("vault.status", {});
  await turns();
  enclave.vault = null; // evicted
  assert.equal((await kms.call("vault.status", {})).state, "lost");
  assert.equal((await kms.call("backup.restore", RESTORE)).state, "unlocked");
  assert.deepEqual(posted("backup.restore"), { ...RESTORE, seen: lineage(3) });
  assert.deepEqual([record().marker, record().lineage], [true, lineage(4)]);
  assert.equal(record().begun, record().ended);
  assert.equal(enclave.vault.share, String(record().share));
});

test("what the app itself says it has seen is passed on; without a memory nothing is said", async () => {
  const kms = await tab();
  enclave.lineages = [lineage(2), lineage(1)];
  await kms.call("vault.create", DEVICE);
  await kms.call("vault.destroy", {});
  assert.equal(record().lineage, null);
  await kms.call("backup.restore", RESTORE);
  assert.deepEqual(posted("backup.restore"), RESTORE);
  enclave.vault = null;
  await kms.call("backup.restore", { ...RESTORE, seen: lineage(1) });
  assert.deepEqual(posted("backup.restore"), { ...RESTORE, seen: lineage(1) });
  assert.deepEqual(record().lineage, lineage(1), "an older state, on purpose");
});

test("a restore into memory says what was seen of the vault on the device, and leaves share and marker alone", async () => {
  const kms = await tab();
  enclave.lineages = [lineage(2), lineage(2)];
  await kms.call("vault.create", DEVICE);
  enclave.vault = null;
  const before = structuredClone(record());
  await kms.call("backup.restore", { ...RESTORE, persistence: "session" });
  assert.deepEqual(posted("backup.restore").seen, lineage(2));
  await turns();
  assert.deepEqual(record(), before);
});

test("a restore that the user leaves is no open creation; one that the app called off may be", async () => {
  const kms = await tab();
  enclave.held.add("backup.restore");
  const no = { code: "cancelled", message: "", retryable: false };
  const left = outcome(kms.call("backup.restore", RESTORE));
  await turns();
  session().reply({ id: session().posted.at(-1).id, error: no });
  assert.equal(await left, "cancelled");
  await turns();
  assert.deepEqual([record().begun, record().ended], [1, 1]);

  const stop = new AbortController();
  const off = outcome(kms.call("backup.restore", RESTORE, { signal: stop.signal }));
  await turns();
  stop.abort();
  session().reply({ id: session().posted.findLast(({ method }) => method === "backup.restore").id, error: no });
  assert.equal(await off, "cancelled");
  await turns();
  assert.deepEqual([record().begun, record().ended], [2, 1]);
});

test("after what changes the lineage the SDK looks, so that an older backup does not pass for the newest", async () => {
  const kms = await tab();
  enclave.lineages = [lineage(1)];
  await kms.call("vault.create", DEVICE);
  enclave.vault.lineage = lineage(2);
  await kms.call("keys.revoke", { kid: "k" });
  await turns();
  assert.deepEqual(record().lineage, lineage(2));
  enclave.vault.lineage = lineage(0); // locked
  await kms.call("vault.status", {});
  await turns();
  assert.deepEqual(record().lineage, lineage(2));
});

/** A tab, and what alerts it heard. */
async function alerted() {
  const kms = await tab();
  const heard = [];
  kms.events.on("alert", (data) => heard.push(data));
  return { kms, heard };
}

const statuses = () => methods().filter((method) => method === "vault.status").length;

test("a vault that was rolled back as a whole is told once a connection, and what was noted stays", async () => {
  enclave.lineages = [lineage(5)];
  await (await tab()).call("vault.create", DEVICE);
  enclave.vault.lineage = lineage(3);
  for (const again of [1, 2]) {
    const { kms, heard } = await alerted();
    assert.deepEqual((await kms.call("vault.status", {})).lineage, lineage(3), "the status is as the enclave says it");
    await turns();
    assert.equal(heard.length, 1, `connection ${again}`);
    const [{ code, retryable, message, details }] = heard;
    assert.deepEqual({ code, retryable, details }, { code: "integrity", retryable: false, details: { reason: "rolled-back", seen: "5", found: "3" } });
    assert.match(message, /older state \(3\).*seen before \(5\)/);
    assert.equal(statuses(), 2, "asked once more");
    for (const method of ["vault.status", "keys.revoke"]) await kms.call(method, {});
    await turns();
    assert.equal(heard.length, 1);
    assert.deepEqual(record().lineage, lineage(5));
    kms.close();
  }
});

test("a rollback while the connection is open is told as well, and a vault that grows beyond what was seen is noted again", async () => {
  enclave.lineages = [lineage(2)];
  const { kms, heard } = await alerted();
  await kms.call("vault.create", DEVICE);
  enclave.vault.lineage = lineage(1);
  await kms.call("vault.status", {});
  await turns();
  assert.deepEqual(heard.map(({ details }) => details.found), ["1"]);
  enclave.vault.lineage = lineage(4);
  await kms.call("vault.status", {});
  await turns();
  assert.deepEqual([heard.length, record().lineage], [1, lineage(4)]);
});

test("a status that is only late is no rollback", async () => {
  enclave.lineages = [lineage(2)];
  const { kms, heard } = await alerted();
  await kms.call("vault.create", DEVICE);
  enclave.held.add("vault.status");
  const late = kms.call("vault.status", {});
  await turns();
  enclave.held.clear();
  const { id } = session().posted.at(-1);
  const other = await tab();
  enclave.vault.lineage = lineage(3);
  await other.call("vault.status", {}); // and notes it
  await turns();
  enclave.sessions[0].reply({ id, result: { state: "unlocked", persistence: "device", lineage: lineage(2) } });
  await late;
  await turns();
  assert.deepEqual([heard, record().lineage], [[], lineage(3)]);
  enclave.vault.lineage = lineage(1);
  await kms.call("vault.status", {});
  await turns();
  assert.equal(heard.length, 1, "and a real one is told after it");
});

test("nothing is compared of a vault that is locked, of another one, in memory, or after an older restore on purpose", async () => {
  enclave.lineages = [lineage(5), lineage(2)];
  const { kms, heard } = await alerted();
  await kms.call("vault.create", DEVICE);
  for (const status of [
    { state: "locked", persistence: "device", lineage: { vault: V } },
    { state: "locked", persistence: "device", lineage: lineage(0) },
    { state: "locked", persistence: "device", lineage: lineage(3) },
    { state: "unlocked", persistence: "device", lineage: lineage(0) },
    { state: "unlocked", persistence: "session", lineage: lineage(3) },
    { state: "unlocked", persistence: "device", lineage: { vault: "W".repeat(22), epoch: 1 } },
  ]) {
    enclave.held.add("vault.status");
    const call = kms.call("vault.status", {});
    await turns();
    enclave.held.clear();
    session().reply({ id: session().posted.at(-1).id, result: status });
    assert.deepEqual(await call, status);
    await turns();
    assert.deepEqual(heard, [], JSON.stringify(status));
  }
  enclave.vault = null;
  await kms.call("backup.restore", { ...RESTORE, seen: lineage(2) });
  await kms.call("vault.status", {});
  await turns();
  assert.deepEqual([heard, record().lineage], [[], lineage(2)]);
});

test("a rollback that cannot be made sure of is not told, and is told by the next status", async () => {
  enclave.lineages = [lineage(5)];
  await (await tab()).call("vault.create", DEVICE);
  enclave.vault.lineage = lineage(3);
  const { kms, heard } = await alerted();
  const status = kms.call("vault.status", {});
  await status;
  enclave.held.add("vault.status");
  await turns();
  session().reply({ id: session().posted.at(-1).id, error: { code: "storage_unavailable", message: "", retryable: false } });
  await turns();
  assert.equal(statuses(), 2);
  assert.deepEqual(heard, []);
  enclave.held.clear();
  await kms.call("vault.status", {});
  await turns();
  assert.equal(heard.length, 1);
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
