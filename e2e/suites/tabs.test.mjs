// Two tabs, two workers, one vault: no lost update, no fork of the log.

import assert from "node:assert/strict";
import { it } from "node:test";
import { confirmDestroy } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";

const signMany = (kid, n) => Promise.all(Array.from({ length: n }, () => kms.jwt.sign({ kid, audience: "tabs", ttlSeconds: 5 })));

async function twoTabs(bench, account) {
  const first = await bench.open();
  await first.evaluate(async (account) => {
    await startKms({ account });
    await kms.vault.create({ persistence: "device", lock: "none" });
  }, account);
  const second = await bench.open();
  await second.evaluate((account) => startKms({ account }), account);
  return [first, second];
}

eachEngine("tabs", (bench) => {
  it("what one tab makes, the other sees and uses", async () => {
    const [first, second] = await twoTabs(bench, "tabs-see");
    const kid = await first.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key.kid);
    assert.equal(await second.evaluate(async () => (await kms.vault.status()).state), "unlocked");
    assert.deepEqual(await second.evaluate(async () => (await kms.keys.list({})).keys.map((k) => k.kid)), [kid]);
    await second.evaluate((kid) => kms.jwt.sign({ kid, audience: "tabs", ttlSeconds: 5 }), kid);
    assert.equal(await first.evaluate(async (kid) => (await kms.keys.get({ kid })).key.uses, kid), 1);
  });

  it("both sign at once, and every operation is in one log", async () => {
    const [first, second] = await twoTabs(bench, "tabs-race");
    const kid = await first.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key.kid);
    const n = 60;
    await Promise.all([first.evaluate(signMany, kid, n).then(() => {}), second.evaluate(signMany, kid, n).then(() => {})]);
    for (const page of [first, second]) {
      const { verdict, uses, size } = await page.evaluate(async (kid) => ({
        verdict: await kms.audit.verify(),
        uses: (await kms.keys.get({ kid })).key.uses,
        size: (await kms.audit.head()).size,
      }), kid);
      assert.ok(verdict.valid, verdict.reason);
      assert.equal(uses, 2 * n);
      assert.equal(size, 2 + 2 * n, "vault.create, keys.create and every signature");
    }
  });

  it("both make keys at once, and none is lost", async () => {
    const [first, second] = await twoTabs(bench, "tabs-keys");
    const make = (n) => Promise.all(Array.from({ length: n }, async () => (await kms.keys.create({ purpose: "vapid" })).key.kid));
    const made = (await Promise.all([first.evaluate(make, 10), second.evaluate(make, 10)])).flat().sort();
    for (const page of [first, second]) {
      assert.deepEqual(await page.evaluate(async () => (await kms.keys.list({})).keys.map((k) => k.kid)), made);
    }
  });

  it("both set the same vault up at once: one does, the other is told exists", async () => {
    const pages = [await bench.open(), await bench.open()];
    for (const page of pages) await page.evaluate(() => startKms({ account: "tabs-create" }));
    const outcomes = await Promise.all(pages.map((page) => page.evaluate(() =>
      kms.vault.create({ persistence: "device", lock: "none" }).then(() => "created", (e) => e.code))));
    assert.deepEqual(outcomes.sort(), ["created", "exists"]);
    for (const page of pages) assert.equal(await page.evaluate(async () => (await kms.vault.status()).state), "unlocked");
  });

  it("one destroys the vault and makes a new one: the other finds that one, and does not call it lost", async () => {
    const [first, second] = await twoTabs(bench, "tabs-replaced");
    const before = await first.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key.kid);
    assert.equal(await second.evaluate(async () => (await kms.vault.status()).state), "unlocked");
    const destroyed = first.evaluate(() => kms.vault.destroy());
    await first.bringToFront();
    await confirmDestroy(first, new URL(bench.site.release.url).origin);
    await destroyed;
    assert.equal(await second.evaluate(async () => (await kms.vault.status()).state), "absent");
    const kid = await first.evaluate(async () => {
      await kms.vault.create({ persistence: "device", lock: "none" });
      return (await kms.keys.create({ purpose: "signing" })).key.kid;
    });
    assert.equal(await second.evaluate(async () => (await kms.vault.status()).state), "unlocked");
    assert.deepEqual(await second.evaluate(async () => (await kms.keys.list({})).keys.map((key) => key.kid)), [kid]);
    assert.notEqual(kid, before);
    // Made with the share that is stored: it opens for a third tab as well.
    const third = await bench.open();
    await third.evaluate(() => startKms({ account: "tabs-replaced" }));
    assert.equal(await third.evaluate(async () => (await kms.vault.status()).state), "unlocked");
  });
});
