// How every dialog of the enclave looks and reads in its frame, whoever looks: narrow, in the dark, by
// keyboard, in each language; and what it tells people in words. What they answer is in screens.test.mjs.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as axe from "../lib/axe.mjs";
import { launch } from "../lib/browser.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { eventually } from "../lib/process.mjs";
import { samples } from "../lib/samples.mjs";
import { close, focus, open, resize, serve, show } from "../lib/screens.mjs";

before(serve);
after(close);

/** Runs in the frame: shows every sample, and says what is odd about how it is drawn. */
async function drawn(samples) {
  const odd = {};
  for (const [name, request] of Object.entries(samples)) {
    gallery.show(0, request);
    const right = (e) => e.getBoundingClientRect().right;
    const found = {
      wide: Math.max(0, document.documentElement.scrollWidth - innerWidth),
      out: [...document.querySelectorAll("main *")].filter((e) => right(e) > innerWidth + 0.5).map((e) => e.id || e.localName),
      title: document.title === document.querySelector("h1").textContent && document.title.length > 3 ? "" : document.title,
    };
    if (found.wide > 0 || found.out.length > 0 || found.title) odd[name] = found;
  }
  return odd;
}

/** What axe has to say of these screens, by their names. */
async function audit(frame, rules) {
  await axe.install(frame);
  const found = {};
  for (const name of Object.keys(samples)) {
    await show(frame, name);
    const list = await axe.violations(frame, { rules });
    if (list.length > 0) found[name] = list;
  }
  return found;
}

const text = (frame, selector) => frame.evaluate((selector) => document.querySelector(selector).textContent, selector);
const texts = (frame, selector) => frame.evaluate((selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent), selector);
const media = (frame) => frame.evaluate(() => [matchMedia("(prefers-color-scheme: dark)").matches, getComputedStyle(document.querySelector("button")).transitionDuration]);

// What a browser is told that its user wants: Chromium in between, Firefox when it starts. WebKitGTK cannot be told.
const CALM = { args: ["--force-prefers-reduced-motion"], preferences: { "layout.css.prefers-color-scheme.content-override": 0, "ui.prefersReducedMotion": 1 } };

