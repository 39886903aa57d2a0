// Notifications in the demo, as a person has them: two relays are allowed by real clicks in the enclave's dialog, the app is
// closed, a message comes as a notification of the desktop, and one relay is stopped while the other goes on. Where a browser
// cannot do it, the demo says so in words.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { install, violations } from "../lib/axe.mjs";
import { launch } from "../lib/browser.mjs";
import { Person, serveDemo } from "../lib/demo.mjs";
import { Desktop } from "../lib/desktop.mjs";
import { newPassphrase, prove } from "../lib/dialog.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { root } from "../lib/gotool.mjs";
import { eventually, freePort } from "../lib/process.mjs";
import { onScreen } from "../lib/pushapp.mjs";
import { PushService } from "../lib/pushservice.mjs";
import { Sender } from "../lib/sender.mjs";

const artifacts = join(root, "e2e", "artifacts");
const DELAYED_MS = 30_000; // a test message comes ten seconds after it was asked for
const PASSPHRASE = "four grey herons stand still";

/** Somebody who wants to be notified. */
class Reader extends Person {
  /** A vault with a passphrase; open: one without a lock, for tests that ask for nothing. */
  async setsUp({ open = false } = {}) {
    await this.sees("absent");
    if (open) {
      await this.page.click("#setup-form [value=none]");
      await this.page.click("#setup-go");
    } else {
      await this.opens("#setup-go");
      await newPassphrase(this.frame, PASSPHRASE);
    }
    await this.sees("unlocked");
    await this.page.waitFor("#my-push");
  }

  async unlocks() {
    await this.opens("#unlock");
    await this.frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    await this.sees("unlocked");
  }

  /** Presses a button that asks in the enclave's dialog, and says yes there; returns what the dialog said. */
  async agrees(selector) {
    await this.opens(selector);
    await this.frame.waitFor("[role=alertdialog] #confirm");
    const asked = await this.frame.evaluate(() => document.querySelector("main").textContent);
    await prove(this.frame, { passphrase: PASSPHRASE });
    await this.ends(selector.split("-")[1]);
    return asked;
  }

  /** Waits until what was begun on the card of a relay has ended, and well. */
  async ends(n) {
    await eventually(`an end on card ${n}`, () => this.page.evaluate((n) => document.querySelector(`#relay-${n} [aria-busy=true]`) === null && document.querySelector(`#relay-${n} > .said > .notice`) !== null, n), { timeoutMs: 30_000 });
    await this.said(`#relay-${n}`);
  }

  /** What the card of a relay says of it, by its number. */
  card(n) {
    return this.page.evaluate((n) => {
      const { dataset, textContent } = document.getElementById(`relay-${n}`);
      return { state: dataset.state, sent: dataset.sent, arrived: dataset.arrived, alerts: dataset.alerts, text: textContent };
    }, n);
  }

  /** Waits until the card says this. */
  async shows(n, wanted) {
    const fits = async () => {
      const card = await this.card(n);
      return Object.entries(wanted).every(([name, value]) => card[name] === value) && card;
    };
    return await eventually(`card ${n} with ${JSON.stringify(wanted)}`, fits, { timeoutMs: 20_000 }).catch(async (error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await this.card(n))}`);
    });
  }

  /** Where the browser can be reached, by the number of the relay. */
  endpoints() {
    return this.page.evaluate(async () => {
      const all = await Promise.all((await navigator.serviceWorker.getRegistrations()).map(async ({ scope, pushManager }) => [scope, (await pushManager.getSubscription())?.endpoint]));
      const { offered } = await import("/relays.js");
      return offered.map(({ origin }) => all.find(([scope]) => scope.includes(`-${new URL(origin).port}/`))?.[1]);
    });
  }

  /** Has the page tell what it hands to the friend's server: later() gives { url, token, body }. */
  async listens() {
    await this.page.evaluate(() => {
      const real = window.fetch;
      window.fetch = (where, options) => {
        if (where === "/friend") window.handed = JSON.parse(options.body);
        return real(where, options);
      };
    });
  }

  /** Sends a test message; resolves with what the friend's server was given. */
  async tests(n) {
    await this.listens();
    await this.page.click(`#test-${n}`);
    await this.ends(n);
    const { url, token, message } = await this.page.evaluate(() => window.handed);
    return { url, token, ...JSON.parse(message) };
  }
}

async function keep(person, engine) {
  await mkdir(artifacts, { recursive: true });
  await person?.page.screenshot(join(artifacts, `notify-${engine}.png`)).catch((error) => console.error(`screenshot: ${error.message}`));
  for (const { type, text } of person?.page.console ?? []) console.error(`  ${type}: ${text}`);
}

