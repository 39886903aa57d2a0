// What runs inside the app's page. Each function is sent to the browser as text, so it may use
// nothing but its arguments, the page's globals, and what startAll put on globalThis.bench.

/** Connects to the enclave and to the floor, and makes vault and keys. */
export async function startAll({ floor }) {
  const bench = (globalThis.bench = {});
  bench.openFloor = async () => {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts allow-same-origin");
    frame.hidden = true;
    const ready = new Promise((resolve) => {
      const listen = (event) => {
        if (event.source !== frame.contentWindow) return;
        removeEventListener("message", listen);
        resolve();
      };
      addEventListener("message", listen);
    });
    frame.src = floor;
    document.body.append(frame);
    await ready;
    const { port1, port2 } = new MessageChannel();
    const waiting = new Map();
    let next = 1;
    port1.onmessage = ({ data }) => {
      const { id, result } = JSON.parse(data);
      waiting.get(id)(result);
      waiting.delete(id);
    };
    frame.contentWindow.postMessage("port", new URL(floor).origin, [port2]);
    return {
      call: (method, params) => new Promise((resolve) => {
        const id = next++;
        waiting.set(id, resolve);
        port1.postMessage(JSON.stringify({ v: 1, id, method, params }));
      }),
      close: () => frame.remove(),
    };
  };
  bench.openEnclave = async () => {
    const { url, pin } = await (await fetch("/configuration.json")).json();
    const { connect } = await import("/sdk/kms.js");
    return connect({ url, pin, account: "bench", timeoutMs: 60_000 });
  };
  bench.kms = await bench.openEnclave();
  await bench.kms.vault.create({ persistence: "device", lock: "none" });
  bench.base = await bench.openFloor();
  bench.kids = {};
  for (const alg of ["EdDSA", "ES256"]) {
    bench.kids[alg] = (await bench.kms.keys.create({ purpose: "signing", alg })).key.kid;
    await bench.base.call("create", { alg });
  }
  bench.jwt = (alg) => bench.kms.jwt.sign({ kid: bench.kids[alg], audience: "https://api.example", subject: "alice", ttlSeconds: 300 });
  // What the enclave signs for the same JWT has about this length.
  bench.floorSign = (alg) => bench.base.call("sign", { alg, data: "x".repeat(300) });
}

/** One call after the other, the enclave and the floor in turn. */
export async function alternate(alg, n) {
  const { bench } = globalThis;
  const ours = [], base = [];
  for (let i = 0; i < n; i++) {
    let began = performance.now();
    await bench.jwt(alg);
    ours.push(performance.now() - began);
    began = performance.now();
    await bench.floorSign(alg);
    base.push(performance.now() - began);
  }
  return { ours, base };
}

/** Key generation, in turn. */
export async function create(n) {
  const { bench } = globalThis;
  const ours = [], base = [];
  for (let i = 0; i < n; i++) {
    let began = performance.now();
    await bench.kms.keys.create({ purpose: "signing", alg: "ES256" });
    ours.push(performance.now() - began);
    began = performance.now();
    await bench.base.call("create", { alg: "ES256" });
    base.push(performance.now() - began);
  }
  await bench.base.call("create", { alg: "ES256" });
  return { ours, base };
}

/** Operations a second with many under way; every one is durable when it counts. */
export async function pipelined(n) {
  const { bench } = globalThis;
  const rate = async (one) => {
    let left = n;
    const began = performance.now();
    await Promise.all(Array.from({ length: 256 }, async () => {
      while (left-- > 0) await one();
    }));
    return (1000 * n) / (performance.now() - began);
  };
  return { ours: await rate(() => bench.jwt("ES256")), base: await rate(() => bench.floorSign("ES256")) };
}

/** Adds up to n entries to the log and returns its size. */
export async function fillLog(n) {
  const { bench } = globalThis;
  let left = n;
  await Promise.all(Array.from({ length: 256 }, async () => {
    while (left-- > 0) await bench.jwt("ES256");
  }));
  return (await bench.kms.vault.status()).counts.entries;
}

/** connect() with an existing vault, to the first signed JWT; and the floor's start to its first signature. */
export async function coldStarts(_, n) {
  const { bench } = globalThis;
  const ours = [], base = [], phases = {};
  for (let i = 0; i < n; i++) {
    let began = performance.now();
    const kms = await bench.openEnclave();
    await kms.jwt.sign({ kid: bench.kids.ES256, audience: "https://api.example", ttlSeconds: 300 });
    ours.push(performance.now() - began);
    const { enclave, ...timings } = kms.launch.timings;
    for (const [name, value] of Object.entries({ ...timings, ...enclave })) (phases[name] ??= []).push(value);
    kms.close();
    began = performance.now();
    const floor = await bench.openFloor();
    await floor.call("create", { alg: "ES256" });
    await floor.call("sign", { alg: "ES256", data: "x".repeat(300) });
    base.push(performance.now() - began);
    floor.close();
  }
  for (const name of Object.keys(phases)) phases[name] = Math.round(phases[name].sort((a, b) => a - b)[Math.floor(n / 2)]);
  return { ours, base, phases };
}

/**
 * connect() with the pin and without one, in turn, each first every other time: neither gets the quiet
 * moments of a shared machine for itself. Also what the enclave says hashing its module took, and its self-test.
 */
export async function launches(n) {
  const { url, pin } = await (await fetch("/configuration.json")).json();
  const { connect } = await import("/sdk/kms.js");
  const found = { pinned: [], unpinned: [], hash: [], selfTest: [], selfTestInside: [], levels: [], phases: { pinned: {}, unpinned: {} } };
  const one = async (kind) => {
    const began = performance.now();
    const kms = await connect({ url, pin: kind === "pinned" ? pin : undefined, account: "launches", timeoutMs: 60_000 });
    found[kind].push(performance.now() - began);
    const { enclave, ...timings } = kms.launch.timings;
    for (const [name, value] of Object.entries({ ...timings, ...enclave })) (found.phases[kind][name] ??= []).push(value);
    found.hash.push(enclave.hashMs);
    found.levels.push(kms.launch.level);
    if (kind === "pinned") {
      const asked = performance.now();
      const { ok, milliseconds } = await kms.enclave.selfTest();
      if (!ok) throw new Error("self-test: it failed");
      found.selfTest.push(performance.now() - asked);
      found.selfTestInside.push(milliseconds);
    }
    kms.close();
  };
  for (const kind of ["pinned", "unpinned"]) await one(kind); // the first fetches fill the browser's cache
  for (const key of ["pinned", "unpinned", "hash", "selfTest", "selfTestInside", "levels"]) found[key].length = 0;
  found.phases = { pinned: {}, unpinned: {} };
  for (let i = 0; i < n; i++) for (const kind of i % 2 ? ["unpinned", "pinned"] : ["pinned", "unpinned"]) await one(kind);
  found.levels = [...new Set(found.levels)];
  for (const phases of Object.values(found.phases)) for (const name of Object.keys(phases)) phases[name] = Math.round(phases[name].sort((a, b) => a - b)[Math.floor(n / 2)]);
  return found;
}

/** Many calls on both sides, after which the browser's compilers have come to rest. */
export async function warmUp(n) {
  const { bench } = globalThis;
  for (const one of [bench.jwt, bench.floorSign]) {
    for (const alg of ["EdDSA", "ES256"]) {
      let left = n / 2;
      await Promise.all(Array.from({ length: 64 }, async () => {
        while (left-- > 0) await one(alg);
      }));
    }
  }
}

/** Bytes of WebAssembly memory once the enclave runs, by its own account. */
export async function memory() {
  return globalThis.bench.kms.launch.memory;
}
