// A minute of load from four tabs, and a flood: nothing that a worker holds grows, latency stays flat, no
// lock is left, and a hostile app does not stop another one. In Chromium, whose DevTools reach into the
// worker; what must hold is in lib/load.mjs. `make soak` does an hour.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chosenEngines } from "../lib/engines.mjs";
import { Load } from "../lib/load.mjs";

const SECONDS = 40; // the rest of the minute is warm-up, rests, and the flood

for (const engine of chosenEngines().filter((each) => each === "chromium")) {
  describe(`${engine}: soak`, () => {
    let load;
    before(async () => {
      load = await Load.start();
    });
    after(() => load?.stop());

    it("load from four tabs leaves no callback, goroutine, lock or memory behind, and latency flat", async (t) => {
      await load.run(SECONDS, 2);
      const [before, after] = [load.rests[0], load.rests.at(-1)].map(({ workers: [worker] }) => JSON.stringify(worker));
      t.diagnostic(`${load.calls} calls, ${load.entries} entries, medians in ms at rest ${JSON.stringify([load.rests[0].alone, load.rests.at(-1).alone])}, under load ${JSON.stringify(load.quarters)}`);
      t.diagnostic(`a worker at rest: ${before}, then ${after}`);
      assert.deepEqual(load.wrong, []);
      assert.ok(load.calls > 1000, `${load.calls} calls: this run has shown nothing`);
    });

    it("beside a hostile app that floods, another one goes on working", async (t) => {
      load.wrong = [];
      await load.runFlood();
      t.diagnostic(JSON.stringify(load.flood));
      assert.deepEqual(load.wrong, []);
      assert.ok(load.flood.posted > 2000, `${load.flood.posted} messages are no flood`);
    });
  });
}
