// What the SDK remembers of the audit log, and what it says when the log is another one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { turns } from "./standins.js";
import { DEVICE, clock, enclave, methods, outcome, record, session, tab } from "./tab.js";

/** A tab that keeps the alerts it hears. */
async function listening() {
  const kms = await tab();
  const heard = [];
  kms.events.on("alert", (alert) => heard.push(alert));
  return { kms, heard };
}

/** Lets the SDK look at the log. */
async function look() {
  await turns();
  clock.pass(1000);
  await turns();
}

const seen = () => record().log;

test("the log is looked at in a while after the launch, and after what may have been logged; no vault has none", async () => {
  const { kms, heard } = await listening();
  await look();
  assert.deepEqual(methods(), [], "without a vault");
  await kms.call("vault.create", DEVICE);
  enclave.log = "ab";
  await look();
  assert.deepEqual(seen(), { since: "ab", size: 2 });
  for (const method of ["vault.status", "keys.list", "audit.head", "enclave.info", "challenge.verify"]) await kms.call(method, {});
  await look();
  assert.equal(methods().filter((method) => method === "audit.consistent").length, 1, "what logs nothing is no reason");
  enclave.log = "abcd";
  for (let i = 0; i < 5; i += 1) await kms.call("jwt.sign", {});
  await look();
  assert.deepEqual([seen(), methods().filter((method) => method === "audit.consistent").length], [{ since: "abcd", size: 4 }, 2]);
  kms.close();
  assert.equal(clock.timers.size, 0);

  enclave.log = "abcde";
  const next = await listening();
  await look();
  assert.deepEqual(session().posted.map(({ method, params }) => [method, params]), [["audit.consistent", { since: "abcd" }]]);
  assert.deepEqual([seen().size, heard, next.heard], [5, [], []]);
});

for (const { name, now, reason, found } of [
  { name: "is shorter", now: "abc", reason: "log-taken-back", found: "3" },
  { name: "has other entries", now: "abXYZ", reason: "log-replaced", found: "5" },
  { name: "has as many entries, and other ones", now: "abcZ", reason: "log-replaced", found: "4" },
]) {
  test(`a log that ${name} is told, once a connection, at the next launch, too, and what was seen stays`, async () => {
    const first = await listening();
    await first.kms.call("vault.create", DEVICE);
    enclave.log = "abcd";
    await look();
    first.kms.close();
    enclave.log = now;
    for (const launch of [1, 2]) {
      const { kms, heard } = await listening();
      await look();
      await kms.call("jwt.sign", {});
      await look();
      assert.equal(heard.length, 1, `launch ${launch}`);
      const { code, retryable, details, message } = heard[0];
      assert.deepEqual([code, retryable, details], ["integrity", false, { reason, seen: "4", found }]);
      assert.match(message, reason === "log-taken-back" ? /entries 3 to 3 are missing/ : /first 4 entries/);
      assert.deepEqual(seen(), { since: "abcd", size: 4 });
      kms.close();
    }
  });
}

test("another vault's log is another log: what was seen goes with its vault", async () => {
  const { kms, heard } = await listening();
  await kms.call("vault.create", DEVICE);
  enclave.log = "abcd";
  await look();
  await kms.call("vault.destroy", {});
  assert.equal(seen(), null);
  enclave.log = "Z";
  await kms.call("vault.create", DEVICE);
  await look();
  assert.deepEqual([seen(), heard], [{ since: "Z", size: 1 }, []]);
});

test("a tab that is late neither takes back what another one has seen nor compares with another vault's log", async () => {
  const [a, b] = [await listening(), await listening()];
  await a.kms.call("vault.create", DEVICE);
  await b.kms.call("vault.status", {});
  enclave.log = "abcd";
  await look();
  enclave.held.add("audit.consistent");
  await a.kms.call("jwt.sign", {});
  await look();
  const [slow, quick] = enclave.sessions;
  const late = slow.posted.at(-1);
  assert.equal(late.method, "audit.consistent");
  slow.reply({ id: late.id, result: { consistent: true, size: 3, since: "abc" } });
  await turns();
  assert.equal(seen().size, 4);
  quick.dispose();
});

test("an enclave that does not know the method, or answers nonsense, is no reason to say anything", async () => {
  const { kms, heard } = await listening();
  await kms.call("vault.create", DEVICE);
  for (const answer of [{ error: { code: "unknown_method", message: "no", retryable: false } }, { result: {} }, { result: { consistent: false } }, { result: { consistent: true, size: -1, since: "a" } }, { result: { consistent: true, size: 1, since: "*" } }]) {
    enclave.held.add("audit.consistent");
    await kms.call("jwt.sign", {});
    await look();
    session().reply({ id: session().posted.at(-1).id, ...answer });
    await turns();
  }
  assert.deepEqual([heard, seen()], [[], null]);
  assert.equal(await outcome(kms.call("jwt.sign", {})), "done");
});
