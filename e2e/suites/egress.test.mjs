// Egress, measured: a hostile build of the enclave tries every way out, and listeners count.
//
// The build is of these tests only. It is pinned, launched by the SDK and served with the shipped
// headers, as if the release itself were bad: what is left to stop it are browser and headers.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { App, Bench } from "../lib/harness.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { Arrivals, BY_NAME, Home, Listener, embed, order, places, quiet } from "../lib/egress.mjs";
import { root } from "../lib/gotool.mjs";
import { within } from "../lib/script.mjs";
import { settle } from "../lib/table.mjs";
import { changedTree } from "../lib/tree.mjs";
import { UNSUPPORTED, hostileSources } from "../lib/ways.mjs";

const QUIET_MS = 900; // nothing new for so long, and a run is over

let app, tree;
const homes = {};

before(async () => {
  app = await App.start();
  tree = await changedTree(hostileSources);
  homes.unknown = await Home.start(tree.path, [app.origin]);
  homes.honest = await Home.start(root, [app.origin]);
  homes.exact = await Home.start(tree.path, [app.origin], { exact: true });
  // The app has no policy of its own here: a frame-src would stop some of the ways, too.
  const page = `<!doctype html><title>app</title><div id="kms"></div><script>${embed};${order};</script><script type="module" src="/app.js"></script>`;
  app.extra.set("/open.html", { headers: { "content-type": "text/html" }, body: page });
  app.configuration = {};
});
after(async () => {
  await Promise.all([app?.server.close(), ...Object.values(homes).map((home) => home.stop())]);
  await tree?.remove();
});

/** Attacks from every place; returns what arrived, and what each attempt said of itself. */
async function attackFrom(bench, home, run, options) {
  const arrivals = (home.arrivals = new Arrivals());
  const listener = await Listener.start(arrivals);
  const page = await bench.open(`${app.origin}/open.html`);
  try {
    const targets = Object.fromEntries(Object.keys(places).map((where) => [where, listener.targets(where, home.origin, run)]));
    const attributes = { url: options.bare ? `${home.origin}/control.html` : home.release.url, policy: home.release.pin.policy, bare: options.bare };
    const launch = await page.evaluate(async (attributes, pin, bare) => {
      if (bare) return void (window.target = await embed(attributes));
      const launch = await startKms({ url: attributes.url, pin, timeoutMs: 20000 });
      window.target = enclaveFrame();
      return launch;
    }, attributes, home.release.pin, options.bare ?? false);
    const said = await page.evaluate(async (targets) => {
      const attack = (where, names) => order(window.target, { where, names, targets: targets[where] }, 15_000); // it is over once all ways have had their say
      // The worker first: without a policy the page's attack ends it. Now and then Firefox never returns from
      // `new Worker` in a worker: then those ways say nothing, and what arrives is counted all the same.
      const names = Object.keys(targets.worker);
      const worker = await attack("worker", names.filter((way) => !way.startsWith("Worker")));
      const nested = await attack("worker", names.filter((way) => way.startsWith("Worker")));
      return { worker: worker && { ...worker, ...nested }, page: await attack("page", Object.keys(targets.page)) };
    }, targets);
    await quiet(arrivals, QUIET_MS);
    // Each of these takes its frame with it, so each has one.
    const leave = (names) => page.evaluate(async (attributes, targets, names) => {
      const one = async (way, to) => order(await embed(attributes), { where: "leaving", names: [way], targets: { [way]: { [to]: targets[way][to] } } }, 500);
      await Promise.all(names.flatMap((way) => ["own", "foreign"].map((to) => one(way, to))));
    }, attributes, targets.leaving, names);
    const names = Object.keys(targets.leaving);
    const top = names.filter((way) => way.includes("top"));
    await leave(names.filter((way) => !top.includes(way)));
    await quiet(arrivals, QUIET_MS);
    // Where it works, the page that waits is gone.
    await within("leaving the app", 5000, leave(top)).catch(() => {});
    await quiet(arrivals, QUIET_MS);
    return { launch, said, arrivals, arrived: [...arrivals.seen].sort() };
  } finally {
    await listener.stop();
    await bench.closePages();
  }
}

const policy = (change) => (answer) => ({ ...answer, headers: { ...answer.headers, ...change(answer.headers["content-security-policy"], answer) } });

