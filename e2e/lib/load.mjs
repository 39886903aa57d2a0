// Load for a minute or an hour, and what must not grow meanwhile. Four tabs of Chromium call one vault;
// after a warm-up and after every stretch they rest, and each worker is looked into: what it holds when
// nobody asks for anything must be what it held after the warm-up. Then a hostile app floods its own
// vault while a tab of another app works.
//
// Bounds are here, in BOUNDS, and each says of what. Latencies are compared with each other only: how
// fast a machine is, is not tested. It must never look into a release that people get: see probe.mjs.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { flood, mix, signInTurn } from "./callmix.mjs";
import { Bench, Site } from "./harness.mjs";
import { eventually, family } from "./process.mjs";
import { lookIntoDocuments, lookIntoWorkers, probedTree } from "./probe.mjs";

const MiB = 2 ** 20;

export const BOUNDS = {
  /** Of one idle worker, beyond what it had after the warm-up. */
  goroutines: 1,
  callbacks: 0.25, // of what there were: waiters and listeners are kept for reuse, as many as were once needed at once
  references: 0.25, // of what there were; those callbacks are among them
  heap: MiB, // of Go, after its garbage is collected
  heapPerEntry: 32, // on top of that: the index of the log's records is kept
  memory: 16 * MiB, // of WebAssembly, which never shrinks
  script: 4 * MiB, // of JavaScript in the worker, collected
  /** Of all pages and frames together. */
  documents: { nodes: 50, listeners: 50, script: 8 * MiB },
  /** Resident memory of all processes of the browser, as a part of what it was. */
  resident: 0.5,
  /** The median of signatures at the last rest beside that at the first, and of the last quarter under load beside the first; each in yardsticks: one strict write of the page's own after each. */
  latency: 2.5,
  /** The median beside a flood, beside the one without; and what it may be in any case, in milliseconds. */
  flooded: 12,
  floodedMs: 250,
};

const TABS = 4, LANES = 4;
const ALLOWANCE = 200_000, REFILL = 10; // of the log: operations at once, and a second (docs/storage.md)

export const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const both = (list) => ({ sign: median(list.map(({ sign }) => sign)), yardstick: median(list.map(({ yardstick }) => yardstick)) });

/** Logged operations a second that the log's allowance bears for so long; at most as many as two cores do with ease. */
const rate = (seconds) => Math.min(120, (0.8 * ALLOWANCE) / seconds + 0.8 * REFILL);

/** Resident bytes of a process and all that it started. */
function resident(pid) {
  let pages = 0;
  for (const each of family(pid)) {
    try {
      pages += Number(readFileSync(`/proc/${each}/statm`, "utf8").split(" ")[1]);
    } catch {
      // It has ended meanwhile.
    }
  }
  return pages * 4096;
}

const setUp = async () => {
  await startKms({ account: "load", timeoutMs: 60_000 });
  await kms.vault.create({ persistence: "device", lock: "none" });
  const make = async (purpose, alg) => (await kms.keys.create({ purpose, ...(alg && { alg }) })).key.kid;
  return { signing: [await make("signing"), await make("signing", "ES256")], vapid: [await make("vapid")], agreement: [await make("agreement")] };
};

export class Load {
  wrong = [];
  rests = []; // what was seen at each rest
  latencies = []; // of jwt.sign under load, in order: { sign, yardstick }, milliseconds
  calls = 0;
  flood = undefined;

  /** changes are a fault that the load is to bring to light. */
  static async start(changes) {
    const load = new Load();
    load.tree = await probedTree(changes);
    try {
      load.site = await Site.start({ source: load.tree.path });
      load.bench = new Bench("chromium", load.site);
      await load.bench.start();
    } catch (error) {
      await load.stop();
      throw error;
    }
    return load;
  }

  /** Load for so many seconds, in so many stretches; tell is called after each. */
  async run(seconds, stretches, tell = () => {}) {
    const tabs = [await this.bench.open()];
    this.kids = await tabs[0].evaluate(setUp);
    while (tabs.length < TABS) {
      const tab = await this.bench.open();
      await tab.evaluate(() => startKms({ account: "load", timeoutMs: 60_000 }).then(() => {}));
      tabs.push(tab);
    }
    const setting = { kids: this.kids, lanes: LANES, perSecond: rate(seconds) / TABS, peer: Buffer.alloc(32, 9).toString("base64url") };
    for (const tab of tabs) await tab.evaluate(mix, setting);
    for (const tab of tabs) await tab.evaluate(() => load.burst(240).then(() => {}));
    await this.#stretch(tabs, Math.min(60, Math.max(6, seconds / 10)));
    this.latencies = [];
    this.calls = 0;
    await this.#rest(tabs, tell);
    for (let i = 0; i < stretches; i++) {
      await this.#stretch(tabs, seconds / stretches);
      await this.#rest(tabs, tell);
    }
    // What makes the enclave slow stays; a machine that was busy is given two more stretches to be less so.
    for (let more = 2; more > 0 && this.#slower().length > 0; more--) {
      await this.#stretch(tabs, seconds / stretches);
      await this.#rest(tabs, tell);
    }
    const verdict = await tabs[0].evaluate(() => kms.audit.verify({}, { timeoutMs: 600_000 }));
    if (!verdict.valid) this.wrong.push(`the log does not verify: ${verdict.reason}`);
    this.entries = verdict.size;
    this.#judge(verdict.size);
    await this.bench.closePages();
  }