for (const engine of chosenEngines()) {
  describe(`${engine}: appearance`, () => {
    let browser, page, frame;
    before(async () => {
      browser = await launch(engine);
    });
    after(() => browser?.close());
    const begin = async (language) => ({ page, frame } = await open(browser, language, page));

    // What a language does to a layout, the longer one does; the words of both are looked at in Chromium.
    for (const language of engine === "chromium" ? ["en", "de"] : ["de"]) {
      it(`draws each without scrolling sideways at 320 px, and asks the policy for nothing: ${language}`, async () => {
        await begin(language);
        await resize(page, 320, 640);
        assert.deepEqual(await frame.evaluate(drawn, samples), {});
        assert.equal(await frame.evaluate(() => document.documentElement.lang), language);
        assert.deepEqual(await frame.evaluate(() => gallery.refusals), []);
      });

      it(`breaks no rule that axe knows: ${language}`, async () => {
        await begin(language);
        assert.deepEqual(await audit(frame), {});
      });
    }

    it("speaks the first language that it knows, or else English", async () => {
      for (const [wanted, spoken] of [["de-AT", "de"], ["fr", "en"], ["en-GB", "en"]]) {
        await begin(wanted);
        await show(frame, "done");
        assert.deepEqual([wanted, await frame.evaluate(() => document.documentElement.lang)], [wanted, spoken]);
      }
    });

    if (engine !== "webkit") {
      it("breaks no rule in the dark either, and moves nothing where people want that", async () => {
        const calm = await launch(engine, CALM);
        try {
          const { page, frame } = await open(calm, "en");
          if (engine === "chromium") await page.handle.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
          await show(frame, "done");
          assert.deepEqual(await media(frame), [true, "0s"]);
          assert.deepEqual(await audit(frame, ["color-contrast"]), {});
        } finally {
          await calm.close();
        }
      });
    }

    it("is light and moves where nobody wants it otherwise", async () => {
      await begin();
      await show(frame, "done");
      assert.deepEqual(await media(frame), [false, "0.15s"]);
    });

    if (engine !== "webkit") {
      it("lets a keyboard reach everything, from wherever it begins", async () => {
        await begin();
        for (const name of Object.keys(samples)) {
          await show(frame, name);
          // A dialog takes the focus until it has seen that it has it, at its next turn.
          await frame.evaluate(() => new Promise((resolve) => setTimeout(resolve, 250)));
          const want = await frame.evaluate(() => [...document.querySelectorAll("button:enabled, input:enabled, textarea:enabled")].map((e) => e.id));
          await frame.evaluate(() => {
            window.reached = [document.activeElement.id];
            document.addEventListener("focus", (window.noteFocus = ({ target }) => window.reached.push(target.id)), true);
          });
          const missed = async () => {
            const reached = await frame.evaluate(() => window.reached);
            return want.filter((id) => !reached.includes(id));
          };
          await page.evaluate(() => document.querySelector("#elsewhere").focus());
          await eventually("the focus elsewhere", async () => (await focus(page)) === "elsewhere" && !(await frame.evaluate(() => document.hasFocus())));
          await page.handle.keyboard.down("Shift");
          // No key more than it takes: one that leads out of the page leads nowhere in the next dialog.
          for (let i = 0; i <= want.length && (await missed()).length > 0; i++) {
            const before = await frame.evaluate(() => window.reached.length);
            await page.handle.keyboard.press("Tab");
            // The focus crosses processes, and a key that comes meanwhile is lost.
            await eventually("the focus", () => frame.evaluate((before) => window.reached.length > before, before), { timeoutMs: 2000 }).catch(() => {});
          }
          await page.handle.keyboard.up("Shift");
          assert.deepEqual(await missed(), [], name);
          await frame.evaluate(() => document.removeEventListener("focus", window.noteFocus, true));
        }
      });
    }

    it("says what a way in that does not ask means", async () => {
      await begin();
      await show(frame, "add device");
      assert.match(await frame.evaluate(() => document.title), /open without asking/);
      assert.match(await text(frame, "#what .problem"), /anybody who can use this browser with your profile.*in every tab.*not lock any more/);
      assert.equal(await frame.evaluate(() => document.querySelector("#confirm").className), "danger");
      await show(frame, "add");
      assert.equal(await frame.evaluate(() => document.querySelectorAll("#what .problem, #confirm.danger").length), 0);
    });

    it("says how a restored vault opens and where it will be, and why a word is asked for", async () => {
      await begin();
      const facts = async () => [await text(frame, "dl"), await texts(frame, "#what .problem"), await text(frame, "#what")];
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
        assert.match(await text(frame, "#what"), /No app and no person ever needs these words/, purpose);
      }
    });

    it("names a way in by its kind, and by a name only where somebody gave it one", async () => {
      await begin();
      const ways = async (name) => {
        await show(frame, name);
        return await texts(frame, "[id^=way-]");
      };
      assert.deepEqual(await ways("methods"), ["Passphrase", "Passkey Phone", "Passkey Security key"]);
      // The English names that vaults of before gave by themselves say no more than the kind.
      assert.deepEqual(await ways("methods old"), ["This device, without asking", "Passphrase", "Passkey", "Passkey Phone"]);
      for (const [name, want] of [["remove", "Passkey: Phone"], ["remove nameless", "Passkey"], ["remove old", "This device, without asking"], ["change", "Passphrase"]]) {
        await show(frame, name);
        const way = await frame.evaluate(() => [...document.querySelectorAll("dt")].find((e) => e.textContent === "Way in").nextElementSibling.textContent);
        assert.deepEqual([name, way], [name, want]);
      }
    });

    it("tells the log in sentences", async () => {
      await begin();
      await show(frame, "activity");
      const lines = await texts(frame, "#entries li");
      assert.match(lines[0], /Signed a token for https:\/\/api\.example.*Login on the laptop/);
      assert.match(lines[1], /Not done.*delete the vault.*You said no/);
      assert.match(lines[8], /with the recovery phrase \(after 3 wrong tries\)/);
      assert.match(lines[9], /Not done.*open the vault\. Wrong secrets were tried: 5 times/);
      assert.match(lines[10], /Not done.*revoke a key\. It was about the key Login on the laptop\. Wrong secrets were tried: once/);
      assert.match(lines[11], /Made the passphrase harder to guess/);
    });

    it("warns where a backup lacks keys", async () => {
      await begin();
      await show(frame, "save backup");
      assert.deepEqual(await texts(frame, "#what .problem"), []);
      await show(frame, "save damaged");
      assert.match((await texts(frame, "#what .problem")).join(), /^2 of your keys are damaged in storage and not in this file/);
    });
  });
}
