// The whole loop of push, as a user has it: the enclave's dialog allows a relay, the app is closed, the real relay sends, a push
// service as strict as the real ones passes it on, and Firefox shows it. And all that can go wrong on the way.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Desktop } from "../lib/desktop.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { Bench, Site } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";
import { deliveries, onScreen } from "../lib/pushapp.mjs";
import { faults, PushService } from "../lib/pushservice.mjs";
import { Relay } from "../lib/relay.mjs";
import { RelayApp } from "../lib/relayapp.mjs";
import { post } from "../lib/sender.mjs";

const HOUR = 3600;
const now = () => Math.floor(Date.now() / 1000);
const HOURLY = { lifeSeconds: 12 * HOUR, tokenSeconds: HOUR };

function firefox() {
  describe("firefox: relay", { timeout: 600_000 }, () => {
    const bench = new Bench("firefox");
    let service, relay, second, accounts = 0;

    before(async () => {
      service = await PushService.start();
      relay = await Relay.start(service);
      second = await Relay.start(service);
      bench.site = await Site.start();
      bench.site.app.use(bench.site.release, relay.origin, second.origin);
      bench.desktop = await Desktop.start();
      await bench.start({ desktop: bench.desktop, preferences: service.prefs });
    });
    after(async () => {
      await bench.stop();
      await bench.desktop?.stop();
      await bench.site?.stop();
      await relay?.stop();
      await second?.stop();
      await service?.stop();
      assert.deepEqual(service.violations, [], "Firefox says what the protocol has");
    });
    afterEach(async (t) => {
      if (t.passed === false || t.error) {
        await bench.keep(`firefox-relay-${t.name}`).catch((e) => console.error(`screenshot: ${e.message}`));
        console.error(`${relay.child.output}\n${second.child.output}`);
      }
      for (const page of bench.pages.splice(0)) await page.close();
      await bench.desktop.take();
    });

    /** A user with a vault, and a relay that is allowed at a scope of its own. */
    async function allowed(options = HOURLY) {
      const app = await RelayApp.open(bench, `user ${(accounts += 1)}`);
      const scope = `/push/${accounts}/`;
      const made = await app.allow(relay, scope, options);
      const { endpoint } = await app.browserHas(scope);
      return { app, scope, made, endpoint };
    }

    const message = (body) => ({ title: "A message", body });

    it("the user allows it, the app is closed, and the message is shown: ack 100, and a receipt", async () => {
      const { app, scope, made, endpoint } = await allowed();
      assert.match(made.asked, new RegExp(relay.origin));
      assert.match(made.asked, new RegExp(service.origin));
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      await app.leave();
      const { status, body } = await relay.post(send, message("nobody is at home"));
      assert.equal(status, 202);
      await service.acked(endpoint);
      assert.deepEqual(await onScreen(bench.desktop, "nobody is at home"), [{ app: "Firefox", summary: "A message", body: "nobody is at home" }]);
      const [attempt] = await service.attempted(endpoint);
      assert.equal(attempt.status, 201);
      await app.visit();
      const said = await eventually("the receipt", async () => {
        const said = await app.ask(scope, "status");
        return said.relay?.sent === 1 && said;
      });
      assert.deepEqual([said.locked, said.relay.sent, said.relay.failed, said.relay.state, said.arrivals.arrived, said.unexplained, said.outstanding, said.subscription], [true, 1, 0, "active", 1, 0, 0, "live"]);
      assert.deepEqual([said.arrivals.alerts, said.advice], [[], []]);
      assert.ok(body.id);
    });

    it("a no undoes all of it, and the next attempt takes the key that was made", async () => {
      const app = await RelayApp.open(bench, `user ${(accounts += 1)}`);
      const scope = `/push/${accounts}/`;
      await app.page.evaluate((options) => allow(options), { relay: relay.origin, scope, ...HOURLY });
      await app.no();
      const { code, details } = await app.outcome();
      assert.deepEqual([code, details.step, details.left], ["cancelled", "lease", ["key"]]);
      assert.deepEqual(await app.browserHas(scope), { registered: false, endpoint: null });
      assert.deepEqual(await app.page.evaluate(async () => (await relays(kms)).length), 0);
      const { keys: [{ kid }] } = await app.method("keys.list");
      assert.equal((await app.allow(relay, scope, HOURLY)).kid, kid);
      await app.page.evaluate((options) => allow(options), { relay: second.origin, scope, ...HOURLY });
      const refused = await app.outcome();
      assert.deepEqual([refused.code, refused.details.reason], ["exists", "scope"]);
      assert.equal((await app.method("keys.list")).keys.length, 1, "nobody was asked, and nothing made");
    });

    it("a token that ends gives way to the next, one that the push service refuses too; a stash that runs low is renewed, also while locked", async () => {
      const { app, scope, made, endpoint } = await allowed();
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      const { token: register } = await app.method("token.relay", { lease: made.lease, scope: "register", ttlSeconds: HOUR });
      const push = async (ttlSeconds) => (await app.method("token.vapid", { lease: made.lease, endpoint, subject: "mailto:push@kms-enclave.dev", ttlSeconds })).token;
      const [short, long] = [await push(12), await push(1800)];
      assert.deepEqual((await relay.ask("PUT", `/subscriptions/${made.id}/tokens`, register, { tokens: [long, short] })).body.tokens.left, 2);
      const used = async (n) => (await service.attempted(endpoint, n)).map(({ headers }) => /t=([^,]+)/.exec(headers.authorization)[1]);
      await relay.post(send, message("by the short one"));
      assert.deepEqual(await used(1), [short]);
      await sleep(8000); // a relay does not use a token in its last five seconds
      await relay.post(send, message("by the long one"));
      assert.deepEqual(await used(2), [short, long]);

      await app.leave();
      await app.visit(); // locked
      await app.page.evaluate((scope) => watch(scope), scope);
      const event = await eventually("a call for tokens", async () => (await app.page.evaluate(() => watched)).find(({ type }) => type === "tokens"), { timeoutMs: 30_000 });
      assert.deepEqual([event.left, event.renewed?.tokens.left], [1, 4], JSON.stringify(event));
      service.misbehave(endpoint, { status: 403 });
      await relay.post(send, message("by the second one"));
      const all = await used(4);
      assert.notEqual(all[2], all[3]);
      const said = await app.status(scope, "three of four are left", ({ relay }) => relay?.tokens.left === 3 && relay.sent === 3);
      assert.deepEqual([said.locked, said.relay.failed], [true, 0]);
      const receipts = await eventually("the receipt", async () => (await app.page.evaluate(() => watched)).filter(({ type, sent }) => type === "receipt" && sent === 3));
      assert.deepEqual(receipts.map(({ outcome }) => outcome), ["sent"]);
      assert.equal((await app.ask(scope, "renew")).tokens.left, 4);
    });

    it("tokens that are for another push service, of another key, or for something else are refused", async () => {
      const { app, scope, made, endpoint } = await allowed();
      const { key: other } = await app.method("keys.create", { purpose: "vapid" });
      const { token: register } = await app.method("token.relay", { lease: made.lease, scope: "register", subscription: made.id, ttlSeconds: HOUR });
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      const vapid = async (kid, endpoint) => (await app.method("token.vapid", { kid, endpoint, subject: "mailto:push@kms-enclave.dev", ttlSeconds: 600 })).token;
      const stash = async (token, by = register) => {
        const { status, body, headers } = await relay.ask("PUT", `/subscriptions/${made.id}/tokens`, by, { tokens: [token] });
        return [status, body.type ?? "", headers["content-type"]];
      };
      const problem = (status, code) => [status, `urn:kms-relay:${code}`, "application/problem+json"];
      assert.deepEqual(await stash(await vapid(made.kid, "https://updates.push.services.mozilla.com/x")), problem(422, "stash-refused"), "another aud");
      assert.deepEqual(await stash(await vapid(other.kid, endpoint)), problem(422, "stash-refused"), "another key");
      assert.deepEqual(await stash(await vapid(made.kid, endpoint), send.token), problem(403, "forbidden"), "a send token");
      assert.deepEqual(await stash(await vapid(made.kid, endpoint), await vapid(made.kid, endpoint)), problem(401, "unauthorized"), "a push token");
      assert.equal((await stash(await vapid(made.kid, endpoint)))[0], 200);
      assert.equal((await relay.post({ ...send, token: register }, "x")).status, 403, "a register token sends nothing");
      assert.equal((await second.post({ ...send, url: send.url.replace(relay.origin, second.origin) }, "x")).status, 404, "another relay does not know the user");
      assert.equal(service.attemptsOf(endpoint).length, 0);
    });

    it("revoked, in one action: a stolen token is worthless, the relay has forgotten; another relay goes on", async () => {
      const { app, scope, endpoint } = await allowed();
      const elsewhere = `${scope}second/`;
      await app.allow(second, elsewhere, HOURLY);
      const { endpoint: untouched } = await app.browserHas(elsewhere);
      const [send, go] = [await app.ask(scope, "sendToken", { ttlSeconds: HOUR }), await app.ask(elsewhere, "sendToken", { ttlSeconds: HOUR })];
      await relay.post(send, message("before"));
      await service.acked(endpoint);
      const [{ headers }] = service.attemptsOf(endpoint);

      // Whoever has the token sends past the relay: the service worker's count shows it.
      const ca = await readFile(service.caFile);
      const steal = async () => (await post({ endpoint, headers: { authorization: headers.authorization, ttl: "60", "content-encoding": "aes128gcm" }, body: Buffer.from("no key, no secret") }, ca)).status;
      assert.equal(await steal(), 201, "a push token is a bearer token");

      await app.page.evaluate((scope) => call(scope, "revoke"), scope);
      await app.no();
      assert.equal((await app.outcome()).code, "cancelled");
      assert.equal((await relay.post(send, message("still"))).status, 202);
      await service.acked(endpoint, 2);

      assert.deepEqual(await app.call(scope, "revoke"), { left: [], forgotten: true });
      assert.equal(await steal(), 410);
      assert.deepEqual([(await relay.post(send, "late")).status, await app.browserHas(scope)], [404, { registered: false, endpoint: null }]);
      assert.deepEqual(await app.page.evaluate(async () => (await relays(kms)).map(({ relay }) => relay)), [second.origin]);
      assert.equal((await second.post(go, message("the other one"))).status, 202);
      await service.acked(untouched);
      const { keys } = await app.method("keys.list");
      assert.deepEqual(keys.map(({ state }) => state).sort(), ["active", "revoked"]);
    });

    it("pushes that no receipt explains, too many of them, and what cannot be read are alerts; something is shown", async () => {
      const { app, scope, endpoint } = await allowed({ ...HOURLY, pushesPerHour: 2, worker: "/relay-worker-module.js", module: true });
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      assert.equal((await relay.post(send, "y".repeat(3994))).status, 413);
      assert.equal((await relay.post(send, "no JSON")).status, 202);
      await service.acked(endpoint);
      assert.equal((await onScreen(bench.desktop, "")).at(-1).summary, "Something has arrived");
      service.misbehave(endpoint, faults.twice);
      await relay.post(send, message("twice"));
      await service.acked(endpoint, 3);
      const said = await app.status(scope, "three arrived", ({ arrivals }) => arrivals.arrived === 3 && arrivals.alerts.length === 3);
      assert.deepEqual(said.arrivals.alerts.map(({ kind, times }) => `${kind} ${times}`).sort(), ["rate 1", "unexplained 1", "unreadable 1"]);
      assert.deepEqual([said.unexplained, said.relay.sent], [1, 2]);
      await app.ask(scope, "noteAlerts");
      assert.deepEqual((await app.ask(scope, "status")).arrivals.alerts, []);
    });

    it("a key that was replaced: another subscription and lease; the relay is told to forget the old ones where it can be", async () => {
      const { app, scope, made, endpoint } = await allowed();
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      await app.page.evaluate((kid) => start(() => kms.keys.rotate({ kid })), made.kid);
      await app.yes();
      const { key } = await app.result();
      assert.deepEqual((await app.ask(scope, "status")).advice, ["resubscribe"]);
      assert.deepEqual([(await app.ask(scope, "renew")).code, (await app.ask(scope, "sendToken", { ttlSeconds: 60 })).code], ["denied", "denied"]);
      await app.call(scope, "resubscribe");
      const after = await app.browserHas(scope);
      assert.notEqual(after.endpoint, endpoint);
      assert.equal(service.subscription(after.endpoint).key, key.publicKey.raw);
      assert.equal((await relay.post(send, message("to the old one"))).status, 202, "nobody could tell the relay");
      assert.equal((await service.attempted(endpoint))[0].status, 410);

      const next = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      await relay.post(next, message("to the new one"));
      await service.acked(after.endpoint);
      await app.call(scope, "resubscribe", { rotate: true }, 2);
      assert.equal((await relay.post(next, message("forgotten"))).status, 404);
      const third = await app.browserHas(scope);
      await relay.post(await app.ask(scope, "sendToken", { ttlSeconds: HOUR }), message("to the third"));
      await service.acked(third.endpoint);
      const said = await app.status(scope, "counted anew", ({ arrivals, relay }) => arrivals.arrived === 1 && relay?.sent === 1);
      assert.deepEqual([said.arrivals.alerts, said.advice, said.left], [[], [], []]);
    });

    it("410 and a lost subscription are mended without a dialog, also while locked", async () => {
      const { app, scope, endpoint } = await allowed();
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      service.misbehave(endpoint, faults.gone);
      await relay.post(send, message("gone"));
      await app.leave();
      await app.visit();
      const said = await app.status(scope, "gone", ({ relay }) => relay?.state === "gone");
      assert.deepEqual([said.locked, said.relay.failed, said.advice], [true, 1, ["resubscribe"]]);
      assert.equal((await relay.post(send, message("refused"))).body.type, "urn:kms-relay:gone");
      assert.equal(await app.ask(scope, "resubscribe"), null);
      assert.equal((await relay.post(send, message("back"))).status, 202);
      await service.acked((await app.browserHas(scope)).endpoint);

      assert.equal(await app.page.evaluate((scope) => lose(scope), scope), true);
      assert.deepEqual((await app.ask(scope, "status")).advice, ["resubscribe"]);
      assert.equal(await app.ask(scope, "resubscribe"), null);
      await relay.post(send, message("back once more"));
      await service.acked((await app.browserHas(scope)).endpoint);
      assert.deepEqual((await app.status(scope, "two sent", ({ relay, arrivals }) => relay?.sent === 2 && arrivals.arrived === 2)).advice, []);
    });

    it("429 is waited for as long as the push service says, and a relay that is killed meanwhile sends after it is back", async () => {
      const { app, scope, endpoint } = await allowed();
      const send = await app.ask(scope, "sendToken", { ttlSeconds: HOUR });
      await app.leave();
      service.misbehave(endpoint, faults.tooMany(4));
      assert.equal((await relay.post(send, message("slowly"))).status, 202);
      const [first, again] = await service.attempted(endpoint, 2);
      assert.deepEqual([first.status, again.status], [429, 201]);
      assert.ok(again.at - first.at >= 4000, `${again.at - first.at} ms`);

      service.misbehave(endpoint, faults.tooMany(3));
      assert.equal((await relay.post(send, message("over a crash"), { "idempotency-key": "once" })).status, 202);
      await service.attempted(endpoint, 3);
      await relay.end({ kill: true });
      await relay.run();
      assert.equal((await relay.post(send, message("over a crash"), { "idempotency-key": "once" })).status, 202);
      await service.acked(endpoint, 2, { timeoutMs: 40_000 });
      await app.visit();
      await app.status(scope, "two sent", ({ relay, arrivals, unexplained }) => relay?.sent === 2 && arrivals.arrived === 2 && unexplained === 0);
    });
  });
}

