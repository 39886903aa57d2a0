import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { SHARE_BYTES, ShareStore } from "../share.js";
import { IndexedDBStandIn } from "./standins.js";

const DATABASE = "kms-enclave-sdk"; // docs/storage.md
const KEY = ["https://kms.example", "alice"];

const newStore = (given) => new ShareStore(KEY[0], KEY[1], given);
const record = () => indexedDB.record(DATABASE, KEY);

beforeEach(() => {
  globalThis.indexedDB = new IndexedDBStandIn();
});

/** A vault made by a tab that did everything right. */
async function made(store) {
  const { share } = await store.begin();
  await store.mark(share);
  return share;
}

test("the share is made once, 32 bytes, in the app's own database", async () => {
  const { share, marker } = await newStore().obtain();
  assert.equal(share.length, SHARE_BYTES);
  assert.equal(marker, false);
  assert.deepEqual((await newStore().obtain()).share, share);
  assert.deepEqual(record().share, share);
  assert.deepEqual([...indexedDB.databases.keys()], [DATABASE]);
  assert.notDeepEqual((await new ShareStore(KEY[0], "bob").obtain()).share, share);
});

test("two tabs that start at once get one share", async () => {
  const [a, b] = await Promise.all([newStore().obtain(), newStore().obtain()]);
  assert.deepEqual(a.share, b.share);
});

test("destroying forgets share and marker; the next share is another one", async () => {
  const store = newStore();
  const share = await made(store);
  assert.equal((await store.obtain()).marker, true);
  const now = await store.forget(await store.read());
  assert.deepEqual([now.share, now.marker], [null, false]);
  assert.notDeepEqual((await store.obtain()).share, share);
});

test("a late forget of a tab whose vault was destroyed and replaced by another tab leaves the new vault's share", async () => {
  const [a, b] = [newStore(), newStore()];
  await made(a);
  const asked = await a.read();
  await b.forget(await b.read());
  const share = await made(b);
  await a.forget(asked);
  assert.deepEqual(record().share, share);
  assert.equal(record().marker, true);
});

test("counters do not start again where a vault was forgotten, also if the app keeps the share", async () => {
  const given = new Uint8Array(SHARE_BYTES).fill(7);
  const [a, b] = [newStore(given), newStore(given)];
  await made(a);
  const asked = await a.read();
  await b.forget(await b.read());
  await made(b);
  await a.forget(asked);
  assert.equal(record().marker, true);
  assert.equal(record().share, null);
});

test("a forget while another tab is creating clears the marker and leaves the share", async () => {
  const [a, b] = [newStore(), newStore()];
  await made(a);
  const asked = await a.read();
  const { share } = await b.begin();
  await a.forget(asked);
  assert.deepEqual([record().share, record().marker], [share, false]);
  await b.mark(share);
  assert.deepEqual([record().share, record().marker], [share, true]);
});

test("a creation that ended for nothing does not keep the share", async () => {
  const [a, b] = [newStore(), newStore()];
  await made(a);
  const asked = await a.read();
  await b.begin();
  await b.end();
  await a.forget(asked);
  assert.equal(record().marker, false);
  await made(a);
  await b.begin();
  await b.end();
  assert.equal((await a.forget(await a.read())).share, null);
});

test("a marker that a crash kept from being written is healed, one of a vault that is gone is not", async () => {
  for (const given of [undefined, new Uint8Array(SHARE_BYTES).fill(7)]) {
    globalThis.indexedDB = new IndexedDBStandIn();
    await newStore(given).begin(); // and a vault was made, and the tab crashed
    const held = await newStore(given).obtain();
    assert.equal(held.marker, false);
    await newStore(given).heal(held);
    assert.equal(record().marker, true);

    const late = newStore(given);
    const before = await late.obtain();
    await newStore(given).forget(await newStore(given).read());
    if (!given) await newStore(given).end(); // the share outlived its vault, because of the crash
    if (given) await late.heal(before);
    assert.equal(record().marker, false);
  }
});

