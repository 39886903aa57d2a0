// Compiles Go packages' tests to js/wasm binaries.

import { mkdtemp, readFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { go, root } from "../lib/gotool.mjs";

const wasm = { GOOS: "js", GOARCH: "wasm" };

/** The packages whose tests run in browsers: the module's directory in the checkout, and patterns in it. */
export const targets = [
  { module: ".", patterns: ["./internal/jsbridge", "./internal/host", "./keyengine/webcrypto", "./store/indexeddb", "./enclave/..."] },
  { module: "vectors", patterns: ["./..."] },
];

async function packages({ module, patterns }) {
  const cwd = join(root, module);
  const format = "{{.ImportPath}} {{len .TestGoFiles}} {{len .XTestGoFiles}}";
  const text = await go(["list", "-tags", "kmstest", "-f", format, ...patterns], { cwd, env: wasm });
  const found = text.trim().split("\n").map((line) => line.split(" "));
  const tested = found.filter(([, inside, outside]) => Number(inside) + Number(outside) > 0);
  if (tested.length === 0) throw new Error(`${module}: no package with tests for js/wasm among ${patterns.join(" ")}`);
  return tested.map(([name]) => ({ name, cwd }));
}

/** Compiles the tests of every package; returns [{ name, path, bytes }]. */
export async function build(list = targets) {
  const dir = await mkdtemp(join(tmpdir(), "kms-wasmtest-"));
  const binaries = [];
  for (const target of list) {
    for (const { name, cwd } of await packages(target)) {
      const path = join(dir, `${binaries.length}.wasm`);
      await go(["test", "-c", "-tags", "kmstest", "-ldflags=-s -w", "-o", path, name], { cwd, env: wasm });
      binaries.push({ name, path, size: (await stat(path)).size });
    }
  }
  return { dir, binaries };
}

/** Go's own JavaScript for running wasm, from the toolchain that compiled it. */
export async function wasmExec() {
  const goroot = (await go(["env", "GOROOT"])).trim();
  return await readFile(join(goroot, "lib/wasm/wasm_exec.js"), "utf8");
}
