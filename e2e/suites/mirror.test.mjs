// A vault that comes back from what the app keeps of it: after the frame's storage was emptied, after
// a restart of a browser that keeps nothing for third-party frames, after a host's Clear-Site-Data. Real
// clicks and real typing.

import assert from "node:assert/strict";
import { it } from "node:test";
import { emptyEnclaveStorage, mirrored, restartApp } from "../lib/appstorage.mjs";
import { begin, result } from "../lib/call.mjs";
import { closeDone, learnPhrase, newPassphrase, problem, prove } from "../lib/dialog.mjs";
import { eachEngine } from "../lib/harness.mjs";
import { verifyJWT } from "../lib/verify.mjs";

const PASSPHRASE = "correct horse battery staple";

const sign = (page, kid) => page.evaluate(async (kid) => (await kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 })).token, kid);
const start = (page, options) => page.evaluate((options) => startKms(options), options);

/** A vault with a passphrase and a key, mirrored. */
async function furnished(bench, options, { phrase = false } = {}) {
  const page = await bench.open();
  const frame = async () => page.frame(new URL(options.url ?? bench.site.release.url).origin);
  await start(page, options);
  await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
  await newPassphrase(await frame(), PASSPHRASE);
  await result(page);
  let words;
  if (phrase) {
    await begin(page, "recovery.enable");
    await prove(await frame(), { passphrase: PASSPHRASE });
    words = await learnPhrase(await frame());
    await closeDone(await frame());
    await result(page);
  }
  const key = await page.evaluate(async () => (await kms.keys.create({ purpose: "signing", label: "kept" })).key);
  for (let i = 0; i < 20; i += 1) await sign(page, key.kid); // so many that the log has a record of its own
  const entries = (await page.evaluate(() => kms.vault.status())).counts.entries;
  return { page, key, words, entries };
}

/** Brings the vault back by its passphrase, and looks whether it is the same one. */
async function comesBack(bench, page, { key, entries }, { words, url = bench.site.release.url } = {}) {
  const frame = await page.frame(new URL(url).origin);
  const lost = await page.evaluate(async () => [await kms.vault.status(), await kms.mirror.status()]);
  assert.deepEqual([lost[0].state, lost[0].reason, lost[1].kept], ["lost", "marker-without-vault", true]);
  await begin(page, "mirror.restore");
  await frame.waitFor("#passphrase");
  if (words) {
    await frame.click("#phrase");
    await frame.waitFor("textarea#phrase, input#phrase");
    await frame.fill({ "#phrase": words.join(" ") }, "#next");
  } else {
    await frame.fill({ "#passphrase": "not this one at all" }, "#unlock");
    await problem(frame, /passphrase/i);
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
  }
  await frame.waitFor("[role=alertdialog] #confirm:enabled", 30_000);
  const shown = await frame.evaluate(() => document.body.textContent);
  assert.match(shown, /Nothing that this app has seen of your vault is missing/);
  await frame.click("#confirm");
  await closeDone(frame);
  const status = await result(page);
  assert.deepEqual([status.state, status.lock, status.counts.keys], ["unlocked", "passphrase", 1]);
  assert.ok(status.counts.entries > entries, `${status.counts.entries} entries, ${entries} before`);
  await verifyJWT(await sign(page, key.kid), key);
  const verdict = await page.evaluate(() => kms.audit.verify());
  assert.deepEqual([verdict.valid, verdict.firstBad], [true, undefined]);
}

eachEngine("mirror", (bench, engine) => {
  it("the frame's storage is emptied, and the vault comes back by its passphrase; a second time by the phrase", async () => {
    const options = { account: "emptied", url: bench.site.host.release.url }; // a host that can be told to empty it
    const made = await furnished(bench, options, { phrase: true });
    await mirrored(made.page, options);
    await emptyEnclaveStorage(bench, made.page);
    await start(made.page, options);
    await comesBack(bench, made.page, made, options);
    assert.deepEqual(await made.page.evaluate(() => events.filter(({ name, data }) => name === "alert" && data.code === "integrity")), []);

    await mirrored(made.page, options); // what was done since is in it, too
    await emptyEnclaveStorage(bench, made.page);
    await start(made.page, options);
    await comesBack(bench, made.page, made, { ...options, words: made.words });
  });

  it("the enclave's host sends Clear-Site-Data", async () => {
    const { app, host } = bench.site;
    const options = { account: "cleared", url: host.release.url };
    const made = await furnished(bench, options);
    await mirrored(made.page, options);
    host.intercept = ({ pathname }) => (pathname === "/clear.html" ? { headers: { "content-type": "text/html", "clear-site-data": '"storage"' }, body: "cleared" } : undefined);
    app.extra.set("/clear.html", { headers: { "content-type": "text/html", ...app.pageHeaders() }, body: `<iframe src="${host.origin}/clear.html"></iframe>` });
    await made.page.goto(`${app.origin}/clear.html`);
    await (await made.page.frame(`${host.origin}/clear.html`)).waitFor("body");
    await new Promise((resolve) => setTimeout(resolve, 500));
    await bench.visit(made.page);
    await start(made.page, options);
    await comesBack(bench, made.page, made, options);
  });

  it("the browser is started again", async () => {
    const options = { account: "restart" };
    const made = await furnished(bench, options);
    await mirrored(made.page, options);
    const page = await restartApp(bench, made.page);
    await start(page, options);
    if (engine === "webkit") return await comesBack(bench, page, made, options); // it has kept nothing of the frame's
    const { state } = await page.evaluate(() => kms.vault.status());
    assert.equal(state, "locked", "nothing is lost here");
    await assert.rejects(page.evaluate(() => kms.mirror.restore()), { code: "exists" });
  });

  it("what only the device opens is not kept, stays lost, and the app is told before", async () => {
    const options = { account: "open", url: bench.site.host.release.url };
    const page = await bench.open();
    await start(page, options);
    await page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" }));
    await page.evaluate(() => kms.keys.create({ purpose: "signing" }));
    const told = await page.evaluate(() => kms.mirror.changes());
    assert.equal(told.opens, false);
    await new Promise((resolve) => setTimeout(resolve, 1500)); // the SDK has looked by now
    assert.deepEqual(await page.evaluate(() => kms.mirror.status()), { kept: false });
    await emptyEnclaveStorage(bench, page);
    await start(page, options);
    assert.equal((await page.evaluate(() => kms.vault.status())).state, "lost");
    await assert.rejects(page.evaluate(() => kms.mirror.restore()), { code: "not_found" });
  });
});
