// Runs the browser suites and sums them up per engine.
//
//   node e2e/run.mjs [SUITE…]        SUITE is smoke, methods, …; all of them without one
//
// Environment: KMS_ENGINES, CI, KMS_E2E_JOBS (suites at the same time; 2).

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { allEngines, chosenEngines } from "./lib/engines.mjs";
import { go } from "./lib/gotool.mjs";

const suites = fileURLToPath(new URL("suites", import.meta.url));

// The long ones begin, so that none of them ends alone.
const LONG = ["go", "tamper", "dialog", "egress", "secrets", "relay", "soak", "screens", "appearance", "kill", "product", "persist", "hostile", "status", "notify", "faults", "push", "tabs"];

function weight(name) {
  const at = LONG.indexOf(basename(name, ".test.mjs"));
  return at < 0 ? LONG.length : at;
}

async function files(names) {
  const all = (await readdir(suites)).filter((name) => name.endsWith(".test.mjs")).sort();
  const unknown = names.filter((name) => !all.includes(`${name}.test.mjs`));
  if (unknown.length > 0) throw new Error(`suite: got ${unknown.join(", ")}, wanted one of ${all.map((n) => basename(n, ".test.mjs")).join(", ")}`);
  const chosen = all.filter((name) => names.length === 0 || names.includes(basename(name, ".test.mjs")));
  return chosen.sort((a, b) => weight(a) - weight(b)).map((name) => join(suites, name));
}

/**
 * Counts tests (not the groups around them) per engine. Files report one after another, and a
 * group after its tests; a group's name begins with its engine.
 */
class Tally {
  engines = new Map();
  #waiting = []; // outcomes whose group has not ended yet

  add(outcome, { name, nesting, details, skip, todo }) {
    const group = details?.type === "suite";
    if (!group) this.#waiting.push(skip !== undefined || todo !== undefined ? "skip" : outcome);
    if (nesting > 0) return;
    // A group that failed without a failed test did so in a hook.
    if (group && outcome === "fail" && !this.#waiting.includes("fail")) this.#waiting.push("fail");
    const engine = allEngines.find((each) => name.startsWith(`${each}: `)) ?? "none";
    const sums = this.engines.get(engine) ?? { pass: 0, fail: 0, skip: 0 };
    for (const one of this.#waiting.splice(0)) sums[one]++;
    this.engines.set(engine, sums);
  }
}

async function main(names) {
  const engines = chosenEngines();
  const directory = await mkdtemp(join(tmpdir(), "kms-e2e-bin-"));
  process.env.KMS_ENCLAVE = join(directory, "enclave");
  try {
    await go(["build", "-o", process.env.KMS_ENCLAVE, "./cmd/enclave"]);
    const tally = new Tally();
    const stream = run({ files: await files(names), concurrency: Number(process.env.KMS_E2E_JOBS ?? 2), timeout: 900_000 });
    stream.on("test:pass", (event) => tally.add("pass", event));
    stream.on("test:fail", (event) => tally.add("fail", event));
    for await (const text of stream.compose(new spec())) process.stdout.write(text);
    return report(engines, tally);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Prints the sums; true when every chosen engine ran tests, and all of them passed. */
function report(engines, { engines: sums }) {
  const total = { pass: 0, fail: 0, skip: 0 };
  let good = true;
  for (const [name, n] of sums) {
    for (const key of Object.keys(total)) total[key] += n[key];
    console.log(`engine ${name}: ${n.pass} passed, ${n.fail} failed, ${n.skip} skipped`);
  }
  for (const engine of engines) {
    if ((sums.get(engine)?.pass ?? 0) === 0) {
      console.log(`engine ${engine}: NO TEST RAN`);
      good = false;
    }
  }
  console.log(`tests ${total.pass + total.fail + total.skip}, pass ${total.pass}, fail ${total.fail}, skipped ${total.skip}`);
  return good && total.fail === 0 && total.skip === 0;
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
