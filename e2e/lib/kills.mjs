// A browser that is killed again and again while several of its tabs work on one vault, and an oracle
// outside it that was told what had been done. Each round: the browser starts on the profile that the
// last kill left, one tab shows all that the vault holds, the oracle compares, all tabs work, and
// SIGKILL ends every process of the browser at an instant that was drawn.
//
// SIGKILL loses what processes have in memory, and nothing that they gave to the kernel: a kill is
// not a power cut. It must never spare a process of the browser, and never end one of another's.

import { createPublicKey, verify as verifySignature } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { lookAtLogs } from "./leveldb.mjs";
import { endpointOf, Oracle, purposeFor } from "./oracle.mjs";
import { eventually, family } from "./process.mjs";
import { Random } from "./random.mjs";
import { serve } from "./server.mjs";
import { ask, begin, exported, prepare, settle, show, showNewcomer } from "./tabwork.mjs";

const ACCOUNT = "killed";
const AT_ONCE = 16; // calls of one tab
const CALLS = 500; // planned for one tab in one round, at most
const FIRST_MS = 60_000; // until the first acknowledgement of a round
const PEER = Buffer.alloc(32, 9).toString("base64url"); // X25519's base point, for key.agree

/** How often each method is called by the tabs; keys.rotate and keys.revoke come on top, by the user. */
const MIX = { "jwt.sign": 6, "challenge.sign": 4, "token.vapid": 2, "key.agree": 2, "keys.create": 1 };

/** The keys that a vault begins with. */
const BEGINNING = [
  ...["EdDSA", "EdDSA", "ES256", "ES256"].map((alg) => ({ purpose: "signing", alg })),
  { purpose: "vapid" }, { purpose: "vapid" }, { purpose: "agreement" }, { purpose: "agreement" },
];

function alive(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return false;
  }
}

class Deleted extends Error {}

/**
 * The rounds of one engine on one profile. bench is a Bench that is not started yet; the instant of a
 * kill is drawn from the longestMs milliseconds after the round's first acknowledgement.
 */
export class Kills {
  oracle = new Oracle();
  heads = []; // SIZE:ROOT after each restart
  kills = 0;
  wrong = []; // sentences
  processes = 0; // that were killed
  deleted = []; // kills after which Chromium deleted its database, having been stopped in the middle of a record before
  newcomers = { begun: 0, made: 0, halfway: 0 };

  #since; // of audit.consistent
  #heard = new Map(); // of vaults that are set up: what was reported last
  #newest = []; // accounts of the round before
  #jwks = new Map();
  #unverified = [];
  #incomplete = new Set(); // logs of Chromium's that will be taken for corrupt; see leveldb.mjs
  #before = { acknowledged: 0, unheard: 0, refused: 0, byMethod: {} }; // in vaults whose database Chromium deleted

  constructor(bench, { seed, tabs = 4, longestMs = 3500 } = {}) {
    Object.assign(this, { bench, tabs, longestMs });
    this.random = new Random(seed);
  }

  /** Acknowledged operations, in all vaults. */
  get acknowledged() {
    return this.#before.acknowledged + this.oracle.acknowledged.size;
  }

  /** Operations that were done without anybody having been told: the kill came between commit and answer. */
  get unheard() {
    return this.#before.unheard + this.oracle.unheard;
  }

  /** Operations that were said not to have been done. */
  get refused() {
    return this.#before.refused + this.oracle.refused.size;
  }

