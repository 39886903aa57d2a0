// The go command, always with the project's exact toolchain.

import { fileURLToPath } from "node:url";
import { run } from "./process.mjs";

/** The checkout. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** The toolchain the project is measured with. */
export const toolchain = "go1.27.3";

/** Runs go with args in the checkout (or cwd) and returns what it printed. */
export async function go(args, { env = {}, cwd = root, timeoutMs = 600_000 } = {}) {
  return await run("go", args, { cwd, env: { ...process.env, GOTOOLCHAIN: toolchain, ...env }, timeoutMs });
}
