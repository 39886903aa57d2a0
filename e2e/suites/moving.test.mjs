// A vault that moves: its user makes a backup in one browser, loses that browser, and has the
// vault back in another one, on another engine, by the file and twelve words. Real clicks, real
// typing, a real file.

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { begin, result } from "../lib/call.mjs";
import { closeDone, learnPhrase, newPassphrase, problem, prove } from "../lib/dialog.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { Bench, Site } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";

const PASSPHRASE = "gr\u00fcne Vögel singen laut";

const frameOf = (page, site) => page.frame(new URL(site.release.url).origin);

/** Whether a text has three of the words or more; one or two may be there by chance. */
const hasWords = (text, words) => new Set(words.filter((word) => new RegExp(`\\b${word}\\b`).test(text))).size >= 3;

// WebKitGTK saves no file that a test could take, so what is moved comes from Chromium or Firefox.
const source = chosenEngines().includes("chromium") ? "chromium" : "firefox";

if (chosenEngines().includes(source)) describe("moving", () => {
  let site, directory, saved, kids, words, file;

  before(async () => {
    site = await Site.start();
    directory = await mkdtemp(join(tmpdir(), "kms-e2e-moving-"));
  });
  after(async () => {
    await site?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function started(engine, body) {
    const bench = new Bench(engine, site);
    await bench.start(engine === "firefox" ? { preferences: { "browser.download.folderList": 2, "browser.download.dir": directory } } : {});
    let page;
    try {
      page = await bench.open();
      await page.evaluate(() => startKms({ account: "traveller" }));
      await body(page, await frameOf(page, site));
    } catch (error) {
      console.error(JSON.stringify(await page?.evaluate(() => window.outcome ?? null).catch(String)));
      await bench.keep(`moving-${engine}`).catch(() => {});
      throw error;
    } finally {
      await bench.stop();
    }
  }

  it(`a backup is saved in ${source}, by the frame alone`, async () => {
    await started(source, async (page, frame) => {
      if (source === "chromium") await page.saveDownloads(directory);
      await page.evaluate(() => {
        window.heard = [];
        addEventListener("message", ({ data }) => window.heard.push(data));
      });
      await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
      await newPassphrase(frame, PASSPHRASE);
      assert.equal((await result(page)).lock, "passphrase");
      kids = await page.evaluate(async () => {
        const make = async (params) => (await kms.keys.create(params)).key.kid;
        const kids = { eddsa: await make({ purpose: "signing", label: "notes" }), es256: await make({ purpose: "signing", alg: "ES256" }), vapid: await make({ purpose: "vapid" }), agreement: await make({ purpose: "agreement" }), gone: await make({ purpose: "identity" }) };
        await kms.jwt.sign({ kid: kids.eddsa, audience: "https://api.example", ttlSeconds: 60 });
        return kids;
      });
      await begin(page, "keys.revoke", { kid: kids.gone, reason: "left on a train" });
      await prove(frame, { passphrase: PASSPHRASE, word: "DELETE" });
      assert.equal((await result(page)).key.state, "revoked");

      await begin(page, "recovery.enable");
      await prove(frame, { passphrase: PASSPHRASE });
      words = await learnPhrase(frame);
      await closeDone(frame);
      const enabled = await result(page);
      assert.equal(enabled.enabled, true);

      await begin(page, "backup.save");
      await prove(frame, { passphrase: PASSPHRASE });
      await frame.waitFor("#save:enabled");
      await frame.click("#save");
      await frame.waitFor("#saved");
      const [name] = await eventually("the file", async () => {
        const names = (await readdir(directory)).filter((name) => name.endsWith(".kmsbackup"));
        return names.length > 0 && names;
      });
      await frame.click("#saved");
      saved = await result(page);
      file = join(directory, name);
      assert.equal((await readFile(file)).length, saved.bytes);
      assert.equal(saved.keys, 5);
      const told = await page.evaluate(() => JSON.stringify([window.heard, window.events, document.documentElement.outerHTML]));
      assert.ok(hasWords(JSON.stringify({ phrase: words.join(" ") }), words), "this would be noticed");
      assert.equal(hasWords(JSON.stringify([told, enabled, saved]), words), false, "the phrase reached the app");
    });
  });

  for (const engine of chosenEngines()) {
    it(`it is restored in ${engine}, and signs with the same keys`, async () => {
      assert.ok(file, "there is no file to restore");
      await started(engine, async (page, frame) => {
        await begin(page, "backup.restore", { lock: "passphrase" });
        await frame.waitFor("#file");
        // What is not the file, or not all of it, is said to be so, and the dialog stays.
        const damaged = join(directory, `${engine}-damaged.kmsbackup`);
        await writeFile(damaged, (await readFile(file)).subarray(0, 700));
        await frame.pick("#file", damaged);
        await frame.click("#next:enabled");
        await problem(frame, /end of this file is missing/);
        await frame.pick("#file", file);
        await frame.click("#next:enabled");

        await frame.waitFor("#phrase");
        await frame.fill({ "#phrase": words.with(3, "xylophone").join(" ") }, "#next");
        await problem(frame, /4.*xylophone|xylophone.*4/s);
        await frame.fill({ "#phrase": words.join("  ").toUpperCase() }, "#next");
        await frame.waitFor("#confirm", 30_000);
        await frame.waitFor("#confirm:enabled");
        await frame.click("#confirm");
        await newPassphrase(frame, PASSPHRASE.normalize("NFD"));
        await closeDone(frame);
        const status = await result(page);
        assert.deepEqual([status.state, status.lock, status.counts.keys, status.lineage.epoch], ["unlocked", "passphrase", 5, saved.epoch]);

        const signed = await page.evaluate(async (kids) => {
          const { keys } = await kms.keys.list();
          const states = Object.fromEntries(keys.map(({ kid, state, uses, label }) => [kid, { state, uses, label }]));
          const verified = [];
          for (const [kid, alg] of [[kids.eddsa, "EdDSA"], [kids.es256, "ES256"]]) {
            const { signature } = await kms.challenge.sign({ kid, context: "moved", data: "AAAA" });
            const { publicKey } = keys.find((key) => key.kid === kid);
            verified.push((await kms.challenge.verify({ alg, publicKey: publicKey.raw, context: "moved", data: "AAAA", signature })).valid);
          }
          const { token } = await kms.token.vapid({ kid: kids.vapid, endpoint: "https://push.example.net/x", subject: "mailto:ops@example.net", ttlSeconds: 60 });
          const other = await kms.keys.create({ purpose: "agreement" });
          const { secret } = await kms.key.agree({ kid: kids.agreement, publicKey: other.key.publicKey.raw, context: "moved" });
          const refused = await kms.challenge.sign({ kid: kids.gone, context: "moved", data: "AAAA" }).catch(({ code }) => code);
          return { states, verified, token, secret, refused };
        }, kids);
        assert.deepEqual(signed.verified, [true, true]);
        assert.equal(signed.token.split(".").length, 3);
        assert.equal(signed.secret.length, 43);
        assert.equal(signed.refused, "denied");
        assert.deepEqual(signed.states[kids.eddsa], { state: "active", uses: 1, label: "notes" });
        assert.equal(signed.states[kids.gone].state, "revoked");

        // The passphrase is the same in its other spelling.
        await page.evaluate(() => kms.vault.lock());
        await begin(page, "vault.unlock");
        await frame.waitFor("#passphrase");
        await frame.fill({ "#passphrase": "not the passphrase" }, "#unlock");
        await problem(frame, /not the passphrase/);
        await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
        assert.equal((await result(page)).state, "unlocked");
        await assert.rejects(page.evaluate(() => kms.backup.restore({ lock: "none" })), { code: "exists" });
      });
    });
  }
});
