// What checking a release costs: `enclave verify` of a URL on loopback, and with a rebuild, each beside
// a floor in the same run.
//
//   node bench/verify.mjs
//
// The floor of verify is fetching the same files as often and hashing them; that of a rebuild is the
// compiler alone, with the same warm cache.

import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { go, root, toolchain } from "../e2e/lib/gotool.mjs";
import { run, start, waitForLine } from "../e2e/lib/process.mjs";
import { median } from "./common.mjs";

const TIMES = 9;

/** Milliseconds that each of several things took, one after the other, TIMES times. */
async function alternate(things) {
  const took = Object.fromEntries(Object.keys(things).map((name) => [name, []]));
  for (let i = 0; i < TIMES; i++) {
    for (const [name, thing] of Object.entries(things)) {
      const began = performance.now();
      await thing();
      took[name].push(performance.now() - began);
    }
  }
  return took;
}

function row(name, ours, floor, wanted) {
  const worst = (times) => Math.max(...times);
  const s = (ms) => (ms / 1000).toFixed(2);
  console.log(`| ${name} | ${ours.length} | ${s(median(ours))} | ${s(worst(ours))} | ${s(median(floor))} | ${(median(ours) / median(floor)).toFixed(2)}× | ${wanted} |`);
}

/** Fetches every file as often as verify does, and hashes it. */
async function fetchAndHash(files, requests) {
  for (let i = 0; i < requests; i++) {
    const response = await fetch(files[i % files.length]);
    createHash("sha384").update(Buffer.from(await response.arrayBuffer())).digest();
  }
}

const directory = await mkdtemp(join(tmpdir(), "kms-bench-"));
let server;
try {
  const enclave = join(directory, "enclave");
  const dist = join(directory, "dist");
  const env = { ...process.env, GOTOOLCHAIN: toolchain };
  await go(["build", "-o", enclave, "./cmd/enclave"]);
  await run(enclave, ["build", "--out", dist, "--frame-ancestors", "https://app.example", "--compress=false"], { cwd: root, env, timeoutMs: 300_000 });
  server = start(enclave, ["serve", "--dir", dist, "--addr", "localhost:0", "--json"], { cwd: root, env });
  const { url } = JSON.parse(await waitForLine(server, (text) => text.startsWith("{"), 60_000));

  const verify = (...more) => run(enclave, ["verify", url, "--json", ...more], { cwd: root, env, timeoutMs: 300_000 });
  const report = JSON.parse(await verify("--rebuild", "."));
  if (report.verdict !== "verified") throw new Error(`verify: ${JSON.stringify(report)}`);
  const { release } = JSON.parse(await readFile(join(dist, "manifest.json"), "utf8"));
  const names = (await readdir(join(dist, release.path))).map((name) => new URL(name, url).href);
  const { build } = release;
  const compile = () => run("go", ["build", ...build.flags, "-o", join(directory, "x.wasm"), "./cmd/enclave-wasm"], { cwd: root, env: { ...process.env, ...build.env }, timeoutMs: 300_000 });
  await compile();

  console.log(`\nchecking a release, times in s\n| what | n | median | worst | floor | ratio | wanted |\n| --- | --- | --- | --- | --- | --- | --- |`);
  const plain = await alternate({ ours: () => verify(), floor: () => fetchAndHash(names, report.requests) });
  row(`verify a URL, ${report.requests} requests`, plain.ours, plain.floor, "< 2 s");
  const rebuilt = await alternate({ ours: () => verify("--rebuild", "."), floor: compile });
  row("verify a URL and rebuild, warm caches", rebuilt.ours, rebuilt.floor, "< 60 s");
} finally {
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
}
