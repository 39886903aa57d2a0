// A hostile app around the enclave's dialogs for secrets: it moves the focus while its user
// types, hides the frame, nags, and listens to everything that it can hear. And what locking
// means to an honest one.

import assert from "node:assert/strict";
import { it } from "node:test";
import { begin, ended } from "../lib/call.mjs";
import { newPassphrase, problem, prove } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";

const PASSPHRASE = "seven slow brown foxes";

const state = (page) => page.evaluate(async () => (await kms.vault.status()).state);

/** A page of this account's app, with a field of the app's own, and the enclave's frame. */
async function listening(bench, account) {
  const page = await bench.open();
  await page.evaluate(async (account) => {
    await startKms({ account });
    const thief = document.createElement("input");
    thief.id = "thief";
    document.body.append(thief);
    window.heard = "";
    addEventListener("keydown", ({ key }) => (window.heard += key), true);
    addEventListener("message", ({ data }) => (window.heard += JSON.stringify(data)));
  }, account);
  return { page, frame: await bench.frame(page) };
}

async function protect(page, frame) {
  await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
  await newPassphrase(frame, PASSPHRASE);
  assert.equal((await ended(page)).result?.state, "unlocked");
}

/** The same, with a new vault that has a passphrase. */
async function guarded(bench, account) {
  const { page, frame } = await listening(bench, account);
  await protect(page, frame);
  return { page, frame };
}

/** The same, with a vault that is locked: one for all tests of an engine that begin so. */
async function locked(bench) {
  const { page, frame } = await listening(bench, "locked");
  if ((await state(page)) === "absent") {
    await protect(page, frame);
    await page.evaluate(() => kms.vault.lock());
  }
  assert.equal(await state(page), "locked");
  return { page, frame };
}

