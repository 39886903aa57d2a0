// What suites need that push to an app: the app (pages/push.html), and a browser on a desktop.

import { after, afterEach, before, describe } from "node:test";
import { Desktop } from "./desktop.mjs";
import { App, appPolicy, Bench } from "./harness.mjs";
import { eventually } from "./process.mjs";

/** An app of its own origin, with its service worker. */
export class PushApp {
  static async open(bench) {
    const app = new PushApp();
    Object.assign(app, { bench, server: await App.start() });
    app.server.policy = appPolicy();
    bench.apps.push(app);
    await app.visit();
    return app;
  }

  /** Opens its page. */
  async visit() {
    this.page = await this.bench.browser.newPage();
    this.bench.pages.push(this.page);
    if (this.bench.engine === "chromium") await this.page.handle.browserContext().overridePermissions(this.server.origin, ["notifications"]);
    await this.page.goto(`${this.server.origin}/push.html`);
    await eventually("the app", () => this.page.evaluate(() => globalThis.ready === true));
  }

  /** Closes its page. The browser stays open: it has an empty one. */
  async leave() {
    this.bench.pages.splice(this.bench.pages.indexOf(this.page), 1);
    await this.page.close();
  }

  /** Subscribes with this VAPID key, in the service worker of this scope; resolves with what toJSON() gives. */
  async subscribe(publicKey, scope = "/") {
    return await this.page.evaluate((key, scope) => subscribe(key, scope), publicKey, scope);
  }

  /** What push events brought, once there are n of them: { body, scope, pages, error? }, in no order; pages is how many of the app's were open. */
  async arrived(n) {
    const look = async () => {
      const all = await this.page.evaluate(() => arrived());
      return all.length >= n && all;
    };
    return await eventually(`${n} push events`, look);
  }

  /** Their bodies, sorted. */
  async bodies(n) {
    return (await this.arrived(n)).map(({ body }) => body).sort();
  }

  /** Bodies of its notifications that are shown. */
  shown() {
    return this.page.evaluate(() => shown());
  }
}

/**
 * Declares a group of tests with one browser, which has a window on a desktop if windows is set and is headless otherwise;
 * preferences() are Firefox's. bench has what a restart needs as options, and the desktop.
 */
export function pushGroup(engine, name, { windows = false, preferences = () => undefined }, body) {
  describe(`${engine}: push${name}`, { timeout: 300_000 }, () => {
    const bench = new Bench(engine);
    before(async () => {
      bench.apps = [];
      bench.desktop = windows ? await Desktop.start() : undefined;
      bench.options = { desktop: bench.desktop, preferences: preferences() };
      await bench.start(bench.options);
    });
    after(async () => {
      await bench.stop();
      await bench.desktop?.stop();
    });
    afterEach(async (t) => {
      if (t.passed === false || t.error) await bench.keep(`${engine}-push-${t.name}`).catch((e) => console.error(`screenshot: ${e.message}`));
      for (const page of bench.pages.splice(0)) await page.close();
      for (const { server } of bench.apps.splice(0)) await server.server.close();
      await bench.desktop?.take();
    });
    body(bench);
  });
}

/**
 * Waits until notifications with these bodies have been on the screen, takes them away, and returns them in the order in
 * which they came: { app, summary, body }. What others show is not among them.
 */
export async function onScreen(desktop, ...bodies) {
  const seen = [];
  // Chromium puts the app's origin before the body.
  const wanted = ({ body }) => bodies.includes(body.split("\n").at(-1));
  await eventually(`${bodies} on the screen`, async () => {
    seen.push(...(await desktop.take()).filter(wanted));
    return seen.length >= bodies.length;
  });
  return seen;
}

/** A function that gives the service worker of a scope a push message, through any page of Chromium. */
export async function deliveries(page, origin, scope = "/") {
  const session = await page.handle.createCDPSession();
  let registration;
  session.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
    registration = registrations.find(({ scopeURL }) => scopeURL === origin + scope) ?? registration;
  });
  await session.send("ServiceWorker.enable");
  const { registrationId } = await eventually("the registration", () => registration);
  return (data) => session.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data });
}
