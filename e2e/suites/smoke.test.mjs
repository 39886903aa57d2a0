// The shortest way through everything: an app connects, makes a key, signs, and somebody
// else verifies.

import assert from "node:assert/strict";
import { it } from "node:test";
import { importJWK, jwtVerify } from "jose";
import { eachEngine } from "../lib/harness.mjs";

eachEngine("smoke", (bench, engine) => {
  it("connects, makes a key, signs; the key survives a reload", async () => {
    const page = await bench.open();
    const launch = await page.evaluate(() => startKms());
    assert.equal(launch.level, engine === "chromium" ? "enforced" : "checked", launch.why);
    assert.equal(launch.measurement, bench.site.release.measurement);

    const { status, key, token } = await page.evaluate(async () => {
      const status = await kms.vault.create({ persistence: "device", lock: "none" });
      const { key } = await kms.keys.create({ purpose: "signing", label: "smoke" });
      const { token } = await kms.jwt.sign({ kid: key.kid, audience: "https://api.example", ttlSeconds: 60 });
      return { status, key, token };
    });
    assert.equal(status.state, "unlocked");
    const verified = await jwtVerify(token, await importJWK(key.publicKey.jwk, key.alg), { audience: "https://api.example" });
    assert.equal(verified.protectedHeader.kid, key.kid);

    await bench.reload(page);
    const again = await page.evaluate(async () => {
      await startKms();
      return await kms.keys.list({});
    });
    assert.deepEqual(again.keys.map((k) => k.kid), [key.kid]);
  });
});
