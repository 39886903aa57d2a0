// What a vault that has grown costs: starting with 10,000 keys beside starting with ten, in turn; and, in
// Go in the browser, a log of a million entries beside a short one (enclave/longlog_test.go).
//
//   node bench/bounds.mjs [--keys N] [--entries N] [--rounds N]

import { rm } from "node:fs/promises";
import { chosenEngines } from "../e2e/lib/engines.mjs";
import { Bench, Site } from "../e2e/lib/harness.mjs";
import { build } from "../e2e/wasmtest/build.mjs";
import { runBinary, site as wasmSite } from "../e2e/wasmtest/runner.mjs";
import { argument, median, precise } from "./common.mjs";

const FEW = 10;
const STEP = 500; // keys of one evaluation, so that none is long

const KEYS = argument("--keys", 10_000), ENTRIES = argument("--entries", 1_000_000), ROUNDS = argument("--rounds", 11);

/** In the app's page: makes keys, and returns one of them. */
async function makeKeys(account, count) {
  const kms = await connect({ ...configuration, account, container: document.querySelector("#kms"), timeoutMs: 60_000 });
  if ((await kms.vault.status()).state === "absent") await kms.vault.create({ persistence: "device", lock: "none" });
  const made = await Promise.all(Array.from({ length: count }, () => kms.keys.create({ purpose: "signing" })));
  kms.close();
  return made[0].key.kid;
}

/** In the app's page: milliseconds from connect() to the first signature, of each vault in turn. */
async function starts(vaults, rounds) {
  const times = vaults.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { account, kid }] of vaults.entries()) {
      const began = performance.now();
      const kms = await connect({ ...configuration, account, container: document.querySelector("#kms") });
      await kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 });
      times[i].push(performance.now() - began);
      kms.close();
    }
  }
  return times;
}

async function keys(bench) {
  const page = await bench.open();
  const few = { account: "few", kid: await page.evaluate(makeKeys, "few", FEW) };
  const many = { account: "many" };
  for (let left = KEYS; left > 0; left -= STEP) many.kid = await page.evaluate(makeKeys, many.account, Math.min(left, STEP));
  await page.evaluate(starts, [few, many], 2);
  const [short, long] = await page.evaluate(starts, [few, many], ROUNDS);
  await page.close();
  return { few: median(short), many: median(long) };
}

const site = await Site.start();
const { dir, binaries } = await build([{ module: ".", patterns: ["./enclave"] }]);
const tests = await wasmSite(binaries);
try {
  for (const engine of chosenEngines()) {
    const bench = new Bench(engine, site);
    try {
      await bench.start({ preferences: precise });
      const { few, many } = await keys(bench);
      console.log(`\n${engine} (${await bench.browser.version()})`);
      console.log(`- connect to first signed JWT: ${many.toFixed(0)} ms with ${KEYS} keys, ${few.toFixed(0)} ms with ${FEW}: ${(many / few).toFixed(2)}× (wanted < 1.5×)`);
      const page = await bench.browser.newPage();
      const { output, wrong } = await runBinary(page, tests, 0, ["-test.run=^TestLongLog$", `-entries=${ENTRIES}`, "-samples=300"], 1_800_000);
      if (wrong) throw new Error(`${wrong}\n${output}`);
      for (const [, line] of output.matchAll(/longlog_test\.go:\d+: (.*)/g)) console.log(`- ${line}${/^jwt/.test(line) ? " (wanted ≤ 1.1×)" : ""}`);
    } finally {
      await bench.stop();
    }
  }
} finally {
  await tests.close();
  await site.stop();
  await rm(dir, { recursive: true, force: true });
}
