// Every method through the SDK, in every engine, with what comes out verified by others.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { eachEngine } from "../lib/harness.mjs";
import { agreementPeer, algOf, assertKey, verifyChallenge, verifyJWT } from "../lib/verify.mjs";

let accounts = 0;

/** A page with a fresh vault. */
async function withVault(bench, persistence = "device") {
  const page = await bench.open();
  const account = `methods-${++accounts}`;
  await page.evaluate(async (account, persistence) => {
    await startKms({ account });
    await kms.vault.create({ persistence, lock: "none" });
  }, account, persistence);
  return page;
}

const call = (page, method, params) => page.evaluate((m, p) => kms.call(m, p), method, params);
const make = async (page, purpose, more = {}) => (await call(page, "keys.create", { purpose, ...more })).key;

eachEngine("methods", (bench, engine) => {
  it("covers every method of this release", async () => {
    const page = await bench.open();
    const names = await page.evaluate(async () => Object.keys((await import("/sdk/methods.js")).METHODS));
    assert.deepEqual(names.sort(), [
      "audit.consistent", "audit.entries", "audit.export", "audit.head", "audit.show", "audit.verify", "backup.restore", "backup.save",
      "challenge.sign", "challenge.verify", "enclave.cancel", "enclave.info", "enclave.selfTest", "jwt.sign", "key.agree",
      "keys.create", "keys.get", "keys.list", "keys.revoke", "keys.rotate", "lease.grant", "lease.list", "lease.renew", "lease.revoke", "mirror.changes", "mirror.offer", "mirror.records", "mirror.restore", "recovery.check", "recovery.enable",
      "slots.add", "slots.change", "slots.manage", "slots.remove", "token.relay", "token.vapid",
      "vault.create", "vault.destroy", "vault.lock", "vault.status", "vault.unlock",
    ]);
  });

  it("starts with a few megabytes of memory", async () => {
    const page = await bench.open();
    const memory = await page.evaluate(async () => {
      await startKms({ account: "memory" });
      return kms.launch.memory;
    });
    assert.ok(memory > 1 << 20 && memory < 16 << 20, `${memory} bytes`);
  });

  it("enclave.info and enclave.selfTest", async () => {
    const page = await bench.open();
    await page.evaluate(() => startKms({ account: "info" }));
    const info = await call(page, "enclave.info", {});
    assert.equal(info.measurement, bench.site.release.measurement);
    assert.equal(info.protocol, 1);
    assert.deepEqual([...info.algorithms].sort(), ["ES256", "EdDSA", "X25519"]);
    const test = await call(page, "enclave.selfTest", {});
    assert.ok(test.ok, JSON.stringify(test.tests.filter(({ ok }) => !ok)));
    assert.ok(test.tests.length > 0, "no known-answer test ran");
    assert.equal(test.wasm, bench.site.release.pin.wasm);
    assert.equal(test.loader.measurement, info.measurement);
  });

  it("vault.status and vault.create", async () => {
    const page = await bench.open();
    await page.evaluate(() => startKms({ account: "status" }));
    const absent = await call(page, "vault.status", {});
    assert.equal(absent.state, "absent");
    assert.deepEqual(absent.counts, { keys: 0, entries: 0 });
    await assert.rejects(call(page, "keys.create", { purpose: "signing" }), { code: "not_found" });

    const made = await call(page, "vault.create", { persistence: "device", lock: "none" });
    assert.equal(made.state, "unlocked");
    assert.equal(made.persistence, "device");
    assert.equal(made.durability, engine === "webkit" ? "browser-session" : "best-effort");
    assert.deepEqual(made.slots.map(({ kind }) => kind), ["device"]);
    await assert.rejects(call(page, "vault.create", { persistence: "device", lock: "none" }), { code: "exists" });
    for (const lock of ["passphrase", "passkey"]) {
      await assert.rejects(call(page, "vault.create", { persistence: "device", lock }), (error) => ["exists", "unsupported"].includes(error.code));
    }
  });

  it("a session vault leaves nothing behind", async () => {
    const page = await bench.open();
    await page.evaluate(() => startKms({ account: "session" }));
    const made = await call(page, "vault.create", { persistence: "session", lock: "none" });
    assert.equal(made.durability, "memory");
    const key = await make(page, "signing");
    await verifyJWT((await call(page, "jwt.sign", { kid: key.kid, audience: "a", ttlSeconds: 5 })).token, key);
    await bench.reload(page);
    await page.evaluate(() => startKms({ account: "session" }));
    assert.equal((await call(page, "vault.status", {})).state, "absent");
  });

  it("keys.create, keys.get and keys.list", async () => {
    const page = await withVault(bench);
    const keys = [];
    for (const [purpose, alg] of Object.entries(algOf)) {
      const key = await make(page, purpose, { label: `my ${purpose} ✓` });
      await assertKey(key, { purpose, alg, label: `my ${purpose} ✓`, state: "active", uses: 0 });
      keys.push(key);
    }
    keys.push(await make(page, "signing", { alg: "ES256" }));
    await assertKey(keys.at(-1), { alg: "ES256", purpose: "signing" });
    assert.equal(new Set(keys.map(({ kid }) => kid)).size, keys.length);

    assert.deepEqual((await call(page, "keys.get", { kid: keys[0].kid })).key, keys[0]);
    const listed = [];
    for (let after; ; ) {
      const { keys: some, next } = await call(page, "keys.list", { limit: 2, ...(after && { after }) });
      listed.push(...some);
      if (!next) break;
      after = next;
    }
    const byKid = (a, b) => (a.kid < b.kid ? -1 : 1);
    assert.deepEqual(listed, [...keys].sort(byKid));
    await assert.rejects(call(page, "keys.get", { kid: "A".repeat(43) }), { code: "not_found" });
    await assert.rejects(call(page, "keys.create", { purpose: "vapid", alg: "EdDSA" }), { code: "invalid_request" });
  });

  it("jwt.sign", async () => {
    const page = await withVault(bench);
    for (const alg of ["EdDSA", "ES256"]) {
      const key = await make(page, "signing", { alg });
      const params = { kid: key.kid, audience: "https://api.example", subject: "alice", ttlSeconds: 300, claims: { scope: ["a", "b"], n: 1.5 } };
      const { token, exp, jti } = await call(page, "jwt.sign", params);
      const { header, payload } = await verifyJWT(token, key, { audience: params.audience, subject: "alice", typ: "JWT" });
      assert.deepEqual(header, { alg, kid: key.kid, typ: "JWT" });
      assert.equal(payload.exp - payload.iat, 300);
      assert.deepEqual([payload.exp, payload.jti, payload.scope, payload.n], [exp, jti, ["a", "b"], 1.5]);
      assert.ok(Math.abs(payload.iat - Date.now() / 1000) < 60);
      assert.equal((await call(page, "keys.get", { kid: key.kid })).key.uses, 1);

      for (const claim of ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]) {
        await assert.rejects(call(page, "jwt.sign", { ...params, claims: { [claim]: 1 } }), { code: "invalid_request" }, claim);
      }
      await assert.rejects(call(page, "jwt.sign", { ...params, ttlSeconds: 86_401 }), { code: "invalid_request" });
      await assert.rejects(call(page, "jwt.sign", { ...params, ttlSeconds: 0 }), { code: "invalid_request" });
    }
  });

  it("token.vapid", async () => {
    const page = await withVault(bench);
    const key = await make(page, "vapid");
    const params = { kid: key.kid, endpoint: "https://push.example.net/send/abc?x=1", subject: "mailto:ops@example.com", ttlSeconds: 900 };
    const { token, exp } = await call(page, "token.vapid", params);
    const { header, payload } = await verifyJWT(token, key, { audience: "https://push.example.net", subject: params.subject });
    assert.equal(header.alg, "ES256");
    assert.equal(header.typ, "JWT");
    assert.equal(payload.exp, exp);

    const wrong = {
      endpoint: ["http://push.example.net/", "https://user:pw@push.example.net/", "not a url", "https://"],
      subject: ["mailto:mailto:ops@example.com", "mailto:ops@localhost", "https://localhost/", "mailto:ops@example.invalid", "ops@example.com", "http://example.com"],
      ttlSeconds: [901, 0, -1],
    };
    for (const [member, values] of Object.entries(wrong)) {
      for (const value of values) {
        await assert.rejects(call(page, "token.vapid", { ...params, [member]: value }), { code: "invalid_request" }, `${member} ${value}`);
      }
    }
  });

  it("challenge.sign and challenge.verify", async () => {
    const page = await withVault(bench);
    const data = Buffer.from(Array.from({ length: 1000 }, (_, i) => i & 255));
    for (const [purpose, more] of [["signing", {}], ["signing", { alg: "ES256" }], ["identity", {}]]) {
      const key = await make(page, purpose, more);
      const context = "login@example";
      const { signature } = await call(page, "challenge.sign", { kid: key.kid, context, data: data.toString("base64url") });
      assert.ok(verifyChallenge(key, context, data, signature), `${purpose} ${key.alg}`);
      const given = { alg: key.alg, publicKey: key.publicKey.raw, context, data: data.toString("base64url"), signature };
      assert.deepEqual(await call(page, "challenge.verify", given), { valid: true });
      assert.deepEqual(await call(page, "challenge.verify", { ...given, context: "login@exampl" }), { valid: false });
      assert.deepEqual(await call(page, "challenge.verify", { ...given, data: data.subarray(1).toString("base64url") }), { valid: false });
    }
  });

  it("key.agree", async () => {
    const page = await withVault(bench);
    const key = await make(page, "agreement");
    const peer = agreementPeer();
    for (const context of ["a", "b"]) {
      const { secret } = await call(page, "key.agree", { kid: key.kid, publicKey: peer.raw, context });
      assert.equal(secret, peer.secretWith(key, context));
    }
    const small = ["00".repeat(32), `01${"00".repeat(31)}`, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"];
    for (const point of small) {
      const publicKey = Buffer.from(point, "hex").toString("base64url");
      await assert.rejects(call(page, "key.agree", { kid: key.kid, publicKey, context: "a" }), { code: "invalid_request" }, point);
    }
  });

  it("a key does only its own purpose's work", async () => {
    const page = await withVault(bench);
    const peer = agreementPeer();
    const uses = {
      "jwt.sign": { for: ["signing"], params: { audience: "a", ttlSeconds: 5 } },
      "challenge.sign": { for: ["signing", "identity"], params: { context: "c", data: "AA" } },
      "key.agree": { for: ["agreement"], params: { publicKey: peer.raw, context: "c" } },
      "token.vapid": { for: ["vapid"], params: { endpoint: "https://push.example.net/", subject: "mailto:ops@example.com", ttlSeconds: 5 } },
    };
    for (const purpose of Object.keys(algOf)) {
      const { kid } = await make(page, purpose);
      for (const [method, use] of Object.entries(uses)) {
        const made = call(page, method, { kid, ...use.params });
        if (use.for.includes(purpose)) await made;
        else await assert.rejects(made, { code: "denied" }, `${method} with a key for ${purpose}`);
      }
    }
  });

  it("the audit log: entries, verify, head, and the exported file offline", async () => {
    const page = await withVault(bench);
    const { kid } = await make(page, "signing");
    for (let i = 0; i < 5; i++) await call(page, "jwt.sign", { kid, audience: "a", ttlSeconds: 5 });
    const { entries, size } = await call(page, "audit.entries", { limit: 3 });
    assert.deepEqual(entries.map(({ seq }) => seq), [0, 1, 2]);
    const rest = await call(page, "audit.entries", { from: 3 });
    const all = [...entries, ...rest.entries];
    assert.deepEqual(all.map(({ method }) => method), ["vault.create", "keys.create", ...Array(5).fill("jwt.sign")]);
    assert.equal(all.length, size);
    for (const entry of all) {
      assert.equal(entry.origin, bench.site.app.origin);
      assert.equal(entry.outcome, "ok");
    }
    const verdict = await call(page, "audit.verify", {});
    assert.ok(verdict.valid, verdict.reason);
    const head = await call(page, "audit.head", {});
    assert.equal(head.size, size);
    assert.equal(head.root, verdict.root);

    const text = await page.evaluate(async () => {
      let text = "";
      for (let cursor; ; ) {
        const page = await kms.audit.export(cursor ? { cursor } : {});
        text += page.text;
        if (!page.next) return text;
        cursor = page.next;
      }
    });
    const directory = mkdtempSync(join(tmpdir(), "kms-e2e-audit-"));
    try {
      const path = join(directory, "audit.txt");
      writeFileSync(path, text);
      execFileSync(process.env.KMS_ENCLAVE ?? "enclave", ["audit", "verify", path], { encoding: "utf8" });
      const damaged = text.replace('"jwt.sign"', '"jwt.sigm"');
      assert.notEqual(damaged, text);
      writeFileSync(path, damaged);
      assert.throws(() => execFileSync(process.env.KMS_ENCLAVE ?? "enclave", ["audit", "verify", path], { stdio: "pipe" }));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("enclave.cancel and AbortSignal end a call", async () => {
    const page = await withVault(bench);
    assert.deepEqual(await call(page, "enclave.cancel", { id: 123_456_789 }), { cancelled: false });
    await assert.rejects(
      page.evaluate(async () => {
        const ending = new AbortController();
        const call = kms.vault.destroy({}, { signal: ending.signal });
        setTimeout(() => ending.abort(), 500);
        await call;
      }),
      { code: "cancelled" },
    );
    assert.equal((await call(page, "vault.status", {})).state, "unlocked");
  });

  it("typed methods are the same as call by name, and unknown ones are refused", async () => {
    const page = await withVault(bench);
    assert.equal(await page.evaluate(async () => (await kms.vault.status()).state), "unlocked");
    await assert.rejects(call(page, "keys.export", { kid: "A".repeat(43) }), { code: "unknown_method" });
    await assert.rejects(call(page, "toString", {}), { code: "unknown_method" });
    await assert.rejects(call(page, "keys.create", { purpose: "signing", kid: "mine" }), (error) => {
      assert.equal(error.code, "invalid_request");
      assert.match(JSON.stringify(error.details), /kid/);
      return true;
    });
  });
});
