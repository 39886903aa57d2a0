// The push service of the tests refuses what the real ones refuse. npm's web-push is the sender
// where it can be; node's own clients send what it would not.

import assert from "node:assert/strict";
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect } from "node:http2";
import { Agent } from "node:https";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import webpush from "web-push";
import { WebSocket } from "ws";
import { eventually } from "../lib/process.mjs";
import { ack, faults, PushService } from "../lib/pushservice.mjs";
import { post as postTo, Sender } from "../lib/sender.mjs";

const CONTACT = Sender.contact;
const HOUR = 3600;
const LIMIT = { timeout: 60_000 };

let service, ca, late; // late: how many milliseconds the service's clock is ahead

before(async () => {
  service = await PushService.start({ now: () => Date.now() + late });
  ca = await readFile(service.caFile);
});
after(() => service.stop());
beforeEach(() => {
  late = 0;
});

/** A user agent by hand. */
class UserAgent {
  heard = [];

  static async connect(uaid, protocol = "push-notification") {
    const agent = new UserAgent();
    agent.socket = new WebSocket(service.url, protocol);
    agent.closed = new Promise((resolve) => agent.socket.once("close", (code, reason) => resolve({ code, reason: String(reason) })));
    agent.socket.on("message", (text) => agent.heard.push(JSON.parse(text)));
    await new Promise((resolve, reject) => agent.socket.once("open", resolve).once("error", reject));
    const { uaid: given } = await agent.ask("hello", { use_webpush: true, broadcasts: {}, uaid });
    agent.uaid = given;
    return agent;
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async ask(messageType, rest) {
    const from = this.heard.length;
    this.send({ messageType, ...rest });
    return await eventually(messageType, () => this.heard.slice(from).find((each) => each.messageType === messageType), { everyMs: 5 });
  }

  async subscribe(key, channelID = randomUUID()) {
    const { pushEndpoint, status } = await this.ask("register", { channelID, key });
    return { channelID, endpoint: pushEndpoint, status };
  }

  notifications(channelID) {
    return this.heard.filter((each) => each.messageType === "notification" && each.channelID === channelID);
  }

  async notified(channelID, n = 1) {
    return await eventually(`${n} notifications`, () => this.notifications(channelID).length >= n && this.notifications(channelID), { everyMs: 5 });
  }

  acknowledge({ channelID, version }, code = ack.delivered) {
    this.send({ messageType: "ack", updates: [{ channelID, version, code }] });
  }

  async leave() {
    this.socket.close();
    await this.closed;
    await eventually("gone", () => !service.online(this.uaid), { everyMs: 5 });
  }
}

/** A user agent with a subscription, and a sender that may send to it. */
async function furnished() {
  const agent = await UserAgent.connect();
  const keys = webpush.generateVAPIDKeys();
  const subscription = await agent.subscribe(keys.publicKey);
  return { agent, keys, ...subscription };
}

/** Headers of a good message; the token's header and claims, and everything else, can be replaced. */
function good(keys, { header, claims, signer = keys, k = keys.publicKey, headers } = {}) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const signed = `${encode({ typ: "JWT", alg: "ES256", ...header })}.${encode({ aud: service.origin, exp: now + HOUR, sub: CONTACT, ...claims })}`;
  const point = Buffer.from(signer.publicKey, "base64url");
  const key = createPrivateKey({
    format: "jwk",
    key: { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url"), d: signer.privateKey },
  });
  const token = `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  return { ttl: "60", "content-encoding": "aes128gcm", authorization: `vapid t=${token}, k=${k}`, ...headers };
}

const present = (headers) => Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));

/** Posts over HTTP/1.1; returns { status, headers, text }. */
const post = (endpoint, headers, body = Buffer.alloc(100, 1), method = "POST") => postTo({ endpoint, headers, body, method }, ca);

/** Posts over HTTP/2. */
function post2(endpoint, headers, body = Buffer.alloc(100, 1)) {
  const { origin, pathname } = new URL(endpoint);
  const session = connect(origin, { ca });
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({ ":method": "POST", ":path": pathname, ...present(headers) });
    stream.on("error", reject);
    let answer, text = "";
    stream.on("response", (headers) => (answer = headers)).setEncoding("utf8").on("data", (chunk) => (text += chunk));
    stream.on("close", () => (answer ? resolve({ status: answer[":status"], headers: answer, text }) : reject(new Error(`no answer, code ${stream.rstCode}`))));
    stream.end(body);
  }).finally(() => session.destroy());
}

const P256DH = webpush.generateVAPIDKeys().publicKey; // any point; nobody here decrypts
const AUTH = Buffer.alloc(16, 7).toString("base64url");

/** Sends with npm's web-push. */
const send = ({ endpoint, keys }, text = "hello", options = {}) =>
  webpush.sendNotification({ endpoint, keys: { p256dh: P256DH, auth: AUTH } }, text, {
    agent: new Agent({ ca }),
    vapidDetails: { subject: CONTACT, ...keys },
    TTL: 60,
    ...options,
  });

describe("push service: delivers", LIMIT, () => {
  it("what web-push sends reaches the user agent, and its ack the record", async () => {
    const made = await furnished();
    const { statusCode, headers } = await send(made);
    assert.equal(statusCode, 201);
    assert.equal(headers.ttl, "60");
    const [notification] = await made.agent.notified(made.channelID);
    assert.equal(headers.location, `${service.origin}/m/${notification.version}`);
    assert.deepEqual(notification.headers, { encoding: "aes128gcm" });
    assert.equal(Buffer.from(notification.data, "base64url").readUInt32BE(16), 4096, "the record size of RFC 8188");
    made.agent.acknowledge(notification);
    const [seen] = await service.acked(made.channelID);
    assert.deepEqual([seen.version, seen.endpoint, seen.uaid], [notification.version, made.endpoint, made.agent.uaid]);
    const [attempt] = await service.attempted(made.endpoint);
    assert.deepEqual([attempt.status, attempt.httpVersion, attempt.version], [201, "1.1", notification.version]);
    assert.ok(attempt.at <= seen.at);
  });

  it("over HTTP/2, on the origin's other addresses, and only to who trusts its authority", async () => {
    const made = await furnished();
    assert.equal((await post2(made.endpoint, good(made.keys))).status, 201);
    assert.equal((await post(made.endpoint.replace("localhost", "127.0.0.1"), good(made.keys))).status, 201);
    assert.deepEqual((await service.attempted(made.endpoint, 2)).map(({ httpVersion }) => httpVersion), ["2.0", "1.1"]);
    await assert.rejects(send(made, "x", { agent: new Agent({}) }), { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" });
  });

  it("endpoints are https, of its origin, and not to be guessed", async () => {
    const [a, b] = [await furnished(), await furnished()];
    for (const { endpoint } of [a, b]) assert.equal(new URL(endpoint).origin, service.origin);
    assert.match(service.origin, /^https:/);
    assert.match(new URL(a.endpoint).pathname, /^\/wpush\/v2\/[A-Za-z0-9_-]{43}$/);
    assert.notEqual(a.endpoint, b.endpoint);
  });
});

describe("push service: refuses", LIMIT, () => {
  let made, other;
  before(async () => {
    late = 0;
    made = await furnished();
    other = webpush.generateVAPIDKeys();
  });

  const now = () => Math.floor(Date.now() / 1000);
  const cases = {
    "no TTL": [400, /^ttl/, () => ({ headers: { ttl: undefined } })],
    "a TTL that is no number": [400, /^ttl/, () => ({ headers: { ttl: "soon" } })],
    "a negative TTL": [400, /^ttl/, () => ({ headers: { ttl: "-1" } })],
    "no content coding": [400, /^content-encoding/, () => ({ headers: { "content-encoding": undefined } })],
    "the content coding of the drafts": [400, /^content-encoding/, () => ({ headers: { "content-encoding": "aesgcm" } })],
    "an unknown urgency": [400, /^urgency/, () => ({ headers: { urgency: "urgent" } })],
    "a topic of 33 characters": [400, /^topic/, () => ({ headers: { topic: "t".repeat(33) } })],
    "a topic that is not base64url": [400, /^topic/, () => ({ headers: { topic: "a b" } })],
    "no credentials": [401, /got none/, () => ({ headers: { authorization: undefined } })],
    "a bearer token": [401, /Bearer/, () => ({ headers: { authorization: "Bearer x" } })],
    "no key beside the token": [403, /wanted t and k/, () => ({ headers: { authorization: good(made.keys).authorization.split(",")[0] } })],
    "another parameter in the token's place": [403, /wanted t and k/, () => ({ headers: { authorization: `vapid x=1, k=${made.keys.publicKey}` } })],
    "a third parameter": [403, /wanted t and k/, () => ({ headers: { authorization: `${good(made.keys).authorization}, x=1` } })],
    "another's key and token": [403, /^k: not the key/, () => ({ signer: other, k: other.publicKey })],
    "the key, and another's token": [403, /signature/, () => ({ signer: other })],
    "a key that is no point": [403, /^k: not a P-256/, () => ({ k: Buffer.alloc(65, 4).toString("base64url") })],
    "another algorithm's name": [403, /^token header/, () => ({ header: { alg: "HS256" } })],
    "a token of another type": [403, /^token header/, () => ({ header: { typ: "kms-relay+jwt" } })],
    "a critical extension": [403, /^token header/, () => ({ header: { crit: ["exp"] } })],
    "no audience": [403, /^aud/, () => ({ claims: { aud: undefined } })],
    "the audience of another push service": [403, /^aud/, () => ({ claims: { aud: "https://updates.push.services.mozilla.com" } })],
    "the same audience with a slash": [403, /^aud/, () => ({ claims: { aud: `${service.origin}/` } })],
    "its address as the audience": [403, /^aud/, () => ({ claims: { aud: service.origin.replace("localhost", "127.0.0.1") } })],
    "a list of audiences": [403, /^aud/, () => ({ claims: { aud: [service.origin] } })],
    "an expired token": [403, /^exp: 1 seconds ago/, () => ({ claims: { exp: now() - 1 } })],
    "a token that never expires": [403, /^exp/, () => ({ claims: { exp: undefined } })],
    "a token for more than a day": [403, /^exp: in/, () => ({ claims: { exp: now() + 24 * HOUR + 60 } })],
    "an expiry that is text": [403, /^exp/, () => ({ claims: { exp: String(now() + HOUR) } })],
    "no contact": [403, /^sub/, () => ({ claims: { sub: undefined } })],
    "a list of contacts": [403, /^sub/, () => ({ claims: { sub: [CONTACT] } })],
    "a contact over http": [403, /^sub/, () => ({ claims: { sub: "http://app.example" } })],
    "a mail address of nobody": [403, /^sub/, () => ({ claims: { sub: "mailto:" } })],
  };
  for (const [name, [status, reason, change]] of Object.entries(cases)) {
    it(`${name}: ${status}`, async () => {
      const answer = await post(made.endpoint, good(made.keys, change()));
      assert.equal(answer.status, status, answer.text);
      assert.match(JSON.parse(answer.text).message, reason);
      const attempt = service.attemptsOf(made.endpoint).at(-1);
      assert.deepEqual([attempt.status, attempt.reason], [status, JSON.parse(answer.text).message]);
    });
  }

  it("a token that was changed after it was signed: 403", async () => {
    const headers = good(made.keys);
    const [, header, claims, signature] = /t=([^.]+)\.([^.]+)\.([^,]+)/.exec(headers.authorization);
    const later = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url")), exp: now() + 2 * HOUR })).toString("base64url");
    headers.authorization = headers.authorization.replace(`${header}.${claims}.${signature}`, `${header}.${later}.${signature}`);
    assert.equal((await post(made.endpoint, headers)).status, 403);
  });

  it("what web-push signs for too long, with another key, or for longer than it was good", async () => {
    const status = (more) => send({ ...made, ...more }).then(({ statusCode }) => statusCode, (error) => error.statusCode);
    assert.equal(await status({ keys: other }), 403);
    assert.equal(await status(), 201);
    late = 13 * HOUR * 1000; // web-push's tokens are good for twelve hours
    const { authorization } = good(made.keys, { claims: { exp: now() + 12 * HOUR } });
    assert.equal((await post(made.endpoint, good(made.keys, { headers: { authorization } }))).status, 403);
  });

  it("more than 4096 bytes: 413; 4096 are taken", async () => {
    assert.equal((await post(made.endpoint, good(made.keys), Buffer.alloc(4096))).status, 201);
    for (const send of [post, post2]) {
      assert.equal((await send(made.endpoint, good(made.keys), Buffer.alloc(4097))).status, 413);
      assert.equal((await send(made.endpoint, good(made.keys), Buffer.alloc(500_000))).status, 413);
    }
    await assert.rejects(send(made, "x".repeat(4000)), { statusCode: 413 });
  });

  it("an unknown endpoint: 404; one that was ended: 410; another method: 405", async () => {
    assert.equal((await post(made.endpoint.slice(0, -1), good(made.keys))).status, 404);
    assert.equal((await post(made.endpoint, good(made.keys), "", "PUT")).status, 405);
    const ended = await furnished();
    await send(ended);
    await ended.agent.ask("unregister", { channelID: ended.channelID, code: 200 });
    await assert.rejects(send(ended), { statusCode: 410 });
    assert.equal(service.subscription(ended.channelID).unregistered, 200);
    assert.equal(service.waiting(ended.channelID), 0);
  });

  it("nothing that was refused was delivered", async () => {
    const accepted = service.attemptsOf(made.endpoint).filter(({ status }) => status === 201).length;
    await sleep(50);
    assert.equal(made.agent.notifications(made.channelID).length, accepted);
  });
});

describe("push service: keeps", LIMIT, () => {
  it("messages for a user agent that is away, in their order, as long as their TTL", async () => {
    const made = await furnished();
    await made.agent.leave();
    assert.equal(service.connected(made.channelID), false);
    for (const TTL of [10, 1000, 100]) await send(made, "x", { TTL });
    assert.equal(service.waiting(made.channelID), 3);
    late = 11_000;
    assert.equal(service.waiting(made.channelID), 2);
    const again = await UserAgent.connect(made.agent.uaid);
    assert.equal(again.uaid, made.agent.uaid);
    await again.notified(made.channelID, 2);
    await sleep(50);
    const versions = (await service.attempted(made.channelID, 3)).map(({ version }) => version);
    assert.deepEqual(again.notifications(made.channelID).map(({ version }) => version), versions.slice(1));
  });

  it("TTL 0 is for who is connected; a TTL of years is shortened", async () => {
    const made = await furnished();
    await send(made, "x", { TTL: 0 });
    await made.agent.notified(made.channelID);
    assert.equal(service.waiting(made.channelID), 0);
    await made.agent.leave();
    assert.equal((await send(made, "x", { TTL: 0 })).statusCode, 201);
    assert.equal(service.waiting(made.channelID), 0);
    assert.equal((await send(made, "x", { TTL: 999_999_999 })).headers.ttl, String(30 * 24 * HOUR));
  });

  it("what was not acknowledged comes again, the same; what was does not", async () => {
    const made = await furnished();
    await send(made, "one");
    await send(made, "two");
    const [one, two] = await made.agent.notified(made.channelID, 2);
    made.agent.acknowledge(one);
    await service.acked(made.channelID);
    await made.agent.leave();
    const again = await UserAgent.connect(made.agent.uaid);
    assert.deepEqual(await again.notified(made.channelID), [two]);
    again.acknowledge(two, ack.decryptionError);
    await service.acked(made.channelID, 1, { code: ack.decryptionError });
    assert.deepEqual(service.acksOf(made.channelID).map(({ code }) => code), [100, 101]);
    assert.equal(service.waiting(made.channelID), 0);
  });

  it("one message of a topic, the last; of another subscription's nothing is replaced", async () => {
    const [made, other] = [await furnished(), await furnished()];
    for (const { agent } of [made, other]) await agent.leave();
    await send(made, "old", { topic: "weather" });
    await send(other, "other", { topic: "weather" });
    await send(made, "no topic");
    await send(made, "new", { topic: "weather" });
    assert.deepEqual([service.waiting(made.channelID), service.waiting(other.channelID)], [2, 1]);
    const again = await UserAgent.connect(made.agent.uaid);
    const heard = await again.notified(made.channelID, 2);
    const versions = (await service.attempted(made.channelID, 3)).map(({ version }) => version);
    assert.deepEqual(heard.map(({ version }) => version), versions.slice(1));
  });
});

describe("push service: misbehaves as it is told", LIMIT, () => {
  const outcome = (promise) => promise.then(({ status, statusCode }) => status ?? statusCode, (error) => error.statusCode ?? error.code ?? error.message);

  it("429 with Retry-After, 410, 500: for so many messages, in turn, and then it is good", async () => {
    const made = await furnished();
    service.misbehave(made.endpoint, faults.tooMany(7), 2);
    service.misbehave(made.endpoint, faults.gone);
    service.misbehave(made.endpoint, faults.broken);
    const answers = [];
    for (let i = 0; i < 5; i += 1) answers.push(await post(made.endpoint, good(made.keys)));
    assert.deepEqual(answers.map(({ status }) => status), [429, 429, 410, 500, 201]);
    assert.deepEqual(answers.map(({ headers }) => headers["retry-after"]), ["7", "7", undefined, undefined, undefined]);
    await made.agent.notified(made.channelID);
    assert.equal(made.agent.notifications(made.channelID).length, 1);
  });

  it("it hangs, is slow, and resets connections of both versions of HTTP", async () => {
    const made = await furnished();
    service.misbehave(made, faults.hang);
    assert.equal(await outcome(send(made, "x", { timeout: 200 })), "Socket timeout");
    service.misbehave(made, faults.slow(300));
    const begun = Date.now();
    assert.equal(await outcome(send(made)), 201);
    assert.ok(Date.now() - begun >= 300);
    const { at, endedAt } = service.attemptsOf(made).at(-1);
    assert.ok(endedAt - at >= 300);
    service.misbehave(made, faults.reset, 2);
    assert.equal(await outcome(post(made.endpoint, good(made.keys))), "ECONNRESET");
    assert.equal(await outcome(post2(made.endpoint, good(made.keys))), "ECONNRESET");
    service.misbehave(made, faults.resetDelivered);
    assert.equal(await outcome(post(made.endpoint, good(made.keys))), "ECONNRESET");
    await made.agent.notified(made.channelID, 2);
    assert.equal(made.agent.notifications(made.channelID).length, 2, "the slow one, and the last");
    assert.deepEqual(service.attemptsOf(made).map(({ status }) => status), ["hang", 201, "reset", "reset", "reset"]);
  });

  it("it lies, and delivers twice; what is not good it refuses all the same", async () => {
    const made = await furnished();
    service.misbehave(made, faults.lie, Infinity);
    assert.equal(await outcome(send(made)), 201);
    assert.equal(await outcome(post(made.endpoint, {})), 401);
    service.behave(made);
    service.misbehave(made, faults.twice);
    assert.equal(await outcome(send(made)), 201);
    const [one, two] = await made.agent.notified(made.channelID, 2);
    assert.equal(one.data, two.data);
    assert.notEqual(one.version, two.version);
    await sleep(50);
    assert.equal(made.agent.notifications(made.channelID).length, 2);
  });
});

describe("push service: user agents", LIMIT, () => {
  it("ping, broadcasts, nack", async () => {
    const { agent } = await furnished();
    const violations = service.violations.length;
    agent.send({ messageType: "broadcast_subscribe", broadcasts: { "remote-settings/monitor_changes": "v1" } });
    agent.send({ messageType: "nack", version: "v", code: 301 });
    agent.send({});
    await eventually("pong", () => agent.heard.find((each) => Object.keys(each).length === 0));
    assert.deepEqual([service.nacks.at(-1).code, service.nacks.at(-1).uaid], [301, agent.uaid]);
    assert.equal(service.violations.length, violations);
  });

  it("a uaid that was never given out is replaced; one that was is known", async () => {
    const stranger = await UserAgent.connect("0".repeat(32));
    assert.notEqual(stranger.uaid, "0".repeat(32));
    assert.equal(service.hellos.at(-1).known, false);
    const again = await UserAgent.connect(stranger.uaid);
    assert.equal(service.hellos.at(-1).known, true);
    await stranger.closed; // one connection each
    service.disconnect();
    await again.closed;
  });

  it("no subscription without a P-256 key, and none of another's channel", async () => {
    const made = await furnished();
    assert.equal((await made.agent.subscribe(undefined)).status, 400);
    assert.equal((await made.agent.subscribe("AAAA")).status, 400);
    assert.equal((await made.agent.subscribe(made.keys.publicKey, made.channelID)).endpoint, made.endpoint);
    assert.equal((await made.agent.subscribe(`${made.keys.publicKey}=`, made.channelID)).endpoint, made.endpoint, "padded, as Firefox does");
    assert.equal((await made.agent.subscribe(P256DH, made.channelID)).status, 409);
    const thief = await UserAgent.connect();
    assert.equal((await thief.subscribe(made.keys.publicKey, made.channelID)).status, 409);
    await thief.ask("unregister", { channelID: made.channelID });
    await send(made);
    const [{ version }] = await made.agent.notified(made.channelID);
    thief.acknowledge({ channelID: made.channelID, version });
    thief.send({});
    await eventually("pong", () => thief.heard.find((each) => Object.keys(each).length === 0));
    assert.equal(service.waiting(made), 1);
  });

  it("what is not in the protocol ends the connection, and is on record", async () => {
    await assert.rejects(UserAgent.connect(undefined, "chat"), /400/);
    for (const message of [{ messageType: "hello", use_webpush: true }, { messageType: "purge" }, { messageType: "register", channelID: "1" }, { messageType: "ack" }, []]) {
      const agent = await UserAgent.connect();
      agent.send(message);
      const limit = setTimeout(() => agent.socket.terminate(), 2000);
      assert.equal((await agent.closed).code, 4400);
      clearTimeout(limit);
      assert.equal(service.violations.at(-1).uaid, agent.uaid);
    }
    const first = {
      "got register, wanted hello": { messageType: "register", channelID: randomUUID(), key: P256DH },
      "hello: use_webpush is not true": { messageType: "hello", broadcasts: {} },
    };
    for (const [what, message] of Object.entries(first)) {
      const socket = new WebSocket(service.url, "push-notification");
      socket.once("open", () => socket.send(JSON.stringify(message)));
      const limit = setTimeout(() => socket.terminate(), 2000);
      assert.equal(await new Promise((resolve) => socket.once("close", resolve)), 4400);
      clearTimeout(limit);
      assert.equal(service.violations.at(-1).what, what);
    }
  });

  it("who says nothing is not waited for for ever", async () => {
    const impatient = await PushService.start({ helloMs: 50 });
    const silent = new WebSocket(impatient.url, "push-notification");
    assert.equal(await new Promise((resolve) => silent.once("close", resolve)), 4400);
    await impatient.stop();
  });

  it("waiting for what does not come says what came", async () => {
    const made = await furnished();
    await post(made.endpoint, {});
    await assert.rejects(service.acked(made, 1, { timeoutMs: 50 }), /1 acks with code 100: not after 50 ms; attempts 401 authorization: got none/);
    assert.throws(() => service.subscription("https://localhost/none"), /no subscription/);
  });
});
