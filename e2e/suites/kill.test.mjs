// The browser is killed at random instants while four tabs work on one vault. What was acknowledged to
// the oracle outside it is there afterwards, once; nothing else is; nothing is half-done; the log
// verifies and goes on. Five kills in each engine that keeps anything; `make soak` does a hundred.
//
// KMS_KILL_SEED repeats the choices of a run whose seed was printed.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { chosenEngines } from "../lib/engines.mjs";
import { Bench, Site, verifyAudit } from "../lib/harness.mjs";
import { Kills } from "../lib/kills.mjs";
import { endsIncomplete } from "../lib/leveldb.mjs";
import { Oracle } from "../lib/oracle.mjs";
import { newSeed } from "../lib/random.mjs";

const KILLS = 5;
const ACKNOWLEDGED = 100; // a machine that is too slow for so many gets more kills, up to three times as many
const SEED = Number(process.env.KMS_KILL_SEED ?? newSeed());

/** A browser of one engine, at a site of its own. */
async function withBench(engine, body) {
  const site = await Site.start();
  try {
    await body(new Bench(engine, site), site);
  } finally {
    await site.stop();
  }
}

for (const engine of chosenEngines().filter((each) => each !== "webkit")) {
  describe(`${engine}: kill`, () => {
    it(`${KILLS} kills while four tabs work: what was acknowledged is there, and nothing is half-done`, async (t) => {
      t.diagnostic(`seed ${SEED}`);
      await withBench(engine, async (bench) => {
        const kills = new Kills(bench, { seed: SEED, longestMs: 2500 });
        try {
          await kills.start();
          while (kills.kills < KILLS || (kills.acknowledged < ACKNOWLEDGED && kills.kills < 3 * KILLS)) await kills.round();
          const file = await kills.finish();
          t.diagnostic(`${kills.acknowledged} operations acknowledged, ${kills.unheard} done and not heard of, ${kills.processes} processes killed${kills.deleted.length > 0 ? `; Chromium deleted its database after kill ${kills.deleted}` : ""}`);
          assert.deepEqual(kills.wrong, []);
          assert.ok(kills.acknowledged >= ACKNOWLEDGED, `${kills.acknowledged} operations were acknowledged, wanted ${ACKNOWLEDGED}: this run has shown nothing`);
          await verifyAudit(file, kills.heads);
        } finally {
          await kills.stop();
        }
      });
    });
  });
}

// WebKitGTK keeps the storage of a third-party frame in memory: after a kill there is nothing to compare.
// It says so beforehand. What it says of the loss: persist.test.mjs.
for (const engine of chosenEngines().filter((each) => each === "webkit")) {
  describe(`${engine}: kill`, () => {
    it("nothing outlives the browser here, and the vault says so before anything is lost", async () => {
      await withBench(engine, async (bench) => {
        try {
          await bench.start();
          const page = await bench.open();
          const status = await page.evaluate(async () => {
            await startKms({ account: "killed" });
            return await kms.vault.create({ persistence: "device", lock: "none" });
          });
          assert.equal(status.durability, "browser-session");
        } finally {
          await bench.stop();
        }
      });
    });
  });
}