test("a record that the SDK did not write is integrity, and left alone", async () => {
  await newStore().obtain();
  const records = indexedDB.databases.get(DATABASE);
  for (const bad of [null, {}, { share: new Uint8Array(31), marker: false, revision: 0, begun: 0, ended: 0 }, { share: null, marker: 1, revision: 0, begun: 0, ended: 0 }, { share: null, marker: false, revision: -1, begun: 0, ended: 0 }, { share: null, marker: false, revision: 0 }]) {
    records.set(JSON.stringify(KEY), bad);
    for (const work of [(s) => s.obtain(), (s) => s.begin(), (s) => s.mark(new Uint8Array(SHARE_BYTES)), (s) => s.read()]) {
      await assert.rejects(work(newStore()), { name: "KmsError", code: "integrity" });
    }
    assert.deepEqual(record(), bad);
  }
});

test("a full storage is storage_full, one that refuses is storage_unavailable", async () => {
  indexedDB.full = new DOMException("no room", "QuotaExceededError");
  await assert.rejects(newStore().obtain(), { code: "storage_full" });
  indexedDB.open = () => {
    throw new DOMException("no", "SecurityError");
  };
  await assert.rejects(newStore().obtain(), { code: "storage_unavailable" });
});

const A = "A".repeat(22), B = "B".repeat(22);

test("the newest lineage of a vault is kept, is never lowered, outlives its loss and goes with its end", async () => {
  const store = newStore();
  const { share } = await store.begin();
  const held = { share, ...(await store.mark(share, { vault: A, epoch: 3 })) };
  await store.note(held, { vault: A, epoch: 0 }); // locked
  assert.deepEqual(record().lineage, { vault: A, epoch: 3 });
  await store.note(held, { vault: A, epoch: 5 });
  await newStore().note({ ...held, revision: 0 }, { vault: A, epoch: 4 }); // another tab, which is late
  assert.deepEqual(record().lineage, { vault: A, epoch: 5 });
  await store.begin(); // a restore of what was lost
  assert.deepEqual((await store.read()).lineage, { vault: A, epoch: 5 });
  await store.mark(share, { vault: A, epoch: 2 }); // an older state, on purpose
  assert.deepEqual(record().lineage, { vault: A, epoch: 2 });
  await store.forget(await store.read());
  assert.equal(record().lineage, null);
});

test("a note about a vault never takes the place of what is known of another one, late or not", async () => {
  for (const given of [undefined, new Uint8Array(SHARE_BYTES).fill(7)]) {
    globalThis.indexedDB = new IndexedDBStandIn();
    const [a, b] = [newStore(given), newStore(given)];
    const { share } = await a.begin();
    await a.mark(share, { vault: A, epoch: 1 });
    const held = await a.obtain();
    await b.forget(await b.read());
    await a.note(held, { vault: A, epoch: 9 });
    assert.equal(record().lineage, null);
    const next = await b.begin();
    await b.mark(next.share, { vault: B, epoch: 1 });
    await a.note(held, { vault: A, epoch: 9 });
    assert.deepEqual(record().lineage, { vault: B, epoch: 1 });
    const upToDate = await b.obtain();
    for (const lineage of [{ vault: A, epoch: 9 }, { vault: A, epoch: 1 }, { vault: A, epoch: 0 }]) {
      const before = structuredClone(record());
      const now = await b.note(upToDate, lineage);
      assert.deepEqual([record(), now.lineage], [before, { vault: B, epoch: 1 }], "who notes is told what is known");
      assert.deepEqual([b.isOf(now, upToDate), a.isOf(now, held)], [true, false]);
    }
    await b.mark(next.share, { vault: A, epoch: 9 }); // a restore of another vault, which the SDK had made
    assert.deepEqual(record().lineage, { vault: A, epoch: 9 });
  }
});

