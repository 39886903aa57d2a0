// The benchmark: the enclave beside a plain-JavaScript floor of the same shape, in the same browser,
// in the same run, the two measured in turn. Prints one table per engine.
//
//   node bench/run.mjs [--log-size N] [--json FILE] [--only launch]
//
// Machines are shared and noisy: believe the ratios, and the medians before the rest.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, constants } from "node:zlib";
import { launch } from "../e2e/lib/browser.mjs";
import { chosenEngines } from "../e2e/lib/engines.mjs";
import { Site } from "../e2e/lib/harness.mjs";
import { contentTypes, serve } from "../e2e/lib/server.mjs";
import { argument, precise } from "./common.mjs";
import { alternate, coldStarts, create, fillLog, launches, memory, pipelined, startAll, warmUp } from "./measures.mjs";

const WARM = 4000; // calls of each kind before the rows that are not cold
const LAUNCHES = 24; // of each kind
const STEP = 4; // launches of each kind in one evaluation; even, so that each is first as often
const REST = 10_000; // milliseconds after a flood: the browser's database is still busy with it

const folder = new URL(".", import.meta.url).pathname;

async function floorServer() {
  return serve(async (_, url) => {
    const name = url.pathname.slice(1);
    if (!["frame.html", "frame.js", "worker.js"].includes(name)) return undefined;
    return {
      headers: { "content-type": contentTypes[name.split(".").pop()], "cross-origin-resource-policy": "cross-origin", "cross-origin-embedder-policy": "require-corp" },
      body: await readFile(join(folder, "floor", name)),
    };
  });
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

/** Median and p99 of milliseconds. */
function summary(times) {
  const sorted = [...times].sort((a, b) => a - b);
  return { n: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) };
}

const ms = (x) => (x === undefined ? "" : x < 10 ? x.toFixed(2) : x.toFixed(0));

/** One line of the table: the enclave beside its floor. */
function row(name, ours, floor, target) {
  const a = summary(ours), b = floor && summary(floor);
  return { name, n: a.n, p50: a.p50, p99: a.p99, floor50: b?.p50, floor99: b?.p99, ratio: b && a.p50 / b.p50, target };
}

function print(engine, version, rows, facts) {
  console.log(`\n${engine} (${version}), times in ms`);
  console.log("| what | n | p50 | p99 | floor p50 | floor p99 | ratio | wanted |");
  console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
  for (const r of rows) {
    console.log(`| ${r.name} | ${r.n} | ${ms(r.p50)} | ${ms(r.p99)} | ${ms(r.floor50)} | ${ms(r.floor99)} | ${r.ratio ? `${r.ratio.toFixed(2)}×` : ""} | ${r.target ?? ""} |`);
  }
  for (const [name, value] of facts) console.log(`- ${name}: ${value}`);
}

/** The launch at its strongest level beside an unpinned one, and what is measured of the enclave's start. */
async function measureLaunches(browser, site) {
  const page = await browser.newPage();
  await page.goto(`${site.app.origin}/`);
  const found = {};
  for (let i = 0; i < LAUNCHES; i += STEP) { // in steps, so that no evaluation is long
    for (const [name, list] of Object.entries(await page.evaluate(launches, STEP))) (found[name] ??= []).push(...list);
  }
  await page.close();
  const [level] = found.levels.filter((each) => each !== "unpinned");
  const rows = [
    row(`launch, ${level}; floor: unpinned`, found.pinned, found.unpinned, level === "enforced" ? "≤ 1.15×" : ""),
    row("hashing the module", found.hash, undefined, "p50 < 30"),
    row("enclave.selfTest, the first after a launch", found.selfTest, undefined, "< 100"),
    row("the same by the enclave's own clock", found.selfTestInside),
  ];
  return { rows, facts: [[`median phases, ${level}`, medians(found.pinnedPhases)], ["median phases, unpinned", medians(found.unpinnedPhases)]] };
}

const medians = (all) => JSON.stringify(Object.fromEntries(Object.keys(all[0]).map((name) => [name, Math.round(summary(all.map((one) => one[name])).p50)])));