  /** Acknowledged operations by method. */
  get byMethod() {
    const sums = { ...this.#before.byMethod };
    for (const [method, n] of Object.entries(this.oracle.byMethod)) sums[method] = (sums[method] ?? 0) + n;
    return sums;
  }

  /** Starts oracle and browser, and sets the vault up. */
  async start() {
    this.server = await serve(async (request) => {
      let text = "";
      for await (const chunk of request.setEncoding("utf8")) text += chunk;
      this.#hear(JSON.parse(text));
      return { status: 204 };
    });
    this.url = `${this.server.ip}/acknowledged`;
    this.bench.site.app.use(this.bench.site.release, this.server.ip);
    await this.#begin();
  }

  /** A vault on a new profile. */
  async #begin() {
    await this.bench.start();
    const page = await this.#tab();
    await page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" }));
    const calls = BEGINNING.map((params, i) => ({ tag: `key${i}`, method: "keys.create", params: { ...params, label: `key${i}` } }));
    this.oracle.plan(calls);
    await page.evaluate(begin, calls, 1);
    await eventually("the first keys", () => this.oracle.acknowledged.size === calls.length, { timeoutMs: 60_000 });
    await this.#compare(page);
  }

  #hear(reports) {
    const [own, others] = [[], []];
    for (const report of reports) (this.oracle.planned.has(report.tag) ? own : others).push(report);
    this.oracle.hear(own);
    for (const { tag, code, message } of own) {
      if (code && code !== "denied") this.wrong.push(`${this.oracle.planned.get(tag).method} ${tag} failed with ${code}: ${message}`);
    }
    for (const report of own.filter(({ code }) => code === undefined)) {
      if (report.jwk) this.#jwks.set(report.successor ?? report.kid, report.jwk);
      if (report.token) this.#unverified.push({ tag: report.tag, token: report.token });
    }
    for (const { tag, code, message } of others) {
      const [, what, account] = /^(began|set up|has key|failed) (.*)$/.exec(tag) ?? [];
      if (!what) this.wrong.push(`a report of ${tag}, which nobody planned`);
      if (what === "failed") this.wrong.push(`setting up ${account} failed with ${code}: ${message}`);
      else this.#heard.set(account, what);
    }
  }

  /** A new tab that has connected to the vault. */
  async #tab() {
    const page = await this.bench.open();
    await page.evaluate((account) => startKms({ account, timeoutMs: 60_000 }).then(() => {}), ACCOUNT);
    await page.evaluate(prepare, this.url);
    return page;
  }

  /** Has a tab show what the vault holds, and compares it. Returns the keys that may be used. */
  async #compare(page, note = "") {
    const seen = await page.evaluate(show, this.oracle.replay.size, this.#since);
    const say = (what) => this.wrong.push(`after kill ${this.kills}${note}: ${what}`);
    if (seen.state === "lost" && this.#doomed) throw new Deleted();
    if (seen.state !== "unlocked") throw new Error(`after kill ${this.kills}${note}: the vault is ${seen.state} (${seen.reason}), of ${this.acknowledged} acknowledged operations`);
    if (!seen.consistency.consistent) say(`the log is not the one from before: ${seen.consistency.reason}`);
    for (const { name, data } of seen.alerts) say(`${name}: ${JSON.stringify(data)}`);
    this.#since = seen.consistency.since;
    for (const what of this.oracle.compare(seen)) say(what);
    this.heads.push(`${seen.verdict.size}:${Buffer.from(seen.verdict.root, "base64url").toString("base64")}`);
    for (const { kid, publicKey } of seen.keys) this.#jwks.set(kid, publicKey.jwk);
    for (const { tag, token } of this.#unverified.splice(0)) {
      if (!this.#genuine(token, this.oracle.planned.get(tag).kid)) say(`the token of ${tag} does not verify`);
    }
    return seen.keys.filter(({ state }) => state === "active");
  }

  #genuine(token, kid) {
    const [header, payload, signature] = token.split(".");
    const jwk = this.#jwks.get(kid);
    const key = createPublicKey({ key: jwk, format: "jwk" });
    return verifySignature(jwk.kty === "EC" ? "sha256" : null, Buffer.from(`${header}.${payload}`), jwk.kty === "EC" ? { key, dsaEncoding: "ieee-p1363" } : key, Buffer.from(signature, "base64url"));
  }

  /** Each active key does what it is for: none has lost its private half. */
  async #useAll(page, keys, round) {
    const chosen = keys.filter(({ purpose }) => purpose !== "identity").sort((a, b) => b.createdAt - a.createdAt).slice(0, 12);
    const calls = chosen.map((key, i) => this.#call(Object.entries(purposeFor).find(([, purpose]) => purpose === key.purpose)[0], key.kid, `r${round}.c.n${i}`));
    this.oracle.plan(calls);
    await page.evaluate(begin, calls.slice(), 4);
    await eventually("every key in use", () => calls.every(({ tag }) => this.oracle.acknowledged.has(tag) || this.oracle.refused.has(tag) || this.oracle.open.has(tag)), { timeoutMs: 60_000 });
    for (const { tag, kid } of calls) if (this.oracle.refused.has(tag)) this.wrong.push(`after kill ${this.kills}: key ${kid} is active and refused: ${this.oracle.refused.get(tag)}`);
  }

  #call(method, kid, tag) {
    switch (method) {
      case "jwt.sign":
        return { tag, method, kid, params: { kid, audience: tag, ttlSeconds: 3600 } };
      case "challenge.sign":
        return { tag, method, kid, params: { kid, context: tag, data: Buffer.from(tag).toString("base64url") } };
      case "token.vapid":
        return { tag, method, kid, params: { kid, endpoint: `${endpointOf(tag)}/x`, subject: "mailto:push@example.com", ttlSeconds: 600 } };
      case "key.agree":
        return { tag, method, kid, params: { kid, context: tag, publicKey: PEER } };
      case "keys.create":
        return { tag, method, params: { purpose: this.random.of(["signing", "vapid", "agreement", "identity"]), label: tag } };
    }
    throw new Error(`no such call: ${method}`);
  }

  #plan(keys, round, tab) {
    const of = (purpose) => keys.filter((key) => key.purpose === purpose);
    const calls = Array.from({ length: CALLS }, (_, n) => {
      const method = this.random.weighted(MIX);
      const able = method === "keys.create" ? [] : of(purposeFor[method]);
      const kid = able.length > 0 ? this.random.of(able).kid : undefined;
      return this.#call(kid ? method : "keys.create", kid, `r${round}.t${tab}.n${n}`);
    });
    this.oracle.plan(calls);
    return calls;
  }

  /** The user, who replaces and revokes keys one after the other until the browser is gone. */
  async #user(page, keys) {
    for (const { kid } of keys) await this.#ends(page, kid);
  }

  /** The user replaces a key, or revokes it, in the enclave's dialog. */
  async #ends(page, kid) {
    const call = this.random.below(3) === 0
      ? { tag: `revoke.${kid}`, method: "keys.revoke", kid, params: { kid, reason: `revoke.${kid}` } }
      : { tag: `rotate ${kid}`, method: "keys.rotate", kid, params: { kid } };
    this.oracle.plan([call]);
    const frame = await page.frame(new URL(this.bench.site.release.url).origin);
    await page.evaluate(ask, call);
    await frame.waitFor("[role=alertdialog] #confirm");
    if (await frame.evaluate(() => document.querySelector("#word") !== null)) await frame.type("#word", "DELETE");
    await frame.click("#confirm:enabled");
    await eventually("the answer", () => page.evaluate(() => work.asked), { timeoutMs: 30_000 });
  }

  /** Looks at the vaults that were being set up when the browser was killed. */
  async #compareNewcomers(page) {
    for (const account of this.#newest.filter((each) => this.#heard.has(each)).slice(-2)) {
      const heard = this.#heard.get(account);
      const { state, reason, kids, verdict, signed } = await page.evaluate(showNewcomer, account);
      const say = (what) => this.wrong.push(`after kill ${this.kills}: ${account}, of which "${heard}" was heard, ${what}`);
      this.newcomers.begun += 1;
      if (heard !== "began") this.newcomers.made += 1;
      else if (state === "unlocked") this.newcomers.halfway += 1;
      if (state !== "unlocked" && (state !== "absent" || heard !== "began")) say(`is ${state} (${reason})`);
      if (verdict && !verdict.valid) say(`has a log that does not verify: ${verdict.reason}`);
      if (heard === "has key" && kids.length !== 1) say(`has ${kids.length} keys`);
      if (kids.length > 0 && !signed) say("has a key that does not sign");
    }
  }

  /** One round: compare, work, kill, start again. */
  async round() {
    const round = this.kills + 1;
    const [page] = this.bench.pages;
    const keys = await this.#compare(page, ", before the work");
    const tabs = [page];
    while (tabs.length < this.tabs) tabs.push(await this.#tab());
    await page.bringToFront();
    const began = Date.now();
    const accounts = Array.from({ length: 3 }, (_, i) => `new-${round}-${i}`);
    const targets = [];
    while (targets.length < Math.min(6, keys.length - 6)) {
      const key = this.random.of(keys);
      if (!targets.includes(key)) targets.push(key);
    }
    // The first before the rush, so that every round has one; the others in it.
    if (targets.length > 0) await this.#ends(page, targets[0].kid);
    const before = this.acknowledged;
    const usable = (this.random.next() < 0.5 ? keys : keys.filter((key) => !targets.includes(key)));
    await Promise.all(tabs.map((tab, i) => tab.evaluate(begin, this.#plan(usable, round, i), AT_ONCE)));
    await tabs.at(-1).evaluate(settle, accounts);
    this.#newest = accounts;
    const problem = { before: true };
    // It is not waited for: what it waits for is gone with the browser.
    this.#user(page, targets.slice(1)).catch((error) => problem.before && (problem.error = error));

    await eventually("the round's first acknowledgement", () => this.acknowledged > before, { timeoutMs: FIRST_MS, everyMs: 2 });
    await sleep(this.random.between(0, this.longestMs));
    problem.before = false;
    await this.#kill();
    if (problem.error) this.wrong.push(`before kill ${this.kills}: the user was stopped: ${problem.error.message}`);

    this.#lookForIncomplete();
    await this.bench.relaunch();
    try {
      const again = await this.#tab();
      await this.#useAll(again, await this.#compare(again), round);
      await this.#compareNewcomers(again);
    } catch (error) {
      if (!(error instanceof Deleted)) throw error;
      await this.#beginAnew();
    }
    return { round, acknowledged: this.acknowledged - before, ms: Date.now() - began };
  }

  /** Whether Chromium will find a log corrupt at this start: one that was incomplete after a kill before, and written on. */
  #doomed = false;

  #lookForIncomplete() {
    if (this.bench.engine !== "chromium") return;
    const { present, incomplete } = lookAtLogs(this.bench.profile.path);
    this.#incomplete = new Set([...this.#incomplete].filter((name) => present.has(name)));
    this.#doomed = this.#incomplete.size > 0;
    for (const name of incomplete) this.#incomplete.add(name);
  }

  /** The vault said that it was lost, as it has to. Nothing of it can be compared any more. */
  async #beginAnew() {
    this.deleted.push(this.kills);
    await this.bench.stop();
    this.#before = { acknowledged: this.acknowledged, unheard: this.unheard, refused: this.refused, byMethod: this.byMethod };
    this.oracle = new Oracle();
    this.heads = [];
    this.#since = undefined;
    this.#unverified = [];
    this.#incomplete.clear();
    this.#doomed = false;
    await this.#begin();
  }

  async #kill() {
    const all = family(this.bench.browser.pid);
    await this.bench.browser.kill();
    this.kills += 1;
    this.processes += all.length;
    try {
      await eventually("the end of every process", () => !all.some(alive), { timeoutMs: 10_000 });
    } catch {
      throw new Error(`kill ${this.kills}: processes ${all.filter(alive).join(", ")} of the browser outlived it`);
    }
  }

  /** Compares all of the log once more, from its first entry, and returns it as a file. */
  async finish() {
    const [page] = this.bench.pages;
    this.oracle = this.oracle.afresh();
    await this.#compare(page, ", all of it");
    return await page.evaluate(exported);
  }

  async stop() {
    await this.bench.stop();
    await this.server?.close();
  }
}
