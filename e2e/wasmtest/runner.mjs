// Runs Go test binaries inside real browsers: each with -test.v in a worker of a third-party
// frame, under the enclave's own policy. A failed test, an exit code other than 0, a skipped
// test, no test at all and a time limit are all failures.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { contentTypes, serve } from "../lib/server.mjs";
import { wasmExec } from "./build.mjs";

const LIMIT_MS = 240_000; // of one binary in one engine

const integrity = (text) => `sha384-${createHash("sha384").update(text).digest("base64")}`;
const here = (name) => readFile(new URL(name, import.meta.url), "utf8");

/** Serves the binaries, the app page and the frame. */
export async function site(binaries) {
  const worker = (await wasmExec()) + (await here("worker.js"));
  const frame = (await here("frame.js")).replace("WORKER_TEXT", () => JSON.stringify(worker));
  const page = await here("page.js");
  const html = (script, name) => `<!doctype html><meta charset="utf-8"><body><script src="/${name}" integrity="${integrity(script)}"></script>`;
  const framePolicy =
    `default-src 'none'; script-src '${integrity(frame)}' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; ` +
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types enclave";
  const answer = (_, { pathname, hostname }) => {
    const type = (ext) => ({ "content-type": contentTypes[ext] });
    if (hostname === "localhost") {
      if (pathname === "/frame.js") return { headers: type("js"), body: frame };
      if (pathname === "/frame.html") return { headers: { ...type("html"), "content-security-policy": framePolicy }, body: html(frame, "frame.js") };
      return undefined;
    }
    if (pathname === "/page.js") return { headers: type("js"), body: page };
    if (pathname === "/") {
      const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; frame-src http://localhost:*";
      return { headers: { ...type("html"), "content-security-policy": policy }, body: html(page, "page.js") };
    }
    const binary = /^\/(\d+)\.wasm$/.exec(pathname);
    if (binary) return readFile(binaries[binary[1]].path).then((body) => ({ headers: type("wasm"), body }));
    return undefined;
  };
  return await serve(answer);
}

/** Counts of a -test.v output: tests and subtests by outcome. */
function counts(output) {
  const of = (word) => output.match(new RegExp(`^\\s*--- ${word}: `, "gm"))?.length ?? 0;
  return { pass: of("PASS"), fail: of("FAIL"), skip: of("SKIP"), top: output.match(/^--- PASS: /gm)?.length ?? 0 };
}

function problem(output, exit, n, limitMs) {
  if (exit === null) return `not done after ${limitMs} ms`;
  if (n.fail > 0 || exit !== 0) return `${n.fail} failed, exit code ${exit}`;
  if (!/^PASS$/m.test(output)) return "got no PASS line";
  if (n.skip > 0) return `${n.skip} skipped, wanted none`;
  if (n.top === 0) return "no test ran";
  return undefined;
}

async function drive(page, origin, index, args, limitMs) {
  await page.goto(`${origin.ip}/`);
  const request = { frame: `${origin.localhost}/frame.html`, module: `/${index}.wasm`, args, env: { GOTRACEBACK: "all" } };
  await page.evaluate((r) => start(r), request);
  const end = Date.now() + limitMs;
  let output = "";
  for (;;) {
    try {
      const got = await page.evaluate(() => drain());
      output += got.output;
      if (got.exit !== null || Date.now() > end) return { output, exit: got.exit };
    } catch (error) {
      return { output, exit: `the page is gone (${error.message})` };
    }
    await sleep(100);
  }
}

/**
 * Runs one binary in a page. Returns its full output, how many tests passed (subtests
 * included), and in wrong what is not as wanted, if anything is not.
 */
export async function runBinary(page, origin, index, args = [], limitMs = LIMIT_MS) {
  const { output, exit } = await drive(page, origin, index, ["-test.v", `-test.timeout=${limitMs - 40_000}ms`, ...args], limitMs);
  const n = counts(output);
  return { output, passed: n.pass, wrong: problem(output, exit, n, limitMs) };
}
