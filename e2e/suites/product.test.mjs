// The demo as a person uses it, with the mouse and the keyboard, and the enclave's dialogs as they
// are: from nothing to a vault with a key, a recovery phrase and a backup, and back after a loss.
//
// Elements are found by ids and roles. What the pages and dialogs say may change.

import assert from "node:assert/strict";
import { mkdir, readFile, readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { launch } from "../lib/browser.mjs";
import { Person, serveDemo } from "../lib/demo.mjs";
import { closeDone, learnPhrase, newPassphrase, prove } from "../lib/dialog.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { root } from "../lib/gotool.mjs";
import { eventually } from "../lib/process.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const artifacts = join(root, "e2e", "artifacts");
const PASSPHRASE = "nine quiet trams cross the river";
const OLDER = JSON.parse(await readFile(join(root, "web", "words", "en.json"), "utf8"))["problem.file-older"].split("{n}")[0];

/** Somebody who owns a vault. */
class Owner extends Person {
  /** WebKit's driver may click beside the button; there it is clicked once more. */
  async locks(engine) {
    await this.page.click("#lock");
    if (engine !== "webkit") return await this.sees("locked");
    await this.sees("locked", 5000).catch(async () => {
      await this.page.click("#lock");
      await this.sees("locked");
    });
  }

  async savesBackup() {
    await this.opens("#backup");
    await prove(this.frame, { passphrase: PASSPHRASE });
    await this.frame.click("#save");
    await this.frame.click("#saved");
    await this.said("#backup");
  }

  /** Waits until the list of what is to be done says of the backup that it is done, or to do. */
  async backupIs(done) {
    await eventually(`a backup that is ${done ? "kept" : "to do"}`, () => this.page.evaluate((done) => document.querySelector("#my-list-body li:last-child")?.dataset.done === (done ? "yes" : "no"), done));
  }

  async signs(kid) {
    await this.page.evaluate((kid) => (document.getElementById(`use-${kid}`).closest("details").open = true), kid);
    await this.page.type(`[id="use-${kid}"]`, "hello");
    await this.page.press("Enter");
    await this.said(`[id="use-${kid}"]`);
    assert.equal(await this.page.evaluate((kid) => document.getElementById(`use-${kid}`).closest("li").querySelectorAll('.result [data-passed="yes"]').length, kid), 1);
  }

  async createsKey(label) {
    await this.page.type("#new-label", label);
    await this.page.click("#new-key");
    await eventually(`a card for ${label}`, () => this.page.evaluate((label) => [...document.querySelectorAll("#active-keys h3")].some(({ textContent }) => textContent === label), label));
    return await this.page.evaluate((label) => [...document.querySelectorAll("#active-keys h3")].find(({ textContent }) => textContent === label).id.slice(5), label);
  }

  async revokes(kid) {
    await this.page.evaluate((kid) => (document.getElementById(`revoke-${kid}`).closest("details").open = true), kid);
    await this.page.type(`[id="reason-${kid}"]`, "lost laptop");
    await this.opens(`[id="revoke-${kid}"]`);
    await prove(this.frame, { passphrase: PASSPHRASE, word: "DELETE" });
    await eventually("the key among the ended", () => this.page.evaluate((kid) => document.querySelector("#ended-keys").contains(document.getElementById(`name-${kid}`)), kid));
  }
}

/** What axe finds on the page, the enclave's frame aside. Over the driver, which the page's policy does not bind. */
async function audited(page, what) {
  for (const [width, scheme] of [[1200, "light"], [320, "dark"]]) {
    await page.handle.setViewport({ width, height: 800 });
    await page.handle.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.handle.evaluate(axe);
    const found = await page.handle.evaluate(async () => {
      const { violations } = await globalThis.axe.run({ exclude: [".kms-enclave-dialog"] }, { resultTypes: ["violations"], iframes: false, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
      return violations.filter(({ impact }) => impact !== "minor").map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
    });
    assert.deepEqual(found, [], `${what} at ${width} px, ${scheme}`);
    const wider = await page.handle.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wider <= 0, `${what} at ${width} px: ${wider} px too wide`);
  }
  await page.handle.setViewport({ width: 1000, height: 800 });
}

let demo;
before(async () => {
  demo = await serveDemo();
});
after(() => demo?.stop());

for (const engine of chosenEngines()) {
  describe(`${engine}: product`, () => {
    let browser, person, words;
    const downloads = (which = "first") => join(demo.directory, `${engine}-${which}`);
    const backups = async (which) => (await readdir(downloads(which))).filter((name) => name.endsWith(".kmsbackup")).map((name) => join(downloads(which), name));
    const look = (what) => (engine === "chromium" ? audited(person.page, what) : undefined);

    before(async () => {
      for (const which of ["first", "second"]) await mkdir(downloads(which));
      browser = await launch(engine, {
        // The panel that tells of a download takes the focus, which empties the next secret; a person's click closes it, WebDriver's does not.
        preferences: { "browser.download.folderList": 2, "browser.download.dir": downloads(), "browser.download.alwaysOpenPanel": false },
      });
      person = await Owner.at(browser, demo.url);
      if (engine === "chromium") await person.page.saveDownloads(downloads("first"));
    });
    after(() => browser?.close());
    afterEach(async (t) => {
      if (t.passed !== false && !t.error) return;
      await mkdir(artifacts, { recursive: true });
      await person?.page.screenshot(join(artifacts, `product-${engine}.png`)).catch((error) => console.error(`screenshot: ${error.message}`));
    });

    it("from nothing to a vault with a key, that locks and opens", async () => {
      const { page, frame } = person;
      await person.sees("absent");
      await look("absent");
      await page.click("[data-view=hood]");
      await look("under the hood");
      await page.click("[data-view=home]");
      await page.evaluate(() => (location.hash = "#%"));
      await person.opens("#setup-go");
      await newPassphrase(frame, PASSPHRASE);
      await person.sees("unlocked");
      await look("unlocked, and empty");
      await person.signs(await person.createsKey("Work laptop"));
      const mayRunAll = () => page.evaluate(() => !document.getElementById("run-all").disabled);
      assert.equal(await mayRunAll(), true);
      await person.locks(engine);
      assert.equal(await page.evaluate(() => document.getElementById("my-keys").hidden), true, "nothing of the keys is shown");
      assert.equal(await mayRunAll(), false, "no step can run");
      await look("locked");
      await person.opens("#unlock");
      await frame.type("#passphrase", PASSPHRASE);
      await frame.press("Enter");
      await person.sees("unlocked");
    });

    it("to say no is not to fail", async () => {
      await person.page.click("#enable");
      await person.frame.click("#cancel");
      await person.said("#enable", "plain");
      await person.sees("unlocked");
    });

    it("a recovery phrase, a backup, and a key that is revoked; the log tells all of it", async () => {
      const { page, frame } = person;
      await person.opens("#enable");
      await prove(frame, { passphrase: PASSPHRASE });
      words = await learnPhrase(frame);
      assert.equal(words.length, 12);
      await closeDone(frame);
      await person.said("#check");
      await person.opens("#backup");
      await prove(frame, { passphrase: PASSPHRASE });
      await frame.waitFor("#save");
      await frame.click("#cancel");
      await person.said("#backup", "plain");
      await person.backupIs(false);
      await person.savesBackup();
      await person.backupIs(true);
      if (engine !== "webkit") {
        await eventually("the file", async () => (await backups()).length === 1);
      }
      await person.revokes(await person.createsKey("Old phone"));
      await person.backupIs(false);
      const lines = await page.evaluate(() => [...document.querySelectorAll("#events li")].map(({ className, textContent }) => ({ className, textContent })));
      assert.ok(lines.some(({ textContent }) => textContent.includes("Old phone") && textContent.includes("revoked")), JSON.stringify(lines));
      assert.ok(lines.some(({ className }) => className === "refused"), "the no from before stands out");
      await look("unlocked, with keys and a log");
      await page.click("#show-activity");
      await frame.waitFor("#entries li");
      await frame.click("#close");
      await person.sees("unlocked");
    });

    if (engine !== "chromium") return;
    it("a vault that is lost comes back from its newest backup, and from no older one", async () => {
      const { page } = person;
      await page.saveDownloads(downloads("second"));
      await person.savesBackup();
      await eventually("the second file", async () => (await backups("second")).length === 1);
      const [[older], [newest]] = await Promise.all([backups("first"), backups("second")]);

      await person.frame.evaluate(async () => {
        for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name);
      });
      await person.visit(demo.url);
      await person.sees("lost");
      await look("lost");
      await person.opens("#restore-go");
      const { frame } = person;
      await pick(frame, older);
      await frame.waitFor("#problem:not(:empty)");
      const problem = await frame.evaluate(() => document.querySelector("#problem").textContent);
      assert.ok(problem.startsWith(OLDER), problem);
      await pick(frame, newest);
      await frame.fill({ "#phrase": words.join(" ") }, "#next");
      await frame.click("#confirm:enabled");
      await newPassphrase(frame, PASSPHRASE);
      await closeDone(frame);
      await person.sees("unlocked");
      assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll("#active-keys h3")].map(({ textContent }) => textContent)), ["Work laptop"]);
    });

    it("a vault that is lost comes back from the copy that the app has kept", async () => {
      const { page } = person;
      const kept = () => page.evaluate(async () => {
        const answer = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
        const database = await answer(indexedDB.open("kms-enclave-mirror"));
        const found = await answer(database.transaction("mirrors").objectStore("mirrors").getAll());
        database.close();
        return found[0]?.generation > 0 && Date.now() - found[0].at > 2000; // nothing more comes
      });
      await eventually("the copy", kept, { timeoutMs: 20_000 });
      await person.frame.evaluate(async () => {
        for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name);
      });
      await person.visit(demo.url);
      await person.sees("lost");
      await look("lost, with a copy");
      await person.opens("#return");
      const { frame } = person;
      await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
      await frame.click("#confirm:enabled");
      await closeDone(frame);
      await person.sees("unlocked");
      assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll("#active-keys h3")].map(({ textContent }) => textContent)), ["Work laptop"]);
    });
  });
}

/** Gives the file input of the dialog a file, as its picker would. */
async function pick(frame, path) {
  await frame.waitFor("#file");
  await frame.pick("#file", path);
  await frame.click("#next:enabled");
}