/** Lies that could open a way out. */
const lies = {
  "report-uri": policy((value) => ({ "content-security-policy": `${value}; report-uri /report` })),
  "report-to": policy((value, { origin }) => ({ "content-security-policy": `${value}; report-to x`, "reporting-endpoints": `x="${origin}/report"` })),
  "a second policy with report-uri": policy((value) => ({ "content-security-policy": [value, "default-src 'none'; report-uri /report"] })),
  "report-only with report-uri": policy(() => ({ "content-security-policy-report-only": "default-src 'none'; report-uri /report" })),
  "connect-src *": policy((value) => ({ "content-security-policy": value.replace("connect-src 'none'", "connect-src *") })),
  "no policy": policy(() => ({ "content-security-policy": "" })),
};

/** What a host got for a lie when its release was embedded with the SDK's attributes, and told to attack. */
function heardBy(home) {
  if ([...home.arrivals.seen].some((each) => each.endsWith("foreign"))) return "whatever the code sends, **any host**";
  if (home.reports.some((report) => report.includes("/out/"))) return "reports with what the code puts in them, **own host**";
  return home.reports.length > 0 ? "reports of the loader's own probes" : "nothing";
}

/** The same for several hosts at once. */
async function listenToLie(bench, hosts, lie) {
  const page = await bench.open(`${app.origin}/open.html`);
  const listeners = [];
  try {
    await Promise.all(hosts.map(async (home) => {
      Object.assign(home, { reports: [], arrivals: new Arrivals(), lie: (answer) => lie({ ...answer, origin: home.origin }) });
      const listener = await Listener.start(home.arrivals);
      listeners.push(listener);
      const { fetch, image } = listener.targets("page", home.origin, "lies");
      await page.evaluate(async (attributes, targets) => {
        await order(await embed(attributes), { where: "page", names: ["fetch", "image"], targets }, 700);
      }, { url: home.release.url, policy: home.release.pin.policy }, { fetch, image });
    }));
    const seen = { get size() { return hosts.reduce((sum, { arrivals, reports }) => sum + arrivals.seen.size + reports.length, 0); } };
    await quiet({ seen }, QUIET_MS);
    return hosts.map(heardBy);
  } finally {
    for (const home of hosts) home.lie = (answer) => answer;
    await Promise.all(listeners.map((listener) => listener.stop()));
    await bench.closePages();
  }
}

const NAMES = { chromium: "Chromium", firefox: "Firefox", webkit: "WebKitGTK" };

/** What became of every way, in one word: the column of one run. */
function columnOf({ arrived, said }, names) {
  const column = new Map();
  for (const [where, ways] of Object.entries(places)) {
    for (const way of Object.keys(ways)) {
      const to = (target) => arrived.includes(`${where}: ${way} -> ${target}`);
      const answers = Object.values(said[where]?.[way] ?? {});
      const missing = answers.length > 0 && answers.every((answer) => answer === UNSUPPORTED);
      const unseen = BY_NAME.test(way) && !names;
      column.set(`${where}: ${way}`, unseen ? "not observed" : to("foreign") ? "**any host**" : to("own") ? "**own host**" : missing ? "not there" : "nothing");
    }
  }
  return column;
}

/** Starts a browser that writes down which names it looks up; log() reads it once the browser has ended. */
async function startLogged(engine) {
  const directory = await mkdtemp(join(tmpdir(), "kms-e2e-log-"));
  const file = join(directory, "log");
  const bench = new Bench(engine, { app });
  if (engine === "firefox") Object.assign(process.env, { MOZ_LOG: "nsHostResolver:5", MOZ_LOG_FILE: file });
  try {
    // Firefox asks no STUN server on a loopback address otherwise, and nothing would be seen.
    const preferences = { "media.peerconnection.ice.loopback": true };
    await bench.start({ preferences, args: [`--log-net-log=${file}`, "--short-reporting-delay"] });
  } finally {
    delete process.env.MOZ_LOG;
    delete process.env.MOZ_LOG_FILE;
  }
  const log = async () => {
    const texts = [];
    for (const name of await readdir(directory)) texts.push(await readFile(join(directory, name), "latin1"));
    await rm(directory, { recursive: true });
    return engine === "webkit" ? undefined : texts.join("");
  };
  return { bench, log };
}

// What the control must reach in every engine, or the listeners do not listen.
const HEARD = [
  ...["fetch", "XMLHttpRequest", "sendBeacon", "EventSource", "WebSocket", "image", "style sheet", "FontFace", "script", "import()", "frame", "frame, srcdoc", "object"]
    .flatMap((way) => [`page: ${way} -> own`, `page: ${way} -> foreign`]),
  ...["fetch", "XMLHttpRequest", "WebSocket", "import()", "importScripts"].flatMap((way) => [`worker: ${way} -> own`, `worker: ${way} -> foreign`]),
  ...["location", "a, click", "form", "meta refresh"].flatMap((way) => [`leaving: ${way} -> own`, `leaving: ${way} -> foreign`]),
];

