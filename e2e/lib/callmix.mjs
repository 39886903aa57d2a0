// Mixed calls of a tab, at a given pace, and a hostile app's flood. Functions that travel into pages:
// each may use nothing but its arguments, the page's globals, and what mix put on window.load.

/** Prepares a page that has connected: window.load begins and ends calls, and has their latencies. */
export async function mix({ kids, perSecond, lanes, peer }) {
  // The yardstick: one record of the app's own, with the durability that the enclave asks for. What makes
  // the machine slow makes both slow.
  const own = await new Promise((resolve, reject) => {
    const request = indexedDB.open("yardstick", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("records");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const yardstick = () => new Promise((resolve, reject) => {
    const transaction = own.transaction("records", "readwrite", { durability: "strict" });
    transaction.objectStore("records").put(new Uint8Array(500), tab);
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
  const tab = Math.random();
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  const b64 = "AAAA";
  const written = [ // a leaf of the log each
    () => kms.jwt.sign({ kid: pick(kids.signing), audience: "load", ttlSeconds: 60 }),
    () => kms.challenge.sign({ kid: pick(kids.signing), context: "load", data: b64 }),
    () => kms.token.vapid({ kid: kids.vapid[0], endpoint: "https://push.example/x", subject: "mailto:push@example.com", ttlSeconds: 60 }),
    () => kms.key.agree({ kid: kids.agreement[0], context: "load", publicKey: peer }),
  ];
  const read = [
    () => kms.keys.list({ limit: 20 }),
    () => kms.keys.get({ kid: pick(kids.signing) }),
    () => kms.vault.status(),
    () => kms.enclave.info(),
    () => kms.audit.head(),
    async () => kms.audit.entries({ from: Math.max(0, (await kms.audit.head()).size - 20), limit: 20 }),
    // What goes wrong must not leave anything behind either.
    () => refused("not_found", kms.keys.get({ kid: "A".repeat(43) })),
    () => refused("invalid_request", kms.jwt.sign({ kid: "short", audience: "load", ttlSeconds: 60 })),
    () => refused("invalid_request", kms.call("challenge.sign", { kid: kids.signing[0], context: "load", data: "%" })),
    () => calledOff(),
  ];
  async function refused(code, call) {
    const got = await call.then(() => "done", (error) => error.code);
    if (got !== code) throw new Error(`wanted ${code}, got ${got}`);
  }
  /** A call that the app gives up at some moment: done, or cancelled. */
  async function calledOff() {
    const ending = new AbortController();
    const call = kms.keys.list({ limit: 500 }, { signal: ending.signal });
    setTimeout(() => ending.abort(), Math.random() * 4);
    const got = await call.then(() => "done", (error) => error.code);
    if (got !== "done" && got !== "cancelled") throw new Error(`called off: got ${got}`);
  }
  /** Milliseconds of a signature, and of the yardstick. */
  async function timed() {
    const began = performance.now();
    await written[0]();
    const between = performance.now();
    await yardstick();
    return { sign: between - began, yardstick: performance.now() - between };
  }
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const load = (window.load = { running: 0, stopped: true, calls: 0, failures: [], latencies: [] });

  async function lane(first) {
    load.running += 1;
    let at = performance.now() + first;
    while (!load.stopped) {
      await sleep(Math.max(0, at - performance.now()));
      at = Math.max(at + (1000 * lanes) / perSecond, performance.now() - 1000);
      try {
        const call = pick(written);
        if (call === written[0]) load.latencies.push(await timed());
        else await call();
        await pick(read)();
        load.calls += 2;
      } catch (error) {
        if (load.failures.length < 20) load.failures.push(`${error.code ?? error.name}: ${error.message}`);
      }
    }
    load.running -= 1;
  }
  load.begin = () => {
    load.stopped = false;
    for (let i = 0; i < lanes; i++) lane((1000 * i) / perSecond);
  };
  /** Many calls at once, so that whatever is kept for reuse has been made. */
  load.burst = (n) => Promise.all(Array.from({ length: n }, (_, i) => (i % 2 ? pick(written) : () => kms.keys.get({ kid: pick(kids.signing) }))()));
  load.end = async () => {
    load.stopped = true;
    while (load.running > 0) await sleep(20);
  };
  /** n signatures one after the other, and the yardstick after each. */
  load.alone = async (n) => {
    const times = [];
    for (let i = 0; i < n; i++) times.push(await timed());
    return times;
  };
  /** What happened since it was asked last; nothing of it stays here. */
  load.take = () => {
    const { calls, failures, latencies } = load;
    Object.assign(load, { calls: 0, failures: [], latencies: [] });
    return { calls, failures, latencies };
  };
}

/** n signatures one after the other; milliseconds of each. */
export async function signInTurn(kid, n) {
  const times = [];
  for (let i = 0; i < n; i++) {
    const began = performance.now();
    await kms.jwt.sign({ kid, audience: "beside a flood", ttlSeconds: 60 });
    times.push(performance.now() - began);
  }
  return times;
}

/**
 * A hostile app without the SDK: as many requests, malformed messages and large ones as go in, and no
 * waiting for answers. Only what is unanswered is bounded, so that it is the enclave that is tested and not
 * how much memory this machine has.
 */
export async function flood() {
  const page = window;
  page.wire = await launch({ account: "flood" });
  await wire.call(1, "vault.create", { persistence: "device", lock: "none" });
  const { kid } = (await wire.call(2, "keys.create", { purpose: "signing" })).result.key;
  const port = wire.app.port1;
  const state = (page.flooding = { posted: 0, answered: 0, on: true });
  port.onmessage = () => (state.answered += 1);
  const large = "x".repeat(1 << 20);
  const messages = [
    (id) => JSON.stringify({ v: 1, id, method: "jwt.sign", params: { kid, audience: "flood", ttlSeconds: 60 } }),
    (id) => JSON.stringify({ v: 1, id, method: "keys.create", params: { purpose: "nonsense" } }),
    (id) => JSON.stringify({ v: 1, id, method: "keys.list", params: {} }),
    (id) => JSON.stringify({ v: 1, id, method: "audit.verify", params: {} }),
    () => "{", () => ({ not: "text" }), () => "\ud800",
    (id) => JSON.stringify({ v: 1, id, method: "no.such", params: {} }),
  ];
  const turn = new MessageChannel();
  let id = 10;
  turn.port2.onmessage = () => {
    for (let i = 0; i < 64 && state.posted - state.answered < 2000; i++) {
      id += 1;
      state.posted += 1;
      port.postMessage(id % 500 === 0 ? large : messages[id % messages.length](id));
    }
    if (state.on) turn.port1.postMessage(0);
  };
  turn.port1.postMessage(0);
}
