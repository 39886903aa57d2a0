// The dialog that asks before a vault is deleted, with an enclave behind it: as a person with a keyboard meets it,
// and as an app that wants an answer without a person tries to get round it. Every other one is in screens.test.mjs.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { it } from "node:test";
import { hurry } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";

/** A page with a vault whose app has asked for its end; window.ending settles with what came of it. */
async function asked(bench, account) {
  const page = await bench.open();
  await page.evaluate(async (account) => {
    await startKms({ account });
    await kms.vault.create({ persistence: "session", lock: "none" });
    const button = document.createElement("button");
    button.id = "opener";
    document.body.append(button);
    button.focus();
    window.ending = "pending";
    kms.vault.destroy().then(() => (window.ending = "destroyed"), (e) => (window.ending = e.code));
  }, account);
  const frame = await bench.frame(page);
  await frame.waitFor("#confirm");
  return { page, frame };
}

const ending = (page) => page.evaluate(() => window.ending);
const state = (page) => page.evaluate(async () => (await kms.vault.status()).state);
const seen = (frame) => frame.evaluate(() => ({
  focus: document.activeElement?.id ?? "",
  confirm: !document.querySelector("#confirm").disabled,
  role: document.querySelector("main").getAttribute("role"),
  text: document.querySelector("#what").textContent,
}));

/** Seconds until the button may be used, as the dialog says; it begins with ten. */
const left = (frame) => frame.evaluate(() => Number(/\d+/.exec(document.querySelector("#wait").textContent)?.[0] ?? 0));