function firefox() {
  describe("firefox: notify", { timeout: 300_000 }, () => {
    let service, flags, demo, desktop, browser, person, endpoints, handed;

    before(async () => {
      service = await PushService.start();
      const [app, enclave, ...relays] = [await freePort(), await freePort(), await freePort(), await freePort()]; // to start again on the same
      flags = [
        "--addr", `127.0.0.1:${app}`, "--enclave-addr", `localhost:${enclave}`, "--relay-addrs", relays.map((port) => `localhost:${port}`).join(),
        "--push-services", `private:${new URL(service.origin).host}`, "--push-ca", service.caFile,
      ];
      demo = await serveDemo(...flags);
      desktop = await Desktop.start();
      browser = await launch("firefox", { desktop, preferences: service.prefs });
      person = await Reader.at(browser, demo.url);
    });
    after(async () => {
      await browser?.close();
      await desktop?.stop();
      await demo?.stop();
      await service?.stop();
      assert.deepEqual(service.violations, [], "Firefox says what the protocol has");
    });
    afterEach(async (t) => {
      if (t.passed !== false && !t.error) return;
      await keep(person, "firefox");
      console.error(demo.child.output);
    });

    it("nobody may send before the user says yes in the enclave's dialog", async () => {
      await person.setsUp();
      for (const n of [1, 2]) await person.shows(n, { state: "none" });
      await person.opens("#allow-1");
      await person.frame.click("#cancel");
      await person.said("#relay-1", "plain");
      await person.shows(1, { state: "none" });
      assert.deepEqual(await person.endpoints(), [null, null], "what was made for it is undone");
      for (const n of [1, 2]) {
        const asked = await person.agrees(`#allow-${n}`);
        assert.ok(asked.includes(service.origin), asked);
        await person.shows(n, { state: "allowed", sent: "0", arrived: "0", alerts: "0" });
      }
      endpoints = await person.endpoints();
      assert.equal(new Set(endpoints).size, 2, "each has a subscription of its own");
      await install(person.page);
      assert.deepEqual(await violations(person.page, { within: "#my-push" }), []);
    });

    it("a message that is sent while the app is closed is a notification on the screen", async () => {
      handed = await person.tests(1);
      const blank = await browser.newPage();
      await person.page.close();
      await service.acked(endpoints[0], 1, { timeoutMs: DELAYED_MS });
      assert.deepEqual(await onScreen(desktop, handed.body), [{ app: "Firefox", summary: handed.title, body: handed.body }]);
      person = await Reader.at(browser, demo.url);
      await blank.close();
      await person.sees("locked");
      await person.shows(1, { state: "allowed", sent: "1", arrived: "1", alerts: "0" });
      await person.shows(2, { state: "allowed", sent: "0", arrived: "0", alerts: "0" });
    });

    it("one relay is stopped, and its tokens are worthless; the other goes on", async () => {
      await person.unlocks();
      await person.agrees("#stop-1");
      await person.shows(1, { state: "none" });
      await eventually("unregister", () => service.subscription(endpoints[0]).unregistered !== undefined);
      assert.deepEqual((await person.endpoints()).map(Boolean), [false, true]);

      const late = await fetch(handed.url, { method: "POST", headers: { authorization: `Bearer ${handed.token}` }, body: "too late" });
      assert.equal(late.status, 404, "the relay has no such subscription");
      const [{ headers }] = service.attemptsOf(endpoints[0]);
      const push = await Sender.to(service);
      const again = async (endpoint) => {
        const { authorization, ttl, "content-encoding": encoding } = headers;
        return await push.post({ endpoint, headers: { authorization, ttl, "content-encoding": encoding }, body: Buffer.alloc(200) });
      };
      assert.equal(await again(endpoints[0]), 410, "its push token at its own subscription");
      assert.equal(await again(endpoints[1]), 403, "and at the other relay's");

      const { title, body } = await person.tests(2);
      await service.acked(endpoints[1], 1, { timeoutMs: DELAYED_MS });
      assert.deepEqual(await onScreen(desktop, body), [{ app: "Firefox", summary: title, body }]);
      await person.shows(2, { state: "allowed", sent: "1", arrived: "1", alerts: "0" });
      const log = await person.page.evaluate(() => document.querySelector("#events").textContent);
      assert.ok(log.includes("You stopped the relay"), log);
    });

    it("what no relay has sent is an alert, until the user has seen it", async () => {
      const before = service.attemptsOf(endpoints[1]).at(-1);
      const push = await Sender.to(service);
      const { authorization, ttl, "content-encoding": encoding } = before.headers;
      const subscription = await person.page.evaluate(async (endpoint) => {
        for (const { pushManager } of await navigator.serviceWorker.getRegistrations()) {
          const found = await pushManager.getSubscription();
          if (found?.endpoint === endpoint) return found.toJSON();
        }
      }, endpoints[1]);
      const { body } = push.request(subscription, JSON.stringify({ title: "Somebody", body: "with a stolen token" }));
      assert.equal(await push.post({ endpoint: endpoints[1], headers: { authorization, ttl, "content-encoding": encoding }, body }), 201);
      await onScreen(desktop, "with a stolen token");
      await person.shows(2, { state: "allowed", sent: "1", arrived: "2", alerts: "1" });
      await person.page.click("#seen-2");
      await person.shows(2, { alerts: "0" });
    });

    it("a relay that has lost its data is said to be, and is connected again without another question", async () => {
      await demo.stop();
      demo = await serveDemo(...flags); // its relays' data was temporary
      await person.visit(demo.url);
      await person.shows(2, { state: "broken" });
      await person.page.click("#again-2");
      await person.ends(2);
      await person.shows(2, { state: "allowed", sent: "0", alerts: "0" });
      const { title, body } = await person.tests(2);
      await eventually("the message", async () => (await person.card(2)).text.includes("has arrived"), { timeoutMs: DELAYED_MS });
      assert.deepEqual(await onScreen(desktop, body), [{ app: "Firefox", summary: title, body }]);
      await person.shows(2, { state: "allowed", sent: "1", arrived: "3", alerts: "0" }); // two are of before; the relay counts anew
    });
  });

  describe("firefox: notify, where notifications are blocked", () => {
    let demo, browser, person;
    before(async () => {
      demo = await serveDemo();
      browser = await launch("firefox", { preferences: { "permissions.default.desktop-notification": 2 } });
      person = await Reader.at(browser, demo.url);
    });
    after(async () => {
      await browser?.close();
      await demo?.stop();
    });

    it("the demo says what to do, and nothing was changed", async () => {
      await person.setsUp();
      await person.shows(1, { state: "none" });
      await person.page.click("#allow-1");
      assert.match(await person.said("#relay-1", "bad"), /site settings/);
      assert.equal(await person.page.evaluate(() => document.querySelectorAll("#active-keys > li").length), 0);
    });
  });
}

