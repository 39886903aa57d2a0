// What the app keeps of a vault's records, held against an enclave whose records change.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { beforeEach, test } from "node:test";
import { KmsError } from "../errors.js";
import { MIRROR } from "../methods.js";
import { Mirror, MirrorStore } from "../mirror.js";

const { IDBFactory, IDBKeyRange } = createRequire(new URL("../../e2e/package.json", import.meta.url))("fake-indexeddb");

let locked; // whether another tab reads everything

beforeEach(() => {
  Object.assign(globalThis, { indexedDB: new IDBFactory(), IDBKeyRange });
  locked = false;
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: { locks: { request: (name, options, work) => work(locked ? null : { name }) } },
  });
});

const newStore = (account = "alice") => new MirrorStore("https://kms.example", account);

/** The enclave's storage, and what its workers tell of their commits. */
class Vault {
  records = new Map();
  commit = 0;
  name = "first";
  opens = true;
  pageLength = 3;
  whole = 0; // how often everything was read

  /** A worker: one tab. */
  worker() {
    const pending = [];
    const calls = [];
    const worker = { pending, calls, beforePage: undefined };
    worker.write = (put, removed = []) => {
      for (const name of removed) this.records.delete(name);
      for (const [name, value] of Object.entries(put)) this.records.set(name, value);
      const from = this.commit++;
      this.records.set("commit/-", String(this.commit));
      const change = { from, to: this.commit, put: [...Object.entries(put), ["commit/-", String(this.commit)]].map(([name, value]) => ({ name, value })), removed };
      const last = pending.at(-1);
      if (last?.to === from) {
        const names = new Map(last.put.map(({ name, value }) => [name, value]));
        for (const name of removed) names.delete(name);
        for (const { name, value } of change.put) names.set(name, value);
        const gone = new Set([...last.removed, ...removed].filter((name) => !names.has(name)));
        Object.assign(last, { to: this.commit, put: [...names].map(([name, value]) => ({ name, value })), removed: [...gone] });
      } else pending.push(change);
    };
    worker.mirror = (store = newStore()) => new Mirror(store, async (method, params) => {
      calls.push(method);
      if (method === "mirror.changes") {
        const changes = this.opens ? pending.splice(0, 1) : [];
        return { vault: this.name, commit: this.commit, opens: this.opens, changes, more: pending.length > 0 && this.opens };
      }
      if (method === "mirror.records") {
        if (!params.after) this.whole += 1;
        worker.beforePage?.(params.after);
        const names = [...this.records.keys()].sort().filter((name) => name > (params.after ?? ""));
        const page = names.slice(0, this.pageLength).map((name) => ({ name, value: this.records.get(name) }));
        return { vault: this.name, commit: this.commit, records: page, more: names.length > this.pageLength };
      }
      worker.offered = params.first ? [...params.records] : [...worker.offered, ...params.records];
      return {};
    });
    return worker;
  }
}

/** What is kept, as mirror.restore would get it. */
async function kept(store = newStore()) {
  const records = new Map();
  for await (const portion of store.offers()) for (const { name, value } of portion) records.set(name, value);
  return records;
}

const same = async (vault, store) => assert.deepEqual(new Map([...(await kept(store))].sort()), new Map([...vault.records].sort()));

function filled() {
  const vault = new Vault();
  const tab = vault.worker();
  tab.write({ "vault/-": "header", "key/a": "A", "key/b": "B", "log/00": "l0", "root/-": "r1" });
  tab.pending.length = 0; // the vault was made by a worker that is gone
  return { vault, tab };
}

