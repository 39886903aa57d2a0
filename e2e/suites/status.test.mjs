// <kms-status> as a person meets it: what it says at each level, what its button finds, and the
// warnings that cannot be missed. The page is under the strictest policy an app can have, Trusted
// Types included, and counts every violation of it.

import assert from "node:assert/strict";
import { after, it } from "node:test";
import * as axe from "../lib/axe.mjs";
import { App, appPolicy, eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";
import { contentTypes } from "../lib/server.mjs";

const html = (...scripts) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>status</title><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width">${scripts.map((each) => `<script type="module" src="${each}"></script>`).join("")}
<main><h1>An app</h1><h2>The enclave</h2><kms-status id="status"></kms-status></main><div id="kms"></div></html>`;

// What the tests do in the page. Violations whose policy is not the app's are those that canary
// frames provoke; the app's own document must have none.
const script = `
import { connect, KmsError } from "/sdk/kms.js";
import { defineWords } from "/sdk/status.js";
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.effectiveDirective + " " + e.blockedURI + " " + e.sample));
const configuration = await (await fetch("/configuration.json")).json();
const element = document.querySelector("#status");
const inside = () => element.shadowRoot;
const text = (selector) => inside().querySelector(selector)?.textContent ?? "";
Object.assign(window, { KmsError, defineWords, element,
  /** Connects and shows; an error is shown, too. */
  async startKms(options = {}) {
    const wanted = { ...configuration, account: "status", container: document.querySelector("#kms"), ...options };
    try {
      window.kms = await connect(wanted);
      element.kms = window.kms;
      return window.kms.launch;
    } catch (error) {
      element.release = { url: wanted.url, pin: wanted.pin };
      element.error = error;
      return { error: error.code, message: error.message };
    }
  },
  seen: () => ({
    level: inside().querySelector(".root").dataset.level,
    head: text(".head"), claims: text(".claims"), facts: text(".facts"), command: text(".audit pre"),
    digits: [...inside().querySelectorAll(".groups td")].map((cell) => cell.textContent).join(""),
    picture: inside().querySelector(".print .picture")?.getAttribute("aria-label") ?? "",
    alert: text("[role=alert]"), alertVisible: inside().querySelector("[role=alert]").getClientRects().length > 0,
    notice: text(".notices"), verdict: text("#verdict"), button: text("#verify"),
    results: Object.fromEntries([...inside().querySelectorAll(".results [data-check]")].map((e) => [e.dataset.check, e.dataset.outcome])),
    focus: inside().activeElement?.id ?? "",
  }),
});`;

/** An app whose only page has the element, under Trusted Types without any policy of its own. */
async function startApp(site, release = site.release) {
  const app = await App.start();
  app.use(release);
  const policy = appPolicy(...new Set([new URL(site.release.url).origin, new URL(release.url).origin]));
  const strict = `${policy}; require-trusted-types-for 'script'; trusted-types 'none'`;
  app.extra.set("/", { headers: { ...app.pageHeaders(), "content-type": contentTypes.html, "content-security-policy": strict }, body: html("/status-page.js") });
  // axe is not made for Trusted Types.
  app.extra.set("/audited", { headers: { ...app.pageHeaders(), "content-type": contentTypes.html, "content-security-policy": policy }, body: html("/axe.js", "/status-page.js") });
  app.extra.set("/axe.js", { headers: { "content-type": contentTypes.js }, body: axe.source });
  app.extra.set("/status-page.js", { headers: { "content-type": contentTypes.js }, body: script });
  return app;
}

const seen = (page) => page.evaluate(() => seen());
const start = (page, options = {}) => page.evaluate((options) => startKms(options), options);
const verify = (page) => page.evaluate(() => element.verify());
const sixty = { timeoutMs: 60_000 };

eachEngine("status", (bench, engine) => {
  const strongest = engine === "chromium" ? "enforced" : "checked";
  const enforcement = engine === "chromium" ? "passed" : "unavailable";
  const apps = [];
  after(() => Promise.all(apps.map(({ server }) => server.close())));

  /** A page of a new app: apps are origins, and nothing that one noted is another's. */
  async function opened(release, path = "/") {
    const { site } = bench;
    const app = await startApp(site, release);
    apps.push(app);
    // The enclave lets only these origins embed it, so that what it serves names the app as well.
    site.origins = [...(site.origins ?? []), app.origin];
    return await bench.open(app.origin + path);
  }

  /** A host of the release that lets every app of these tests embed it; change(url, answer) may lie. */
  async function embeddable(change = (_, answer) => answer) {
    return await bench.site.newHost(({ pathname }, _, answer) => {
      if (!answer) return undefined;
      const policy = answer.headers["content-security-policy"];
      const headers = policy ? { ...answer.headers, "content-security-policy": policy.replace(/frame-ancestors [^;]+/, `frame-ancestors ${bench.site.origins.join(" ")}`) } : answer.headers;
      return change({ pathname }, { ...answer, headers });
    });
  }

  it("says what was reached, what is proven and what is not; and shows the enclave's own measurement", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    const { level, measurement } = await start(page, sixty);
    assert.equal(level, strongest);
    const shown = await seen(page);
    assert.equal(shown.level, strongest);
    assert.match(shown.head, engine === "chromium" ? /Enforced.*refuses to run anything but/ : /Checked.*cannot enforce/);
    assert.match(shown.claims, engine === "chromium" ? /Proven.*Not proven.*good one/ : /Proven.*Not proven.*a frame another/);
    const info = await page.evaluate(async () => (await kms.enclave.info()).measurement);
    assert.equal(shown.digits, info);
    assert.equal(shown.digits, measurement);
    assert.equal(shown.digits, release.measurement);
    assert.ok(shown.picture.includes(`${measurement.slice(0, 4)} ${measurement.slice(4, 8)}`), shown.picture);
    assert.ok(shown.command.endsWith(`bin/enclave verify ${release.url} --rebuild .`), shown.command);
    assert.equal(shown.alert, "");
    assert.equal(shown.notice, "", "the first time is noted in silence");
  });

  it("says so when nothing is pinned, also after verifying", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    assert.equal(await page.evaluate(async () => (await startKms({ pin: undefined, timeoutMs: 60_000 })).level), "unpinned");
    const { verdict, pinned } = await verify(page);
    assert.deepEqual({ verdict, pinned }, { verdict: "matched", pinned: false });
    const shown = await seen(page);
    assert.equal(shown.level, "unpinned");
    assert.match(shown.head, /Not pinned.*whatever the enclave's host serves/);
    assert.match(shown.claims, /Nothing about the code/);
    assert.match(shown.verdict, /Nothing was pinned/);
  });

  it("verifies on a press of the button, with the keyboard alone", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    await start(page, sixty);
    await page.evaluate(() => {
      window.verified = new Promise((resolve) => document.addEventListener("kms-verified", ({ detail }) => resolve(detail)));
      element.shadowRoot.querySelector("#verify").focus();
    });
    assert.equal((await seen(page)).focus, "verify");
    await page.press("Enter");
    const { verdict, pinned, checks } = await page.evaluate(() => window.verified);
    assert.deepEqual({ verdict, pinned }, { verdict: "matched", pinned: true }, JSON.stringify(checks));
    const shown = await seen(page);
    assert.deepEqual(shown.results, { selfTest: "passed", running: "passed", page: "passed", loader: "passed", wasm: "passed", enforcement });
    assert.match(shown.verdict, /Everything matches/);
    assert.equal(shown.focus, "verify", "the focus stays on the button");
    assert.equal(shown.alert, "");
    assert.deepEqual(checks.filter(({ by }) => by === "enclave").map(({ name }) => name), ["selfTest", "running"]);
    await page.press("Tab");
    assert.equal(await page.evaluate(() => element.shadowRoot.activeElement.getAttribute("aria-label")), "Copy the command");
    // Everything else that can be pressed comes in the order of reading.
    const order = await page.evaluate(() => [...element.shadowRoot.querySelectorAll("button, summary, [tabindex]")].map((e) => e.id || e.getAttribute("aria-label")));
    assert.deepEqual(order, ["Copy the measurement", "verify", "Copy the command", "For an auditor"]);
    const copied = await page.evaluate(async () => {
      const button = element.shadowRoot.querySelector('[aria-label="Copy the measurement"]');
      button.click();
      for (let i = 0; i < 100 && button.textContent === "Copy"; i++) await new Promise((resolve) => setTimeout(resolve, 20));
      return button.textContent;
    });
    assert.match(copied, /Copied|Selected/);
  });

  it("does not show what was found out about another connection", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    await start(page, sixty);
    const verdict = await page.evaluate(async () => {
      const running = element.verify();
      element.kms = window.kms; // another connection, as far as the element knows
      return (await running).verdict;
    });
    assert.equal(verdict, "matched");
    const shown = await seen(page);
    assert.deepEqual(shown.results, {});
    assert.doesNotMatch(shown.verdict, /matches/);
  });

  it("raises the warning when the host has changed after the launch", async () => {
    for (const [what, extension, lie] of [
      ["loader", ".js", (answer) => ({ ...answer, body: Buffer.concat([answer.body, Buffer.from(";0")]) })],
      ["wasm", ".wasm", (answer) => ({ ...answer, body: Buffer.concat([answer.body, Buffer.from([0])]) })],
      ["page", ".html", (answer) => ({ ...answer, headers: { ...answer.headers, "content-security-policy": `${answer.headers["content-security-policy"]}; report-uri /r` } })],
    ]) {
      let lying = false;
      const host = await embeddable(({ pathname }, answer) => (lying && pathname.endsWith(extension) ? lie(answer) : answer));
      const page = await opened(host.release);
      assert.equal((await start(page, sixty)).level, strongest);
      assert.equal((await verify(page)).verdict, "matched");
      assert.equal((await seen(page)).alertVisible, false);
      lying = true;
      const { verdict, checks } = await verify(page);
      assert.equal(verdict, "mismatch", what);
      assert.deepEqual(checks.filter(({ outcome }) => outcome === "failed").map(({ name }) => name), [what]);
      const shown = await seen(page);
      assert.match(shown.alert, /Warning: The enclave is not what this app expects.*Does not match: /);
      assert.equal(shown.alertVisible, true);
      assert.equal(shown.results[what], "failed");
      // The host mends its ways: then the warning is about nothing any more.
      lying = false;
      assert.equal((await verify(page)).verdict, "matched");
      assert.equal((await seen(page)).alert, "");
      await page.close();
      bench.pages = bench.pages.filter((each) => each !== page);
    }
  });

  it("does not call a host that fails to answer a match", async () => {
    let gone = false;
    const host = await embeddable((_, answer) => (gone ? { status: 503, headers: { "access-control-allow-origin": "*" }, body: "" } : answer));
    const page = await opened(host.release);
    await start(page, sixty);
    gone = true;
    const { verdict, checks } = await verify(page);
    assert.equal(verdict, "incomplete", JSON.stringify(checks));
    assert.match((await seen(page)).verdict, /not everything could be checked/);
  });

  it("shows a refused launch, in either form, with what was pinned", async () => {
    const host = await embeddable(({ pathname }, answer) => (pathname.endsWith(".js") ? { ...answer, body: Buffer.concat([answer.body, Buffer.from(";0")]) } : answer));
    const page = await opened(host.release);
    const { error } = await start(page, { timeoutMs: 30_000 });
    assert.equal(error, "launch_refused");
    for (const compact of [false, true]) {
      await page.evaluate((compact) => { element.compact = compact; }, compact);
      const shown = await seen(page);
      assert.equal(shown.level, "refused");
      assert.match(shown.alert, /Warning: The enclave did not start\..*launch_refused/);
      assert.equal(shown.alertVisible, true);
      assert.equal(shown.digits, host.release.measurement);
    }
    const { verdict, checks } = await verify(page);
    assert.equal(verdict, "mismatch");
    assert.ok(checks.every(({ by }) => by !== "enclave"), "no enclave, no account of it");
  });

  it("notices that the release is another than last time, until somebody has noted it", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    const old = "0123456789abcdef".repeat(6);
    await page.evaluate((origin, old) => {
      for (const account of ["status", "unpinned"]) localStorage.setItem(`kms-enclave/seen ${JSON.stringify([origin, account])}`, JSON.stringify({ measurement: old, version: "0.0.1\u202e", at: 1e12 }));
    }, new URL(release.url).origin, old);
    await start(page, sixty);
    const shown = await seen(page);
    assert.match(shown.notice, /The enclave was updated.*September 9, 2001/);
    assert.ok(shown.notice.includes("0123 4567 89ab cdef 0123 4567 89ab cdef"), shown.notice);
    assert.ok(shown.notice.includes("0.0.1?"), shown.notice);
    assert.ok(shown.notice.includes(release.measurement.slice(28, 32)), shown.notice);
    assert.equal(shown.alert, "");
    await page.evaluate(() => element.shadowRoot.querySelector("#noted").focus());
    await page.press("Enter");
    await eventually("noted", async () => (await seen(page)).notice === "");
    assert.equal((await seen(page)).focus, "verify", "the focus is not lost with the button");
    await bench.reload(page);
    await start(page, sixty);
    assert.equal((await seen(page)).notice, "");
    // Without a pin nobody but the host decided: that is a warning.
    assert.equal((await page.evaluate(() => startKms({ pin: undefined, account: "unpinned", timeoutMs: 60_000 }))).level, "unpinned");
    const unpinned = await seen(page);
    assert.match(unpinned.alert, /Warning: The enclave changed, and nothing was pinned/);
    assert.equal(unpinned.notice, "");
    await page.evaluate(() => element.shadowRoot.querySelector("#noted").click());
    assert.equal((await seen(page)).alert, "");
  });

  it("warns when the connection ends, and speaks the page's language where it can", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    await start(page, sixty);
    await page.evaluate(() => {
      defineWords("de", { verify: "Prüfen", closedTitle: "Die Enklave ist beendet." });
      element.lang = "de-AT";
      kms.close();
    });
    const shown = await seen(page);
    assert.equal(shown.button, "Prüfen");
    assert.match(shown.alert, /Die Enklave ist beendet\./);
    await page.evaluate(() => {
      element.lang = "xx";
      element.words = { verify: "<b>Look</b>" };
    });
    assert.equal((await seen(page)).button, "<b>Look</b>");
  });

  it("obeys the app's policy, and has nothing that axe calls serious, in either form and narrow", async () => {
    const { release } = await embeddable();
    const page = await opened(release);
    await start(page, sixty);
    await verify(page);
    // The browser looks for an icon by itself, also where the policy says no.
    assert.deepEqual(await page.evaluate(() => window.violations.filter((each) => !each.includes("/favicon.ico"))), []);
    const audited = await opened(release, "/audited");
    await start(audited, sixty);
    await verify(audited);
    for (const [form, width, scheme] of [["full", 900, "light"], ["full", 320, "dark"], ["compact", 320, "light"], ["warning", 320, "dark"]]) {
      await audited.evaluate((form, width, scheme) => {
        Object.assign(document.querySelector("main").style, { maxInlineSize: `${width}px`, colorScheme: scheme, background: scheme === "dark" ? "#151c1f" : "#ffffff", color: scheme === "dark" ? "#ffffff" : "#000000" });
        element.compact = form === "compact";
        const details = element.shadowRoot.querySelector("details");
        if (details) details.open = true;
        if (form === "warning") element.error = new KmsError("launch_refused", "x".repeat(300));
      }, form, width, scheme);
      const overflow = await audited.evaluate(() => [...element.shadowRoot.querySelectorAll(".root *:not(.sr)")]
        .filter((e) => e.getBoundingClientRect().right > element.getBoundingClientRect().right + 0.5).map((e) => e.className?.baseVal ?? (e.className || e.localName)));
      assert.deepEqual(overflow, [], `${form} at ${width} px`);
      // The element is the same everywhere, and so is what axe makes of it; how wide it gets is not.
      if (engine === "chromium") assert.deepEqual(await axe.violations(audited, { within: "main", serious: true }), [], `axe, ${form} at ${width} px`);
    }
  });
});
