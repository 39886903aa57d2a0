// Push in real browsers. Firefox runs the whole loop: it subscribes at a push service of our own, npm's
// web-push sends, the service worker decrypts, and a notification daemon shows it. What Chromium and
// WebKitGTK do where there is no push service of their vendor is asserted, too; docs/push.md has it in words.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { chosenEngines } from "../lib/engines.mjs";
import { eventually } from "../lib/process.mjs";
import { deliveries, onScreen, PushApp, pushGroup } from "../lib/pushapp.mjs";
import { ack, faults, PushService } from "../lib/pushservice.mjs";
import { Sender } from "../lib/sender.mjs";

const HOUR = 3600;
const now = () => Math.floor(Date.now() / 1000);

function firefox() {
  let service;
  before(async () => {
    service = await PushService.start();
  });
  after(async () => {
    await service.stop();
    assert.deepEqual(service.violations, [], "Firefox says what the protocol has");
  });

  /** An app with a subscription, and who may send to it. */
  async function subscribed(bench) {
    const app = await PushApp.open(bench);
    const sender = await Sender.to(service);
    const subscription = await app.subscribe(sender.publicKey);
    return { app, sender, subscription };
  }

  const preferences = () => service.prefs;
  pushGroup("firefox", "", { windows: true, preferences }, (bench) => {
    it("a message is decrypted, shown and acknowledged", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      assert.equal(new URL(subscription.endpoint).origin, service.origin);
      assert.equal(await sender.send(subscription, "the first"), 201);
      await service.acked(subscription);
      assert.deepEqual(await app.arrived(1), [{ body: "the first", scope: "/", pages: 1 }]);
      assert.deepEqual(await eventually("shown", async () => (await app.shown()).length && app.shown()), ["the first"]);
      assert.deepEqual(await onScreen(bench.desktop, "the first"), [{ app: "Firefox", summary: "A message", body: "the first" }]);
    });

    it("with the app's page closed, too", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      await app.leave();
      assert.equal(await sender.send(subscription, "nobody is at home"), 201);
      assert.deepEqual(await onScreen(bench.desktop, "nobody is at home"), [{ app: "Firefox", summary: "A message", body: "nobody is at home" }]);
      assert.equal(await sender.send(subscription, "still nobody"), 201);
      await service.acked(subscription, 2);
      await eventually("a notification on the screen", async () => (await bench.desktop.displayed()) > 0);
      await app.visit();
      const pages = (await app.arrived(2)).map(({ body, pages }) => `${body}: ${pages} pages`).sort();
      assert.deepEqual(pages, ["nobody is at home: 0 pages", "still nobody: 0 pages"]);
      assert.deepEqual(await app.shown(), ["still nobody"], "the other was closed on the screen");
    });

    it("what the push service refuses reaches nobody", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      const other = await Sender.to(service);
      const authorized = async (authorization) => {
        const request = sender.request(subscription, "refused");
        request.headers.Authorization = authorization;
        return await sender.post(request);
      };
      assert.equal(await authorized(sender.authorization(service.origin, now() - 1)), 403);
      assert.equal(await authorized(sender.authorization("https://updates.push.services.mozilla.com", now() + HOUR)), 403);
      assert.equal(await authorized(undefined), 401);
      assert.equal(await other.send(subscription, "refused"), 403);
      assert.equal(await sender.send(subscription, "x".repeat(3994)), 413, "one byte more than RFC 8291 section 4 has room for");
      assert.equal(await sender.send(subscription, "y".repeat(3993)), 201, "just as much");
      assert.equal(await authorized(sender.authorization(service.origin, now() + HOUR)), 201);
      await service.acked(subscription, 2);
      assert.deepEqual(await app.bodies(2), ["refused", "y".repeat(3993)], "what was good, and nothing else");
      const reasons = service.attemptsOf(subscription).map(({ reason }) => reason?.split(":")[0]);
      assert.deepEqual(reasons, ["exp", "aud", "authorization", "k", "body", undefined, undefined]);
    });

    it("after unsubscribe it is gone, and a new subscription has another endpoint", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      assert.equal(await app.page.evaluate(() => unsubscribe()), true);
      assert.equal(await app.page.evaluate(() => subscription()), null);
      await eventually("unregister", () => service.subscription(subscription).unregistered !== undefined);
      assert.equal(await sender.send(subscription, "too late"), 410);
      const again = await app.subscribe(sender.publicKey);
      assert.notEqual(again.endpoint, subscription.endpoint);
      assert.equal(await sender.send(again, "back"), 201);
      assert.deepEqual(await app.bodies(1), ["back"]);
    });

    it("each scope of a service worker has a subscription with a key of its own, and ends alone", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      const other = await Sender.to(service);
      await assert.rejects(app.subscribe(other.publicKey), { name: "InvalidStateError" }, "another key needs another scope");
      const second = await app.subscribe(other.publicKey, "/second/");
      assert.equal(await sender.send(second, "strange"), 403);
      assert.equal(await sender.send(subscription, "one"), 201);
      assert.equal(await other.send(second, "two"), 201);
      await app.page.evaluate(() => unsubscribe());
      await eventually("unregister", () => service.subscription(subscription).unregistered !== undefined);
      assert.equal(await other.send(second, "three"), 201);
      const all = (await app.arrived(3)).map(({ body, scope }) => `${scope} ${body}`).sort();
      assert.deepEqual(all, ["/ one", "/second/ three", "/second/ two"]);
    });

    it("a body that does not decrypt: the push service is told, the service worker is not", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      const corrupted = sender.request(subscription, "corrupted");
      corrupted.body[corrupted.body.length - 1] ^= 1;
      assert.equal(await sender.post(corrupted), 201, "a push service cannot see it");
      await service.acked(subscription, 1, { code: ack.decryptionError });
      assert.equal(await sender.send(subscription, "intact"), 201);
      await service.acked(subscription);
      assert.deepEqual(await app.bodies(1), ["intact"]);
      assert.deepEqual(service.acksOf(subscription).map(({ code }) => code), [101, 100]);
    });

    it("a message that the push service delivers twice is two push events", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      service.misbehave(subscription, faults.twice);
      assert.equal(await sender.send(subscription, "twice"), 201);
      await service.acked(subscription, 2);
      assert.deepEqual(await app.bodies(2), ["twice", "twice"]);
    });

    it("a connection that breaks is made again, by itself", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      const hellos = service.hellos.length;
      service.disconnect();
      assert.equal(await sender.send(subscription, "after the break"), 201);
      await service.acked(subscription);
      assert.deepEqual(service.hellos.slice(hellos).map(({ known }) => known), [true]);
      assert.deepEqual(await app.bodies(1), ["after the break"]);
    });

    it("a message that was sent while the browser was closed is shown when it is back, without the app", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      const between = async () => {
        await eventually("the browser is gone", () => !service.connected(subscription));
        assert.equal(await sender.send(subscription, "now or never", { TTL: 0 }), 201);
        assert.equal(await sender.send(subscription, "kept", { TTL: 600 }), 201);
        assert.equal(service.waiting(subscription), 1);
      };
      await bench.restart({ ...bench.options, between });
      await service.acked(subscription, 1, { timeoutMs: 30_000 });
      assert.equal(service.waiting(subscription), 0);
      assert.equal((await onScreen(bench.desktop, "kept")).length, 1);
      await app.visit();
      assert.deepEqual(await app.arrived(1), [{ body: "kept", scope: "/", pages: 0 }]);
      assert.deepEqual(await app.page.evaluate(() => subscription()), subscription);
    });
  });

  pushGroup("firefox", ", headless", { preferences }, (bench) => {
    it("a message is decrypted and acknowledged, but nothing can be shown", async () => {
      const { app, sender, subscription } = await subscribed(bench);
      assert.equal(await sender.send(subscription, "unseen"), 201);
      await service.acked(subscription);
      await eventually("the failure", async () => (await app.arrived(1))[0].error);
      const [{ body, error }] = await app.arrived(1);
      assert.deepEqual([body, error], ["unseen", "NS_ERROR_FAILURE: "]);
      await eventually("nack", () => service.nacks.length > 0); // after its ack: that counts as delivered
      assert.deepEqual(service.nacks.map(({ code }) => code), [302], "unhandled rejection");
    });
  });
}