test("everything is read once, then changes are enough; nothing is read when there is nothing new", async () => {
  const { vault, tab } = filled();
  const mirror = tab.mirror();
  assert.deepEqual([await mirror.status(), (await kept()).size], [{ kept: false }, 0]);
  assert.equal(await mirror.follow(1), true);
  await same(vault);
  for (let i = 0; i < 20; i += 1) {
    tab.write({ "root/-": `r${i}`, [`log/${10 + i}`]: "x".repeat(i) }, i === 5 ? ["key/b"] : []);
    if (i % 3 === 0) assert.equal(await mirror.follow(1), true);
  }
  assert.equal(await mirror.follow(1), true);
  await same(vault);
  assert.equal(vault.whole, 1);
  const status = await mirror.status();
  const bytes = [...vault.records].reduce((sum, [name, value]) => sum + Math.ceil((value.length * 3) / 4) + name.length + MIRROR.perRecord, 0);
  assert.deepEqual([status.kept, status.bytes], [true, bytes]);
  assert.ok(Math.abs(status.at - Date.now() / 1000) < 5);
});

test("what two tabs tell is put together in order, whichever tells first", async () => {
  const { vault, tab: one } = filled();
  const two = vault.worker();
  const [first, second] = [one.mirror(), two.mirror()];
  await first.follow(1);
  for (let i = 0; i < 10; i += 1) {
    one.write({ "root/-": `1-${i}`, "key/a": `A${i}` });
    two.write({ "root/-": `2-${i}`, [`log/${i}`]: "y" });
    two.write({ "use/a": String(i) }, i > 0 ? [`log/${i - 1}`] : []);
  }
  assert.equal(await second.follow(1), false, "the first tab has not told yet");
  await assert.rejects(same(vault));
  assert.equal(await first.follow(1), true);
  await same(vault);
  assert.equal(vault.whole, 1);
});

test("a tab that was killed leaves a gap: then everything is read, and what was kept stays whole until then", async () => {
  const { vault, tab: one } = filled();
  const two = vault.worker();
  const mirror = one.mirror();
  await mirror.follow(1);
  const before = new Map(vault.records);
  two.write({ "root/-": "lost", "key/c": "C" });
  one.write({ "root/-": "later" });
  assert.equal(await mirror.follow(1), false);
  assert.deepEqual(new Map([...(await kept())].sort()), new Map([...before].sort()));
  locked = true;
  await mirror.read(1);
  assert.equal(vault.whole, 1, "another tab reads already");
  locked = false;
  await mirror.read(1);
  await same(vault);
  assert.equal(await mirror.follow(1), true);
});

test("what is written while everything is read is taken in before it counts", async () => {
  const { vault, tab } = filled();
  for (let i = 0; i < 20; i += 1) tab.write({ [`key/${i}`]: "k" });
  tab.pending.length = 0;
  let n = 0;
  tab.beforePage = () => tab.write({ "root/-": `during ${(n += 1)}`, "key/0": `changed ${n}`, "aaa/-": String(n) }, n === 3 ? ["key/9"] : []);
  assert.equal(await tab.mirror().follow(1), true);
  assert.ok(n > 5, "the vault changed while it was read");
  await same(vault);
  // The same by another tab, which tells only later.
  const other = vault.worker();
  const late = vault.worker();
  other.beforePage = () => late.write({ "root/-": `by another ${(n += 1)}`, "aaa/-": String(n) });
  late.write({ "root/-": "gap" });
  late.pending.length = 0;
  const before = await kept();
  await other.mirror().read(1);
  assert.deepEqual(await kept(), before, "pages of different states are no mirror");
  assert.equal(await late.mirror().follow(1), true);
  await same(vault);
});

test("storage that was put back, or replaced, does not take the mirror's place", async () => {
  const { vault, tab } = filled();
  const mirror = tab.mirror();
  tab.write({ "root/-": "newest" });
  await mirror.follow(1);
  const newest = await kept();
  Object.assign(vault, { commit: 1 });
  vault.records.set("root/-", "old");
  const next = vault.worker();
  assert.equal(await next.mirror().follow(1), true);
  assert.deepEqual(await kept(), newest);
  vault.name = "impostor";
  next.write({ "root/-": "x" });
  assert.equal(await next.mirror().follow(1), true);
  assert.deepEqual(await kept(), newest);
  // One that was made with this SDK since does.
  assert.equal(await next.mirror().follow(2), true);
  await same(vault);
});

