// What a suite needs: the enclave served by the real command, an app origin with the SDK and
// a strict policy, and pages in an engine.
//
//   127.0.0.1:A   the app (and any other origin of the same site)
//   localhost:E   the enclave, as `enclave serve` serves it
//   localhost:H   optionally the enclave's host as an attacker would run it (Host)

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, describe } from "node:test";
import { launch, temporaryProfile } from "./browser.mjs";
import { chosenEngines } from "./engines.mjs";
import { go, root } from "./gotool.mjs";
import { run, start, waitForLine } from "./process.mjs";
import { contentTypes, serve } from "./server.mjs";

const pages = fileURLToPath(new URL("../pages/", import.meta.url));
const artifacts = fileURLToPath(new URL("../artifacts/", import.meta.url));

// Firefox compiles the module twice; the second time, better, takes longer than most pages of these tests live. The Go tests
// in browsers and all benchmarks have it as it is shipped.
const ONCE = { preferences: { "javascript.options.wasm_optimizingjit": false } };

async function file(directory, path) {
  const full = normalize(join(directory, path));
  if (!full.startsWith(directory)) return undefined;
  const type = contentTypes[extname(full).slice(1)];
  if (!type) return undefined;
  try {
    return { headers: { "content-type": type }, body: await readFile(full) };
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "EISDIR") return undefined;
    throw error;
  }
}

