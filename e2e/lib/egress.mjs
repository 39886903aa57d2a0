// Listeners that count what gets out, homes of a hostile enclave, and the table of what arrived.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { forward, serveEnclave } from "./harness.mjs";
import { eventually, freePort } from "./process.mjs";
import { serve } from "./server.mjs";
import { controlPage, leavingWays, pageWays, workerWays } from "./ways.mjs";

/** The places that an attack is made from, with their ways. */
export const places = { page: pageWays, worker: workerWays, leaving: leavingWays };

const wayOf = new Map(Object.entries(places).flatMap(([where, ways]) => Object.keys(ways).map((way, i) => [`${where}${i}`, { where, way }])));
const codeOf = (where, way) => `${where}${Object.keys(places[where]).indexOf(way)}`;

// Ways whose targets are not URLs of a host that could be the enclave's own.
const NOT_OWN = /^(WebRTC|WebTransport|link preconnect|link dns-prefetch)|by name$/;
/** Ways that only a look at what the browser resolves shows. */
export const BY_NAME = /by name$|dns-prefetch/;

/** What arrived, as a set of "where: way -> own" and "where: way -> foreign". */
export class Arrivals {
  seen = new Set();

  add(where, way, to) {
    this.seen.add(`${where}: ${way} -> ${to}`);
  }

  /** Counts names that a browser's own log says it looked up, in one run. */
  names(log, run) {
    for (const [, code] of log.matchAll(new RegExp(`\\b([a-z]+\\d+)\\.${run}\\.egress\\.test`, "g"))) {
      const { where, way } = wayOf.get(code);
      this.add(where, way, "foreign");
    }
  }

  /** Counts a request if its path is that of a way. */
  path(pathname) {
    const [, to, code] = /\/out\/(own|foreign)\/([a-z]+\d+)/.exec(pathname) ?? [];
    const found = wayOf.get(code);
    if (found) this.add(found.where, found.way, to);
    return found !== undefined;
  }
}

/** A foreign host: HTTP, a bare TCP port, and two UDP ports, for one run. */
export class Listener {
  static async start(arrivals) {
    const listener = new Listener();
    listener.http = await serve((request, { pathname }) => {
      arrivals.path(pathname);
      return { headers: { "access-control-allow-origin": "*", "content-type": "text/plain" }, body: "arrived" };
    });
    listener.tcp = createServer((socket) => {
      arrivals.add("page", "link preconnect", "foreign");
      socket.on("error", () => {});
      socket.destroy();
    }).listen(0, "127.0.0.1");
    await once(listener.tcp, "listening");
    listener.udp = {};
    for (const [name, where, way] of [["stun", "page", "WebRTC"], ["pageQuic", "page", "WebTransport"], ["workerQuic", "worker", "WebTransport"]]) {
      const socket = createSocket("udp4", () => arrivals.add(where, way, "foreign"));
      socket.bind(0, "127.0.0.1");
      await once(socket, "listening");
      listener.udp[name] = socket;
    }
    return listener;
  }

  /** The targets of every way of a place: on this foreign host, and on the enclave's own. */
  targets(where, ownOrigin, run) {
    const quic = `https://127.0.0.1:${this.udp[where === "worker" ? "workerQuic" : "pageQuic"].address().port}/`;
    const common = { quic, stun: `stun:127.0.0.1:${this.udp.stun.address().port}`, tcp: `http://127.0.0.1:${this.tcp.address().port}` };
    return Object.fromEntries(Object.keys(places[where]).map((way) => {
      const code = codeOf(where, way);
      const foreign = { ...common, url: `${this.http.ip}/out/foreign/${code}`, name: `http://${code}.${run}.egress.test` };
      return [way, NOT_OWN.test(way) ? { foreign } : { foreign, own: { ...common, url: `${ownOrigin}/out/own/${code}` } }];
    }));
  }

  async stop() {
    await this.http.close();
    this.tcp.close();
    for (const socket of Object.values(this.udp)) socket.close();
  }
}

/** The enclave's host, honest: what `enclave serve` answers, and a count of everything else. */
export class Home {
  arrivals = new Arrivals();
  reports = [];
  /** Changes an answer for a page: how this host lies. */
  lie = (answer) => answer;

  static async start(source, ancestors, { exact = false } = {}) {
    const home = new Home();
    home.server = await serve((request, url) => home.#answer(request, url));
    home.origin = home.server.localhost;
    const port = await freePort();
    home.upstream = `http://localhost:${port}`;
    home.release = await serveEnclave(ancestors, { source, port, origin: exact ? home.origin : undefined });
    home.release.url = home.release.url.replace(home.upstream, home.origin);
    return home;
  }

  async #answer(request, url) {
    if (this.arrivals.path(url.pathname)) return { headers: { "content-type": "text/html" }, body: "arrived" };
    if (url.pathname === "/control.html") return { headers: { "content-type": "text/html" }, body: controlPage };
    if (url.pathname === "/report") {
      const parts = [];
      for await (const part of request) parts.push(part);
      this.reports.push(Buffer.concat(parts).toString());
      return { headers: { "access-control-allow-origin": "*", "access-control-allow-headers": "*" }, body: "" };
    }
    const answer = await forward(this.upstream, url, request);
    return url.pathname.endsWith("/kms.html") ? this.lie(answer) : answer;
  }

  async stop() {
    await this.server.close();
    await this.release.stop();
  }
}

/** Waits until nothing new has arrived for quietMs. */
export async function quiet(arrivals, quietMs) {
  let size = -1, since = 0;
  await eventually("quiet", () => {
    if (arrivals.seen.size !== size) [size, since] = [arrivals.seen.size, Date.now()];
    return Date.now() - since >= quietMs;
  }, { timeoutMs: 30_000 });
}

// In the app's page.

/** A frame with the SDK's attributes, once it has loaded. A loader that runs stops the loading, and says so. */
export async function embed({ url, policy, bare, sandbox = "allow-scripts allow-same-origin allow-downloads" }) {
  const frame = document.createElement("iframe");
  if (!bare) {
    frame.setAttribute("sandbox", sandbox);
    frame.setAttribute("allow", "publickey-credentials-get; publickey-credentials-create");
    frame.setAttribute("referrerpolicy", "no-referrer");
    frame.setAttribute("csp", policy);
  }
  frame.src = url;
  const loaded = new Promise((resolve) => {
    frame.addEventListener("load", resolve, { once: true });
    addEventListener("message", ({ source }) => source === frame.contentWindow && resolve());
  });
  document.body.append(frame);
  await loaded;
  return frame;
}

/** Tells a frame to attack, and waits for what it says became of it, if it should say anything. */
export function order(frame, attack, limitMs) {
  const id = crypto.randomUUID();
  const said = new Promise((resolve) => {
    addEventListener("message", ({ source, data }) => source === frame.contentWindow && data.attacked === id && resolve(data.said));
    setTimeout(resolve, limitMs);
  });
  frame.contentWindow.postMessage({ attack: { ...attack, id } }, "*");
  return said;
}
