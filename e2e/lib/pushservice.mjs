// A push service for tests, as strict as the real ones: RFC 8030 for who sends (https, HTTP/2 and
// HTTP/1.1), VAPID (RFC 8292) on every message, and Mozilla's WebSocket protocol for Firefox.
// It is on loopback, and keeps everything in memory. It decrypts nothing: it has no key for that.
//
//   const service = await PushService.start();
//   await launch("firefox", { preferences: service.prefs });      // its subscriptions are this service's
//   …a sender that trusts service.caFile posts to subscription.endpoint…
//   await service.acked(subscription.endpoint, 1);                // the user agent has got it: code 100
//   service.misbehave(subscription.endpoint, faults.tooMany(2));  // for the next message
//   await service.stop();
//
// Wherever a subscription is asked for, its endpoint, its channelID, or what
// PushSubscription.toJSON() gives will do.

import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createSecureServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./process.mjs";
import { listenForAgents } from "./pushagents.mjs";
import { issueForLoopback } from "./testca.mjs";
import { checkAuthorization, Refusal } from "./vapid.mjs";

const MAX_BODY = 4096; // bytes that every push service takes (RFC 8030 section 7.2)
const MAX_DRAINED = 1 << 20; // bytes of a body that is too long that are read before the connection is ended
const MAX_TTL = 30 * 86_400; // seconds that a message is kept at most; a longer TTL is shortened (RFC 8030 section 5.2)
const URGENCIES = ["very-low", "low", "normal", "high"];

/** Codes of ack: what became of a message in the user agent. */
export const ack = { delivered: 100, decryptionError: 101, notDelivered: 102 };

/**
 * Ways to misbehave, for misbehave(). A fault is an object:
 *   status, headers   answered at once, whatever the request is; nothing is delivered
 *   copies            how often a good message is delivered, each as a message of its own; 1 if not said
 *   delayMs           how long a good message's answer takes
 *   end               "hang": no answer, ever; "reset": the connection is reset instead of one
 */
export const faults = {
  /** 429 with Retry-After: seconds, or the text of an HTTP date. */
  tooMany: (retryAfter) => ({ status: 429, headers: { "retry-after": String(retryAfter) } }),
  /** 410, though the subscription lives. */
  gone: { status: 410 },
  /** 500. */
  broken: { status: 500 },
  /** Takes the request, and says nothing. */
  hang: { copies: 0, end: "hang" },
  /** Answers, and delivers, but late. */
  slow: (delayMs) => ({ delayMs }),
  /** Resets the connection; what was sent is lost. */
  reset: { copies: 0, end: "reset" },
  /** Delivers the message, and resets the connection: the sender cannot know. */
  resetDelivered: { end: "reset" },
  /** 201, and nothing is delivered. */
  lie: { copies: 0 },
  /** 201, and the message is delivered twice. */
  twice: { copies: 2 },
};

class Subscription {
  /** Not acknowledged yet: version → message. */
  kept = new Map();
  /** What it does with the next messages: { fault, times }. */
  faults = [];
  /** The code of its unregister, once that came. */
  unregistered;

  constructor({ uaid, channelID, key, endpoint }) {
    Object.assign(this, { uaid, channelID, key, endpoint });
  }

  nextFault() {
    const [first] = this.faults;
    if (first && --first.times === 0) this.faults.shift();
    return first?.fault ?? {};
  }
}

function oneOf(headers, name, pattern, absent) {
  const value = headers[name];
  if (value === undefined && absent !== undefined) return absent;
  if (!pattern.test(value ?? "")) throw new Refusal(400, `${name}: got ${JSON.stringify(value)}, wanted ${pattern.source}`);
  return value;
}

