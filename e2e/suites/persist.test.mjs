// What survives a reload, a restart and a SIGKILL of the browser, and what is said when
// something does not.

import assert from "node:assert/strict";
import { it } from "node:test";
import { emptyEnclaveStorage, readAppStorage, restartApp, writeAppStorage } from "../lib/appstorage.mjs";
import { cancelDialog, confirmDestroy } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { verifyJWT } from "../lib/verify.mjs";

const sign = (page, kid) => page.evaluate(async (kid) => (await kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 })).token, kid);
const status = (page) => page.evaluate(() => kms.vault.status());

async function withKey(bench, account, options = {}) {
  const page = await bench.open();
  const key = await page.evaluate(async (options) => {
    await startKms(options);
    await kms.vault.create({ persistence: "device", lock: "none" });
    return (await kms.keys.create({ purpose: "signing", label: "kept" })).key;
  }, { account, ...options });
  return { page, key };
}

/** The app's page again after the browser was restarted, with what the app itself keeps. */
async function restart(bench, page, account, options) {
  const again = await restartApp(bench, page, options);
  await again.evaluate((account) => startKms({ account }), account);
  return again;
}

eachEngine("persist", (bench, engine) => {
  it("keys survive a reload", async () => {
    const { page, key } = await withKey(bench, "reload");
    await bench.reload(page);
    await page.evaluate(() => startKms({ account: "reload" }));
    await verifyJWT(await sign(page, key.kid), key);
    assert.equal((await status(page)).state, "unlocked");
  });

  for (const kill of [false, true]) {
    it(`a browser ${kill ? "killed with SIGKILL" : "closed"} and started again`, async () => {
      const account = `restart-${kill}`;
      const { page, key } = await withKey(bench, account);
      assert.equal((await status(page)).durability, engine === "webkit" ? "browser-session" : "best-effort");
      const again = await restart(bench, page, account, { kill });
      const after = await status(again);
      if (engine !== "webkit") {
        assert.equal(after.state, "unlocked");
        await verifyJWT(await sign(again, key.kid), key);
        return;
      }
      // WebKit keeps a third-party frame's storage in memory only. That is loss, never a fresh start.
      assert.deepEqual([after.state, after.reason], ["lost", "marker-without-vault"]);
      await assert.rejects(again.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" })), { code: "not_found" });
      await assert.rejects(sign(again, key.kid), { code: "not_found" });
    });
  }

  it("emptied storage is lost, and vault.destroy through the dialog makes it absent", async () => {
    const { host } = bench.site;
    const options = { account: "emptied", url: host.release.url };
    const start = (page) => page.evaluate((options) => startKms(options), options);
    const { page } = await withKey(bench, "emptied", options);
    await emptyEnclaveStorage(bench, page);
    await start(page);
    const lost = await status(page);
    assert.deepEqual([lost.state, lost.reason], ["lost", "marker-without-vault"]);
    const create = () => page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" }));
    await assert.rejects(create(), (error) => error.code === "not_found" && error.details.state === "lost");

    const destroyed = page.evaluate(() => kms.vault.destroy());
    await confirmDestroy(page, host.origin);
    await destroyed;
    assert.equal((await status(page)).state, "absent");
    await bench.reload(page);
    await start(page);
    assert.equal((await status(page)).state, "absent");
    assert.equal((await create()).state, "unlocked");
  });

  it("a missing share is lost, and its vault stays closed", async () => {
    const { page, key } = await withKey(bench, "share");
    const before = await page.evaluate(readAppStorage);
    await page.evaluate(async (records) => {
      kms.close();
      for (const { name } of records) {
        await new Promise((resolve) => (indexedDB.deleteDatabase(name).onsuccess = resolve));
      }
    }, before);
    await bench.reload(page);
    await page.evaluate(() => startKms({ account: "share" }));
    const lost = await status(page);
    assert.deepEqual([lost.state, lost.reason], ["lost", "share-missing"]);
    await assert.rejects(sign(page, key.kid), { code: "not_found" });

    // Nothing was touched: with the share back, the vault opens again.
    await page.evaluate(() => kms.close());
    await page.evaluate(writeAppStorage, before);
    await bench.reload(page);
    await page.evaluate(() => startKms({ account: "share" }));
    await verifyJWT(await sign(page, key.kid), key);
  });

  it("vault.destroy: cancelled it does nothing, confirmed it deletes", async () => {
    const enclave = new URL(bench.site.release.url).origin;
    const { page, key } = await withKey(bench, "destroy");
    const cancelled = page.evaluate(() => kms.vault.destroy());
    cancelled.catch(() => {});
    await cancelDialog(page, enclave);
    await assert.rejects(cancelled, { code: "cancelled" });
    await verifyJWT(await sign(page, key.kid), key);

    const destroyed = page.evaluate(() => kms.vault.destroy());
    await confirmDestroy(page, enclave);
    await destroyed;
    assert.equal((await status(page)).state, "absent");
    await assert.rejects(sign(page, key.kid), { code: "not_found" });
  });
});