test("a vault that is made anew between two pages is not mixed with the one before", async () => {
  const { vault, tab } = filled();
  const mirror = tab.mirror();
  assert.equal(await mirror.follow(1), true);
  const before = await kept();
  const anew = vault.worker();
  tab.beforePage = (after) => after && (vault.name = "second");
  tab.write({ "key/c": "C" });
  await mirror.read(2);
  assert.deepEqual(await kept(), before);
  // The worker of the one that was made anew reads it from the beginning, under a later revision of the share.
  anew.write({ "vault/-": "another header" });
  assert.equal(await anew.mirror().follow(2), true);
  await same(vault);
});

test("a vault that nobody could bring back is not kept, and what was kept of it goes", async () => {
  const { vault, tab } = filled();
  const mirror = tab.mirror();
  await mirror.follow(1);
  assert.ok((await kept()).size > 0);
  vault.opens = false;
  assert.equal(await mirror.follow(1), true);
  assert.deepEqual([await mirror.status(), (await kept()).size], [{ kept: false }, 0]);
  await assert.rejects(mirror.offer(), { code: "not_found", details: { reason: "no-mirror" } });
});

test("accounts are kept apart, and one is forgotten alone", async () => {
  const { vault, tab } = filled();
  const [a, b] = [newStore("al"), newStore("alice")];
  await tab.mirror(a).follow(1);
  await vault.worker().mirror(b).follow(1);
  await a.forget();
  assert.equal((await kept(a)).size, 0);
  await same(vault, b);
});

test("what is kept is handed in whole, in portions", async () => {
  const { vault, tab } = filled();
  for (let i = 0; i < 12; i += 1) tab.write({ [`log/${10 + i}`]: "z".repeat(200_000) });
  const mirror = tab.mirror();
  await mirror.follow(1);
  tab.calls.length = 0;
  await mirror.offer();
  assert.ok(tab.calls.length >= 4, `${tab.calls.length} portions`);
  assert.deepEqual(new Map(tab.offered.map(({ name, value }) => [name, value])), new Map([...vault.records].sort()));
});

test("a mirror is bounded: keys stay, the oldest of the log goes", async () => {
  const { tab } = filled();
  const mirror = tab.mirror();
  const big = "z".repeat(1 << 20);
  for (let i = 10; i < 60; i += 1) {
    tab.write({ [`log/${i}`]: big });
    if (i % 10 === 0) await mirror.follow(1);
  }
  await mirror.follow(1);
  const names = [...(await kept()).keys()];
  const logs = names.filter((name) => name.startsWith("log/"));
  assert.ok(logs.length > 30 && logs.length < 45, `${logs.length} of the log`);
  assert.equal(logs.at(-1), "log/59");
  for (const name of ["vault/-", "key/a", "key/b", "root/-", "commit/-"]) assert.ok(names.includes(name), name);
  assert.ok((await mirror.status()).bytes <= MIRROR.bytes);
});

test("storage that cannot be used is said to be, and an enclave that knows no mirror is asked once", async () => {
  const refusing = { ...globalThis.indexedDB, open: () => { throw new DOMException("no", "SecurityError"); } };
  globalThis.indexedDB = refusing;
  await assert.rejects(newStore().state(), { code: "storage_unavailable" });
  let asked = 0;
  const mirror = new Mirror(newStore(), async () => {
    asked += 1;
    throw new KmsError("unknown_method", "no");
  });
  await assert.rejects(mirror.follow(1), { code: "unknown_method" });
  assert.equal(await mirror.follow(1), true);
  assert.equal(asked, 1);
});

test("storage that never answers is given up", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.indexedDB = { open: () => ({}) };
  const state = newStore().state();
  state.catch(() => {});
  await Promise.resolve();
  t.mock.timers.tick(60_000);
  await assert.rejects(state, { code: "storage_unavailable" });
});