async function measure(engine, site, floor, logSize) {
  const browser = await launch(engine, { preferences: precise });
  try {
    const started = await measureLaunches(browser, site);
    if (only === "launch") {
      print(engine, await browser.version(), started.rows, started.facts);
      return { engine, ...started };
    }
    const page = await browser.newPage();
    await page.goto(`${site.app.origin}/`);
    const setting = { floor: `${floor.localhost}/frame.html` };
    await page.evaluate(startAll, setting);

    const rows = [...started.rows];
    const cold = await page.evaluate(alternate, "ES256", 100);
    rows.push(row("jwt.sign ES256, the first 100", cold.ours, cold.base));
    await page.evaluate(warmUp, WARM);
    for (const alg of ["EdDSA", "ES256"]) {
      const { ours, base } = await page.evaluate(alternate, alg, 600);
      rows.push(row(`jwt.sign ${alg}`, ours, base, "p50 ≤ 2×, < 3 ms"));
    }
    const created = await page.evaluate(create, 60);
    rows.push(row("keys.create ES256", created.ours, created.base, "< 20 ms"));
    const rate = await page.evaluate(pipelined, 6000);

    let flat;
    if (logSize > 0) {
      await sleep(REST);
      const before = await page.evaluate(alternate, "ES256", 600);
      rows.push(row("jwt.sign ES256, before filling the log", before.ours, before.base));
      const began = Date.now();
      while ((await page.evaluate(fillLog, Math.min(5000, logSize))) < logSize) { /* in steps, so that no evaluation is long */ }
      const seconds = (Date.now() - began) / 1000;
      await sleep(REST);
      const { ours, base } = await page.evaluate(alternate, "ES256", 600);
      rows.push(row(`jwt.sign ES256, log of ${logSize}`, ours, base, "flat"));
      const ratio = (m) => summary(m.ours).p50 / summary(m.base).p50;
      flat = `${(ratio({ ours, base }) / ratio(before)).toFixed(2)}× of what it was before, each beside its floor (wanted ≤ 1.1×); the log was filled at ${Math.round(logSize / seconds)} operations a second`;
    }
    const starts = await page.evaluate(coldStarts, setting, 15);
    rows.push(row("connect to first signed JWT", starts.ours, starts.base, "< 300 ms"));
    const facts = [
      ...started.facts,
      ["durable pipelined signatures a second", `${Math.round(rate.ours)}, floor ${Math.round(rate.base)} (wanted ≥ 4000 in Chromium)`],
      ...(flat ? [[`p50 with ${logSize} entries`, flat]] : []),
      ["memory after start", `${((await page.evaluate(memory)) / 1e6).toFixed(1)} MB of WebAssembly memory (wanted ≤ 40 MB in Chromium)`],
      ["median phases of connect", JSON.stringify(starts.phases)],
    ];
    print(engine, await browser.version(), rows, facts);
    return { engine, rows, facts };
  } finally {
    await browser.close();
  }
}

const only = argument("--only");
const logSize = argument("--log-size", 100_000);
const site = await Site.start();
const floor = await floorServer();
try {
  for (const app of [site.app]) app.use(site.release, floor.localhost);
  const name = Buffer.from(site.release.pin.wasm.slice("sha384-".length), "base64").toString("hex").slice(0, 32);
  const response = await fetch(new URL(`${name}.wasm`, site.release.url));
  if (!response.ok) throw new Error(`wasm: HTTP ${response.status} for ${response.url}`);
  const wasm = Buffer.from(await response.arrayBuffer());
  const brotli = brotliCompressSync(wasm, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length } });
  console.log(`wasm: ${wasm.length} bytes, ${brotli.length} with brotli 11 (wanted ≤ 1.6 MB)`);
  const results = [];
  for (const engine of chosenEngines()) results.push(await measure(engine, site, floor, engine === "chromium" ? logSize : Math.min(logSize, 10_000)));
  const file = argument("--json");
  if (file) await writeFile(file, JSON.stringify({ wasm: wasm.length, brotli: brotli.length, results }, null, 2));
} finally {
  await floor.close();
  await site.stop();
}
