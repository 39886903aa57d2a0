// Every dialog of the enclave as it is drawn in its frame: what people can do with it, with what
// they have, and what it does not let happen. dialog.test.mjs has one of them with an enclave behind it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, describe, it } from "node:test";
import { launch } from "../lib/browser.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { serveGallery } from "../lib/gallery.mjs";
import { eventually } from "../lib/process.mjs";
import { samples, SUGGESTION, WORDS } from "../lib/samples.mjs";

const LANGUAGES = ["en", "de"];
const PASSPHRASE = "an example to type";
const axe = (await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8")).replace(/[^ -~\n\t]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const vectors = JSON.parse(await readFile(new URL("../vectors/passphrases.json", import.meta.url), "utf8"));

let gallery;
before(async () => {
  gallery = await serveGallery();
});
after(() => gallery?.close());

/** A page of the app with the dialogs in a frame, and the frame. */
async function open(browser, language = "en") {
  const page = await browser.newPage();
  await page.goto(gallery.page(language));
  const frame = await page.frame(gallery.enclave);
  await eventually("the screens", () => frame.evaluate(() => typeof gallery === "object"));
  return { page, frame };
}

let shown = 0;

/** Shows a sample, or a request, as the worker does; returns its number. */
async function show(frame, request) {
  const id = ++shown;
  await frame.evaluate((id, request) => {
    gallery.host.show(id, request, request.kind === "save-file" ? new Uint8Array([1, 2, 3]).buffer : undefined);
  }, id, typeof request === "string" ? samples[request] : request);
  return id;
}

const answers = (frame) => frame.evaluate(() => gallery.heard.filter(({ id }) => id));
const enabled = (frame, selector) => frame.evaluate((selector) => document.querySelector(selector)?.disabled === false, selector);
const focus = (frame) => frame.evaluate(() => document.activeElement.id);

/** The one answer to the screen with this number; what is its name where there are several. */
async function answered(frame, id, what = id) {
  return await eventually(`an answer to ${what}`, async () => (await answers(frame)).find((each) => each.id === id));
}

/** Waits until a button may be used, and presses it. */
async function press(frame, selector) {
  await eventually(selector, () => enabled(frame, selector));
  await frame.click(selector);
}

/**
 * Presses a button, and returns the answer. WebKit's driver now and then clicks beside an element that it
 * has scrolled to; then it is pressed by keyboard.
 */
async function choose(frame, selector, id, what) {
  await press(frame, selector);
  const answer = await eventually("an answer", async () => (await answers(frame)).find((each) => each.id === id), { timeoutMs: 3000 }).catch(() => undefined);
  if (answer) return answer;
  await frame.evaluate((selector) => document.querySelector(selector).focus(), selector);
  await frame.press("Enter");
  return await answered(frame, id, what);
}

const resize = (page, width, height) => page.evaluate((width, height) => {
  Object.assign(document.querySelector("#enclave").style, { inlineSize: `${width}px`, blockSize: `${height}px` });
}, width, height);

const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

const violations = (frame, runOnly) => frame.evaluate(async (runOnly) => {
  const { violations } = await axe.run(document, { runOnly, resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}, runOnly);

/** What axe has to say of every screen, by its name. */
async function audit(browser, language, { rules = WCAG, prepare = () => {} } = {}) {
  const { page, frame } = await open(browser, language);
  await prepare({ page, frame });
  await frame.evaluate(`() => { ${axe} }`);
  const found = {};
  for (const name of Object.keys(samples)) {
    await show(frame, name);
    const list = await violations(frame, rules);
    if (list.length > 0) found[name] = list;
  }
  await page.close();
  return found;
}

for (const engine of chosenEngines()) {
  describe(`${engine}: screens`, () => {
    let browser, page, frame;
    before(async () => {
      browser = await launch(engine);
    });
    after(() => browser?.close());
    afterEach(() => page?.close().then(() => (page = undefined)));
    const begin = async (language) => ({ page, frame } = await open(browser, language));

    // What a language does to a layout, the longer one does; the words of both are looked at in Chromium.
    for (const language of engine === "chromium" ? LANGUAGES : ["de"]) {
      it(`draws each without scrolling sideways at 320 px, and asks the policy for nothing: ${language}`, async () => {
        await begin(language);
        await resize(page, 320, 640);
        assert.equal(await frame.evaluate(() => document.documentElement.lang), language);
        for (const name of Object.keys(samples)) {
          await show(frame, name);
          const { wide, out, title } = await frame.evaluate(() => ({
            wide: document.documentElement.scrollWidth - innerWidth,
            out: [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.id || e.localName),
            title: document.title,
          }));
          assert.deepEqual({ name, wide: Math.max(0, wide), out }, { name, wide: 0, out: [] });
          assert.ok(title.length > 3, `${name}: ${title}`);
        }
        assert.deepEqual(await frame.evaluate(() => gallery.refusals), []);
      });

      it(`breaks no rule that axe knows: ${language}`, async () => {
        assert.deepEqual(await audit(browser, language), {});
      });
    }

    it("speaks the first language that it knows, or else English", async () => {
      for (const [wanted, spoken] of [["de-AT", "de"], ["fr", "en"], ["en-GB", "en"]]) {
        await begin(wanted);
        assert.equal(await frame.evaluate(() => document.documentElement.lang), spoken);
        await page.close();
      }
      await begin();
    });

    if (engine !== "webkit") {
      it("breaks no rule in the dark, and moves nothing where people want that", async () => {
        const dark = await launch(engine, {
          args: ["--force-prefers-reduced-motion"],
          preferences: { "layout.css.prefers-color-scheme.content-override": 0, "ui.prefersReducedMotion": 1 },
        });
        try {
          const prepare = async ({ page, frame }) => {
            if (engine === "chromium") await page.handle.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
            await show(frame, "done");
            assert.deepEqual(await frame.evaluate(() => [matchMedia("(prefers-color-scheme: dark)").matches, getComputedStyle(document.querySelector("button")).transitionDuration]), [true, "0s"]);
          };
          assert.deepEqual(await audit(dark, "en", { rules: ["color-contrast"], prepare }), {});
        } finally {
          await dark.close();
        }
      });

      it("lets a keyboard reach everything, from wherever it begins", async () => {
        await begin();
        for (const name of Object.keys(samples)) {
          await show(frame, name);
          const want = await frame.evaluate(() => [...document.querySelectorAll("button:enabled, input:enabled, textarea:enabled")].map((e) => e.id));
          const reached = new Set([await focus(frame)]);
          await page.evaluate(() => document.querySelector("#elsewhere").focus());
          for (let i = 0; i <= want.length; i++) {
            await page.handle.keyboard.down("Shift");
            await page.handle.keyboard.press("Tab");
            await page.handle.keyboard.up("Shift");
            reached.add(await focus(frame));
          }
          assert.deepEqual(want.filter((id) => !reached.has(id)), [], name);
        }
      });
    }

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
      const id = await show(frame, request);
      await frame.evaluate(() => {
        const button = document.querySelector("#confirm");
        window.began = performance.now();
        window.clicks = 0;
        new MutationObserver(() => (window.ready ??= performance.now() - began)).observe(button, { attributes: true });
      });
      assert.equal(await focus(frame), engine === "webkit" ? "" : "cancel");
      await eventually("the button", () => enabled(frame, "#confirm"));
      assert.ok((await frame.evaluate(() => ready)) >= 400, "the time that the test took to look is not counted");
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
      await frame.press("Enter");
      assert.equal(await enabled(frame, "#confirm"), false);
      for (let i = 0; i < 7; i++) await frame.evaluate(() => (document.querySelector("#word").value = ""));
      await frame.type("#word", "DELETE");
      await press(frame, "#confirm");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "passphrase", text: PASSPHRASE, word: "DELETE" });
    });

    it("says what a way in that does not ask means, and takes the word with the passphrase", async () => {
      await begin();
      const id = await show(frame, "add device");
      const { title, alarm, look } = await frame.evaluate(() => ({ title: document.title, alarm: document.querySelector("#what .problem").textContent, look: document.querySelector("#confirm").className }));
      assert.match(title, /open without asking/);
      assert.match(alarm, /anybody who can use this browser with your profile.*in every tab.*not lock any more/);
      assert.equal(look, "danger");
      await frame.type("#passphrase", PASSPHRASE);
      await frame.type("#word", "CONFIRM");
      await press(frame, "#confirm");
      assert.deepEqual((await answered(frame, id)).answer, { choice: "passphrase", text: PASSPHRASE, word: "CONFIRM" });
      await show(frame, "add");
      assert.equal(await frame.evaluate(() => document.querySelectorAll("#what .problem, #confirm.danger").length), 0);
    });

    it("says how a restored vault opens and where it will be, and why a word is asked for", async () => {
      await begin();
      const facts = () => frame.evaluate(() => [document.querySelector("dl").textContent, [...document.querySelectorAll("#what .problem")].map((e) => e.textContent), document.querySelector("#what").textContent]);
      await show(frame, "restore");
      const [plain, none, rest] = await facts();
      assert.match(plain, /with a passphrase.*stored in this browser/);
      assert.deepEqual([none, /asked to type/.test(rest)], [[], false]);
      await show(frame, "restore elsewhere");
      assert.match((await facts())[1].join(), /^This backup was made for another app/);
      await show(frame, "restore open");
      const [open, warnings, all] = await facts();
      assert.match(open, /without asking.*in memory only/);
      assert.equal(warnings.length, 2);
      assert.match(warnings.join(), /anybody who can use this browser.*gone when this tab is closed/);
      assert.match(all, /Because of this you are asked to type a word\.$/);
    });

    it("says of every dialog that takes the phrase that nobody else needs it", async () => {
      await begin();
      for (const purpose of ["unlock", "check", "restore"]) {
        await show(frame, { ...samples.phrase, for: purpose });
        assert.match(await frame.evaluate(() => document.querySelector("#what").textContent), /No app and no person ever needs these words/, purpose);
      }
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
      const alarms = () => frame.evaluate(() => [...document.querySelectorAll("#what .problem")].map((e) => e.textContent));
      assert.deepEqual(await alarms(), []);
      await show(frame, "save damaged");
      assert.match((await alarms()).join(), /^2 of your keys are damaged in storage and not in this file/);
      assert.deepEqual(await frame.evaluate(() => gallery.refusals), []);
    });

    it("shows the log and the ways in, and takes what is chosen", async () => {
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
        assert.deepEqual((await choose(frame, selector, id, name)).answer, answer, name);
      }
      assert.equal(await frame.evaluate(() => document.querySelectorAll("[id^=remove]").length), 0);
      await show(frame, "activity");
      const text = await frame.evaluate(() => [...document.querySelectorAll("#entries li")].map((e) => e.textContent));
      assert.match(text[0], /Signed a token for https:\/\/api\.example.*Login on the laptop/);
      assert.match(text[1], /Not done.*delete the vault.*You said no/);
      assert.match(text[8], /with the recovery phrase \(after 3 wrong tries\)/);
      assert.match(text[9], /Not done.*open the vault\. Wrong secrets were tried: 5 times/);
      assert.match(text[10], /Not done.*revoke a key\. It was about the key Login on the laptop\. Wrong secrets were tried: once/);
      assert.match(text[11], /Made the passphrase harder to guess/);
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
      const id = await show(frame, "unlock");
      await frame.type("#passphrase", PASSPHRASE);
      await frame.evaluate(() => {
        window.kept = document.querySelector("#passphrase");
        gallery.host.progress({ what: "reading", done: 1, total: 4 });
        window.bar = document.querySelector("#bar");
        gallery.host.progress({ what: "reading", done: 2, total: 4 });
      });
      assert.deepEqual(await frame.evaluate(() => [kept.value, kept.isConnected, bar.isConnected, bar.value, bar.max, document.querySelectorAll("main").length]), ["", false, true, 2, 4, 1]);
      await frame.evaluate(() => {
        gallery.host.dismiss();
        gallery.host.dismiss();
      });
      assert.deepEqual(await frame.evaluate(() => [document.body.querySelectorAll("main").length, document.title, gallery.heard]), [0, "Key enclave", [{ open: true }, { open: false }]]);
      assert.equal((await answers(frame)).some((each) => each.id === id), false);
    });

    if (engine === "chromium") passkeys(() => ({ page, frame, begin }));
    else if (engine === "webkit") {
      it("says that this browser has no passkeys, and what else there is", async () => {
        await begin();
        for (const [name, selector] of [["unlock by passkey", "#passkey"], ["new passkey", "#create"], ["enable", "#passkey"]]) {
          await show(frame, name);
          assert.equal(await enabled(frame, selector), false, name);
          assert.match(await frame.evaluate(() => document.body.textContent), /cannot use passkeys/, name);
          assert.equal(await enabled(frame, "#cancel"), true, name);
        }
      });
    }
  });
}

