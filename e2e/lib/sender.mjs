// An application server for tests: npm's web-push encrypts, signs and sends; what it would not send
// goes out by post().

import { readFile } from "node:fs/promises";
import { Agent, request as httpsRequest } from "node:https";
import webpush from "web-push";

/** Sends a request over HTTP/1.1, trusting ca (PEM); resolves with { status, headers, text }. Headers that are undefined are left out. */
export function post({ endpoint, headers, body, method = "POST" }, ca) {
  const present = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
  return new Promise((resolve, reject) => {
    const request = httpsRequest(endpoint, { method, headers: present, ca, agent: false }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, headers: response.headers, text });
    });
    request.on("error", reject);
    request.setTimeout(3000, () => request.destroy(new Error("timeout")));
    request.end(body);
  });
}

/** One application server with a VAPID key of its own, which trusts a push service's authority. */
export class Sender {
  static contact = "mailto:push@app.example";

  static async to(service, keys = webpush.generateVAPIDKeys()) {
    const sender = new Sender();
    Object.assign(sender, { service, keys, ca: await readFile(service.caFile) });
    return sender;
  }

  get publicKey() {
    return this.keys.publicKey;
  }

  #options(more) {
    return { TTL: 60, vapidDetails: { subject: Sender.contact, ...this.keys }, ...more };
  }

  /** Sends with web-push; resolves with the status, also of a refusal. */
  async send(subscription, text, options) {
    try {
      return (await webpush.sendNotification(subscription, text, { agent: new Agent({ ca: this.ca }), ...this.#options(options) })).statusCode;
    } catch (error) {
      if (error.statusCode === undefined) throw error;
      return error.statusCode;
    }
  }

  /** The request that web-push would send, to be changed: { endpoint, headers, body }. */
  request(subscription, text, options) {
    const { endpoint, headers, body } = webpush.generateRequestDetails(subscription, text, this.#options(options));
    return { endpoint, headers, body };
  }

  /** An Authorization by web-push for this audience, good until expires (Unix seconds). */
  authorization(audience, expires) {
    const { publicKey, privateKey } = this.keys;
    return webpush.getVapidHeaders(audience, Sender.contact, publicKey, privateKey, "aes128gcm", expires).Authorization;
  }

  /** Sends a request; resolves with its status. */
  async post(request) {
    return (await post(request, this.ca)).status;
  }
}
