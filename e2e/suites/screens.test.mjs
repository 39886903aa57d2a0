// What people type and choose in the enclave's dialogs, what goes to the worker of it, and what the dialogs do
// not let happen. How they look is in appearance.test.mjs; dialog.test.mjs has one with an enclave behind it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { launch } from "../lib/browser.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { eventually } from "../lib/process.mjs";
import { samples, SUGGESTION, WORDS } from "../lib/samples.mjs";
import { answered, answers, close, enabled, focus, open, press, resize, serve, show } from "../lib/screens.mjs";

const PASSPHRASE = "an example to type";
const vectors = JSON.parse(await readFile(new URL("../vectors/passphrases.json", import.meta.url), "utf8"));

before(serve);
after(close);

/**
 * Presses a button, and returns the answer. WebKit's driver now and then clicks beside an element that it
 * has scrolled to; then, and only there, it is pressed by keyboard.
 */
async function choose(frame, selector, id, what, engine) {
  await press(frame, selector);
  if (engine !== "webkit") return await answered(frame, id, what);
  return await answered(frame, id, what, { timeoutMs: 3000 }).catch(async () => {
    await frame.evaluate((selector) => document.querySelector(selector).focus(), selector);
    await frame.press("Enter");
    return await answered(frame, id, what);
  });
}


