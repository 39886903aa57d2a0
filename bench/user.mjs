// What a person waits for: a dialog on screen, an unlocked vault, a way in removed, a backup
// saved and restored, with 1,000 keys. Beside it, in the same page, a floor in plain JavaScript.
//
// The floor does less than what it stands beside. It unwraps and wraps every key from memory and drops
// the result, and writes two records of 400 bytes for each, 2,000 in all. Removing a way in reads and
// checks 2,000 records, writes each of them anew, the wrapped keys included, and some 275 pages of the
// index with them (2,276 records for 1,000 keys).
//
//   node bench/user.mjs [--keys N] [--rounds N]
//
// Clicks are real. A time begins with the click, as the frame's window hears it, or with the app's
// call; and ends when the next screen is drawn, or the app's call is answered.

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { emptyEnclaveStorage, mirrored } from "../e2e/lib/appstorage.mjs";
import { learnPhrase, newPassphrase } from "../e2e/lib/dialog.mjs";
import { chosenEngines } from "../e2e/lib/engines.mjs";
import { Bench, Site } from "../e2e/lib/harness.mjs";
import { eventually } from "../e2e/lib/process.mjs";
import { argument, median, precise } from "./common.mjs";

const PASSPHRASE = "a passphrase of some length";

const KEYS = argument("--keys", 1000), ROUNDS = argument("--rounds", 5);
const engines = chosenEngines().filter((engine) => engine !== "webkit"); // its driver takes the focus from the frame between two looks

/** Has the page note when a call begins and when it is answered. */
const begin = (page, method, params = {}) => page.evaluate((method, params) => {
  const now = () => performance.timeOrigin + performance.now();
  window.outcome = undefined;
  window.began = now();
  kms.call(method, params).then((result) => (window.outcome = { result, at: now() }), ({ code, message }) => (window.outcome = { code, message, at: now() }));
}, method, params);

async function ended(page) {
  const outcome = await eventually("the call's end", () => page.evaluate(() => window.outcome), { timeoutMs: 120_000 });
  if (!outcome.result) throw new Error(`${outcome.code}: ${outcome.message}`);
  return outcome;
}

/** Has the frame note every click, and when each screen is drawn. */
const watch = (frame) => frame.evaluate(() => {
  const now = () => performance.timeOrigin + performance.now();
  window.noted = { clicks: [], screens: [] };
  addEventListener("click", () => noted.clicks.push(now()), true);
  new MutationObserver((changes) => {
    if (!changes.some(({ addedNodes }) => addedNodes.length > 0)) return;
    const title = document.querySelector("main[role] #title")?.textContent;
    requestAnimationFrame(() => noted.screens.push({ title, at: now() }));
  }).observe(document.body, { childList: true });
});

const noted = (frame) => frame.evaluate(() => window.noted);
const lastClick = async (frame) => (await noted(frame)).clicks.at(-1);
const lastScreen = async (frame) => (await noted(frame)).screens.at(-1).at;