eachEngine("dialog", (bench, engine) => {
  // WebKit lets nothing in a third-party frame take the focus before the user has done something there.
  const first = engine === "webkit" ? "" : "cancel";

  it("says who asks for what, begins on Cancel, and Escape is a no", async () => {
    const { page, frame } = await asked(bench, "alice \u202e<b>");
    await eventually("the focus at first", async () => (await seen(frame)).focus === first);
    const { confirm, role, text } = await seen(frame);
    assert.equal(confirm, false);
    assert.equal(role, "alertdialog");
    assert.ok(text.includes(bench.site.app.origin), text);
    assert.ok(text.includes("alice ?<b>"), `what an account name cannot do to the text: ${text}`);
    assert.equal(await page.evaluate(() => document.querySelector("dialog.kms-enclave-dialog").matches(":modal")), true);

    await frame.press("Escape");
    await eventually("an answer", async () => (await ending(page)) === "cancelled");
    assert.equal(await state(page), "unlocked");
    assert.deepEqual(await page.evaluate(() => [document.querySelector("dialog.kms-enclave-dialog").open, document.activeElement.id]), [false, "opener"]);
    assert.deepEqual(await frame.evaluate(() => [document.body.textContent, document.body.childElementCount]), ["", 0]);
  });

  it("wants the word and the wait, and can be answered with the keyboard alone", async () => {
    const { page, frame } = await asked(bench, "keyboard");
    const opened = Date.now();
    await eventually("the focus at first", async () => (await seen(frame)).focus === first);
    await frame.type("#word", "delete");
    await sleep(300);
    assert.equal((await seen(frame)).confirm, false);
    for (let i = 0; i < 6; i++) await frame.press("Backspace");
    await frame.type("#word", "DELETE");
    while (Date.now() - opened < 8500) {
      assert.equal((await seen(frame)).confirm, false, `after ${Date.now() - opened} ms`);
      await sleep(500);
    }
    await eventually("the button", async () => (await seen(frame)).confirm, { timeoutMs: 15_000 });
    assert.ok(Date.now() - opened >= 9500, `${Date.now() - opened} ms`);
    // A script of the enclave's own page is no app, but shows that the button obeys only when it may.
    for (let i = 0; i < 6 && (await seen(frame)).focus !== "confirm"; i++) await frame.press("Tab");
    assert.equal((await seen(frame)).focus, "confirm");
    await frame.press("Enter");
    await eventually("an answer", async () => (await ending(page)) === "destroyed");
    assert.equal(await state(page), "absent");
  });

  // What the app can do to the frame, and which engines tell the frame. In the others the time counts: docs/threat-model.md says so.
  const all = ["chromium", "firefox", "webkit"];
  const hiding = {
    // Headless browsers call every tab visible, so the frame is told what it would see in a hidden one.
    "is in another tab": { tab: "hidden", told: all },
    "makes it transparent": { style: "opacity: 0", told: ["chromium"] },
    "does not have it drawn": { style: "visibility: hidden", told: ["chromium", "firefox"] },
    "covers it": { cover: "position: fixed; inset: 0; width: auto; height: auto; pointer-events: none; background: white", told: ["chromium"] },
    "moves it away": { style: "position: fixed; inset-inline-start: -5000px", told: all },
    "makes it too small to read": { style: "inline-size: 60px; block-size: 60px", told: all },
  };
  const names = (counts) => Object.keys(hiding).filter((what) => hiding[what].told.includes(engine) !== counts);

  async function hide(page, frame, { style = "", cover = "", tab = "visible" } = {}) {
    await frame.evaluate((state) => Object.defineProperty(document, "visibilityState", { value: state, configurable: true }), tab);
    await page.evaluate((style, cover) => {
      document.querySelector("dialog.kms-enclave-dialog").style.cssText = style;
      enclaveFrame().style.cssText = style.startsWith("visibility") ? style : "";
      document.querySelector("#cover")?.remove();
      if (!cover) return;
      const element = document.createElement("div");
      element.id = "cover";
      element.popover = "manual";
      element.style.cssText = cover;
      document.body.append(element);
      element.showPopover();
    }, style, cover);
  }

  it(`does not count the time in which the app ${names(false).join(", ")}; and begins the wait anew after it`, async () => {
    const { page, frame } = await asked(bench, "hidden");
    await hurry(frame);
    await frame.type("#word", "DELETE");
    for (const what of names(false)) {
      await eventually(`the clock goes on before the app ${what}`, async () => (await left(frame)) <= 8);
      await hide(page, frame, hiding[what]);
      await eventually(`the wait begins anew after the app ${what}`, async () => (await left(frame)) === 10);
      await sleep(500); // a fifth of the wait
      assert.equal(await left(frame), 10, what);
      assert.equal((await seen(frame)).confirm, false, what);
      await hide(page, frame);
      // What the user does first gives the focus back to the dialog where it was lost.
      await frame.type("#word", " ");
    }
    await eventually("the clock goes on", async () => (await left(frame)) <= 8);
    await frame.click("#cancel");
    await eventually("an answer", async () => (await ending(page)) === "cancelled");
  });

  if (names(true).length > 0) it(`counts the time in which the app ${names(true).join(", ")}, of which the frame is told nothing`, async () => {
    for (const what of names(true)) {
      const { page, frame } = await asked(bench, what);
      await hurry(frame);
      await hide(page, frame, hiding[what]);
      await eventually(`the clock goes on while the app ${what}`, async () => (await left(frame)) <= 5);
      await hide(page, frame);
      await frame.click("#cancel");
      await bench.closePages();
    }
  });

  it("does not let an app ask again and again", async () => {
    const { page, frame } = await asked(bench, "nagging");
    await frame.click("#cancel");
    await eventually("an answer", async () => (await ending(page)) === "cancelled");
    await page.evaluate(() => {
      window.ending = "pending";
      kms.vault.destroy().then(() => (window.ending = "destroyed"), (e) => (window.ending = e.code));
    });
    await frame.waitFor("#confirm");
    // One dialog a vault: a second request has no dialog of its own.
    await assert.rejects(page.evaluate(() => kms.vault.destroy()), { code: "denied" });
    await frame.click("#cancel");
    await eventually("an answer", async () => (await ending(page)) === "cancelled");
    for (let i = 0; i < 3; i++) await assert.rejects(page.evaluate(() => kms.vault.destroy()), { code: "denied" });
    assert.equal(await page.evaluate(() => document.querySelector("dialog.kms-enclave-dialog").open), false);
    assert.equal(await state(page), "unlocked");
  });

  it("counts a dialog that the app calls off", async () => {
    const page = await bench.open();
    const shown = await page.evaluate(async () => {
      await startKms({ account: "called off" });
      await kms.vault.create({ persistence: "session", lock: "none" });
      const dialog = document.querySelector("dialog.kms-enclave-dialog");
      const until = async (fulfilled) => {
        for (const end = performance.now() + 5000; !fulfilled() && performance.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
      };
      const outcomes = [];
      for (let i = 0; i < 6; i++) {
        const off = new AbortController();
        let code;
        kms.vault.destroy(undefined, { signal: off.signal }).then(() => (code = "destroyed"), (e) => (code = e.code));
        await until(() => dialog.open || code);
        outcomes.push(dialog.open ? "shown" : "not shown");
        off.abort();
        await until(() => !dialog.open && code);
        outcomes.push(code);
      }
      return outcomes;
    });
    assert.deepEqual(shown, [...Array(2).fill(["shown", "cancelled"]), ...Array(4).fill(["not shown", "denied"])].flat());
  });

  it("tells a wrong secret from a vault that is gone, and says whose words the account is", async () => {
    const page = await bench.open();
    await page.evaluate(async () => {
      await startKms({ account: "your bank", share: new Uint8Array(32).fill(1) });
      await kms.vault.create({ persistence: "device", lock: "none" });
      kms.close();
      await startKms({ account: "your bank", share: new Uint8Array(32).fill(2) });
      window.ending = "pending";
      kms.vault.destroy().then(() => (window.ending = "destroyed"), (e) => (window.ending = e.code));
    });
    const frame = await bench.frame(page);
    await frame.waitFor("#confirm");
    const { text } = await seen(frame);
    assert.match(text, /another secret/);
    assert.match(text, /may be intact/);
    assert.match(text, /destroys it for good/);
    assert.match(text, /Account, in the app's words/);
    assert.doesNotMatch(text, /room for a new/);
    await frame.click("#cancel");
    await eventually("an answer", async () => (await ending(page)) === "cancelled");
    const state = await page.evaluate(async () => {
      kms.close();
      await startKms({ account: "your bank", share: new Uint8Array(32).fill(1) });
      return (await kms.vault.status()).state;
    });
    assert.equal(state, "unlocked");
  });

  it("fits a narrow screen", async () => {
    const { page, frame } = await asked(bench, "narrow");
    const wide = await frame.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0);
    await page.evaluate(() => {
      document.querySelector("dialog.kms-enclave-dialog").style.inlineSize = "320px";
    });
    await eventually("a narrow frame", () => frame.evaluate(() => innerWidth <= 320));
    const overflow = await frame.evaluate(() => [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.id || e.localName));
    assert.deepEqual(overflow, []);
    await frame.click("#cancel");
  });
});