/** With an authenticator that is not real, which only Chromium offers. */
function passkeys(bench) {
  const authenticator = async (page, options) => {
    const session = await page.handle.createCDPSession();
    await session.send("WebAuthn.enable");
    const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", ctap2Version: "ctap2_1", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
    });
    return { session, authenticatorId };
  };

  it("has a passkey made, and uses it", async () => {
    await bench().begin();
    const { page, frame } = bench();
    await authenticator(page, { hasPrf: true });
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
    await bench().begin();
    const { page, frame } = bench();
    await authenticator(page, { hasPrf: true });
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
    await bench().begin();
    const { page, frame } = bench();
    await authenticator(page, { hasPrf: false });
    const id = await show(frame, "another passkey");
    await press(frame, "#create");
    assert.equal((await answered(frame, id)).answer.created.prf, "");
  });

  it("stays as it was when the browser's own dialog ends without a passkey", async () => {
    await bench().begin();
    const { page, frame } = bench();
    await authenticator(page, { hasPrf: true, isUserVerified: false });
    const id = await show(frame, "new passkey");
    await press(frame, "#create");
    await eventually("a word about it", () => frame.evaluate(() => /No passkey was used/.test(document.querySelector("#note").textContent)));
    assert.equal(await enabled(frame, "#create"), true);
    await frame.press("Escape");
    assert.equal((await answered(frame, id)).answer, null);
  });
}