eachEngine("secrets", (bench, engine) => {
  it("an app that takes the focus in mid-typing leaves an empty field, and the user is told", async () => {
    const { page, frame } = await locked(bench);
    await begin(page, "vault.unlock");
    await frame.waitFor("#passphrase");
    await frame.type("#passphrase", PASSPHRASE.slice(0, 8));
    await page.evaluate(() => {
      const dialog = document.querySelector("dialog.kms-enclave-dialog");
      dialog.showModal = () => {}; // or the SDK would show it again at once
      dialog.close(); // what is outside a modal dialog cannot have the focus
      document.querySelector("#thief").focus();
    });
    await eventually("an empty field", () => frame.evaluate(() => document.querySelector("#passphrase").value === ""));
    assert.match(await frame.evaluate(() => document.querySelector("#note").textContent), /was cleared/);
    assert.equal(await page.evaluate(() => window.outcome), undefined);
    // What the user had typed until then stayed in the frame.
    assert.ok(!(await page.evaluate(() => window.heard + document.querySelector("#thief").value)).includes(PASSPHRASE.slice(0, 4)));
    await page.evaluate(() => {
      const dialog = document.querySelector("dialog.kms-enclave-dialog");
      delete dialog.showModal;
      dialog.showModal();
    });
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    assert.equal((await ended(page)).result?.state, "unlocked");
  });

  it("the app hears nothing of a passphrase, and finds it nowhere", async () => {
    const { page, frame } = await locked(bench);
    await begin(page, "vault.unlock");
    await frame.waitFor("#passphrase");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    assert.equal((await ended(page)).result?.state, "unlocked");
    assert.equal(await page.evaluate(() => window.heard), "");
    assert.ok(!(await page.evaluate(() => JSON.stringify([window.outcome, window.events]))).includes(PASSPHRASE));
    assert.deepEqual(await frame.evaluate(() => [document.body.textContent, document.querySelectorAll("input").length]), ["", 0]);
    assert.equal(await page.evaluate(() => enclaveFrame().contentDocument), null);
    await assert.rejects(page.evaluate(() => enclaveFrame().contentWindow.document), { name: "SecurityError" });
  });

  it("a key does not end in a frame that the app has made too small to read", async () => {
    const { page, frame } = await guarded(bench, "small");
    const kid = await page.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key.kid);
    await begin(page, "keys.revoke", { kid });
    await frame.waitFor("#confirm");
    await frame.evaluate((passphrase) => {
      // What a user would have typed who was made to: the field takes it, the button must not.
      for (const [id, text] of [["passphrase", passphrase], ["word", "DELETE"]]) {
        const field = document.getElementById(id);
        field.value = text;
        field.dispatchEvent(new Event("input"));
      }
    }, PASSPHRASE);
    await page.evaluate(() => (document.querySelector("dialog.kms-enclave-dialog").style.cssText = "inline-size: 60px; block-size: 60px"));
    await eventually("a button that cannot be used", () => frame.evaluate(() => document.querySelector("#confirm").disabled));
    await page.evaluate(() => (document.querySelector("dialog.kms-enclave-dialog").style.cssText = ""));
    await eventually("a button that can", () => frame.evaluate(() => !document.querySelector("#confirm").disabled));
    await frame.press("Escape");
    assert.equal((await ended(page)).code, "cancelled");
    assert.equal(await page.evaluate(async (kid) => (await kms.keys.get({ kid })).key.state, kid), "active");
  });

  it("an app cannot nag for the passphrase", async () => {
    const { page, frame } = await locked(bench);
    for (let i = 0; i < 2; i++) {
      await begin(page, "vault.unlock");
      await frame.waitFor("#cancel");
      await frame.click("#cancel");
      assert.equal((await ended(page)).code, "cancelled");
    }
    for (const method of ["vault.unlock", "vault.destroy"]) await assert.rejects(page.evaluate((method) => kms.call(method), method), { code: "denied" });
    assert.equal(await page.evaluate(() => document.querySelector("dialog.kms-enclave-dialog").open), false);
  });

  it("locks when it is asked to, and when the page is left; another tab asks for itself", async () => {
    const { page, frame } = await guarded(bench, "locks");
    const kid = await page.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key.kid);
    const second = await bench.open();
    await second.evaluate(() => startKms({ account: "locks" }));
    assert.equal(await state(second), "locked");
    assert.equal(await state(page), "unlocked");
    await assert.rejects(second.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 }), kid), { code: "locked" });
    await second.close();
    bench.pages.splice(bench.pages.indexOf(second), 1);

    await page.evaluate(() => kms.vault.lock());
    assert.deepEqual((await page.evaluate(() => window.events)).at(-1), { name: "locked", data: { state: "locked", reason: "asked" } });
    // The log goes on while it is locked, and its head can be had.
    const before = await page.evaluate(async () => (await kms.audit.head()).size);
    await begin(page, "vault.unlock");
    await frame.waitFor("#passphrase");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    await ended(page);
    assert.ok((await page.evaluate(async () => (await kms.audit.head()).size)) > before);

    // To another page and back: where the browser has kept the page (faults.test.mjs), to the same connection.
    assert.equal(await state(page), "unlocked");
    await page.evaluate(() => (window.before = true));
    await page.goto(bench.blank);
    await page.evaluate(() => void setTimeout(() => history.back(), 500));
    if (engine === "webkit") await new Promise((resolve) => setTimeout(resolve, 2500)); // its driver never answers what it is asked in between
    await eventually("the page again", () => page.evaluate(() => typeof startKms === "function"));
    const kept = await page.evaluate(() => window.before === true);
    assert.equal(kept, engine === "webkit");
    if (!kept) await page.evaluate(() => startKms({ account: "locks" }));
    assert.equal(await state(page), "locked");
  });

  it("a passphrase is changed, and the old one opens nothing", async () => {
    const { page, frame } = await guarded(bench, "changed");
    const [slot] = await page.evaluate(async () => (await kms.vault.status()).slots);
    await begin(page, "slots.change", { id: slot.id });
    await prove(frame, { passphrase: PASSPHRASE });
    await newPassphrase(frame, "eight quick yellow crows");
    assert.deepEqual((await ended(page)).result?.slots.map(({ id }) => id), [slot.id]);
    await page.evaluate(() => kms.vault.lock());
    await begin(page, "vault.unlock");
    await frame.waitFor("#passphrase");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    await problem(frame, /not the passphrase/);
    await frame.fill({ "#passphrase": "eight quick yellow crows" }, "#unlock");
    assert.equal((await ended(page)).result?.state, "unlocked");
  });
});
