// The long tests: browsers that are killed a hundred times and more, and an hour of load.
//
//   node e2e/soak.mjs [control | kills | load]… [options]       all three without a word; --help lists the options
//
// It only reads options and prints: what is done, and what is held against it, is in lib/kills.mjs
// and lib/load.mjs. The test command runs a short form of both (suites/kill, suites/soak).

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chosenEngines } from "./lib/engines.mjs";
import { FAULTS, LEAKS } from "./lib/faulty.mjs";
import { Bench, Site, verifyAudit } from "./lib/harness.mjs";
import { Kills } from "./lib/kills.mjs";
import { Load } from "./lib/load.mjs";
import { newSeed } from "./lib/random.mjs";
import { changedTree } from "./lib/tree.mjs";

/** Kills within which a fault must be noticed. */
const CONTROL = 15;

const usage = `usage: node e2e/soak.mjs [control | kills | load]... [options]

control: enclaves with one fault each (lib/faulty.mjs) are killed in Chromium, or loaded, until
the fault is noticed. One that is not noticed within ${CONTROL} kills, or half a minute, is an error.

kills: four tabs of a browser work on one vault, and SIGKILL ends the browser at random
instants. What was acknowledged outside the browser is compared after each restart.
In Chromium and Firefox; WebKitGTK keeps nothing of a frame that could be compared.

  --kills N     kills of each engine, at least (100)
  --acks N      acknowledged operations of each engine, at least (10000)

load: mixed calls from four tabs in Chromium, at a rate that the log's allowance bears,
then a hostile app that floods while another one works.

  --minutes N   of load (60)

  --seed N      repeats the choices of an earlier run; the kernel's and the browser's it cannot
  --help        this text

Environment: KMS_ENGINES narrows the engines; KMS_ENCLAVE is a built command to use.
Exit code: 0 if nothing was wrong, 1 if something was, 2 for a wrong option, 130 after Ctrl-C.`;

const clock = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

/** The command's options, or what is wrong with them. */
function options(args) {
  const { values, positionals } = parseArgs({
    args, allowPositionals: true,
    options: { kills: { type: "string" }, acks: { type: "string" }, minutes: { type: "string" }, seed: { type: "string" }, help: { type: "boolean" } },
  });
  const number = (name, otherwise) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isFinite(value) || value < 0 || values[name] === "") throw new Error(`--${name}: a number wanted, got ${values[name]}`);
    return value;
  };
  const parts = positionals.length > 0 ? positionals : ["control", "kills", "load"];
  for (const part of parts) if (!["control", "kills", "load"].includes(part)) throw new Error(`control, kills or load wanted, got ${part}`);
  return { help: values.help, parts, kills: number("kills", 100), acks: number("acks", 10_000), minutes: number("minutes", 60), seed: number("seed", newSeed()) };
}

/** What is printed at the end, however it comes. */
const summary = [];

/** Kills one engine until there were enough; returns what was wrong. */
async function runKills(engine, { kills, acks, seed }) {
  const site = await Site.start();
  const run = new Kills(new Bench(engine, site), { seed });
  const began = Date.now();
  const row = { part: "kills", engine };
  summary.push(row);
  const settle = () => Object.assign(row, {
    "kills": run.kills, "acknowledged": run.acknowledged, "done, not heard of": run.unheard, "refused": run.refused,
    "log": run.oracle.replay.size, "keys": run.oracle.replay.keys.size, "set-ups cut": run.newcomers.begun, "processes": run.processes, ...(engine === "chromium" && { "deleted by Chromium": run.deleted.length > 0 ? `after kills ${run.deleted.join(", ")}; see lib/leveldb.mjs` : "never" }), "wrong": run.wrong.length, "took": clock(Date.now() - began),
  });
  try {
    await run.start();
    while (run.kills < kills || run.acknowledged < acks) {
      const { round, acknowledged, ms } = await run.round();
      settle();
      console.log(`${clock(Date.now() - began)} ${engine} kill ${round}: ${acknowledged} acknowledged in ${(ms / 1000).toFixed(1)} s, ${run.acknowledged} in all, log of ${run.oracle.replay.size}, wrong ${run.wrong.length}`);
      if (run.deleted.at(-1) === run.kills) console.log(`${engine}: Chromium deleted its database, as it does after it was stopped in the middle of a record; the vault said that it is lost. On with a new one`);
      if (run.wrong.length > 0) break; // the profile is as it is; more kills would only bury it
    }
    const file = await run.finish();
    settle();
    console.log(`${engine}: acknowledged ${JSON.stringify(run.byMethod)}`);
    console.log(await verifyAudit(file, run.heads).catch((error) => (run.wrong.push(error.message), "")));
  } catch (error) {
    run.wrong.push(error.stack);
  } finally {
    settle();
    if (run.wrong.length > 0) keep(run);
    await run.stop().catch((error) => console.error(`${engine}: ${error.message}`));
    await site.stop();
  }
  return run.wrong;
}

/** Keeps the profile of a run that found something. */
function keep({ bench, kills }) {
  const to = fileURLToPath(new URL(`artifacts/kill-${kills}-${bench.engine}`, import.meta.url));
  try {
    cpSync(bench.profile.path, to, { recursive: true, verbatimSymlinks: true, filter: (path) => !/Singleton|Cache/.test(path) });
    console.log(`the profile is kept in ${to}`);
  } catch (error) {
    console.error(`the profile is not kept: ${error.message}`);
  }
}

