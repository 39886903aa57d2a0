// A relay's permission, as its user gives it in the enclave's own dialog, sees it used, and takes it back.

import assert from "node:assert/strict";
import { it } from "node:test";
import { restartApp } from "../lib/appstorage.mjs";
import { begin, ended } from "../lib/call.mjs";
import { newPassphrase, prove } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { verifyJWT } from "../lib/verify.mjs";

const PASSPHRASE = "seven slow brown foxes";
const RELAY = "https://relay.example", OTHER = "https://other-relay.example";
const SERVICE = "https://push.example.net";
const push = (lease) => ({ lease, endpoint: `${SERVICE}/send/abc`, subject: "mailto:ops@example.com", ttlSeconds: 900 });

const call = (page, method, params = {}) => page.evaluate((method, params) => kms.call(method, params), method, params);

/** A page with a vault that has a passphrase, and the enclave's frame. */
async function guarded(bench, account) {
  const page = await bench.open();
  await page.evaluate((account) => startKms({ account }), account);
  const frame = await bench.frame(page);
  await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
  await newPassphrase(frame, PASSPHRASE);
  assert.equal((await ended(page)).result?.state, "unlocked");
  return { page, frame };
}

/** Gives a relay a lease, by hand. */
async function grant({ page, frame }, relay, more = {}) {
  const { key } = await call(page, "keys.create", { purpose: "vapid", label: "push" });
  await begin(page, "lease.grant", { kid: key.kid, relay, endpoint: push().endpoint, ...more });
  const shown = await frame.waitFor("[role=alertdialog] dl").then(() => frame.evaluate(() => document.querySelector("[role=alertdialog]").textContent));
  await prove(frame, { passphrase: PASSPHRASE });
  const { result, ...failure } = await ended(page);
  assert.ok(result, JSON.stringify(failure));
  return { key, lease: result.lease, shown };
}

eachEngine("leases", (bench, engine) => {
  it("is given by hand, works in every tab while the vault is locked, and is taken back without touching another", async () => {
    const home = await guarded(bench, "leases");
    const { page, frame } = home;
    const { key, lease, shown } = await grant(home, RELAY);
    for (const said of [RELAY, SERVICE, "15 minutes", "60 an hour"]) assert.ok(shown.includes(said), `${said} in: ${shown}`);
    const other = await grant(home, OTHER);
    assert.equal(lease.expiresAt - lease.grantedAt, 12 * 3600);
    await call(page, "vault.lock");

    const second = await bench.open();
    await second.evaluate(() => startKms({ account: "leases" }));
    for (const tab of [page, second]) {
      assert.equal((await call(tab, "vault.status")).state, "locked");
      const tokens = await call(tab, "token.vapid", { ...push(lease.id), count: 10 });
      assert.equal(tokens.more.length, 9);
      const jtis = new Set();
      for (const { token, exp, jti } of [tokens, ...tokens.more]) {
        const { payload, header } = await verifyJWT(token, key, { audience: SERVICE });
        assert.equal(header.typ, "JWT");
        assert.deepEqual([payload.exp, payload.jti, payload.exp - payload.iat], [exp, jti, 900]);
        jtis.add(jti);
      }
      assert.equal(jtis.size, 10);
      const { token } = await call(tab, "token.relay", { lease: lease.id, scope: "send", subscription: "s1", ttlSeconds: 900 });
      const { payload } = await verifyJWT(token, key, { audience: RELAY, typ: "kms-relay+jwt", subject: "s1" });
      assert.equal(payload.scope, "send");
    }
    for (const [method, params] of [["lease.list"], ["lease.revoke", { lease: lease.id }], ["token.vapid", { ...push(), kid: key.kid, ttlSeconds: 60 }]]) {
      await assert.rejects(call(page, method, params), { code: "locked" }, method);
    }

    await page.bringToFront(); // or its dialog is not in sight
    await begin(page, "vault.unlock");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    assert.equal((await ended(page)).result?.state, "unlocked");
    const { leases, lastHour } = await call(page, "lease.list");
    assert.deepEqual(leases.map(({ id, state, pushTokens, relayTokens }) => ({ id, state, pushTokens, relayTokens })), [
      { id: lease.id, state: "running", pushTokens: 20, relayTokens: 2 },
      { id: other.lease.id, state: "running", pushTokens: 0, relayTokens: 0 },
    ]);
    assert.equal(lastHour, 22);

    await begin(page, "lease.revoke", { lease: lease.id });
    await frame.waitFor("[role=alertdialog] #confirm");
    await frame.click("#cancel");
    assert.equal((await ended(page)).code, "cancelled");
    await call(second, "token.vapid", push(lease.id));
    await begin(page, "lease.revoke", { lease: lease.id });
    await prove(frame, { passphrase: PASSPHRASE });
    assert.equal((await ended(page)).result?.lease.state, "ended");
    for (const tab of [page, second]) {
      await assert.rejects(call(tab, "token.vapid", push(lease.id)), { code: "denied" });
      await assert.rejects(call(tab, "token.relay", { lease: lease.id, scope: "send", ttlSeconds: 60 }), { code: "denied" });
      await call(tab, "token.vapid", push(other.lease.id));
    }
    assert.equal((await call(page, "keys.get", { kid: key.kid })).key.state, "revoked");
  });

  it("outlives the browser, or ends with what the browser forgets", async () => {
    const home = await guarded(bench, "leases-restart");
    const { key, lease } = await grant(home, RELAY, { lifeSeconds: 3600, tokenSeconds: 1800 });
    const page = await restartApp(bench, home.page, {});
    await page.evaluate(() => startKms({ account: "leases-restart" }));
    if (engine === "webkit") { // it keeps nothing of a third-party frame: a vault that is lost has no leases
      await assert.rejects(call(page, "token.vapid", push(lease.id)), { code: "not_found" });
      return;
    }
    assert.equal((await call(page, "vault.status")).state, "locked");
    await verifyJWT((await call(page, "token.vapid", push(lease.id))).token, key, { audience: SERVICE });
  });
});
