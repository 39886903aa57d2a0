// Where the enclave's worker spends its time, in Chromium: a sampling profile of its thread while
// the app signs, function by function. The served module is stripped; its names come from a second
// build of the same source that differs in nothing but its symbols.
//
//   node bench/profile.mjs [pipelined | sequential] [N]

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "../e2e/lib/browser.mjs";
import { go } from "../e2e/lib/gotool.mjs";
import { Site } from "../e2e/lib/harness.mjs";
import { functionNames } from "./wasmnames.mjs";

const TOP = Number(process.env.TOP ?? 60);

const sign = async (pipelined, n) => {
  const one = () => bench.kms.jwt.sign({ kid: bench.kid, audience: "https://api.example", subject: "alice", ttlSeconds: 300 });
  let left = n;
  const began = performance.now();
  await Promise.all(Array.from({ length: pipelined ? 256 : 1 }, async () => {
    while (left-- > 0) await one();
  }));
  return (1000 * n) / (performance.now() - began);
};

async function start() {
  globalThis.bench = {};
  const { url, pin } = await (await fetch("/configuration.json")).json();
  const { connect } = await import("/sdk/kms.js");
  bench.kms = await connect({ url, pin, account: "bench", timeoutMs: 60_000 });
  await bench.kms.vault.create({ persistence: "device", lock: "none" });
  bench.kid = (await bench.kms.keys.create({ purpose: "signing", alg: "ES256" })).key.kid;
}

/** A DevTools session with the enclave's dedicated worker. */
async function workerSession(browser) {
  const whole = await browser.handle.target().createCDPSession();
  const { targetInfos } = await whole.send("Target.getTargets", { filter: [{ type: "worker" }] });
  if (targetInfos.length !== 1) throw new Error(`${targetInfos.length} workers, wanted 1`);
  const { sessionId } = await whole.send("Target.attachToTarget", { targetId: targetInfos[0].targetId, flatten: true });
  return whole.connection().session(sessionId);
}

/** Self time in microseconds by function. */
function selfTimes({ nodes, samples, timeDeltas }, names) {
  const nameOf = ({ callFrame: { functionName, url, lineNumber } }) => {
    const index = /^wasm-function\[(\d+)\]$/.exec(functionName)?.[1];
    if (index) return names[index] ?? functionName;
    return `${functionName || "(anonymous)"} ${url ? `js:${lineNumber + 1}` : ""}`;
  };
  const byId = new Map(nodes.map((node) => [node.id, nameOf(node)]));
  const times = new Map();
  samples.forEach((id, i) => times.set(byId.get(id), (times.get(byId.get(id)) ?? 0) + timeDeltas[i]));
  return [...times].sort((a, b) => b[1] - a[1]);
}

/** The package of a Go function, as the linker spells it; what is not Go stays itself. */
function packageOf(name) {
  if (/ js:\d+$|^\(|^\S+ $/.test(name)) return name.endsWith(" ") ? "browser: " + name : name.includes(" js:") ? "JavaScript: " + name.split(" js:")[0] : name;
  return name.replace(/^(type:\.\w+\.)/, "").split(".")[0];
}

/** The names of the served module's functions: of one built alike, but with its symbols. */
async function names() {
  const directory = await mkdtemp(join(tmpdir(), "kms-profile-"));
  try {
    await go(["run", "./cmd/enclave", "build", "--out", directory]);
    const { release } = JSON.parse(await readFile(join(directory, "manifest.json"), "utf8"));
    const flags = release.build.flags.map((flag) => (flag.startsWith("-ldflags=") ? "-ldflags=-buildid=" : flag));
    const path = join(directory, "named.wasm");
    await go(["build", ...flags, "-o", path, "./cmd/enclave-wasm"], { env: { GOOS: release.build.os, GOARCH: release.build.arch } });
    return functionNames(await readFile(path));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const pipelined = (process.argv[2] ?? "pipelined") === "pipelined";
const n = Number(process.argv[3] ?? (pipelined ? 6000 : 600));
const site = await Site.start();
const browser = await launch("chromium");
try {
  const page = await browser.newPage();
  await page.goto(`${site.app.origin}/`);
  await page.evaluate(start);
  await page.evaluate(sign, pipelined, 500);
  const session = await workerSession(browser);
  await session.send("Profiler.enable");
  await session.send("Profiler.setSamplingInterval", { interval: 200 });
  await session.send("Profiler.start");
  const rate = await page.evaluate(sign, pipelined, n);
  const { profile } = await session.send("Profiler.stop");
  const times = selfTimes(profile, await names());
  const total = times.reduce((sum, [, t]) => sum + t, 0);
  const idle = times.find(([name]) => name.startsWith("(idle)"))?.[1] ?? 0;
  console.log(`${n} signatures, ${Math.round(rate)} a second; the worker's thread was busy ${(((total - idle) / total) * 100).toFixed(0)} % of the time`);
  console.log("| µs each | % busy | function |\n| --- | --- | --- |");
  const packages = new Map();
  for (const [name, time] of times) packages.set(packageOf(name), (packages.get(packageOf(name)) ?? 0) + time);
  for (const [name, time] of [...packages].sort((a, b) => b[1] - a[1]).slice(0, 25)) console.log(`| ${(time / n).toFixed(1)} | ${((100 * time) / (total - idle)).toFixed(1)} | **${name}** |`);
  for (const [name, time] of times.slice(0, TOP)) console.log(`| ${(time / n).toFixed(1)} | ${((100 * time) / (total - idle)).toFixed(1)} | ${name} |`);
} finally {
  await browser.close();
  await site.stop();
}
