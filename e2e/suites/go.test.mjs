// The Go tests of the packages that only a browser can run, and the behaviour suite of the
// enclave on WebCrypto and IndexedDB.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { launch } from "../lib/browser.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { build } from "../wasmtest/build.mjs";
import { runBinary, site } from "../wasmtest/runner.mjs";

const { dir, binaries } = await build();
const origin = await site(binaries);
after(async () => {
  await origin.close();
  await rm(dir, { recursive: true, force: true });
});

for (const engine of chosenEngines()) {
  describe(`${engine}: go test`, () => {
    let browser, page;
    before(async () => {
      browser = await launch(engine);
      page = await browser.newPage();
    });
    after(() => browser?.close());
    for (const [index, { name }] of binaries.entries()) {
      it(name, async (t) => {
        const { output, passed, wrong } = await runBinary(page, origin, index);
        assert.equal(wrong, undefined, output);
        t.diagnostic(`${engine} ${name}: ${passed} Go tests passed`);
      });
    }
  });
}
