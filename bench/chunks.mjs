import { launch } from "../e2e/lib/browser.mjs";
import { Site } from "../e2e/lib/harness.mjs";
import { serve, contentTypes } from "../e2e/lib/server.mjs";
import { readFile } from "node:fs/promises";
import { alternate, startAll } from "./measures.mjs";
const site = await Site.start();
const floor = await serve(async (_, url) => { const name = url.pathname.slice(1); return ["frame.html","frame.js","worker.js"].includes(name) ? { headers: { "content-type": contentTypes[name.split(".").pop()], "cross-origin-resource-policy": "cross-origin", "cross-origin-embedder-policy": "require-corp" }, body: await readFile("bench/floor/" + name) } : undefined; });
site.app.use(site.release, floor.localhost);
const browser = await launch(process.argv[2] ?? "chromium");
const page = await browser.newPage();
await page.goto(`${site.app.origin}/`);
await page.evaluate(startAll, { floor: `${floor.localhost}/frame.html` });
const med = (a) => a.sort((x, y) => x - y)[a.length >> 1];
for (let i = 0; i < 10; i++) for (const alg of ["ES256", "EdDSA"]) { const { ours, base } = await page.evaluate(alternate, alg, 300); const r = ours.map((x, i) => x / base[i]); console.log(i, alg, med(ours).toFixed(2), med(base).toFixed(2), (med(ours) / med(base)).toFixed(2), med(r).toFixed(2)); }
await browser.close(); await site.stop(); await floor.close();
