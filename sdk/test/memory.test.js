// What the SDK remembers of a vault: creations, share and marker, with several tabs; loss, restores, and the newest state that was seen.

import assert from "node:assert/strict";
import { test } from "node:test";
import { turns } from "./standins.js";
import { BUSY, DEVICE, answer, clock, enclave, methods, outcome, record, session, silence, tab } from "./tab.js";

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
  for (const method of ["keys.rotate", "keys.revoke", "slots.remove", "slots.change", "recovery.enable"]) {
    const { epoch } = enclave.vault.lineage;
    enclave.vault.lineage = lineage(epoch + 1);
    const before = statuses();
    await kms.call(method, {});
    await turns();
    assert.deepEqual([method, record().lineage, statuses() - before], [method, lineage(epoch + 1), 1]);
  }
  const before = statuses();
  for (const method of ["slots.add", "keys.create", "jwt.sign"]) await kms.call(method, {});
  await turns();
  assert.equal(statuses(), before, "nothing of theirs makes a backup an older one");
  enclave.vault.lineage = lineage(0); // locked
  await kms.call("vault.status", {});
  await turns();
  assert.deepEqual(record().lineage, lineage(6));
});

test("the status that vault.unlock and slots.manage answer with is noted, and compared", async () => {
  const { kms, heard } = await alerted();
  enclave.lineages = [lineage(1)];
  await kms.call("vault.create", DEVICE);
  for (const [method, epoch] of [["vault.unlock", 2], ["slots.manage", 3]]) {
    enclave.vault.lineage = lineage(epoch);
    assert.deepEqual((await kms.call(method, {})).lineage, lineage(epoch));
    await turns();
    assert.deepEqual([method, record().lineage, statuses()], [method, lineage(epoch), 0]);
  }
  enclave.vault.lineage = lineage(2);
  await kms.call("vault.unlock", {});
  await turns();
  assert.deepEqual([heard.map(({ details }) => details), statuses(), record().lineage], [[{ reason: "rolled-back", seen: "3", found: "2" }], 1, lineage(3)]);
});

test("what grows from an older state that another tab restored on purpose is noted step by step", async () => {
  const [a, b] = [await alerted(), await tab()];
  enclave.lineages = [lineage(5), lineage(2)];
  await a.kms.call("vault.create", DEVICE);
  enclave.vault = null; // evicted
  await b.call("vault.status", {});
  await b.call("backup.restore", { ...RESTORE, seen: lineage(2) });
  assert.deepEqual(record().lineage, lineage(2));
  for (const epoch of [2, 3, 4, 5, 6]) {
    enclave.vault.lineage = lineage(epoch);
    await a.kms.call("vault.status", {});
    await turns();
    assert.deepEqual([record().lineage, a.heard], [lineage(epoch), []]);
  }
});

test("another vault in the place of the one that was seen is told once a connection, and what was noted stays", async () => {
  const other = (epoch) => ({ vault: "W".repeat(22), epoch });
  enclave.lineages = [lineage(2)];
  await (await tab()).call("vault.create", DEVICE);
  enclave.vault.lineage = other(7);
  for (const again of [1, 2]) {
    const { kms, heard } = await alerted();
    for (let i = 0; i < 2; i += 1) {
      await kms.call("vault.status", {});
      await turns();
    }
    assert.equal(heard.length, 1, `connection ${again}`);
    const [{ code, retryable, details }] = heard;
    assert.deepEqual({ code, retryable, details }, { code: "integrity", retryable: false, details: { reason: "another-vault", seen: V, found: "W".repeat(22) } });
    assert.deepEqual(record().lineage, lineage(2));
    kms.close();
  }
  // Once it is destroyed the next one is no other one.
  const { kms, heard } = await alerted();
  enclave.lineages = [other(1)];
  await kms.call("vault.destroy", {});
  await kms.call("vault.create", DEVICE);
  await kms.call("vault.status", {});
  await turns();
  assert.deepEqual([heard, record().lineage], [[], other(1)]);
});

test("a tab that is late and speaks of a vault that is gone raises no alarm", async () => {
  const [a, b] = [await alerted(), await tab()];
  enclave.lineages = [lineage(2)];
  await a.kms.call("vault.create", DEVICE);
  enclave.held.add("vault.status");
  const late = a.kms.call("vault.status", {});
  await turns();
  enclave.held.clear();
  const [ofA] = enclave.sessions;
  await b.call("vault.destroy", {});
  enclave.lineages = [{ vault: "W".repeat(22), epoch: 1 }];
  await b.call("vault.create", DEVICE);
  ofA.reply({ id: ofA.posted.at(-1).id, result: { state: "unlocked", persistence: "device", lineage: lineage(2) } });
  await late;
  await turns();
  assert.deepEqual([a.heard, record().lineage.vault], [[], "W".repeat(22)]);
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

test("nothing is compared of a vault that is locked, in memory, or after an older restore on purpose", async () => {
  enclave.lineages = [lineage(5), lineage(2)];
  const { kms, heard } = await alerted();
  await kms.call("vault.create", DEVICE);
  for (const status of [
    { state: "locked", persistence: "device", lineage: { vault: V } },
    { state: "locked", persistence: "device", lineage: lineage(0) },
    { state: "locked", persistence: "device", lineage: lineage(3) },
    { state: "unlocked", persistence: "device", lineage: lineage(0) },
    { state: "unlocked", persistence: "session", lineage: lineage(3) },
    { state: "locked", persistence: "device", lineage: { vault: "W".repeat(22), epoch: 1 } },
    { state: "unlocked", persistence: "session", lineage: { vault: "W".repeat(22), epoch: 1 } },
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
