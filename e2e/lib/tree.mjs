// A copy of the checkout, changed: how a suite gets a release that is not this one.

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "./gotool.mjs";
import { run } from "./process.mjs";

// What a release is built from. Tests, documents and other modules are left behind.
const SOURCES = ["*.go", "go.mod", "go.sum", "web", "sdk/*.js", "bip39/*.txt", "cmd/enclave-wasm"];
const LEFT = /(_test\.go|\/testdata\/.*)$|^(vectors|transcripts|tools)\//;

/**
 * Copies the sources to a new directory and applies changes: path → function of the file's text.
 * A change that changes nothing is an error: the suite would test the wrong thing.
 */
export async function changedTree(changes) {
  const path = await mkdtemp(join(tmpdir(), "kms-e2e-tree-"));
  const remove = () => rm(path, { recursive: true, force: true });
  try {
    const listed = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ...SOURCES], { cwd: root });
    for (const name of new Set(listed.split("\0").filter((name) => name && !LEFT.test(name)))) {
      await mkdir(dirname(join(path, name)), { recursive: true });
      await cp(join(root, name), join(path, name));
    }
    for (const [name, change] of Object.entries(changes)) {
      const before = await readFile(join(path, name), "utf8");
      const after = change(before);
      if (after === before) throw new Error(`${name}: the change found nothing to change`);
      await writeFile(join(path, name), after);
    }
    return { path, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
