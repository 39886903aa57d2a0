// Child processes that are ended by their own process group, never by name.
//
// Every child is the leader of a new group (setsid), so that ending it ends what it
// started too. Whatever is still alive when this process exits is killed; only a
// SIGKILL of this process itself can leave children behind.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const groups = new Set();

/** Sends a signal to every process of a group. */
export function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    if (error.code === "ESRCH") return false;
    throw error;
  }
}

/** Remembers a process group that somebody else started, and ends it with this process. */
export function adopt(pid) {
  groups.add(pid);
  return () => groups.delete(pid);
}

/** Process ids of a process and of all that it started, as long as their parents live. */
export function family(pid) {
  const children = new Map();
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended meanwhile.
    }
  }
  const all = [pid];
  for (const each of all) all.push(...(children.get(each) ?? []));
  return all;
}

process.on("exit", () => {
  for (const pid of groups) signalGroup(pid, "SIGKILL");
});
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) {
  process.once(signal, () => process.exit(code));
}

/** A running child with what it said. */
class Child {
  #keep;
  #text = "";

  constructor(command, args, child) {
    this.command = [command, ...args].join(" ");
    this.child = child;
    this.pid = child.pid;
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
      child.once("error", (error) => resolve({ code: null, signal: null, error }));
    });
    this.ended = false;
    this.exited.then(() => (this.ended = true));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text) => this.#record(text));
    }
    if (this.pid) this.#keep = adopt(this.pid);
  }

  #record(text) {
    this.#text = (this.#text + text).slice(-65536);
  }

  /** The last 64 KiB that the child wrote to stdout and stderr. */
  get output() {
    return this.#text;
  }

  /** Ends the whole group: SIGTERM, then SIGKILL after graceMs. */
  async stop(graceMs = 3000) {
    if (!this.pid) return;
    if (!this.ended && signalGroup(this.pid, "SIGTERM")) {
      const grace = new AbortController();
      await Promise.race([this.exited, sleep(graceMs, undefined, { signal: grace.signal }).catch(() => {})]);
      grace.abort();
    }
    this.kill();
    await this.exited;
  }

  /** Ends the whole group at once. */
  kill() {
    if (this.pid) signalGroup(this.pid, "SIGKILL");
    this.#keep?.();
  }
}

/** Starts a command in a process group of its own. */
export function start(command, args = [], options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options, detached: true });
  return new Child(command, args, child);
}

/** Runs a command to its end; rejects with its output unless it exits with 0. */
export async function run(command, args = [], { timeoutMs = 600_000, ...options } = {}) {
  const child = start(command, args, options);
  const timer = setTimeout(() => child.kill(), timeoutMs);
  const { code, signal, error } = await child.exited;
  clearTimeout(timer);
  child.kill();
  if (error) throw new Error(`${child.command}: ${error.message}`);
  if (code !== 0) throw new Error(`${child.command}: got exit ${code ?? signal}, wanted 0\n${child.output}`);
  return child.output;
}

/** The first line of the child's stdout that predicate accepts. */
export async function waitForLine(child, predicate, timeoutMs) {
  let rest = "";
  const found = new Promise((resolve) => {
    child.child.stdout.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      const line = lines.find(predicate);
      if (line !== undefined) resolve(line);
    });
  });
  const limit = new AbortController();
  try {
    return await Promise.race([
      found,
      child.exited.then(({ code, signal, error }) => {
        throw new Error(`${child.command}: ended (${error?.message ?? code ?? signal}) before it was ready\n${child.output}`);
      }),
      sleep(timeoutMs, undefined, { signal: limit.signal }).then(() => {
        throw new Error(`${child.command}: not ready after ${timeoutMs} ms\n${child.output}`);
      }),
    ]);
  } finally {
    limit.abort();
  }
}

/** A TCP port on 127.0.0.1 that nothing listens on at this moment. */
export async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Repeats probe until it returns something truthy; rejects after timeoutMs. */
export async function eventually(what, probe, { timeoutMs = 10_000, everyMs = 50 } = {}) {
  const end = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`${what}: not after ${timeoutMs} ms${last ? ` (${last.message})` : ""}`, { cause: last });
    }
    await sleep(everyMs);
  }
}
