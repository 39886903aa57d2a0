// The user agents' side of the push service: the WebSocket protocol that Firefox speaks with
// Mozilla's autopush, subprotocol push-notification, one JSON object per text message.
//
//   C hello {uaid?, use_webpush: true, broadcasts}       S hello {uaid, status: 200, use_webpush, broadcasts}
//   C register {channelID, key}                          S register {channelID, status: 200, uaid, pushEndpoint}
//   C unregister {channelID, code}                       S unregister {channelID, status: 200}
//   S notification {channelID, version, data, headers}   C ack {updates: [{channelID, version, code}]}
//   C nack {version, code}      a service worker failed with the message; after its ack
//   C broadcast_subscribe       not answered: there are no broadcasts
//   C {} ping                   S {}
//
// What is not in this list ends the connection, and is a violation that a test can look at.

import { once } from "node:events";
import { WebSocketServer } from "ws";
import { decode, publicKey } from "./vapid.mjs";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** One connection. The service keeps what outlives it. */
class Agent {
  uaid;
  #greeting;

  constructor(service, socket) {
    Object.assign(this, { service, socket });
    this.#greeting = setTimeout(() => this.#violation("no hello"), service.helloMs);
    socket.on("message", (data, binary) => this.#take(String(data), binary));
    socket.on("close", () => this.#closed());
    socket.on("error", () => {}); // "close" follows
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  #closed() {
    clearTimeout(this.#greeting);
    this.service.disconnected(this);
  }

  #violation(what) {
    this.service.violations.push({ at: this.service.now(), uaid: this.uaid, what });
    this.socket.close(4400, what.slice(0, 100));
  }

  #take(text, binary) {
    let message;
    try {
      message = binary ? undefined : JSON.parse(text);
    } catch {
      // Said below.
    }
    if (typeof message !== "object" || message === null || Array.isArray(message)) return this.#violation("not a JSON object");
    if (Object.keys(message).length === 0) return this.send({});
    const { messageType } = message;
    if (!this.uaid && messageType !== "hello") return this.#violation(`got ${messageType}, wanted hello`);
    switch (messageType) {
      case "hello":
        return this.#hello(message);
      case "register":
        return this.#register(message);
      case "unregister":
        return this.#unregister(message);
      case "ack":
        return this.#ack(message);
      case "nack":
        return this.service.nacked({ uaid: this.uaid, version: message.version, code: message.code });
      case "broadcast_subscribe":
        return;
    }
    this.#violation(`messageType: got ${JSON.stringify(messageType)}`);
  }

  #hello({ uaid, use_webpush }) {
    if (this.uaid) return this.#violation("a second hello");
    if (use_webpush !== true) return this.#violation("hello: use_webpush is not true");
    clearTimeout(this.#greeting);
    this.uaid = this.service.greet(this, uaid);
    this.send({ messageType: "hello", uaid: this.uaid, status: 200, use_webpush: true, broadcasts: {} });
    this.service.deliverKept(this.uaid);
  }

  // Every subscription is restricted (RFC 8292 section 4): one without a key is not made.
  #register({ channelID, key: padded }) {
    const key = String(padded).replace(/=$/, ""); // Firefox pads it, senders may not (RFC 8292 section 3.2)
    const answer = (rest) => this.send({ messageType: "register", channelID, uaid: this.uaid, ...rest });
    if (!UUID.test(channelID)) return this.#violation(`register: channelID ${JSON.stringify(channelID)}`);
    if (!publicKey(decode(key))) return answer({ status: 400 });
    const subscription = this.service.register(this.uaid, channelID, key);
    answer(subscription ? { status: 200, pushEndpoint: subscription.endpoint } : { status: 409 });
  }

  #unregister({ channelID, code }) {
    this.service.unregister(this.uaid, channelID, code);
    this.send({ messageType: "unregister", channelID, status: 200 });
  }

  #ack({ updates }) {
    if (!Array.isArray(updates)) return this.#violation("ack: no updates");
    for (const { channelID, version, code } of updates) this.service.acknowledge({ uaid: this.uaid, channelID, version, code });
  }
}

/** Listens on a port of 127.0.0.1; returns { url, drop(), close() }. */
export async function listenForAgents(service) {
  const handleProtocols = (offered) => (offered.has("push-notification") ? "push-notification" : false);
  const verifyClient = ({ req }, done) => {
    const offered = String(req.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    done(offered.includes("push-notification"), 400, "wanted the subprotocol push-notification");
  };
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols, verifyClient, maxPayload: 65_536 });
  await once(server, "listening");
  server.on("connection", (socket) => new Agent(service, socket));
  const drop = () => {
    for (const socket of server.clients) socket.terminate();
  };
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    drop,
    async close() {
      drop();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