describe("the oracle", () => {
  const calls = [
    { tag: "a", method: "keys.create", params: { label: "a" } },
    { tag: "b", method: "jwt.sign", kid: "A" },
    { tag: "c", method: "challenge.sign", kid: "A" },
    { tag: "rotate A", method: "keys.rotate", kid: "A" },
    { tag: "d", method: "key.agree", kid: "A" },
  ];
  const entries = () => [
    { method: "vault.create" },
    { method: "keys.create", kid: "A", details: { purpose: "signing" } },
    { method: "jwt.sign", kid: "A", details: { aud: "b", jti: "1" } },
    { method: "challenge.sign", kid: "A", details: { context: "c" } },
    { method: "jwt.sign", kid: "A", outcome: "denied" },
    { method: "keys.rotate", kid: "A", details: { successor: "B" } },
  ].map((entry, seq) => ({ seq, time: 7, outcome: "ok", ...entry }));
  const keys = () => [
    { kid: "A", state: "retired", uses: 2, label: "a", purpose: "signing", successor: "B", endedAt: 7 },
    { kid: "B", state: "active", uses: 0, label: "a", purpose: "signing", predecessor: "A" },
  ];

  /** What an oracle finds in a vault that change has been at, in one text. */
  function found(change = () => {}) {
    const oracle = new Oracle();
    const told = [{ tag: "a", kid: "A" }, { tag: "b", jti: "1" }, { tag: "c" }, { tag: "rotate A", kid: "A", successor: "B" }, { tag: "d", code: "denied" }];
    const seen = { entries: entries(), keys: keys(), verdict: { valid: true } };
    change(seen, told);
    const renumbered = seen.entries.length;
    oracle.plan(calls);
    oracle.hear(told);
    return oracle.compare({ counts: { entries: renumbered, keys: seen.keys.length }, ...seen, verdict: { size: renumbered, ...seen.verdict } }).join("\n");
  }

  /** Takes an entry out of the log without a trace. */
  const without = (at) => (seen) => (seen.entries = seen.entries.toSpliced(at, 1).map((entry, seq) => ({ ...entry, seq })));

  it("finds nothing wrong with what is right, also where a report never came", () => {
    assert.equal(found(), "");
    assert.equal(found((_, told) => told.splice(1, 2)), "");
  });

  for (const [what, change, words] of [
    ["a signature that was acknowledged and is not in the log", without(2), /jwt\.sign b was acknowledged, and is not in the log/],
    ["a log that does not verify", ({ verdict }) => (verdict.valid = false), /does not verify/],
    ["a log that is shorter than it was", (seen) => (seen.verdict.size = 5), /audit\.verify has seen 5 entries/],
    ["an entry out of its place", ({ entries }) => (entries[2].seq = 7), /stands in place 2/],
    ["a signature that was made twice", ({ entries }) => entries.splice(3, 0, { ...entries[2], seq: 3 }), /b was done before/],
    ["another token than the one that was answered", ({ entries }) => (entries[2].details.jti = "2"), /acknowledged with jti 1, the log has 2/],
    ["an operation that nobody planned", ({ entries }) => (entries[3].details.context = "z"), /nobody planned z/],
    ["an operation with another key than was planned", ({ entries }) => (entries[2].kid = "B"), /planned was jwt\.sign A/],
    ["a refusal that was none", ({ entries }) => entries.splice(5, 0, { ...entries[3], method: "key.agree", details: { context: "d" } }), /d was refused with denied, and is in the log/],
    ["a key without an entry", ({ keys }) => keys.push({ kid: "C", state: "active", uses: 0 }), /key C is in the list, and not in the log/],
    ["an entry without its key", ({ keys }) => keys.pop(), /key B is in the log, and not in the list/],
    ["a use that is in the log and not counted", ({ keys }) => (keys[0].uses = 1), /key A has uses 1, the log says 2/],
    ["a key that was replaced and is still active", ({ keys }) => (keys[0].state = "active"), /key A has state active, the log says retired/],
    ["a key that was replaced and knows no successor", ({ keys }) => delete keys[0].successor, /key A has successor undefined, the log says B/],
    ["a successor that knows no predecessor", ({ keys }) => delete keys[1].predecessor, /key B has predecessor undefined/],
    ["a key that ended at no time", ({ keys }) => delete keys[0].endedAt, /is retired, and ended at undefined/],
    ["keys that are not counted", (seen) => (seen.counts = { entries: 6, keys: 1 }), /counts 1 keys/],
  ]) it(`notices ${what}`, () => assert.match(found(change), words));
});

describe("LevelDB's logs", () => {
  const record = (type, length) => Buffer.concat([Buffer.from([1, 2, 3, 4, length & 255, length >> 8, type]), Buffer.alloc(length, 7)]);

  it("are complete with whole records, also across blocks, and with room that was only reserved", () => {
    for (const log of [[], [record(1, 9)], [record(2, 32_761), record(4, 5)], [record(1, 32_755), Buffer.alloc(6), record(1, 3)], [record(1, 9), Buffer.alloc(32_768)]]) {
      assert.equal(endsIncomplete(Buffer.concat(log)), false);
    }
  });

  it("are incomplete when the header, the data or a part is missing", () => {
    for (const log of [[record(1, 9).subarray(0, 3)], [record(1, 9), record(1, 265).subarray(0, 7)], [record(1, 9).subarray(0, 12)], [record(2, 32_761)]]) {
      assert.equal(endsIncomplete(Buffer.concat(log)), true);
    }
  });
});
