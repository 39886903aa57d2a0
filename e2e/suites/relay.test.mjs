// The whole loop of push, as a user has it: the enclave's dialog allows a relay, the app is closed, the real relay sends, a push
// service as strict as the real ones passes it on, and Firefox shows it. And all that can go wrong on the way.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { Desktop } from "../lib/desktop.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { Bench, Site } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";
import { onScreen } from "../lib/pushapp.mjs";
import { faults, PushService } from "../lib/pushservice.mjs";
import { Relay } from "../lib/relay.mjs";
import { RelayApp } from "../lib/relayapp.mjs";

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
  });
}

const groups = { firefox, chromium() {}, webkit() {} };
for (const engine of chosenEngines()) groups[engine]();