for (const engine of chosenEngines()) {
  describe(`${engine}: screens`, () => {
    let browser, page, frame;
    before(async () => {
      browser = await launch(engine);
    });
    after(() => browser?.close());
    const begin = async () => ({ page, frame } = await open(browser, "en", page));
    it("takes a passphrase by keyboard in its one form, and keeps nothing of it", async () => {
      await begin();
      const id = await show(frame, "unlock");
      await frame.evaluate(() => (window.kept = document.querySelector("#passphrase")));
      await frame.type("#passphrase", PASSPHRASE);
      await frame.click("#show");
      await frame.evaluate(() => {
        kept.value += "\u00a0cafe\u0301";
      });
      await frame.click("#passphrase");
      await frame.press("Enter");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "passphrase", text: `${PASSPHRASE} caf\u00e9` });
      assert.deepEqual(await frame.evaluate(() => ({
        value: kept.value, disabled: [...document.querySelectorAll("button, input")].every((e) => e.disabled), status: document.querySelector("#status").textContent, focus: document.activeElement.id,
      })), { value: "", disabled: true, status: "One moment\u2026", focus: "status" });
      await show(frame, "unlock again");
      await eventually("the field", async () => (await focus(frame)) === "passphrase");
      assert.deepEqual(await frame.evaluate(() => {
        const field = document.querySelector("#passphrase");
        return [kept.isConnected, field.value, field.getAttribute("aria-invalid"), field.getAttribute("aria-describedby"), document.querySelector("#problem").getAttribute("role"), document.querySelectorAll("main").length];
      }), [false, "", "true", "problem", "alert", 1]);
      assert.match(await frame.evaluate(() => document.querySelector("#problem").textContent), /not the passphrase/);
    });

    it("refuses what has no one form, and says so without asking anybody", async () => {
      await begin();
      const id = await show(frame, "unlock");
      await frame.type("#passphrase", "a");
      await frame.evaluate(() => (document.querySelector("#passphrase").value = "a\ue000"));
      await press(frame, "#unlock");
      assert.match(await frame.evaluate(() => document.querySelector("#problem").textContent), /other keyboards/);
      assert.deepEqual([await enabled(frame, "#unlock"), (await answers(frame)).some((each) => each.id === id)], [false, false]);
    });

    it("gives a passphrase the same form as the other engines do", async () => {
      await begin();
      for (const { why, text, want } of vectors) {
        const got = await frame.evaluate((units) => {
          const result = gallery.normalised(String.fromCharCode(...units));
          return result === undefined ? null : [...Array(result.length).keys()].map((i) => result.charCodeAt(i));
        }, [...Array(text.length).keys()].map((i) => text.charCodeAt(i)));
        assert.deepEqual(got && String.fromCharCode(...got), want, why);
      }
    });

    it("takes a new passphrase only twice the same and long enough, and suggests one", async () => {
      await begin();
      const id = await show(frame, "new passphrase");
      const problem = () => frame.evaluate(() => document.querySelector("#problem").textContent);
      await frame.type("#passphrase", "short");
      await frame.type("#repeat", "short");
      await press(frame, "#next");
      assert.match(await problem(), /at least 10/);
      await frame.type("#passphrase", PASSPHRASE);
      await frame.type("#repeat", `${PASSPHRASE}s`);
      await press(frame, "#next");
      assert.match(await problem(), /not the same/);
      await eventually("the second field", async () => (await focus(frame)) === "repeat");
      await press(frame, "#suggest");
      assert.deepEqual(await frame.evaluate(() => ["#passphrase", "#repeat"].map((each) => [document.querySelector(each).value, document.querySelector(each).type])), Array(2).fill([SUGGESTION, "text"]));
      await press(frame, "#next");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "passphrase", text: SUGGESTION });
      assert.equal(await frame.evaluate((text) => document.documentElement.outerHTML.includes(text) || [...document.querySelectorAll("input")].some((e) => e.value !== ""), SUGGESTION), false);
    });

    it("clears what was typed when the window loses the focus, and says so", async () => {
      await begin();
      for (const [name, field] of [["unlock", "#passphrase"], ["new passphrase", "#repeat"], ["rotate", "#passphrase"], ["phrase", "#phrase"], ["ask words", "#word-7"]]) {
        await show(frame, name);
        await frame.type(field, "abandon");
        assert.equal(await frame.evaluate((field) => document.querySelector(field).value, field), "abandon", name);
        await page.click("#elsewhere");
        await eventually(`${name} is empty`, () => frame.evaluate((field) => document.querySelector(field).value === "", field));
        assert.match(await frame.evaluate(() => document.querySelector("#note").textContent), /was cleared/, name);
      }
    });

    it("shows a phrase for long enough to write, and leaves nothing of it", async () => {
      await begin();
      const id = await show(frame, "show phrase");
      await frame.evaluate(() => {
        window.kept = [...document.querySelectorAll("#words li")];
        window.began = performance.now();
        new MutationObserver(() => (window.ready ??= performance.now() - began)).observe(document.querySelector("#next"), { attributes: true });
      });
      assert.deepEqual(await frame.evaluate(() => kept.map((e) => e.textContent)), WORDS);
      assert.equal(await enabled(frame, "#next"), false);
      await eventually("the button", () => enabled(frame, "#next"), { timeoutMs: 20_000 });
      assert.ok((await frame.evaluate(() => ready)) >= 4500);
      await press(frame, "#next");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "next" });
      assert.equal(await frame.evaluate(() => kept.map((e) => e.textContent).join("")), "");
    });

    it("asks words of the phrase back, and the whole of it, however it is typed", async () => {
      await begin();
      const asked = await show(frame, "ask words");
      for (const [n, word] of [[3, " Able"], [7, "absorb"], [11, "access "]]) await frame.type(`#word-${n}`, word);
      await frame.press("Enter");
      assert.deepEqual((await answered(frame, asked)).answer, { choice: "words", text: "able absorb access" });
      const id = await show(frame, "phrase");
      await frame.type("#phrase", `1. ${WORDS[0].toUpperCase()}, ${WORDS.slice(1, 7).join("  ")}`);
      assert.equal(await frame.evaluate(() => document.querySelector("#count").textContent), "7 of 12 words");
      await press(frame, "#next");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "phrase", text: WORDS.slice(0, 7).join(" ") });
    });

    it("lets nothing be confirmed before it was in sight for half a second, by a script, or twice", async () => {
      await begin();
      const request = { ...samples["enable again"], word: undefined };
      await frame.evaluate(() => {
        const began = performance.now();
        new MutationObserver((changes) => {
          if (changes.some(({ target }) => target.id === "confirm" && !target.disabled)) window.ready ??= performance.now() - began;
        }).observe(document, { attributes: true, attributeFilter: ["disabled"], subtree: true });
      });
      const id = await show(frame, request);
      assert.equal(await focus(frame), engine === "webkit" ? "" : "cancel");
      await eventually("the button", () => enabled(frame, "#confirm"));
      const ready = await frame.evaluate(() => window.ready);
      assert.ok(ready >= 490, `it could be confirmed after ${ready} ms`);
      await frame.evaluate(() => {
        const button = document.querySelector("#confirm");
        button.click();
        button.focus();
        button.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
      });
      assert.equal((await answers(frame)).length, 0);
      await frame.click("#confirm");
      await answered(frame, id);
      await frame.press("Escape");
      await frame.press("Enter");
      assert.deepEqual((await answers(frame)).map(({ id: each, answer }) => [each, answer]), [[id, { choice: "confirm" }]]);
      assert.deepEqual(await frame.evaluate(() => gallery.heard.filter(({ open }) => open !== undefined)), [{ open: true }]);
    });

    it("lets nothing be confirmed while it is too small to read", async () => {
      await begin();
      for (const name of ["enable again", "restore", "change"]) {
        await show(frame, { ...samples[name], word: undefined, problem: undefined });
        if (name === "change") await frame.type("#passphrase", "x");
        await eventually("the button", () => enabled(frame, "#confirm"));
        await resize(page, 60, 60);
        await eventually(`${name} is held back`, async () => !(await enabled(frame, "#confirm")));
        await eventually("a word about it", () => frame.evaluate(() => /covers/.test(document.querySelector("#note").textContent)));
        await resize(page, 480, 640);
      }
    });

    it("wants the word, and the passphrase with it", async () => {
      await begin();
      const id = await show(frame, { ...samples["revoke"], waitMs: 600 });
      await frame.type("#word", "delete");
      await frame.type("#passphrase", PASSPHRASE);
      // Once the wait is over, only the word is missing.
      await eventually("the end of the wait", () => frame.evaluate(() => document.querySelector("progress").value === 600));
      await frame.press("Enter");
      assert.deepEqual([await enabled(frame, "#confirm"), (await answers(frame)).length], [false, 0]);
      await frame.evaluate(() => (document.querySelector("#word").value = ""));
      await frame.type("#word", "DELETE");
      await press(frame, "#confirm");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "passphrase", text: PASSPHRASE, word: "DELETE" });
    });

    it("takes the word for a way in that does not ask with the passphrase", async () => {
      await begin();
      const id = await show(frame, "add device");
      await frame.type("#passphrase", PASSPHRASE);
      await frame.type("#word", "CONFIRM");
      await press(frame, "#confirm");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "passphrase", text: PASSPHRASE, word: "CONFIRM" });
    });

    it("reads a file that is not too large, and has one saved", async () => {
      await begin();
      const id = await show(frame, { ...samples["pick file"], maxBytes: 1 << 20 });
      const pick = (size) => frame.evaluate((size) => {
        const all = new DataTransfer();
        all.items.add(new File([new Uint8Array(size).fill(7)], "vault.kmsbackup"));
        const input = document.querySelector("#file");
        input.files = all.files;
        input.dispatchEvent(new Event("input"));
      }, size);
      await pick((1 << 20) + 1);
      await press(frame, "#next");
      await eventually("a word about it", () => frame.evaluate(() => /at most 1 MiB/.test(document.querySelector("#problem").textContent)));
      await pick(3);
      await press(frame, "#next");
      const { answer, file } = await answered(frame, id);
      assert.deepEqual([answer, file], [{ choice: "file" }, "BwcH"]);

      const saving = await show(frame, "save backup");
      await press(frame, "#save");
      await eventually("the focus", async () => (await focus(frame)) === "saved");
      await press(frame, "#again");
      await press(frame, "#saved");
      assert.deepEqual((await answered(frame, saving)).answer, { choice: "saved" });
      assert.deepEqual(await frame.evaluate(() => gallery.refusals), []);
    });

    it("takes what is chosen in the log, among the ways in and elsewhere", async () => {
      await begin();
      for (const [name, selector, answer] of [
        ["activity", "#older", { choice: "older" }],
        ["activity", "#export", { choice: "export" }],
        ["activity empty", "#close", { choice: "close" }],
        ["methods", "#change-0", { choice: "change", slot: "s1" }],
        ["methods", "#remove-2", { choice: "remove", slot: "s3" }],
        ["methods", "#add-device", { choice: "add", text: "device" }],
        ["methods", "#recovery", { choice: "recovery" }],
        ["unlock", "#phrase", { choice: "phrase" }],
        ["forgotten passphrase", "#later", { choice: "later" }],
        ["ask words", "#back", { choice: "back" }],
        ["done", "#close", { choice: "close" }],
      ]) {
        const id = await show(frame, name);
        assert.deepEqual((await choose(frame, selector, id, name, engine)).answer, answer, name);
      }
    });

    it("takes Escape for a no, or for the end of what asks nothing", async () => {
      await begin();
      for (const [name, answer] of [["rotate", null], ["unlock", null], ["show phrase", null], ["pick file", null], ["activity", { choice: "close" }], ["methods", { choice: "close" }], ["done", { choice: "close" }]]) {
        const id = await show(frame, name);
        await frame.click("h1");
        await frame.press("Escape");
        assert.deepEqual((await answered(frame, id, name)).answer, answer, name);
      }
    });

    it("tells progress in place of a screen, and ends without a trace", async () => {
      await begin();
      await show(frame, "unlock");
      await frame.type("#passphrase", PASSPHRASE);
      const told = await frame.evaluate((whats) => {
        const kept = document.querySelector("#passphrase");
        const places = new Set();
        const texts = new Set();
        for (const what of whats) {
          gallery.host.progress({ what });
          places.add(document.querySelector("main"));
          texts.add(document.querySelector("[role=status] > #doing").textContent);
        }
        return { value: kept.value, kept: kept.isConnected, places: places.size, texts: texts.size, mains: document.querySelectorAll("main").length, buttons: document.querySelectorAll("button").length };
      }, ["checking", "encrypting", "rewrapping", "writing"]);
      assert.deepEqual(told, { value: "", kept: false, places: 1, texts: 4, mains: 1, buttons: 0 });
      await frame.press("Escape");
      await frame.evaluate(() => {
        gallery.host.dismiss();
        gallery.host.dismiss();
      });
      // Nothing was answered.
      assert.deepEqual(await frame.evaluate(() => [document.body.querySelectorAll("main").length, document.title, gallery.heard]), [0, "Key enclave", [{ open: true }, { open: false }]]);
    });
  });
}
