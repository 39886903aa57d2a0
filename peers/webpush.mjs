// npm's web-push and http_ece, for webpush_test.go: a JSON array of requests on standard input, their answers on
// standard output.

import { createRequire } from "node:module";
import { createECDH } from "node:crypto";

const require = createRequire(new URL("../e2e/package.json", import.meta.url));
const webpush = require("web-push");
const ece = createRequire(require.resolve("web-push"))("http_ece");
const { importJWK, jwtVerify } = await import(require.resolve("jose").replace(/^/, "file://"));

const operations = {
  /** A whole request, as web-push sends it. */
  request({ subscription, message }) {
    const { publicKey, privateKey } = webpush.generateVAPIDKeys();
    const vapidDetails = { subject: "mailto:ops@example.net", publicKey, privateKey };
    const { headers, body } = webpush.generateRequestDetails(subscription, Buffer.from(message, "base64url"), { vapidDetails, TTL: 60, contentEncoding: "aes128gcm" });
    return { authorization: headers.Authorization, encoding: headers["Content-Encoding"], body: body.toString("base64url"), publicKey };
  },
  decrypt({ privateKey, auth, body }) {
    const key = createECDH("prime256v1");
    key.setPrivateKey(privateKey, "base64url");
    return { message: ece.decrypt(Buffer.from(body, "base64url"), { version: "aes128gcm", privateKey: key, authSecret: auth }).toString("base64url") };
  },
  async verify({ token, publicKey, audience }) {
    const point = Buffer.from(publicKey, "base64url");
    const jwk = { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url") };
    const { payload } = await jwtVerify(token, await importJWK(jwk, "ES256"), { audience, algorithms: ["ES256"] });
    return payload;
  },
};

let text = "";
for await (const chunk of process.stdin) text += chunk;
const answers = [];
for (const { operation, ...rest } of JSON.parse(text)) answers.push(await operations[operation](rest));
process.stdout.write(JSON.stringify(answers));
