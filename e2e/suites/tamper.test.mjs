// Enforced launch, proven: every lie of a host, and what comes of it in each engine. The lies and
// what is expected of them are the tables in lib/lies.mjs.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { appPolicy, eachEngine, forward, serveEnclave } from "../lib/harness.mjs";
import { Liar, attempt, listen, pool } from "../lib/liar.mjs";
import { BLOCKED, EITHER, HARMLESS, NOTICED, THROUGH, lies, liesToTheFrame } from "../lib/lies.mjs";
import { allEngines } from "../lib/engines.mjs";
import { eventually } from "../lib/process.mjs";
import { changedTree } from "../lib/tree.mjs";
import { verifyJWT } from "../lib/verify.mjs";

const WIDTH = 4; // attempts at the same time
const TIMEOUT_MS = 25_000; // of an attempt that must start, or be refused for a reason
const SILENT_MS = 6_000; // of one that time may decide: the SDK finds no reason in what the host serves
const PATIENCE_MS = 500; // how long a frame is left alone after it has loaded
const POURED = 96 << 20; // bytes of an endless answer: the SDK's limit, and what lies in buffers

/** The three files of a release, as its host answers for them. */
async function withFiles(release) {
  const url = new URL(release.url);
  const get = (pathname) => forward(url.origin, { pathname, search: "" }, { headers: {} });
  const directory = url.pathname.replace("kms.html", "");
  const hex = (integrity) => Buffer.from(integrity.slice(7), "base64").toString("hex").slice(0, 32);
  const [page, loader, wasm] = await Promise.all([get(url.pathname), get(`${directory}${release.measurement.slice(0, 32)}.js`), get(`${directory}${hex(release.pin.wasm)}.wasm`)]);
  assert.deepEqual([page.status, loader.status, wasm.status], [200, 200, 200]);
  return { ...release, files: { page, loader, wasm } };
}

/** A release that is newer by the version of the storage, and so has another module and loader. */
async function serveNewer(origins) {
  const tree = await changedTree({ "store/store.go": (source) => source.replace(/^const SchemaVersion = \d+$/m, "const SchemaVersion = 99") });
  const release = await serveEnclave(origins, { source: tree.path });
  return { ...release, stop: () => Promise.all([release.stop(), tree.remove()]) };
}

/** What came of a lie, in the words of the table. */
function outcomeOf(liar, seen, strongest) {
  const said = [...liar.heard, ...seen.said];
  if (said.includes(`share:${seen.share}`)) return THROUGH;
  if (seen.level) return seen.level === strongest && seen.measurement === liar.context.release.measurement && said.length === 0 ? HARMLESS : "started, and it should not have";
  return said.length === 0 ? BLOCKED : NOTICED;
}

/** Makes a liar per row, and starts all attempts; row i's result is the i-th promise. */
async function startAttempts(bench, rows, other) {
  const release = await withFiles(bench.site.release);
  const liars = await Promise.all(rows.map(([, lie]) => Liar.start(release, other, lie)));
  const page = await bench.browser.newPage();
  await bench.visit(page);
  await page.evaluate(listen);
  const results = pool(rows.map((row, i) => ({ liar: liars[i], row })), WIDTH, async ({ liar, row: [, lie, expected] }) => {
    const timeoutMs = lie.timeoutMs ?? (expected[allEngines.indexOf(bench.engine)] === BLOCKED ? SILENT_MS : TIMEOUT_MS);
    const options = { url: liar.host.release.url, pin: release.pin, timeoutMs, patienceMs: lie.loader || expected.includes(NOTICED) || lie.frameOnly ? PATIENCE_MS : 0 };
    const first = await page.evaluate(attempt, options);
    // On a loaded machine an honest start can run out of time, or the lie not be asked for. That is
    // no outcome of the lie, so it is tried once more; a lie that stops the start does so again.
    const undecided = first.code === "timeout" && (liar.delivered.everybody === 0 || expected[allEngines.indexOf(bench.engine)] === HARMLESS);
    return { liar, timeoutMs, ...(undecided ? await page.evaluate(attempt, options) : first) };
  });
  const stop = async () => {
    // The page ended with its browser: hooks run in the order of their declaration.
    await Promise.allSettled(results);
    await Promise.all(liars.map((liar) => liar.stop()));
  };
  return { results, stop };
}