/** What the headers ask for (RFC 8030 sections 5.2 to 5.4, RFC 8291 section 4). A message without a body is not taken here. */
function wishes(headers) {
  return {
    ttl: Math.min(Number(oneOf(headers, "ttl", /^\d{1,10}$/)), MAX_TTL),
    encoding: oneOf(headers, "content-encoding", /^aes128gcm$/),
    urgency: oneOf(headers, "urgency", new RegExp(`^(${URGENCIES.join("|")})$`), "normal"),
    topic: oneOf(headers, "topic", /^[A-Za-z0-9_-]{1,32}$/, ""),
  };
}

/** A request's body; one byte more than is allowed, if it has more. */
async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    if (size <= MAX_BODY) chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_DRAINED) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY + 1);
}

export class PushService {
  /** Every request: { at, method, url, httpVersion, headers, endpoint?, size?, reason?, version?, status?, endedAt? }; status may be "hang" or "reset". */
  attempts = [];
  /** Every ack: { at, uaid, channelID, endpoint?, version, code }. */
  acks = [];
  /** Every nack: { at, uaid, version, code }. A service worker got the message and failed. */
  nacks = [];
  /** What user agents said that is not in the protocol: { at, uaid?, what }. Empty, unless there is a fault somewhere. */
  violations = [];
  /** Every hello: { at, uaid, known }. */
  hellos = [];

  #subscriptions = new Map(); // by the path of the endpoint
  #agents = new Map(); // connected, by uaid
  #uaids = new Set(); // all that were given out
  #sockets = new Map(); // TCP connections of senders, by their port and address

  /** now is the clock, in milliseconds as Date.now gives; helloMs is how long a user agent's connection may say nothing. */
  static async start({ now = Date.now, helloMs = 10_000 } = {}) {
    const service = new PushService();
    Object.assign(service, { now, helloMs });
    service.directory = await mkdtemp(join(tmpdir(), "kms-push-"));
    try {
      const { caFile, key, cert } = await issueForLoopback(service.directory);
      service.caFile = caFile;
      await service.#listen({ key, cert, allowHTTP1: true });
      service.agents = await listenForAgents(service);
      return service;
    } catch (error) {
      await service.stop();
      throw error;
    }
  }

  // On both addresses of localhost: which one a sender takes differs.
  async #listen(options) {
    const serve = async (port, host) => {
      const server = createSecureServer(options, (request, response) => this.#answer(request, response));
      server.on("connection", (socket) => this.#track(socket));
      server.on("sessionError", () => {}); // the other end went away
      server.listen(port, host);
      await once(server, "listening");
      return server;
    };
    this.servers = [await serve(0, "127.0.0.1")];
    const { port } = this.servers[0].address();
    try {
      this.servers.push(await serve(port, "::1"));
    } catch {
      // There is no IPv6 here.
    }
    /** Its origin, and so the only aud that it takes. A name, as a real one's: that it is private shows when it is looked up. */
    this.origin = `https://localhost:${port}`;
  }

  #track(socket) {
    const id = `${socket.remotePort} ${socket.remoteAddress}`;
    this.#sockets.set(id, socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(id));
  }

