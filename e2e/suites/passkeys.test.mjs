// Passkeys with Chromium's virtual authenticator, in the third-party frame: with the PRF
// extension, which opens the vault, and without, which is no way in.

import assert from "node:assert/strict";
import { it } from "node:test";
import { begin, ended, result } from "../lib/call.mjs";
import { prove } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";

/** The virtual authenticators of a page. */
class Authenticators {
  static async of(page) {
    const session = await page.handle.createCDPSession();
    await session.send("WebAuthn.enable");
    return Object.assign(new Authenticators(), { session });
  }

  async add({ hasPrf = true, transport = "internal" } = {}) {
    const { authenticatorId } = await this.session.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", ctap2Version: "ctap2_1", transport, hasResidentKey: true, hasUserVerification: true, hasPrf, isUserVerified: true, automaticPresenceSimulation: true },
    });
    return authenticatorId;
  }

  remove(authenticatorId) {
    return this.session.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId });
  }

  /** Whether it answers when it is asked. */
  present(authenticatorId, enabled) {
    return this.session.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled });
  }

  async credentials(authenticatorId) {
    return (await this.session.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
  }
}

async function opened(bench, account) {
  const page = await bench.open();
  await page.evaluate((account) => startKms({ account }), account);
  return { page, frame: await page.frame(new URL(bench.site.release.url).origin) };
}

async function makePasskey(frame, label) {
  await frame.waitFor("#create:enabled");
  if (label) {
    await frame.evaluate(() => (document.querySelector("#label").value = ""));
    await frame.type("#label", label);
  }
  await frame.click("#create");
}

