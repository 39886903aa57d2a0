// What starts, at which level, and in which words the SDK says why something did not.

import assert from "node:assert/strict";
import { it } from "node:test";
import { App, appPolicy, eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";

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

  it("refuses what a lying host serves", async () => {
    const html = (answer, change) => ({ ...answer, body: Buffer.from(change(answer.body.toString())) });
    const lies = {
      "another loader": ({ pathname }, answer) => pathname.endsWith(".js") && { ...answer, body: Buffer.concat([answer.body, Buffer.from(";0")]) },
      "a flipped byte in the module": ({ pathname }, answer) => {
        if (!pathname.endsWith(".wasm")) return undefined;
        const body = Buffer.from(answer.body);
        body[body.length >> 1] ^= 1;
        return { ...answer, body };
      },
      "a looser policy": ({ pathname }, answer) => pathname.endsWith(".html") && {
        ...answer,
        headers: { ...answer.headers, "content-security-policy": answer.headers["content-security-policy"].replace("connect-src 'none'", "connect-src *") },
      },
      "no policy": ({ pathname }, answer) => {
        if (!pathname.endsWith(".html")) return undefined;
        const { "content-security-policy": _, ...headers } = answer.headers;
        return { ...answer, headers };
      },
      "a policy that reports to the host": ({ pathname }, answer) => pathname.endsWith(".html") && {
        ...answer,
        headers: { ...answer.headers, "content-security-policy": `${answer.headers["content-security-policy"]}; report-uri /report` },
      },
      "a second policy that reports to the host": ({ pathname }, answer) => pathname.endsWith(".html") && {
        ...answer,
        headers: { ...answer.headers, "content-security-policy": [answer.headers["content-security-policy"], "img-src 'none'; report-uri /report"] },
      },
      "a second hash in integrity": ({ pathname }, answer) => pathname.endsWith(".html") && html(answer, (text) =>
        text.replace(/integrity="([^"]*)"/, `integrity="$1 sha384-${"A".repeat(64)}"`)),
      "no integrity": ({ pathname }, answer) => pathname.endsWith(".html") && html(answer, (text) => text.replace(/ integrity="[^"]*"/, "")),
      "a page of its own": ({ pathname }, answer) => pathname.endsWith(".html") && html(answer, () =>
        "<script>parent.postMessage({ kmsEnclave: 1, type: 'ready', version: '1', commit: 'x', measurement: '" + bench.site.release.measurement +
        "', wasm: '" + bench.site.release.pin.wasm + "' }, '*')</script>"),
    };
    for (const [what, lie] of Object.entries(lies)) {
      const host = await bench.site.newHost((url, _, answer) => (answer ? lie(url, answer) || answer : undefined));
      const page = await bench.open();
      await assert.rejects(connect(page, { url: host.release.url, timeoutMs: 15_000 }), (error) => {
        assert.ok(["launch_refused", "integrity", "timeout"].includes(error.code), `${what}: ${error.code} ${error.message}`);
        return true;
      }, what);
      await page.close();
      bench.pages = bench.pages.filter((each) => each !== page);
    }
    // The positive control: a host that changes nothing is believed.
    const honest = await bench.site.newHost((url, _, answer) => answer);
    assert.equal((await connect(await bench.open(), { url: honest.release.url })).level, strongest);
  });

  it("starts nothing but itself when its bytes are served as another charset", async () => {
    const host = await bench.site.newHost(({ pathname }, request, answer) => {
      if (!answer || !/\.(html|js)$/.test(pathname)) return answer;
      const type = answer.headers["content-type"].replace("utf-8", "shift_jis");
      return { ...answer, headers: { ...answer.headers, "content-type": type } };
    });
    assert.equal((await connect(await bench.open(), { url: host.release.url })).level, strongest);
  });

  it("takes no notice of markup that is streamed behind the loader", async () => {
    const late = '<label for="confirm" id="late" style="position:fixed;inset:0">Win a prize</label><form action="/x"><button id="confirm">x</button></form>';
    let streamed = 0;
    // Only to the frame: a check that fetches the page would see it.
    const host = await bench.site.newHost(({ pathname }, request, answer) => {
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
    await connect(page, { url: host.release.url });
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
    const frame = await page.frame(new URL(bench.site.release.url).origin);
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