  async #stretch(tabs, seconds) {
    for (const tab of tabs) await tab.evaluate(() => load.begin());
    const end = Date.now() + 1000 * seconds;
    while (Date.now() < end) {
      await sleep(Math.min(5000, Math.max(0, end - Date.now())));
      for (const tab of tabs) this.#take(await tab.evaluate(() => load.take()));
    }
    for (const tab of tabs) {
      await tab.evaluate(() => load.end());
      this.#take(await tab.evaluate(() => load.take()));
    }
  }

  #take({ calls, failures, latencies }) {
    this.calls += calls;
    this.latencies.push(...latencies);
    for (const failure of failures) this.wrong.push(`a call failed: ${failure}`);
  }

  /** Nobody asks for anything: everything that is held is looked at. */
  async #rest(tabs, tell) {
    await sleep(1500); // the SDK looks at the log a second after what may have been logged
    const frame = await this.bench.frame(tabs[0]);
    const locks = () => frame.evaluate(async () => {
      const { held, pending } = await navigator.locks.query();
      return [...held, ...pending].map(({ name, mode }) => `${mode} ${name}`);
    });
    await eventually("the locks' release", async () => (await locks()).length === 0).catch(async () => this.wrong.push(`at rest there are locks: ${await locks()}`));
    const workers = await lookIntoWorkers(this.bench.browser);
    if (workers.length !== TABS) this.wrong.push(`${workers.length} workers, wanted ${TABS}`);
    const rest = { workers, documents: await lookIntoDocuments(this.bench.browser), resident: resident(this.bench.browser.pid), calls: this.calls };
    rest.alone = both(await tabs[0].evaluate(() => load.alone(60)).catch((error) => (this.wrong.push(`a call at rest failed: ${error.message}`), [])));
    this.rests.push(rest);
    tell(rest, this);
  }

  #judge(entries) {
    const [first, last] = [this.rests[0], this.rests.at(-1)];
    const grown = (what, from, to, most) => {
      if (to - from > most) this.wrong.push(`${what} grew from ${from} to ${to}, by more than ${Math.round(most)}`);
    };
    for (const after of last.workers) {
      const before = first.workers.find(({ worker }) => worker === after.worker);
      if (!before) {
        this.wrong.push("a worker was replaced meanwhile");
        continue;
      }
      for (const what of ["goroutines", "memory", "script"]) grown(`${what} of a worker at rest`, before[what], after[what], BOUNDS[what]);
      grown("Go heap of a worker at rest", before.heap, after.heap, BOUNDS.heap + BOUNDS.heapPerEntry * entries);
      for (const what of ["callbacks", "references"]) grown(`${what} of a worker at rest`, before[what], after[what], BOUNDS[what] * before[what]);
    }
    for (const [what, most] of Object.entries(BOUNDS.documents)) grown(`${what} of documents at rest`, first.documents[what], last.documents[what], most);
    grown("resident memory of the browser", first.resident, last.resident, BOUNDS.resident * first.resident);
    this.wrong.push(...this.#slower());
  }

  /** What says that signatures have become slower. */
  #slower() {
    const quarter = Math.floor(this.latencies.length / 4);
    this.quarters = [both(this.latencies.slice(0, quarter)), both(this.latencies.slice(-quarter))];
    const pairs = { "at rest": [this.rests[0].alone, this.rests.at(-1).alone], "under load": this.quarters };
    return Object.entries(pairs).flatMap(([when, pair]) => {
      const [early, late] = pair.map(({ sign, yardstick }) => sign / yardstick);
      return late <= BOUNDS.latency * early ? [] : [`${when} the median of jwt.sign went from ${early.toFixed(2)} to ${late.toFixed(2)} yardsticks: ${JSON.stringify(pair)}`];
    });
  }

  /** A tab of one app works while another app floods: milliseconds of each signature, without and with it. */
  async runFlood(signatures = 120) {
    const honest = await this.bench.open();
    const kid = await honest.evaluate(async () => {
      await startKms({ account: "beside", timeoutMs: 60_000 });
      await kms.vault.create({ persistence: "device", lock: "none" });
      return (await kms.keys.create({ purpose: "signing" })).key.kid;
    });
    await honest.evaluate(signInTurn, kid, 60);
    const quiet = await honest.evaluate(signInTurn, kid, signatures);
    const hostile = await this.bench.open(`${this.site.other.origin}/raw.html`);
    await hostile.evaluate(flood);
    await eventually("the flood", async () => (await hostile.evaluate(() => flooding.answered)) > 500, { timeoutMs: 30_000 });
    await honest.bringToFront();
    const flooded = await honest.evaluate(signInTurn, kid, signatures);
    const state = await hostile.evaluate(() => ((flooding.on = false), flooding));
    this.flood = { quiet: median(quiet), flooded: median(flooded), slowest: Math.max(...flooded), posted: state.posted, answered: state.answered };
    if (!(this.flood.flooded <= Math.max(BOUNDS.flooded * this.flood.quiet, BOUNDS.floodedMs))) {
      this.wrong.push(`beside a flood the median of jwt.sign is ${this.flood.flooded} ms, without it ${this.flood.quiet} ms`);
    }
    const verdict = await honest.evaluate(() => kms.audit.verify());
    if (!verdict.valid || verdict.size !== 2 + 60 + 2 * signatures) this.wrong.push(`the log beside a flood: ${JSON.stringify(verdict)}`);
    await this.bench.closePages();
  }

  async stop() {
    await this.bench?.stop();
    await this.site?.stop();
    await this.tree?.remove();
  }
}