/** Wraps each key anew, which it drops, and writes two sealed records for each. */
async function floor(count) {
  const subtle = crypto.subtle, random = () => crypto.getRandomValues(new Uint8Array(12));
  const aes = () => subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt", "wrapKey", "unwrapKey"]);
  const [from, to] = [await aes(), await aes()];
  const wrapped = [];
  for (let i = 0; i < count; i++) {
    const { privateKey } = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
    const iv = random();
    wrapped.push({ iv, bytes: await subtle.wrapKey("pkcs8", privateKey, from, { name: "AES-GCM", iv }) });
  }
  const db = await new Promise((resolve, reject) => {
    const request = indexedDB.open("floor", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("records");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const times = [];
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    const again = await Promise.all(wrapped.map(async ({ iv, bytes }) => {
      const key = await subtle.unwrapKey("pkcs8", bytes, from, { name: "AES-GCM", iv }, { name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
      const next = await subtle.wrapKey("pkcs8", key, to, { name: "AES-GCM", iv: random() });
      const seal = () => subtle.encrypt({ name: "AES-GCM", iv: random() }, to, new Uint8Array(400));
      return [await seal(), await seal(), next];
    }));
    await new Promise((resolve, reject) => {
      const transaction = db.transaction("records", "readwrite", { durability: "strict" });
      again.forEach((records, i) => records.slice(0, 2).forEach((record, j) => transaction.objectStore("records").put(new Uint8Array(record), `${i}-${j}`)));
      transaction.oncomplete = resolve;
      transaction.onerror = () => reject(transaction.error);
    });
    times.push(performance.now() - start);
  }
  db.close();
  return times;
}

async function started(page, account, url) {
  await page.evaluate((options) => startKms(options), { account, url, timeoutMs: 60_000 });
  const frame = await page.frame(new URL(url).origin);
  await watch(frame);
  return frame;
}

async function opened(bench, account, url = bench.site.release.url) {
  const page = await bench.open();
  return { page, frame: await started(page, account, url) };
}

/** In the app's page. */
async function makeKeys(count) {
  for (let left = count; left > 0; left -= 100) {
    await Promise.all(Array.from({ length: Math.min(left, 100) }, (_, i) => kms.keys.create({ purpose: "signing", alg: "ES256", label: `key ${left - i}` })));
  }
}

/** A vault whose storage was emptied comes back from what the app keeps: opening that, and writing the vault. The user's own time is left out. */
async function cameBack(bench, rounds) {
  const account = "came back", { url } = bench.site.host.release; // a host that can be told to empty its storage
  let { page, frame } = await opened(bench, account, url);
  await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
  await newPassphrase(frame, PASSPHRASE);
  await ended(page);
  await page.evaluate(makeKeys, KEYS);
  const times = [];
  for (let i = 0; i < rounds; i++) {
    await mirrored(page, { account }, 60_000);
    await emptyEnclaveStorage(bench, page);
    frame = await started(page, account, url);
    await begin(page, "mirror.restore");
    await frame.waitFor("#passphrase");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    const secret = await lastClick(frame);
    await frame.waitFor("[role=alertdialog] #confirm:enabled", 60_000);
    const opening = (await lastScreen(frame)) - secret;
    await frame.click("#confirm");
    const confirm = await lastClick(frame);
    await frame.waitFor("#close:enabled", 60_000);
    times.push(opening + (await lastScreen(frame)) - confirm);
    await frame.click("#close");
    const { result } = await ended(page);
    if (result.counts.keys !== KEYS) throw new Error(`${result.counts.keys} keys came back`);
  }
  await page.close();
  return times;
}

async function deviceUnlocks(bench, rounds) {
  const { page } = await opened(bench, "device");
  await page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" }));
  const times = [];
  for (let i = 0; i < rounds; i++) {
    await page.evaluate(() => kms.close());
    // The worker begins to open the vault when it says that it is ready, and tells when it has.
    times.push(await page.evaluate(async () => {
      window.kms = await connect({ ...configuration, account: "device", container: document.querySelector("#kms") });
      const ready = performance.now();
      return await new Promise((resolve) => kms.on("unlocked", () => resolve(performance.now() - ready)));
    }));
  }
  await page.close();
  return times;
}

/**
 * Milliseconds of each jwt.sign, one after the other: of a vault that the SDK mirrors, and of one that has no mirror,
 * in turn. In the time of a portion what was signed before is mirrored, too.
 */
async function signed(bench, rounds) {
  const { page, frame } = await opened(bench, "mirrored");
  await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
  await newPassphrase(frame, PASSPHRASE);
  await ended(page);
  const times = await page.evaluate(async (rounds) => {
    const other = await connect({ ...configuration, account: "not mirrored", container: document.querySelector("#kms") });
    await other.vault.create({ persistence: "device", lock: "none" });
    const vaults = await Promise.all([kms, other].map(async (kms) => ({ kms, kid: (await kms.keys.create({ purpose: "signing" })).key.kid, times: [] })));
    for (let round = 0; round < rounds * 3 + 2; round++) {
      for (const { kms, kid, times } of vaults) {
        for (let i = 0; i < 100; i++) {
          const start = performance.now();
          await kms.jwt.sign({ kid, audience: "https://api.example", ttlSeconds: 60 });
          if (round >= 2) times.push(performance.now() - start); // after the warm-up
        }
      }
    }
    const { kept } = await kms.mirror.status();
    if (!kept) throw new Error("there is no mirror to measure");
    other.close();
    return vaults.map(({ times }) => times);
  }, rounds);
  await page.close();
  return times;
}

/**
 * Milliseconds of push tokens of a lease while the vault is locked, one and ten in a call, each of them counted and
 * logged: as many as a lease gives within an hour. Beside one, a jwt.sign of another vault, in turn.
 */
async function leased(bench) {
  const { page, frame } = await opened(bench, "leased");
  await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
  await newPassphrase(frame, PASSPHRASE);
  await ended(page);
  const kid = await page.evaluate(async () => (await kms.keys.create({ purpose: "vapid" })).key.kid);
  await begin(page, "lease.grant", { kid, relay: "https://relay.example", endpoint: "https://push.example/x", perHour: 240, perDay: 2000 });
  await frame.fill({ "#passphrase": PASSPHRASE }, "#confirm");
  const { result } = await ended(page);
  const times = await page.evaluate(async (lease) => {
    await kms.vault.lock();
    const other = await connect({ ...configuration, account: "beside a lease", container: document.querySelector("#kms") });
    await other.vault.create({ persistence: "device", lock: "none" });
    const { kid } = (await other.keys.create({ purpose: "signing", alg: "ES256" })).key;
    const token = (count) => kms.token.vapid({ lease, endpoint: "https://push.example/x", subject: "mailto:push@example.com", ttlSeconds: 900, count });
    const sign = () => other.jwt.sign({ kid, audience: "https://api.example", ttlSeconds: 60 });
    const took = async (call) => {
      const start = performance.now();
      await call();
      return performance.now() - start;
    };
    for (let i = 0; i < 40; i++) await Promise.all([token(1), sign()]);
    const one = [], ten = [], beside = [];
    for (let i = 0; i < 80; i++) {
      one.push(await took(() => token(1)));
      beside.push(await took(sign));
    }
    for (let i = 0; i < 12; i++) ten.push(await took(() => token(10)));
    other.close();
    return { one, ten, beside };
  }, result.lease.id);
  await page.close();
  return times;
}

async function measure(engine, site) {
  const directory = await mkdtemp(join(tmpdir(), "kms-bench-"));
  const preferences = { ...precise, "browser.download.folderList": 2, "browser.download.dir": directory, "browser.download.alwaysOpenPanel": false };
  const bench = new Bench(engine, site);
  const rows = [];
  const row = (name, times, wanted, base) => rows.push({ name, times, wanted, base });
  try {
    await bench.start({ preferences });
    row("unlock by the device slot, first call of a new worker", await deviceUnlocks(bench, ROUNDS * 3), "< 20");
    const [kept, alone] = await signed(bench, ROUNDS);
    const mean = (times) => [times.reduce((sum, time) => sum + time, 0) / times.length];
    row("jwt.sign of a vault with a mirror, beside one without", kept, "≤ 1.05×", alone);
    row("the same, mean", mean(kept), "≤ 1.05×", mean(alone));
    const { one, ten, beside } = await leased(bench);
    row("a push token of a lease, locked, beside jwt.sign", one, "< 3", beside);
    row("ten of them in one call", ten, "< 10");
    const { page, frame } = await opened(bench, "user");
    if (engine === "chromium") await page.saveDownloads(directory);
    await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
    await newPassphrase(frame, PASSPHRASE);
    await ended(page);
    await page.evaluate(makeKeys, KEYS);
    const base = await page.evaluate(floor, KEYS);

    const shown = [], unlocked = [];
    for (let i = 0; i < ROUNDS; i++) {
      await page.evaluate(() => kms.vault.lock());
      await begin(page, "vault.unlock");
      await frame.waitFor("#passphrase");
      shown.push((await lastScreen(frame)) - (await page.evaluate(() => began)));
      await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
      const { at } = await ended(page);
      unlocked.push(at - (await lastClick(frame)));
    }
    row("dialog on screen, from the app's call", shown, "< 100");
    row("unlock by passphrase, from the click", unlocked, "≤ 700");

    const removed = [];
    for (let i = 0; i < ROUNDS; i++) {
      await begin(page, "slots.add", { kind: "device" });
      await frame.fill({ "#passphrase": PASSPHRASE, "#word": "CONFIRM" }, "#confirm");
      const { result } = await ended(page);
      // With a device slot the vault has no lock, and the word proves.
      await begin(page, "slots.remove", { id: result.slots.find(({ kind }) => kind === "device").id });
      await frame.fill({ "#word": "CONFIRM" }, "#confirm");
      const { at } = await ended(page);
      removed.push(at - (await lastClick(frame)));
    }
    row(`remove a way in, ${KEYS} keys`, removed, "< 1000", base);

    await begin(page, "recovery.enable");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#confirm");
    const words = await learnPhrase(frame);
    await frame.click("#close:enabled");
    await ended(page);
    const saved = [];
    let file;
    for (let i = 0; i < ROUNDS; i++) {
      await begin(page, "backup.save");
      await frame.fill({ "#passphrase": PASSPHRASE }, "#confirm");
      const click = await lastClick(frame);
      await frame.waitFor("#save:enabled", 60_000);
      saved.push((await lastScreen(frame)) - click);
      await frame.click("#save");
      file ??= await eventually("the file", async () => {
        const [name] = (await readdir(directory)).filter((name) => name.endsWith(".kmsbackup"));
        return name && join(directory, name);
      });
      await frame.click("#saved");
      await ended(page);
    }
    row(`save a backup of ${KEYS} keys, passphrase included`, saved, "< 2000");

    const restored = [];
    for (let i = 0; i < ROUNDS; i++) {
      const other = await opened(bench, `restored ${i}`);
      await begin(other.page, "backup.restore", { lock: "none" });
      await giveFile(other.frame, file);
      await other.frame.click("#next:enabled");
      await other.frame.fill({ "#phrase": words.join(" ") }, "#next");
      const phrase = await lastClick(other.frame);
      await other.frame.waitFor("#confirm", 60_000);
      const opening = (await lastScreen(other.frame)) - phrase;
      await other.frame.fill({ "#word": "CONFIRM" }, "#confirm");
      const confirm = await lastClick(other.frame);
      await other.frame.waitFor("#close:enabled", 60_000);
      restored.push(opening + (await lastScreen(other.frame)) - confirm);
      await other.frame.click("#close");
      await ended(other.page);
      await other.page.close();
    }
    row(`restore ${KEYS} keys: opening the file, and writing the vault`, restored, "< 2000", base);
    row(`come back from a mirror of ${KEYS} keys, passphrase included`, await cameBack(bench, ROUNDS), "< 2000", base);
    print(engine, await bench.browser.version(), rows);
  } finally {
    await bench.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function giveFile(frame, path) {
  await frame.waitFor("#file");
  await frame.pick("#file", path);
}

const figure = (ms) => ms.toFixed(ms < 20 ? 1 : 0);

function print(engine, version, rows) {
  console.log(`\n${engine} (${version}), times in ms, ${ROUNDS} rounds`);
  console.log("| what a person waits for | median | most | plain JavaScript | ratio | wanted |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const { name, times, wanted, base } of rows) {
    const floor = base && median(base);
    console.log(`| ${name} | ${figure(median(times))} | ${figure(Math.max(...times))} | ${floor ? figure(floor) : ""} | ${floor ? `${(median(times) / floor).toFixed(2)}×` : ""} | ${wanted} |`);
  }
}

const site = await Site.start();
try {
  for (const engine of engines) await measure(engine, site);
} finally {
  await site.stop();
}
