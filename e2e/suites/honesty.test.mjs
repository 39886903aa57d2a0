// A log that was put back, or put back and used again: the SDK remembers how it saw the log, and says so.

import assert from "node:assert/strict";
import { it } from "node:test";
import { eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";
import { copyRecords, putRecordsBack } from "../pages/rollback.js";

const html = (body) => ({ headers: { "content-type": "text/html" }, body });

eachEngine("honesty", (bench) => {
  /** The page of an app whose other frame is an unpinned page of the enclave's host. */
  async function thief() {
    const { app, host } = bench.site;
    host.intercept = ({ pathname }) => (pathname === "/evil.html" ? html("unpinned") : undefined);
    app.extra.set("/evil.html", html(`<script>startKms = () => {}</script><iframe src="${host.origin}/evil.html"></iframe>`));
    const page = await bench.open(`${app.origin}/evil.html`);
    return await page.frame(`${host.origin}/evil.html`);
  }

  const run = (frame, text) => frame.evaluate((text) => eval(text), text);

  /** Connects; the app is to hear alerts. */
  async function connected(account) {
    const page = await bench.open();
    await page.evaluate((url, account) => startKms({ url, account }), bench.site.host.release.url, account);
    return page;
  }

  const sign = (page, kid, n) => page.evaluate(async (kid, n) => {
    for (let i = 0; i < n; i += 1) await kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 });
  }, kid, n);

  /** How many entries of the log the SDK has seen. */
  const seen = (page, account) => page.evaluate(async (account) => {
    const answer = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const database = await answer(indexedDB.open("kms-enclave-sdk"));
    const store = database.transaction("accounts").objectStore("accounts");
    const [keys, records] = await Promise.all([answer(store.getAllKeys()), answer(store.getAll())]);
    database.close();
    return records.find((_, i) => keys[i][1] === account)?.log?.size ?? 0;
  }, account);

  const alerts = (page) => page.evaluate(() => events.filter(({ name }) => name === "alert").map(({ data }) => data.details));

  for (const { name, used, reason, found } of [
    { name: "put back", used: 0, reason: "log-taken-back", found: "3" },
    { name: "put back and used again", used: 4, reason: "log-replaced", found: "7" },
  ]) {
    it(`a log that was ${name} is an alert at the next launch, and stays one`, async () => {
      const account = name;
      const page = await connected(account);
      const kid = await page.evaluate(async () => {
        await kms.vault.create({ persistence: "device", lock: "none" });
        return (await kms.keys.create({ purpose: "signing" })).key.kid;
      });
      await sign(page, kid, 1);
      const evil = await thief();
      assert.ok(await run(evil, copyRecords) > 3, "the thief found no records");
      await sign(page, kid, 3);
      await eventually("the log of 6 to be seen", async () => await seen(page, account) === 6);
      assert.deepEqual(await alerts(page), []);
      await page.evaluate(() => kms.close());

      await run(evil, putRecordsBack);
      if (used > 0) {
        // It is used before the SDK looks at it.
        const early = await connected(account);
        await sign(early, kid, used);
        await early.evaluate(() => kms.close());
      }
      for (const launch of [1, 2]) {
        const again = await connected(account);
        await eventually("an alert", async () => (await alerts(again)).length > 0);
        assert.deepEqual(await alerts(again), [{ reason, seen: "6", found }], `launch ${launch}`);
        assert.equal(await seen(again, account), 6);
        await again.evaluate(() => kms.close());
      }
    });
  }

  it("a log that goes on is none", async () => {
    const page = await connected("honest");
    const kid = await page.evaluate(async () => {
      await kms.vault.create({ persistence: "device", lock: "none" });
      return (await kms.keys.create({ purpose: "signing" })).key.kid;
    });
    await sign(page, kid, 2);
    await eventually("the log of 4 to be seen", async () => await seen(page, "honest") === 4);
    await page.evaluate(() => kms.close());
    const again = await connected("honest");
    await sign(again, kid, 1);
    await eventually("the log of 5 to be seen", async () => await seen(again, "honest") === 5);
    assert.deepEqual(await alerts(again), []);
  });
});
