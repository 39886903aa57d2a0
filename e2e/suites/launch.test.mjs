// What starts, at which level, and in which words the SDK says why something did not. What lying
// hosts serve is in tamper.test.mjs.

import assert from "node:assert/strict";
import { it } from "node:test";
import { App, appPolicy, eachEngine } from "../lib/harness.mjs";

const connect = (page, options) => page.evaluate((options) => startKms(options), options);
const flip = (text) => (text.endsWith("A") ? `${text.slice(0, -1)}B` : `${text.slice(0, -1)}A`);

/** The pin with one character of the given hash changed. */
function otherHash(hash) {
  return `sha384-${hash[7] === "A" ? "B" : "A"}${hash.slice(8)}`;
}

async function refused(page, options, pattern, code = "launch_refused") {
  await assert.rejects(connect(page, { timeoutMs: 15_000, ...options }), (error) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, pattern);
    return true;
  });
}

eachEngine("launch", (bench, engine) => {
  const strongest = engine === "chromium" ? "enforced" : "checked";

  it("reports the level it reached, and why", async () => {
    const page = await bench.open();
    const { release } = bench.site;
    const pinned = await connect(page, {});
    assert.equal(pinned.level, strongest, pinned.why);
    assert.equal(pinned.measurement, release.measurement);
    assert.ok(pinned.why.length > 20, pinned.why);
    assert.match(pinned.version, /\S/);
    await bench.reload(page);
    const unpinned = await page.evaluate(() => startKms({ pin: undefined }));
    assert.equal(unpinned.level, "unpinned");
  });

  it("refuses below the minimum", async () => {
    const page = await bench.open();
    if (engine === "chromium") assert.equal((await connect(page, { minimum: "enforced" })).level, "enforced");
    else await refused(page, { minimum: "enforced" }, /enforce/);
    await assert.rejects(page.evaluate(() => startKms({ pin: undefined, minimum: "checked" })), { code: "launch_refused" });
  });

  it("refuses a pin that breaks the grammar", async () => {
    const page = await bench.open();
    const { pin, url } = bench.site.release;
    const policies = [
      `${pin.policy}\n`, `${pin.policy};`, `${pin.policy}; report-uri https://evil.example`, pin.policy.replace("; ", ", "),
      pin.policy.replace("'none'", "*"), pin.policy.replace("blob:", "'self'"), "", pin.policy.toUpperCase(), `${pin.policy}é`,
      `${pin.policy}${" ".repeat(4096)}`, `${pin.policy}; report-to x`,
    ];
    for (const policy of policies) await refused(page, { pin: { ...pin, policy } }, /policy/, "invalid_request");
    for (const wasm of ["", "sha256-x", `${pin.wasm} `, pin.wasm.slice(0, -1)]) await refused(page, { pin: { ...pin, wasm } }, /wasm/, "invalid_request");
    for (const other of [`${url}?x`, `${url}#x`, url.replace("kms.html", "other.html"), "javascript:alert(1)", "/r/x/kms.html"]) {
      await refused(page, { url: other }, /url/, "invalid_request");
    }
  });

  it("refuses a release other than the pinned one", async () => {
    const page = await bench.open();
    const { pin } = bench.site.release;
    await refused(page, { pin: { ...pin, wasm: otherHash(pin.wasm) } }, /\S/);
    const [loader] = /sha384-[^']+/.exec(pin.policy);
    // The URL names the first half of the measurement, so change the other half.
    const policy = pin.policy.replace(loader, `${loader.slice(0, 60)}${flip(loader.slice(60, 62))}${loader.slice(62)}`);
    await refused(page, { pin: { ...pin, policy } }, /\S/);
  });

  it("sandboxes the frame, which cannot open a window or leave its page", async () => {
    const page = await bench.open();
    await connect(page);
    const attributes = await page.evaluate(() => {
      const iframe = enclaveFrame();
      return Object.fromEntries(["sandbox", "allow", "referrerpolicy", "csp"].map((name) => [name, iframe.getAttribute(name)]));
    });
    assert.deepEqual(attributes, {
      sandbox: "allow-scripts allow-same-origin allow-downloads",
      allow: "publickey-credentials-get; publickey-credentials-create",
      referrerpolicy: "no-referrer",
      csp: bench.site.release.pin.policy,
    });
    const frame = await bench.frame(page);
    // Firefox throws where the others return null.
    const opened = await frame.evaluate(() => ["about:blank", "/"].map((url) => {
      try {
        return window.open(url, "_blank", "popup") === null ? "nothing" : "a window";
      } catch {
        return "nothing";
      }
    }));
    assert.deepEqual(opened, ["nothing", "nothing"]);
  });

  it("refuses to start while a service worker is registered for the enclave's origin", async () => {
    const { app, host } = bench.site;
    host.intercept = ({ pathname }) => ({
      "/plant.html": { headers: { "content-type": "text/html" }, body: "planted" },
      "/sw.js": { headers: { "content-type": "text/javascript" }, body: "addEventListener('fetch', () => {});" },
    })[pathname];
    app.extra.set("/planter.html", { headers: { "content-type": "text/html" }, body: `<script>startKms = () => {}</script><iframe src="${host.origin}/plant.html"></iframe>` });
    const planter = await bench.open(`${app.origin}/planter.html`);
    const frame = await planter.frame(`${host.origin}/plant.html`);
    const planted = await frame.evaluate(async () => {
      const registration = await navigator.serviceWorker.register("/sw.js").catch((e) => String(e));
      return typeof registration === "string" ? registration : "registered";
    });
    const page = await bench.open();
    if (planted === "registered") {
      await refused(page, { url: host.release.url }, /service.worker/i);
      await frame.evaluate(async () => {
        for (const registration of await navigator.serviceWorker.getRegistrations()) await registration.unregister();
      });
    } else {
      // The browser does not let a third-party frame plant one: then nothing is in the way.
      assert.equal(engine, "webkit", planted);
    }
    assert.equal((await (await bench.open()).evaluate((url) => startKms({ url }), host.release.url)).level, strongest);
  });

  it("says in words why the frame could not load", async () => {
    const { app, release } = bench.site;
    const usual = app.policy;
    const enclave = new URL(release.url).origin;
    try {
      app.policy = appPolicy(enclave).replace(`frame-src ${enclave}`, "frame-src 'none'");
      await refused(await bench.open(), {}, /frame-src/);
      app.policy = appPolicy(enclave).replace(`connect-src 'self' ${enclave}`, "connect-src 'self'");
      await refused(await bench.open(), {}, /connect-src/);
    } finally {
      app.policy = usual;
    }

    const stranger = await App.start();
    stranger.use(release);
    await refused(await bench.open(`${stranger.origin}/`), {}, /frame-ancestors/);
    await stranger.server.close();

    const gone = await App.start();
    const unreachable = gone.server.localhost;
    await gone.server.close();
    app.policy = appPolicy(unreachable);
    try {
      await refused(await bench.open(), { url: release.url.replace(enclave, unreachable) }, /reach|answer/);
    } finally {
      app.policy = usual;
    }
  });
});