/** The policy that docs/embedding.md asks of an app. */
export function appPolicy(...enclaves) {
  const origins = enclaves.join(" ");
  return (
    `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${origins}; ` +
    `frame-src ${origins} blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
  );
}

/** An app's origin on 127.0.0.1. Its configuration and policy are set once the enclave runs. */
export class App {
  configuration;
  policy = "default-src 'none'";
  /** Cross-Origin-Opener-Policy of its pages; docs/embedding.md asks for this one. */
  openerPolicy = "same-origin";
  /** Extra pages: path → { headers, body }. */
  extra = new Map();

  static async start() {
    const app = new App();
    app.server = await serve((request, url) => app.#answer(url));
    app.origin = app.server.ip;
    return app;
  }

  async #answer({ pathname }) {
    if (this.extra.has(pathname)) return this.extra.get(pathname);
    if (pathname === "/configuration.json") {
      return { headers: { "content-type": contentTypes.json }, body: JSON.stringify(this.configuration) };
    }
    if (pathname.startsWith("/sdk/")) {
      const module = await file(join(root, "sdk/"), pathname.slice(5));
      if (module) module.headers["cache-control"] = "max-age=3600"; // it stays as it is for as long as this origin
      return module;
    }
    const page = await file(pages, pathname === "/" ? "app.html" : pathname.slice(1));
    if (page?.headers["content-type"] === contentTypes.html) Object.assign(page.headers, this.pageHeaders());
    return page;
  }

  /** What every page of the app is served with. */
  pageHeaders() {
    return {
      "content-security-policy": this.policy,
      ...(this.openerPolicy && { "cross-origin-opener-policy": this.openerPolicy }),
    };
  }

  /** Embeds this release, which may come from any of these origins. */
  use(release, ...origins) {
    this.configuration = { url: release.url, pin: release.pin };
    this.policy = appPolicy(new URL(release.url).origin, ...origins);
  }
}

/** The real command: its path, and remove(). */
export async function command() {
  if (process.env.KMS_ENCLAVE) return { path: process.env.KMS_ENCLAVE, remove() {} };
  const directory = await mkdtemp(join(tmpdir(), "kms-e2e-bin-"));
  const path = join(directory, "enclave");
  await go(["build", "-o", path, "./cmd/enclave"]);
  return { path, remove: () => rm(directory, { recursive: true, force: true }) };
}

/**
 * Starts `enclave serve` for these embedders; returns what --json printed, and stop(). source is
 * the checkout it serves a release of; origin tells it what it is to the world, if that is known;
 * port is the one it listens on.
 */
export async function serveEnclave(origins, { source = root, origin, port = 0 } = {}) {
  const binary = await command();
  const ancestors = origins.flatMap((origin) => ["--frame-ancestors", origin]);
  const known = origin ? ["--origin", origin] : [];
  const child = start(binary.path, ["serve", "--addr", `localhost:${port}`, ...known, ...ancestors, "--json"], {
    cwd: source,
    env: { ...process.env },
  });
  const stop = async () => {
    await child.stop();
    await binary.remove();
  };
  try {
    const line = await waitForLine(child, (text) => text.startsWith("{"), 300_000);
    return { ...JSON.parse(line), child, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Has the real command verify an exported log, and compare it with these heads, SIZE:ROOT each;
 * rejects with what it says unless all is well.
 */
export async function verifyAudit(text, heads) {
  const binary = await command();
  const directory = await mkdtemp(join(tmpdir(), "kms-e2e-audit-"));
  try {
    const path = join(directory, "log.kmsaudit");
    await writeFile(path, text);
    return await run(binary.path, ["audit", "verify", ...heads.flatMap((head) => ["--head", head]), path]);
  } finally {
    await rm(directory, { recursive: true, force: true });
    await binary.remove();
  }
}

/**
 * The enclave's host as its operator could run it: everything comes from the real command,
 * unless intercept(url, request) answers first. intercept may also change what came: it is
 * called with the upstream's answer as its third argument, which it returns changed or not.
 */
export class Host {
  intercept = undefined;

  static async start(release) {
    const host = new Host();
    const upstream = new URL(release.url).origin;
    host.server = await serve((request, url) => host.#answer(upstream, url, request));
    host.origin = host.server.localhost;
    host.release = { ...release, url: release.url.replace(upstream, host.origin) };
    return host;
  }

  async #answer(upstream, url, request) {
    const own = await this.intercept?.(url, request);
    if (own) return own;
    const answer = await forward(upstream, url, request);
    return (await this.intercept?.(url, request, answer)) ?? answer;
  }
}

/** What the server at the origin upstream answers to this request. */
export async function forward(upstream, url, request) {
  const { "accept-encoding": _, host: __, connection: ___, ...headers } = request.headers;
  const response = await fetch(upstream + url.pathname + url.search, { headers: { ...headers, "accept-encoding": "identity" } });
  const copied = Object.fromEntries([...response.headers].filter(([name]) => !["connection", "transfer-encoding", "content-length", "date"].includes(name)));
  return { status: response.status, headers: copied, body: Buffer.from(await response.arrayBuffer()) };
}

/** Everything on the network side of a suite: two app origins, the enclave, hosts to tamper with. */
export class Site {
  #hosts = [];

  /** source is the checkout whose release is served. */
  static async start({ source } = {}) {
    const site = new Site();
    site.app = await App.start();
    site.other = await App.start();
    site.release = await serveEnclave([site.app.origin, site.other.origin], { source });
    site.host = await site.newHost();
    return site;
  }

  /** One more host of the release. What a lying one served stays in a browser's cache, so each lie gets its own. */
  async newHost(intercept) {
    const host = await Host.start(this.release);
    host.intercept = intercept;
    this.#hosts.push(host);
    for (const app of [this.app, this.other]) app.use(this.release, ...this.#hosts.map(({ origin }) => origin));
    return host;
  }

  async stop() {
    await Promise.all([this.app, this.other, ...this.#hosts].map(({ server }) => server.close()));
    await this.release.stop();
  }
}

/** A browser with a page, for one group of tests; made anew by restart(). */
export class Bench {
  constructor(engine, site) {
    this.engine = engine;
    this.site = site;
    this.pages = [];
  }

  /** Starts the browser; options as for launch. */
  async start(options) {
    this.profile = await temporaryProfile(this.engine);
    this.browser = await launch(this.engine, { profileDir: this.profile.path, ...options });
    this.pages = []; // those of a browser that was stopped are gone with it
  }

  /** An empty page of the app's origin. */
  get blank() {
    return `${this.site.app.origin}/blank.html`;
  }

  /** A new page at the app (or at url), with the SDK loaded. */
  async open(url = `${this.site.app.origin}/`) {
    const page = await this.browser.newPage(url);
    this.pages.push(page);
    await this.visit(page, url);
    return page;
  }

  /** Goes to an app's page and waits for its script. */
  async visit(page, url = `${this.site.app.origin}/`) {
    await page.goto(url);
    await this.#loaded(page);
  }

  /** The frame of the release's enclave in a page. */
  async frame(page) {
    return await page.frame(new URL(this.site.release.url).origin);
  }

  async reload(page) {
    await page.reload();
    await this.#loaded(page);
  }

  async #loaded(page) {
    await page.evaluate(async () => {
      const end = Date.now() + 10_000;
      while (typeof startKms !== "function") {
        if (Date.now() > end) throw new Error("the app's script did not load");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
  }

  /** Ends the browser and starts it again on the same profile. */
  async restart(options) {
    this.pages = [];
    this.browser = await this.browser.restart(options);
  }

  /** Starts the browser on its profile once more, after it was killed. */
  async relaunch() {
    this.pages = [];
    this.browser = await launch(this.engine, { profileDir: this.profile.path });
  }

  async closePages() {
    for (const page of this.pages.splice(0)) await this.browser.putAway(page, this.blank);
  }

  async keep(name) {
    await mkdir(artifacts, { recursive: true });
    for (const [index, page] of this.pages.entries()) {
      const path = join(artifacts, `${name.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 100)}-${index}.png`);
      await page.bringToFront(); // Chromium with a window draws no other
      await page.screenshot(path);
      console.error(`screenshot: ${path}`);
      for (const { type, text } of page.console) console.error(`  ${type}: ${text}`);
    }
  }

  async stop() {
    try {
      await this.browser?.close();
    } finally {
      await this.profile?.remove();
    }
  }
}

/**
 * Declares a group of tests for every chosen engine. body(bench) declares them; bench has a
 * running browser by the time they run. A failed test leaves a screenshot in artifacts/.
 */
export function eachEngine(name, body) {
  let site;
  before(async () => {
    site = await Site.start();
  });
  after(() => site?.stop());
  for (const engine of chosenEngines()) {
    describe(`${engine}: ${name}`, () => {
      const bench = new Bench(engine);
      before(async () => {
        bench.site = site;
        await bench.start(ONCE);
      });
      after(() => bench.stop());
      beforeEach(() => {
        site.host.intercept = undefined;
      });
      afterEach(async (t) => {
        if (t.passed === false || t.error) await bench.keep(`${engine}-${name}-${t.name}`).catch((e) => console.error(`screenshot: ${e.message}`));
        await bench.closePages();
      });
      body(bench, engine);
    });
  }
}