eachEngine("passkeys", (bench, engine) => {
  if (engine !== "chromium") {
    // Firefox has passkeys, but no virtual authenticator that a test could use; WebKitGTK has none.
    it(engine === "webkit" ? "says what this browser lacks, and makes no vault" : "offers to make one, and a no makes no vault", async () => {
      const { page, frame } = await opened(bench, "none");
      await begin(page, "vault.create", { persistence: "device", lock: "passkey" });
      await frame.waitFor("#cancel");
      assert.equal(await frame.evaluate(() => document.querySelector("#create").disabled), engine === "webkit");
      assert.equal(await frame.evaluate(() => document.querySelector("#label") === null), engine === "webkit");
      await frame.click("#cancel");
      assert.equal((await ended(page)).code, "cancelled");
      assert.equal((await page.evaluate(() => kms.vault.status())).state, "absent");
    });
    return;
  }

  it("a passkey makes, opens and proves; nothing of it is stored that opens anything", async () => {
    const { page, frame } = await opened(bench, "passkey");
    const authenticators = await Authenticators.of(page);
    const id = await authenticators.add();
    await begin(page, "vault.create", { persistence: "device", lock: "passkey" });
    await makePasskey(frame, "My laptop");
    const made = await result(page);
    assert.deepEqual([made.state, made.lock, made.slots.map(({ kind, label }) => `${kind}: ${label}`)], ["unlocked", "passkey", ["passkey: My laptop"]]);
    assert.equal((await authenticators.credentials(id)).length, 1);
    const kid = await page.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key.kid);

    await page.evaluate(() => kms.vault.lock());
    await assert.rejects(page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 }), kid), { code: "locked" });
    await begin(page, "vault.unlock");
    await frame.waitFor("#passkey:enabled");
    await frame.click("#passkey");
    assert.equal((await result(page)).state, "unlocked");
    await page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 }), kid);

    await begin(page, "keys.revoke", { kid });
    await frame.type("#word", "DELETE");
    await frame.waitFor("#passkey:enabled");
    await frame.click("#passkey");
    assert.equal((await result(page)).key.state, "revoked");
    await authenticators.remove(id);
  });

  it("one of two is removed, and opens nothing any more", async () => {
    const { page, frame } = await opened(bench, "two");
    const authenticators = await Authenticators.of(page);
    const first = await authenticators.add();
    await begin(page, "vault.create", { persistence: "device", lock: "passkey" });
    await makePasskey(frame, "First");
    await result(page);

    const second = await authenticators.add({ transport: "usb" });
    await begin(page, "slots.add", { kind: "passkey", label: "Second" });
    await authenticators.present(second, false);
    await frame.waitFor("#passkey:enabled");
    await frame.click("#passkey");
    await frame.waitFor("#create");
    await authenticators.present(second, true);
    await authenticators.present(first, false);
    await makePasskey(frame);
    const { slots } = await result(page);
    assert.deepEqual(slots.map(({ label }) => label), ["First", "Second"]);

    // The second one proves, and removes the first.
    await begin(page, "slots.remove", { id: slots[0].id });
    await frame.waitFor("#passkey:enabled");
    await frame.click("#passkey");
    assert.deepEqual((await result(page)).slots.map(({ label }) => label), ["Second"]);
    await assert.rejects(page.evaluate((id) => kms.slots.remove({ id }), slots[1].id), { code: "denied" });

    await page.evaluate(() => kms.vault.lock());
    await authenticators.present(first, true);
    await authenticators.remove(second);
    await begin(page, "vault.unlock");
    await frame.waitFor("#passkey:enabled");
    await frame.evaluate(() => {
      const note = document.querySelector("#note");
      window.notes = new Set();
      new MutationObserver(() => notes.add(note.textContent)).observe(note, { childList: true });
    });
    await frame.click("#passkey"); // the first one has a credential, which nobody asks for
    await eventually("first what to do, then that it came to nothing", () => frame.evaluate(() => notes.delete("") ? false : notes.size === 2), { timeoutMs: 30_000 });
    assert.equal(await page.evaluate(() => window.outcome), undefined);
    await frame.click("#cancel");
    assert.equal((await page.evaluate(() => kms.vault.status())).state, "locked");
    await authenticators.remove(first);
  });

  it("an authenticator without PRF is no way in", async () => {
    const { page, frame } = await opened(bench, "without");
    const authenticators = await Authenticators.of(page);
    const id = await authenticators.add({ hasPrf: false });
    await begin(page, "vault.create", { persistence: "device", lock: "passkey" });
    await makePasskey(frame);
    // The worker has refused it: what the frame says while the browser asks is a note.
    await frame.waitFor("#problem:not(:empty)", 30_000);
    assert.equal((await authenticators.credentials(id)).length, 1, "a passkey was made, and is of no use");
    assert.equal((await page.evaluate(() => window.outcome)), undefined);
    await frame.click("#cancel");
    assert.equal((await ended(page)).code, "cancelled");
    assert.equal((await page.evaluate(() => kms.vault.status())).state, "absent");
    await authenticators.remove(id);
  });

  it("a passkey beside a passphrase, from the list of ways in", async () => {
    const { page, frame } = await opened(bench, "beside");
    const authenticators = await Authenticators.of(page);
    const id = await authenticators.add();
    await page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" }));
    await begin(page, "slots.manage");
    await frame.waitFor("#add-passkey");
    await frame.click("#add-passkey");
    await prove(frame, { word: "CONFIRM" });
    await makePasskey(frame);
    await frame.waitFor("[id^=remove-]");
    const ways = await frame.evaluate(() => Array.from(document.querySelectorAll("[id^=remove-]"), ({ id }) => id));
    assert.equal(ways.length, 2);
    await frame.click("#close");
    const status = await result(page);
    assert.deepEqual(status.slots.map(({ kind }) => kind), ["device", "passkey"]);
    assert.equal(status.lock, "none");

    // Without the device slot the vault has a lock.
    await begin(page, "slots.remove", { id: status.slots[0].id });
    await prove(frame, { word: "CONFIRM" });
    assert.equal((await result(page)).lock, "passkey");
    await authenticators.remove(id);
  });
});