// What is left in Chromium, all of it to the enclave's own host: its address, with data in it.
// (response-origin) in Connection-Allowlist lets the frame go there; the loader's exact URL stops that.
// A download is not stopped by either. The sandbox could: see below.
const LEFT_OVER = {
  exact: ["leaving: a, download -> own"],
  unknown: ["a, click", "a, download", "history and reload", "location", "meta refresh", "window.open, _self"].map((way) => `leaving: ${way} -> own`),
};

for (const engine of chosenEngines()) {
  describe(`${engine}: egress`, () => {
    let logged;
    const runs = {};
    before(async () => (logged = await startLogged(engine)));
    after(() => logged.bench.browser && logged.bench.stop());

    it("the control: without a policy the same code reaches the listeners", async () => {
      // In a browser of its own, because its windows stay open.
      const { bench, log } = await startLogged(engine);
      let run;
      try {
        run = await attackFrom(bench, homes.unknown, "control", { bare: true });
      } finally {
        await bench.stop();
      }
      const text = await log();
      if (text) run.arrivals.names(text, "control");
      const heard = [...HEARD, ...(text ? ["page: fetch, by name -> foreign", "page: link dns-prefetch -> foreign", "worker: fetch, by name -> foreign"] : [])];
      assert.deepEqual(heard.filter((each) => !run.arrivals.seen.has(each)), [], "never arrived");
      if (engine !== "webkit") assert.ok(run.arrivals.seen.has("page: WebRTC -> foreign"), run.said.page?.WebRTC?.foreign);
    });

    for (const [deployment, what] of [["exact", "its origin known"], ["unknown", "its origin not known"]]) {
      it(`an honest host with the shipped headers, ${what}`, async () => {
        const run = (runs[deployment] = await attackFrom(logged.bench, homes[deployment], deployment, {}));
        assert.equal(run.launch.level, engine === "chromium" ? "enforced" : "checked");
        assert.deepEqual(["page", "worker"].filter((where) => !run.said[where]), [], "the attack was not made");
        if (engine === "chromium") assert.deepEqual(run.arrived, LEFT_OVER[deployment]);
      });
    }

    if (engine === "chromium") {
      it("without allow-downloads in the sandbox nothing is left where the origin is known", async () => {
        const home = homes.exact;
        const listener = await Listener.start((home.arrivals = new Arrivals()));
        const page = await logged.bench.open(`${app.origin}/open.html`);
        try {
          const targets = listener.targets("leaving", home.origin, "strict");
          await page.evaluate(async (attributes, targets) => {
            for (const to of ["own", "foreign"]) {
              const download = { where: "leaving", names: ["a, download"], targets: { "a, download": { [to]: targets["a, download"][to] } } };
              await order(await embed(attributes), download, 1000);
            }
          }, { url: home.release.url, policy: home.release.pin.policy, sandbox: "allow-scripts allow-same-origin" }, targets);
          await quiet(home.arrivals, QUIET_MS);
          assert.deepEqual([...home.arrivals.seen], []);
        } finally {
          await listener.stop();
          await logged.bench.closePages();
        }
      });
    }

    it("what a lying host still gets, as documented", async () => {
      const column = new Map();
      for (const [name, lie] of Object.entries(lies)) {
        const [honest, hostile] = await listenToLie(logged.bench, [homes.honest, homes.unknown], lie);
        column.set(`${name}, this release`, honest);
        column.set(`${name}, a hostile release`, hostile);
      }
      for (const [name, got] of column) {
        // The honest loader's reports say which of its own probes were stopped, and nothing else.
        if (name.endsWith("this release")) assert.ok(["nothing", "reports of the loader's own probes"].includes(got), `${name}: ${got}`);
      }
      await settle("lies", "the host sends", { [NAMES[engine]]: column });
    });

    it("what gets out is what docs/egress.md says, names that are looked up included", async () => {
      await logged.bench.stop();
      logged.bench.browser = undefined;
      const text = await logged.log();
      const columns = {};
      for (const [deployment, run] of Object.entries(runs)) {
        if (text) run.arrivals.names(text, deployment);
        if (engine === "chromium") assert.deepEqual([...run.arrivals.seen].filter((each) => BY_NAME.test(each)), []);
        run.arrived = [...run.arrivals.seen];
        columns[`${NAMES[engine]}, ${deployment === "exact" ? "origin known" : "not known"}`] = columnOf(run, text !== undefined);
      }
      await settle("ways", "way out", columns);
    });
  });
}
