// Runs some Go tests inside real browsers, for whoever works on them.
//
//   node e2e/wasmtest/run.mjs [--run REGEXP] [--module DIR PATTERN…]
//
// make test runs all of them, through suites/go.test.mjs.

import { rm } from "node:fs/promises";
import { launch } from "../lib/browser.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { build, targets } from "./build.mjs";
import { runBinary, site } from "./runner.mjs";

async function runEngine(engine, origin, binaries, args) {
  const browser = await launch(engine);
  let failures = 0;
  try {
    const page = await browser.newPage();
    for (const [index, { name }] of binaries.entries()) {
      const began = Date.now();
      const { output, passed, wrong } = await runBinary(page, origin, index, args);
      const seconds = ((Date.now() - began) / 1000).toFixed(1);
      if (wrong) {
        failures++;
        console.log(output);
      }
      console.log(`${wrong ? "FAIL" : "ok  "} ${engine} ${name}: ${passed} passed${wrong ? `, ${wrong}` : ""} (${seconds} s)`);
    }
  } finally {
    await browser.close();
  }
  return failures;
}

function parse(argv) {
  const args = [];
  let list = targets;
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === "--run") args.push(`-test.run=${argv[++i]}`);
    else if (argv[i] === "--module") {
      list = [{ module: argv[i + 1], patterns: argv.slice(i + 2) }];
      break;
    } else throw new Error(`argument: got ${argv[i]}, wanted --run REGEXP or --module DIR PATTERN…`);
  }
  return { args, list };
}

const { args, list } = parse(process.argv.slice(2));
const { dir, binaries } = await build(list);
const origin = await site(binaries);
let failures = 0;
try {
  for (const engine of chosenEngines()) failures += await runEngine(engine, origin, binaries, args);
} finally {
  await origin.close();
  await rm(dir, { recursive: true, force: true });
}
process.exitCode = failures === 0 ? 0 : 1;