// Chromium's subscriptions are Google's, but its service workers can be given a push by the DevTools protocol.
function chromium() {
  describe("chromium: relay", { timeout: 300_000 }, () => {
    const bench = new Bench("chromium");
    before(async () => {
      bench.site = await Site.start();
      bench.desktop = await Desktop.start();
      await bench.start({ desktop: bench.desktop });
    });
    after(async () => {
      await bench.stop();
      await bench.desktop?.stop();
      await bench.site?.stop();
    });
    afterEach(async () => {
      for (const page of bench.pages.splice(0)) await page.close();
    });

    for (const [type, worker] of [["classic", "/relay-worker.js"], ["module", "/relay-worker-module.js"]]) {
      it(`a service worker, ${type}, counts and shows with the page closed; a push that no relay is allowed is an alert`, async () => {
        const app = Object.assign(new RelayApp(), { bench, account: type });
        await app.visit();
        const scope = `/push/${type}/`;
        await app.page.evaluate((...args) => register(...args), worker, type, scope);
        const elsewhere = await bench.browser.newPage();
        bench.pages.push(elsewhere);
        const deliver = await deliveries(elsewhere, bench.site.app.origin, scope);
        await app.leave();
        await deliver(JSON.stringify({ title: "A message", body: `by ${type}` }));
        await deliver("no JSON");
        assert.equal((await onScreen(bench.desktop, `by ${type}`)).length, 1);
        await app.visit();
        const counted = await eventually("both", async () => {
          const counted = await app.page.evaluate((scope) => counted(scope), scope);
          return counted?.alerts.length === 2 && counted;
        });
        assert.deepEqual([counted.arrived, counted.unshown], [2, 0]);
        assert.deepEqual(counted.alerts.map(({ kind, times }) => `${kind} ${times}`).sort(), ["after-lease 2", "unreadable 1"]);
      });
    }
  });
}

// WebKitGTK has no PushManager (push.test.mjs); the SDK says so before it asks anybody.
function webkit() {
  describe("webkit: relay", { timeout: 120_000 }, () => {
    const bench = new Bench("webkit");
    before(async () => {
      bench.site = await Site.start();
      await bench.start();
    });
    after(async () => {
      await bench.stop();
      await bench.site?.stop();
    });

    it("allowRelay is unsupported, and relays is empty", async () => {
      const app = Object.assign(new RelayApp(), { bench, account: "alice" });
      await app.visit();
      await app.page.evaluate(() => allow({ relay: "https://relay.example", scope: "/push/" }));
      assert.equal((await app.outcome()).code, "unsupported");
      assert.equal(await app.page.evaluate(async () => (await relays(kms)).length), 0);
    });
  });
}

const groups = { firefox, chromium, webkit };
for (const engine of chosenEngines()) groups[engine]();