/** Kills an enclave that has a fault until it is noticed; returns what was wrong: nothing, if it was. */
async function runControl({ name, changes }, seed) {
  const tree = await changedTree(changes);
  const site = await Site.start({ source: tree.path });
  const run = new Kills(new Bench("chromium", site), { seed });
  const row = { part: "control", fault: name };
  summary.push(row);
  try {
    await run.start();
    while (run.wrong.length === 0 && run.kills < CONTROL) await run.round();
  } catch (error) {
    run.wrong.push(error.message);
  } finally {
    await run.stop().catch((error) => console.error(error.message));
    await site.stop();
    await tree.remove();
  }
  Object.assign(row, { kills: run.kills, noticed: run.wrong[0] ?? "NO" });
  console.log(`control: an enclave that ${name}: after ${run.kills} kills: ${row.noticed}`);
  return run.wrong.length > 0 ? [] : [`an enclave that ${name} was not noticed`];
}

/** Loads an enclave that leaks, for half a minute; returns what was wrong: nothing, if that was noticed. */
async function runLeak({ name, changes, wanted }) {
  const load = await Load.start(changes);
  const row = { part: "control", fault: name };
  summary.push(row);
  try {
    await load.run(30, 1);
  } catch (error) {
    console.error(`control: ${error.message}`); // it has not been noticed by that
  } finally {
    await load.stop().catch((error) => console.error(error.message));
  }
  row.noticed = load.wrong.find((what) => wanted.test(what)) ?? "NO";
  console.log(`control: an enclave that ${name}: ${row.noticed}`);
  return row.noticed === "NO" ? [`an enclave that ${name} was not noticed`] : [];
}

const beside = ({ sign, yardstick }) => `${sign.toFixed(1)} ms, yardstick ${yardstick.toFixed(1)} ms`;
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Load, and then a flood; returns what was wrong. */
async function runLoad({ minutes }) {
  const began = Date.now();
  const load = await Load.start();
  const row = { part: "load", engine: "chromium" };
  summary.push(row);
  const most = (rest, what) => Math.max(...rest.workers.map((worker) => worker[what]));
  const figures = (rest) => `goroutines ${most(rest, "goroutines")}, callbacks ${most(rest, "callbacks")}, references ${most(rest, "references")}, Go heap ${mib(most(rest, "heap"))}, ` +
    `wasm ${mib(most(rest, "memory"))}, script ${mib(most(rest, "script"))}, browser ${mib(rest.resident)}`;
  try {
    await load.run(60 * minutes, Math.max(2, Math.min(20, Math.ceil(minutes))), (rest, { calls, wrong }) => {
      console.log(`${clock(Date.now() - began)} load: ${calls} calls; at rest, the most of any worker: ${figures(rest)}; wrong ${wrong.length}`);
    });
    Object.assign(row, { calls: load.calls, "log": load.entries, "at first": figures(load.rests[0]), "at last": figures(load.rests.at(-1)), "jwt.sign at first": beside(load.rests[0].alone), "jwt.sign at last": beside(load.rests.at(-1).alone), "under load, first quarter": beside(load.quarters[0]), "last quarter": beside(load.quarters[1]) });
    await load.runFlood();
    Object.assign(row, { "beside a flood": `${load.flood.flooded.toFixed(1)} ms, without ${load.flood.quiet.toFixed(1)} ms; ${load.flood.posted} messages, ${load.flood.answered} answered` });
  } catch (error) {
    load.wrong.push(error.stack);
  } finally {
    Object.assign(row, { wrong: load.wrong.length, took: clock(Date.now() - began) });
    await load.stop().catch((error) => console.error(error.message));
  }
  return load.wrong;
}

function print() {
  for (const row of summary) {
    console.log("");
    for (const [name, value] of Object.entries(row)) console.log(`${name.padEnd(24)} ${value}`);
  }
}

async function main(args) {
  let chosen;
  try {
    chosen = options(args);
  } catch (error) {
    console.error(`soak: error: ${error.message}\nsoak: hint: --help lists the options`);
    return 2;
  }
  if (chosen.help) {
    console.log(usage);
    return 0;
  }
  // Everything temporary lies in one place. However this process ends, the browsers end first
  // (lib/process.mjs), and then it goes.
  process.env.TMPDIR = mkdtempSync(join(tmpdir(), "kms-soak-"));
  process.on("exit", (code) => {
    if (code > 128) print();
    rmSync(process.env.TMPDIR, { recursive: true, force: true, maxRetries: 5 });
  });
  console.log(`seed ${chosen.seed}`);
  const wrong = [];
  const engines = chosenEngines();
  if (chosen.parts.includes("control") && engines.includes("chromium")) {
    for (const fault of FAULTS) wrong.push(...(await runControl(fault, chosen.seed)));
    for (const leak of LEAKS) wrong.push(...(await runLeak(leak)));
  }
  if (chosen.parts.includes("kills")) {
    for (const engine of engines.filter((each) => each !== "webkit")) wrong.push(...(await runKills(engine, chosen)));
    if (engines.includes("webkit")) console.log("webkit: not killed. WebKitGTK keeps a third-party frame's storage in memory only: nothing could be compared");
  }
  if (chosen.parts.includes("load") && engines.includes("chromium")) wrong.push(...(await runLoad(chosen)));
  print();
  for (const what of wrong) console.log(`WRONG: ${what}`);
  console.log(wrong.length === 0 ? "nothing was wrong" : `${wrong.length} things were wrong`);
  return wrong.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
