// An embedder that does not use the SDK: it speaks the protocol by hand, and so can break it.

const configuration = await (await fetch("/configuration.json")).json();

const hexOf = (integrity) => Array.from(atob(integrity.slice(7)), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");

/** Embeds the frame; resolves with it and its first message. */
function embed(url = configuration.url) {
  const iframe = document.createElement("iframe");
  iframe.setAttribute("sandbox", "allow-scripts allow-same-origin allow-downloads");
  iframe.src = url;
  const first = new Promise((resolve) => {
    addEventListener("message", function listen(event) {
      if (event.source !== iframe.contentWindow) return;
      removeEventListener("message", listen);
      resolve(event.data);
    });
  });
  document.body.append(iframe);
  return first.then((message) => ({ iframe, message }));
}

const bytesOf = async (wasm = configuration.pin.wasm) =>
  (await fetch(new URL(`${hexOf(wasm).slice(0, 32)}.wasm`, configuration.url))).arrayBuffer();

/** The app's side of one connection: what was sent and what came, as text. */
class Wire {
  replies = new Map();
  events = [];
  frameMessages = [];
  #waiting = new Map();

  constructor() {
    this.app = new MessageChannel();
    this.frame = new MessageChannel();
    this.app.port1.onmessage = ({ data }) => this.#take(data);
    this.frame.port1.onmessage = ({ data }) => this.frameMessages.push(data);
  }

  #take(text) {
    const message = JSON.parse(text);
    if (message.event) return this.events.push(message);
    const waiting = this.#waiting.get(message.id)?.shift();
    if (waiting) waiting(message);
    else this.replies.set(message.id, [...(this.replies.get(message.id) ?? []), message]);
  }

  /** Sends anything, and resolves with the next reply that carries id. */
  send(data, id) {
    this.app.port1.postMessage(data);
    return this.next(id);
  }

  next(id) {
    const early = this.replies.get(id)?.shift();
    if (early) return Promise.resolve(early);
    return new Promise((resolve) => this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), resolve]));
  }

  call(id, method, params = {}) {
    return this.send(JSON.stringify({ v: 1, id, method, params }), id);
  }
}

/** The connect message of the protocol; members override it. */
function connectMessage(wasm, members = {}) {
  return { kmsEnclave: 1, type: "connect", account: "raw", share: new Uint8Array(32).fill(7), marker: false, wasm, ...members };
}

/** A whole handshake. */
async function launch(members = {}) {
  const [{ iframe, message }, wasm] = await Promise.all([embed(), bytesOf()]);
  const wire = new Wire();
  iframe.contentWindow.postMessage(connectMessage(wasm, members), new URL(configuration.url).origin, [wire.app.port2, wire.frame.port2, wasm]);
  await until(() => wire.events.some(({ event }) => event === "ready") || wire.frameMessages.length > 0);
  return Object.assign(wire, { iframe, message });
}

async function until(condition, limitMs = 15_000) {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

Object.assign(window, { configuration, embed, bytesOf, Wire, connectMessage, launch, until, sleep, startKms: () => {} });