test("records of an older SDK are read, and get a lineage with the next note", async () => {
  const store = newStore();
  await made(store);
  const { lineage, ...old } = record();
  assert.equal(lineage, null);
  indexedDB.databases.get(DATABASE).set(JSON.stringify(KEY), old);
  const held = await store.obtain();
  assert.equal(held.marker, true);
  await store.note(held, { vault: A, epoch: 0 }); // locked: nothing vouches for it
  assert.equal(record().lineage, undefined);
  await store.note(held, { vault: A, epoch: 1 });
  assert.deepEqual(record().lineage, { vault: A, epoch: 1 });
  for (const bad of [{}, { vault: A, epoch: -1 }, { vault: "A", epoch: 1 }, "A", { vault: A, epoch: 1.5 }]) {
    indexedDB.databases.get(DATABASE).set(JSON.stringify(KEY), { ...old, lineage: bad });
    await assert.rejects(store.read(), { code: "integrity" });
  }
});

// Every order in which the steps of two or three tabs can happen, with a crash of a tab anywhere.
// A step is one transaction: of the app's storage, or of the enclave's.

/** The steps of vault.create, as lifecycle.js takes them. */
function creating(world, tab) {
  let made;
  return [
    async () => (tab.share = (await tab.store.begin()).share),
    () => {
      if (!world.vault) world.vault = made = { share: tab.share, marked: false };
    },
    () => {
      if (!made) return tab.store.end();
      made.marked = true;
      return tab.store.mark(tab.share);
    },
  ];
}

/** The steps of vault.destroy. */
function destroying(world, tab) {
  let asked, seen; // the vault, if its marker was there
  return [
    async () => {
      seen = world.vault?.marked && world.vault;
      asked = await tab.store.read();
    },
    () => {
      // Another vault than the user was asked about, or one that was not noted down by then: its marker may be left over.
      if (world.vault && world.vault !== seen) world.leftOver = true;
      world.vault = null;
    },
    () => tab.store.forget(asked),
  ];
}

function* orders(lengths) {
  if (lengths.every((n) => n === 0)) return yield [];
  for (const [tab, n] of lengths.entries()) {
    if (n > 0) for (const rest of orders(lengths.with(tab, n - 1))) yield [tab, ...rest];
  }
}

/** All of it, or one tab crashes before it has noted down what its worker did. */
function* endings(lengths) {
  yield lengths;
  for (const [tab, n] of lengths.entries()) yield lengths.with(tab, n - 1);
}

async function play(scripts, existing, order, crashed) {
  globalThis.indexedDB = new IndexedDBStandIn();
  const world = { vault: null, leftOver: false };
  if (existing) world.vault = { share: await made(newStore()), marked: true };
  const tabs = scripts.map((script) => {
    const tab = { store: newStore() };
    return script.flatMap((call) => call(world, tab));
  });
  for (const tab of order) {
    await tabs[tab].shift()();
    if (world.vault) assert.deepEqual(record()?.share, world.vault.share, "a live vault's share is gone");
  }
  if (crashed) return;
  if (world.vault) assert.equal(record().marker, true, "a vault without a marker");
  else if (!world.leftOver) assert.equal(record().marker, false, "a marker without a vault");
}

const plays = [
  { existing: false, scripts: [[creating], [creating, destroying]] },
  { existing: true, scripts: [[destroying], [creating]] },
  { existing: true, scripts: [[destroying], [destroying, creating]] },
  { existing: true, scripts: [[creating], [destroying], [creating]], crashes: false, alike: [0, 2] },
];

for (const { existing, scripts, crashes = true, alike: [first, second] = [] } of plays) {
  const names = scripts.map((script) => script.map((call) => call.name).join(" and ")).join(" | ");
  test(`every order: ${names}${existing ? "" : ", no vault at first"}`, async () => {
    const lengths = scripts.map((script) => 3 * script.length);
    for (const ending of crashes ? endings(lengths) : [lengths]) {
      for (const order of orders(ending)) {
        if (second !== undefined && order.indexOf(first) > order.indexOf(second)) continue; // the same with the two exchanged
        await play(scripts, existing, order, ending !== lengths).catch((error) => Promise.reject(new Error(`order ${order}`, { cause: error })));
      }
    }
  });
}