function judge(engine, [name, lie, expected], seen) {
  const { liar } = seen;
  const wanted = expected[allEngines.indexOf(engine)];
  const got = outcomeOf(liar, seen, engine === "chromium" ? "enforced" : "checked");
  const facts = JSON.stringify({ ...seen, liar: undefined, share: undefined, heard: liar.heard, delivered: liar.delivered });
  const told = lie.page || lie.loader || lie.wasm;
  assert.ok(!told || (lie.frameOnly ? liar.delivered.frame : liar.delivered.everybody) > 0, `${name}: the lie was never told: ${facts}`);
  const fits = { [NOTICED]: [NOTICED, BLOCKED], [EITHER]: [HARMLESS, BLOCKED] }[wanted] ?? [wanted];
  assert.ok(fits.includes(got), `${name}: ${got}, ${wanted} wanted: ${facts}`);
  assert.ok(seen.level || ["launch_refused", "integrity", "timeout"].includes(seen.code), facts);
  assert.ok(seen.ms < seen.timeoutMs + 5000, `${name}: bounded time wanted: ${facts}`);
  assert.ok(liar.poured < POURED, `${name}: ${liar.poured} bytes were taken`);
}

eachEngine("tamper", (bench, engine) => {
  let other, everybody, frame;
  before(async () => {
    const { app } = bench.site;
    other = await withFiles(await serveNewer([app.origin]));
    app.policy = appPolicy("http://localhost:*");
    everybody = await startAttempts(bench, [...lies, ...liesToTheFrame], other);
  });
  after(async () => {
    await everybody?.stop();
    await other?.stop();
  });

  describe("a host that lies to everybody", () => {
    for (const [i, row] of lies.entries()) it(row[0], async () => judge(engine, row, await everybody.results[i]));
  });

  describe("a host that lies to the frame alone", () => {
    for (const [i, row] of liesToTheFrame.entries()) it(row[0], async () => judge(engine, row, await everybody.results[lies.length + i]));
  });

  /** One more host, without narrowing what the app may embed. */
  const newHost = async (intercept) => {
    const host = await bench.site.newHost(intercept);
    bench.site.app.policy = appPolicy("http://localhost:*");
    return host;
  };

  describe("one by one", () => {
    // In a new browser: WebKitWebDriver does not always survive so many hosts that stall.
    before(() => bench.restart());

    it("takes no notice of markup that is streamed behind the loader", async () => {
      const late = '<label for="confirm" id="late" style="position:fixed;inset:0">Win a prize</label><form action="/x"><button id="confirm">x</button></form>';
      let streamed = 0;
      // Only to the frame: a check that fetches the page would see it.
      const host = await newHost(({ pathname }, request, answer) => {
        if (!answer || !pathname.endsWith(".html") || request.headers["sec-fetch-dest"] !== "iframe") return answer;
        return {
          ...answer,
          body: async (response) => {
            response.write(answer.body);
            for (let i = 0; i < 20; i++) {
              await new Promise((resolve) => setTimeout(resolve, 100));
              response.write(late);
              streamed++;
            }
            response.end();
          },
        };
      });
      const page = await bench.open();
      await page.evaluate((url) => startKms({ url }), host.release.url);
      await page.evaluate(() => kms.vault.create({ persistence: "session", lock: "none" }));
      const destroyed = page.evaluate(() => kms.vault.destroy());
      destroyed.catch(() => {});
      const frame = await page.frame(host.origin);
      await frame.waitFor("#confirm");
      await eventually("late markup", () => streamed >= 15);
      const found = await frame.evaluate(() => ({
        late: document.querySelectorAll("#late, form, label[for=confirm]").length,
        confirms: document.querySelectorAll("#confirm").length,
        scripts: document.scripts.length,
      }));
      assert.deepEqual(found, { late: 0, confirms: 1, scripts: 0 });
      await frame.click("#cancel");
      await assert.rejects(destroyed, { code: "cancelled" });
    });

    // The SDK's grammar is as strict as it is because of what this shows.
    it("refuses a pin that Chromium would ignore, and under which anything runs", async () => {
      const { pin } = bench.site.release;
      const [, lie] = liesToTheFrame.find(([name]) => name === "a page of its own without a policy");
      const ignored = {
        "a line break": `${pin.policy}\n`, "a comma": pin.policy.replace("; ", ", "), "a character that is not ASCII": `${pin.policy}; img-src \u00e9`,
        "report-uri": `${pin.policy}; report-uri https://evil.example`, "more than 4,096 characters": `${pin.policy}; img-src ${"https://evil.example ".repeat(200)}`,
      };
      const liar = await Liar.start(await withFiles(bench.site.release), other, lie);
      try {
        const page = await bench.open();
        await page.evaluate(listen);
        const ran = (policy) => page.evaluate(async (url, policy) => {
          const before = window.said.length;
          const frame = document.createElement("iframe");
          frame.setAttribute("csp", policy);
          frame.src = url;
          const loaded = new Promise((resolve) => frame.addEventListener("load", () => setTimeout(resolve, 300)));
          document.body.append(frame);
          await loaded;
          frame.remove();
          return window.said.length > before;
        }, liar.host.release.url, policy);
        assert.equal(await ran(pin.policy), engine !== "chromium", "the control: the pin itself");
        for (const [what, policy] of Object.entries(ignored)) {
          assert.equal(await ran(policy), true, what);
          const refusal = page.evaluate((policy) => startKms({ pin: { ...configuration.pin, policy } }), policy);
          await assert.rejects(refusal, { code: "invalid_request" }, what);
        }
      } finally {
        await liar.stop();
      }
    });

    it("an older release cannot open a newer one's vault, and does it no damage", async () => {
      const { origin, pathname } = new URL(other.url);
      const host = await newHost((url, request, answer) =>
        !answer && url.pathname.startsWith(pathname.replace("kms.html", "")) ? forward(origin, url, request) : undefined);
      const newer = { url: host.origin + pathname, pin: other.pin, account: "downgrade" };
      const page = await bench.open();
      const made = await page.evaluate(async (newer) => {
        await startKms(newer);
        await kms.vault.create({ persistence: "device", lock: "none" });
        const { key } = await kms.keys.create({ purpose: "signing" });
        await kms.jwt.sign({ kid: key.kid, audience: "a", ttlSeconds: 60 });
        return key;
      }, newer);

      await bench.reload(page);
      const older = await page.evaluate(async (url, kid) => {
        await startKms({ url, account: "downgrade" });
        const calls = {
          "vault.status": {}, "vault.create": { persistence: "device", lock: "none" }, "keys.list": {}, "keys.create": { purpose: "signing" },
          "jwt.sign": { kid, audience: "a", ttlSeconds: 60 }, "audit.head": {}, "vault.destroy": {},
        };
        const got = {};
        for (const [method, params] of Object.entries(calls)) {
          got[method] = await kms.call(method, params, { timeoutMs: 10_000 }).then((result) => JSON.stringify(result), ({ code, message }) => `${code}: ${message}`);
        }
        kms.close();
        return got;
      }, host.release.url, made.kid);
      for (const [method, answer] of Object.entries(older)) assert.match(answer, /^unsupported: .*newer release/, `${method}: ${answer}`);

      await bench.reload(page);
      const after = await page.evaluate(async (newer, kid) => {
        await startKms(newer);
        const { token } = await kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 });
        return { token, state: (await kms.vault.status()).state, uses: (await kms.keys.get({ kid })).key.uses };
      }, newer, made.kid);
      assert.deepEqual([after.state, after.uses], ["unlocked", 2]);
      await verifyJWT(after.token, made);
    });
  });
});