// Chromium's push service is Google's, and no switch names another. Its service worker can be given a
// message by the DevTools protocol, decrypted already.
function chromium() {
  for (const windows of [true, false]) {
    pushGroup("chromium", windows ? "" : ", headless", { windows }, (bench) => {
      it("subscribing waits for a push service that is not there", async () => {
        const app = await PushApp.open(bench);
        const { publicKey } = await Sender.to({ caFile: "/dev/null" });
        const subscribing = app.subscribe(publicKey).then(() => "subscribed", (error) => error.name);
        assert.equal(await Promise.race([subscribing, sleep(5000, "waiting")]), "waiting");
        assert.equal(await app.page.evaluate(() => subscription()), null);
      });

      it("a push event is shown, with the app's page open and closed", async () => {
        const app = await PushApp.open(bench);
        const elsewhere = await bench.browser.newPage();
        bench.pages.push(elsewhere);
        const deliver = await deliveries(elsewhere, app.server.origin);
        await deliver("at home");
        assert.deepEqual(await app.arrived(1), [{ body: "at home", scope: "/", pages: 1 }]);
        await app.leave();
        await deliver("nobody is at home");
        if (windows) {
          const seen = await onScreen(bench.desktop, "at home", "nobody is at home");
          assert.deepEqual(seen.map(({ app, body }) => [app, body.split("\n").at(-1)]), [["Chromium", "at home"], ["Chromium", "nobody is at home"]]);
        }
        await app.visit();
        assert.deepEqual((await app.arrived(2)).map(({ pages }) => pages).sort(), [0, 1]);
        if (!windows) assert.deepEqual((await app.shown()).sort(), ["at home", "nobody is at home"]);
      });
    });
  }
}

// WebKitGTK is built without the Push API. Web Push in Safari is Apple's own.
function webkit() {
  pushGroup("webkit", "", {}, (bench) => {
    it("there are service workers, and no PushManager", async () => {
      const app = await PushApp.open(bench);
      const there = await app.page.evaluate(() => ({
        serviceWorker: Boolean(navigator.serviceWorker),
        PushManager: "PushManager" in window,
        pushManager: "pushManager" in ServiceWorkerRegistration.prototype,
        declarative: "pushManager" in window,
        showNotification: "showNotification" in ServiceWorkerRegistration.prototype,
      }));
      assert.deepEqual(there, { serviceWorker: true, PushManager: false, pushManager: false, declarative: false, showNotification: true });
      await assert.rejects(app.subscribe("BA"), { name: "TypeError" });
    });
  });
}

const groups = { chromium, firefox, webkit };
for (const engine of chosenEngines()) groups[engine]();
