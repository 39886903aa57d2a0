// Passkeys with Chromium's virtual authenticator, in the third-party frame: with the PRF
// extension, which opens the vault, and without, which is no way in. First with the enclave, then what
// its dialogs answer, by themselves.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { Authenticators } from "../lib/authenticators.mjs";
import { begin, ended, result } from "../lib/call.mjs";
import { problem, prove } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";
import { samples } from "../lib/samples.mjs";
import { answered, answers, close, enabled, focus, open, press, serve, show } from "../lib/screens.mjs";

before(serve);
after(close);

async function opened(bench, account) {
  const page = await bench.open();
  await page.evaluate((account) => startKms({ account }), account);
  return { page, frame: await bench.frame(page) };
}

/** The dialogs without an enclave. */
async function gallery(bench) {
  const { page, frame } = await open(bench.browser);
  bench.pages.push(page);
  return { page, frame };
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

    if (engine === "webkit") it("every dialog that takes a passkey says that this browser has none, and what else there is", async () => {
      const { frame } = await gallery(bench);
      for (const [name, selector] of [["unlock by passkey", "#passkey"], ["new passkey", "#create"], ["enable", "#passkey"]]) {
        await show(frame, name);
        assert.equal(await enabled(frame, selector), false, name);
        assert.match(await frame.evaluate(() => document.body.textContent), /cannot use passkeys/, name);
        assert.equal(await enabled(frame, "#cancel"), true, name);
      }
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
    await problem(frame, /it cannot encrypt/);
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

  it("has a passkey made, and uses it", async () => {
    const { page, frame } = await gallery(bench);
    await (await Authenticators.of(page)).add();
    const id = await show(frame, "new passkey");
    await press(frame, "#create");
    const { answer } = await answered(frame, id);
    assert.equal(answer.choice, "passkey");
    assert.equal(answer.label, samples["new passkey"].label);
    assert.equal(Buffer.from(answer.created.prf, "base64").length, 32);
    assert.deepEqual(Object.keys(answer.created).sort(), ["algorithm", "authenticatorData", "clientDataJSON", "id", "prf", "publicKey"]);

    const credential = { slot: "s", label: "x", id: answer.created.id, salt: samples["new passkey"].salt };
    const proof = { passphrase: false, passkeys: [credential], challenge: samples["new passkey"].challenge };
    for (const name of ["unlock by passkey", "rotate"]) {
      const using = await show(frame, { ...samples[name], proof });
      await press(frame, "#passkey");
      const { answer: used } = await answered(frame, using);
      assert.equal(used.choice, "passkey");
      assert.equal(used.passkey.prf, answer.created.prf, name);
      const client = JSON.parse(Buffer.from(used.passkey.clientDataJSON, "base64").toString());
      assert.deepEqual([client.type, client.crossOrigin, Buffer.from(client.challenge, "base64url").toString("base64")], ["webauthn.get", true, proof.challenge]);
    }
  });

  it("asks for one use of a passkey whose PRF says nothing when it is made", async () => {
    const { page, frame } = await gallery(bench);
    await (await Authenticators.of(page)).add();
    const id = await show(frame, "new passkey");
    await frame.evaluate(() => {
      const { getClientExtensionResults } = PublicKeyCredential.prototype;
      PublicKeyCredential.prototype.getClientExtensionResults = function () {
        const results = getClientExtensionResults.call(this);
        return this.response instanceof AuthenticatorAttestationResponse ? { prf: { enabled: results.prf.enabled } } : results;
      };
    });
    await press(frame, "#create");
    await eventually("the focus", async () => (await focus(frame)) === "finish");
    assert.equal((await answers(frame)).length, 0);
    await press(frame, "#finish");
    const { created } = (await answered(frame, id)).answer;
    assert.deepEqual([created.prf, created.used.id], ["", created.id]);
    assert.equal(Buffer.from(created.used.prf, "base64").length, 32);
    const client = JSON.parse(Buffer.from(created.used.clientDataJSON, "base64").toString());
    assert.deepEqual([client.type, Buffer.from(client.challenge, "base64url").toString("base64")], ["webauthn.get", samples["new passkey"].challenge]);
    assert.deepEqual(Object.keys(created.used).sort(), ["authenticatorData", "clientDataJSON", "id", "prf", "signature"]);
  });

  it("answers without a PRF where the authenticator has none", async () => {
    const { page, frame } = await gallery(bench);
    await (await Authenticators.of(page)).add({ hasPrf: false });
    const id = await show(frame, "another passkey");
    await press(frame, "#create");
    assert.equal((await answered(frame, id)).answer.created.prf, "");
  });

  it("stays as it was when the browser's own dialog ends without a passkey", async () => {
    const { page, frame } = await gallery(bench);
    await (await Authenticators.of(page)).add({ verifies: false });
    const id = await show(frame, "new passkey");
    await press(frame, "#create");
    await eventually("a word about it", () => frame.evaluate(() => /No passkey was used/.test(document.querySelector("#note").textContent)));
    assert.equal(await enabled(frame, "#create"), true);
    await frame.press("Escape");
    assert.equal((await answered(frame, id)).answer, null);
  });
});