  async stop() {
    for (const socket of this.#sockets.values()) socket.destroy();
    await Promise.all((this.servers ?? []).map((server) => new Promise((resolve) => server.close(resolve))));
    await this.agents?.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Where user agents connect. */
  get url() {
    return this.agents.url;
  }

  /** Firefox's preferences for this service; a page may then subscribe, and show notifications, without a question. */
  get prefs() {
    return {
      "dom.push.enabled": true,
      "dom.push.connection.enabled": true,
      "dom.push.serverURL": this.url,
      "dom.push.testing.allowInsecureServerURL": true,
      "dom.push.retryBaseInterval": 200, // milliseconds until it connects again; 5000 otherwise
      "permissions.default.desktop-notification": 1,
    };
  }

  // What tests ask and tell.

  /** The subscription, whether it lives or not; throws if there never was one. */
  subscription(which) {
    const id = which.endpoint ?? which;
    const found = [...this.#subscriptions.values()].find(({ endpoint, channelID }) => endpoint === id || channelID === id);
    if (!found) throw new Error(`push service: no subscription ${id}`);
    return found;
  }

  /** Misbehaves for the next messages to a subscription, times of them; after what it was told before. */
  misbehave(which, fault, times = 1) {
    this.subscription(which).faults.push({ fault, times });
  }

  /** Is good again. */
  behave(which) {
    this.subscription(which).faults = [];
  }

  /** How many messages are kept for a user agent that has not acknowledged them. */
  waiting(which) {
    const { kept } = this.subscription(which);
    return [...kept.values()].filter((message) => message.expires > this.now()).length;
  }

  /** Ends every user agent's connection, as a network does. They connect again. */
  disconnect() {
    this.agents.drop();
  }

  /** Whether the user agent of a subscription is connected. */
  connected(which) {
    return this.online(this.subscription(which).uaid);
  }

  /** Whether a user agent is connected. */
  online(uaid) {
    return this.#agents.has(uaid);
  }

  acksOf(which, code) {
    const { channelID } = this.subscription(which);
    return this.acks.filter((each) => each.channelID === channelID && (code === undefined || each.code === code));
  }

  attemptsOf(which) {
    const { endpoint } = this.subscription(which);
    return this.attempts.filter((each) => each.endpoint === endpoint);
  }

  /** The acks of a subscription with this code, once there are n of them. */
  async acked(which, n = 1, { code = ack.delivered, timeoutMs = 15_000 } = {}) {
    const enough = () => this.acksOf(which, code).length >= n && this.acksOf(which, code);
    return await this.#wait(`${n} acks with code ${code}`, enough, which, timeoutMs);
  }

  /** The requests to a subscription that have ended, once there are n of them. */
  async attempted(which, n = 1, { timeoutMs = 15_000 } = {}) {
    const ended = () => this.attemptsOf(which).filter(({ status }) => status !== undefined);
    return await this.#wait(`${n} attempts`, () => ended().length >= n && ended(), which, timeoutMs);
  }

  async #wait(what, probe, which, timeoutMs) {
    try {
      return await eventually(what, probe, { timeoutMs, everyMs: 20 });
    } catch (error) {
      const told = (each) => each.map(({ status, code, reason }) => [status ?? code, reason].filter(Boolean).join(" "));
      throw new Error(`push service: ${error.message}; attempts ${told(this.attemptsOf(which))}; acks ${told(this.acksOf(which))}; violations ${this.violations.map(({ what }) => what)}`);
    }
  }

  // What the connections of user agents (pushagents.mjs) tell.

  greet(agent, asked) {
    const known = this.#uaids.has(asked);
    const uaid = known ? asked : randomUUID().replaceAll("-", "");
    this.#uaids.add(uaid);
    this.#agents.get(uaid)?.socket.terminate(); // one connection each
    this.#agents.set(uaid, agent);
    this.hellos.push({ at: this.now(), uaid, known });
    return uaid;
  }

  disconnected(agent) {
    if (this.#agents.get(agent.uaid) === agent) this.#agents.delete(agent.uaid);
  }

  /** Undefined if the channel is another's, or was made with another key. Asked again, the same. */
  register(uaid, channelID, key) {
    const before = [...this.#subscriptions.values()].find((each) => each.channelID === channelID);
    if (before) return before.uaid === uaid && before.key === key && before.unregistered === undefined ? before : undefined;
    const path = `/wpush/v2/${randomBytes(32).toString("base64url")}`;
    const made = new Subscription({ uaid, channelID, key, endpoint: this.origin + path });
    this.#subscriptions.set(path, made);
    return made;
  }

  unregister(uaid, channelID, code = 0) {
    const found = [...this.#subscriptions.values()].find((each) => each.uaid === uaid && each.channelID === channelID);
    if (!found) return;
    found.unregistered = code;
    found.kept.clear();
  }

  acknowledge({ uaid, channelID, version, code }) {
    const found = [...this.#subscriptions.values()].find((each) => each.uaid === uaid && each.channelID === channelID);
    this.acks.push({ at: this.now(), uaid, channelID, endpoint: found?.endpoint, version, code });
    found?.kept.delete(version);
  }

  nacked(nack) {
    this.nacks.push({ at: this.now(), ...nack });
  }

  /** Sends what is kept for a user agent that has just connected, oldest first. */
  deliverKept(uaid) {
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.uaid !== uaid) continue;
      for (const [version, message] of subscription.kept) {
        if (message.expires > this.now()) this.#notify(subscription, version, message);
        else subscription.kept.delete(version);
      }
    }
  }

  #notify({ uaid, channelID }, version, { body, encoding }) {
    this.#agents.get(uaid)?.send({ messageType: "notification", channelID, version, data: body.toString("base64url"), headers: { encoding } });
  }

  // What senders get.

  #accept(subscription, body, { ttl, topic, encoding }) {
    const { kept } = subscription;
    const version = randomBytes(16).toString("base64url");
    for (const [old, message] of kept) if (topic && message.topic === topic) kept.delete(old);
    const message = { body, topic, encoding, expires: this.now() + ttl * 1000 };
    kept.set(version, message); // with a TTL of 0 it has expired already: now or never (RFC 8030 section 5.2)
    this.#notify(subscription, version, message);
    return version;
  }

  async #answer(request, response) {
    const { method, url, httpVersion, headers } = request;
    const attempt = { at: this.now(), method, url, httpVersion, headers: { ...headers } };
    this.attempts.push(attempt);
    response.on("error", () => {});
    try {
      await this.#take(request, response, attempt);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(500, error.message);
      attempt.reason = refusal.message;
      this.#end(attempt, response, refusal.status, { "content-type": "application/json" }, JSON.stringify({ code: refusal.status, message: refusal.message }));
    }
  }

  #end(attempt, response, status, headers, body) {
    Object.assign(attempt, { status, endedAt: this.now() });
    response.writeHead(status, headers);
    response.end(body);
  }

