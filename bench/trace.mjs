import { launch } from "../e2e/lib/browser.mjs";
import { Site } from "../e2e/lib/harness.mjs";
const site = await Site.start();
const browser = await launch("chromium");
const page = await browser.newPage();
await page.goto(`${site.app.origin}/`);
await page.evaluate(async () => {
  globalThis.bench = {};
  const { url, pin } = await (await fetch("/configuration.json")).json();
  const { connect } = await import("/sdk/kms.js");
  bench.kms = await connect({ url, pin, account: "bench", timeoutMs: 60_000 });
  await bench.kms.vault.create({ persistence: "device", lock: "none" });
  bench.kid = (await bench.kms.keys.create({ purpose: "signing", alg: "ES256" })).key.kid;
});
const out = await page.evaluate(async () => { const times = []; for (let i = 0; i < 400; i++) { const b = performance.now(); await bench.kms.jwt.sign({ kid: bench.kid, audience: "https://api.example", subject: "alice", ttlSeconds: 300 }); times.push(performance.now() - b); } times.sort((a, b) => a - b); return times[200]; });
console.log("p50", out);
const whole = await browser.handle.target().createCDPSession();
const { targetInfos } = await whole.send("Target.getTargets", { filter: [{ type: "worker" }] });
const { sessionId } = await whole.send("Target.attachToTarget", { targetId: targetInfos[0].targetId, flatten: true });
const s = whole.connection().session(sessionId);
const { result } = await s.send("Runtime.evaluate", { expression: "JSON.stringify(TRACE)" });
const t = JSON.parse(result.value);
// per op: offsets from message
const ops = []; let cur;
for (const [n, at] of t) { if (n === "message") { cur = { start: at, marks: [] }; ops.push(cur); } if (cur) cur.marks.push([n, at - cur.start]); }
const good = ops.slice(-300);
const med = (a) => a.sort((x, y) => x - y)[a.length >> 1];
const table = new Map();
for (const op of good) { const seen = {}; for (const [n, d] of op.marks) { const k = `${n}#${(seen[n] = (seen[n] ?? 0) + 1)}`; if (!table.has(k)) table.set(k, []); table.get(k).push(d); } }
for (const [k, a] of [...table].sort((x, y) => med(x[1]) - med(y[1]))) console.log(k.padEnd(20), a.length, med(a).toFixed(2));
await browser.close(); await site.stop();