// Chromium has Google's push service and no other, and offline its subscribe never ends.
function chromium() {
  describe("chromium: notify", { timeout: 180_000 }, () => {
    let demo, browser, person;
    before(async () => {
      demo = await serveDemo();
      browser = await launch("chromium");
      person = await Reader.at(browser, demo.url);
      await person.setsUp();
    });
    after(async () => {
      await browser?.close();
      await demo?.stop();
    });

    it("without permission the demo says what to do", async () => {
      await person.shows(1, { state: "none" });
      await person.page.click("#allow-1");
      assert.match(await person.said("#relay-1", "bad"), /site settings/);
    });

    it("a push service that does not answer is waited for, but not for ever", async () => {
      await person.page.handle.browserContext().overridePermissions(new URL(demo.url).origin, ["notifications"]);
      await person.page.click("#allow-1");
      assert.match(await person.said("#relay-1", "plain"), /push service/);
      await eventually("an end", () => person.page.evaluate(() => document.querySelector("#allow-1").getAttribute("aria-busy") === null), { timeoutMs: 90_000 });
      assert.match(await person.said("#relay-1", "bad"), /has not answered/);
      await person.shows(1, { state: "none" });
      assert.deepEqual(await person.endpoints(), [null, null]);
      assert.equal(await person.page.evaluate(() => navigator.serviceWorker.getRegistrations().then((all) => all.length)), 1, "the app's own");
    });
  });
}

// Everything else works without relays.
function without(engine) {
  describe(`${engine}: notify, without relays`, () => {
    it("the demo says why", async () => {
      const demo = await serveDemo("--relay-addrs", "");
      const browser = await launch(engine);
      try {
        const person = await Reader.at(browser, demo.url);
        await person.setsUp({ open: true });
        assert.match(await person.page.evaluate(() => document.querySelector("#push-none").textContent), /without relays/);
      } finally {
        await browser.close();
        await demo.stop();
      }
    });
  });
}

// WebKitGTK is built without the Push API.
function webkit() {
  describe("webkit: notify", () => {
    let demo, browser, person;
    before(async () => {
      demo = await serveDemo();
      browser = await launch("webkit");
      person = await Reader.at(browser, demo.url);
    });
    after(async () => {
      await browser?.close();
      await demo?.stop();
    });

    it("the demo says that there is no push here", async () => {
      await person.setsUp({ open: true });
      assert.match(await person.page.evaluate(() => document.querySelector("#push-none").textContent), /no push messages/);
      assert.equal(await person.page.evaluate(() => document.querySelector("#my-push").querySelectorAll("button").length), 0);
    });
  });
}

const groups = { chromium, firefox, webkit };
for (const engine of chosenEngines()) {
  groups[engine]();
  without(engine);
}