  async #take(request, response, attempt) {
    const body = await bodyOf(request);
    attempt.size = body.length;
    const subscription = this.#subscriptions.get(attempt.url);
    if (!subscription) throw new Refusal(404, "endpoint: unknown");
    attempt.endpoint = subscription.endpoint;
    const fault = subscription.nextFault();
    if (fault.status) return this.#end(attempt, response, fault.status, fault.headers ?? {}, "");
    const wanted = this.#check(attempt, subscription, body);
    for (let i = 0; i < (fault.copies ?? 1); i += 1) attempt.version = this.#accept(subscription, body, wanted);
    if (fault.delayMs) await sleep(fault.delayMs);
    if (fault.end) return this.#leave(attempt, request, fault.end);
    const version = attempt.version ?? randomBytes(16).toString("base64url"); // a lie looks like the truth
    this.#end(attempt, response, 201, { location: `${this.origin}/m/${version}`, ttl: String(wanted.ttl) }, "");
  }

  #check({ method, headers }, subscription, body) {
    if (method !== "POST") throw new Refusal(405, `method: got ${method}, wanted POST`);
    if (subscription.unregistered !== undefined) throw new Refusal(410, "endpoint: the subscription was ended");
    checkAuthorization(headers.authorization, { key: subscription.key, audience: this.origin, nowSeconds: Math.floor(this.now() / 1000) });
    const wanted = wishes(headers);
    if (body.length > MAX_BODY) throw new Refusal(413, `body: got more than ${MAX_BODY} bytes`);
    return wanted;
  }

  #leave(attempt, { socket }, end) {
    Object.assign(attempt, { status: end, endedAt: this.now() });
    if (end === "reset") this.#sockets.get(`${socket.remotePort} ${socket.remoteAddress}`).resetAndDestroy();
  }
}
