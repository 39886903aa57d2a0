// Browser KMS Enclave: the side of the app.
//
//   import { connect } from "./sdk/kms.js";
//   const kms = await connect({ url, pin, account: "alice", container });
//   const { key } = await kms.keys.create({ purpose: "signing" });
//   const { token } = await kms.jwt.sign({ kid: key.kid, audience: "https://api.example", ttlSeconds: 300 });
//
// The app holds this SDK in its own source. An SDK imported from the enclave's host would hand that
// host the app's origin, and with it everything that a pin is there to keep from it.

import { KmsError } from "./errors.js";
import { Connection, isTimeout } from "./lifecycle.js";
import { METHODS } from "./methods.js";
import { MirrorStore } from "./mirror.js";
import { parseRelease } from "./pin.js";
import { SHARE_BYTES, ShareStore } from "./share.js";

export { decodeBytes, encodeBytes } from "./bytes.js";
export { KmsError } from "./errors.js";

const TIMEOUT_MS = 10_000;
const ACCOUNT_BYTES = 128;
const LEVELS = Object.freeze(["enforced", "checked", "unpinned"]);
const OPTIONS = new Set(["url", "pin", "minimum", "account", "container", "timeoutMs", "share"]);

/**
 * Launches the enclave and connects to it. See ConnectOptions and Kms in kms.d.ts.
 *
 * @type {typeof import("./kms.d.ts").connect}
 * @throws {KmsError} `invalid_request` for bad options, with the option in details.member; `launch_refused`, `unsupported`, `timeout`,
 *   `integrity`, `internal`, `storage_unavailable` or `storage_full` if the pinned enclave, at the wanted level, could not be started
 *   within timeoutMs milliseconds
 */
export async function connect(options) {
  const plan = planOf(options);
  const connection = new Connection(plan);
  await connection.open();
  // Events that came with the launch wait until the app has had its turn to subscribe.
  setTimeout(() => connection.events.release(), 0);
  return surface(connection, askedFor(plan));
}

/**
 * @param {import("./kms.d.ts").ConnectOptions} options
 * @returns {import("./lifecycle.js").Plan}
 */
function planOf(options) {
  demand("options", typeof options === "object" && options !== null, "an object with url, pin and account wanted");
  const strange = Object.keys(options).find((name) => !OPTIONS.has(name));
  demand(strange ?? "", strange === undefined, `unknown option; ${[...OPTIONS].join(", ")} are known`);
  const { url, pin, account, container = document.body, timeoutMs = TIMEOUT_MS, share } = options;
  const { minimum = pin ? "checked" : "unpinned" } = options;
  const release = parseRelease(url, pin);
  demand("url", release.origin !== location.origin, "another origin than the app's wanted: on its own origin the enclave would be no enclave");
  demand("minimum", LEVELS.includes(minimum), `one of ${LEVELS.join(", ")} wanted`);
  if (!release.pinned && minimum !== "unpinned") throw new KmsError("launch_refused", `minimum: level "${minimum}" needs a pin`, { details: { cause: "level" } });
  demand("account", isAccount(account), `${account === undefined ? "missing; " : ""}a well-formed string of at most ${ACCOUNT_BYTES} bytes of UTF-8 wanted; one vault per account, and "" is one, too`);
  demand("container", container instanceof Element, "an element of this document wanted");
  demand("timeoutMs", isTimeout(timeoutMs), "a number of milliseconds from 1 to 2147483647 wanted");
  demand("share", share === undefined || (share instanceof Uint8Array && share.length === SHARE_BYTES), `a Uint8Array of ${SHARE_BYTES} bytes wanted`);
  return { release, minimum, account, container, timeoutMs, store: new ShareStore(release.origin, account, share), mirror: new MirrorStore(release.origin, account) };
}

/**
 * @param {string} option
 * @param {unknown} fulfilled
 * @param {string} message
 */
function demand(option, fulfilled, message) {
  if (!fulfilled) throw new KmsError("invalid_request", `${option}: ${message}`, { details: { member: option } });
}

/**
 * The loader's own rule. A lone surrogate has no UTF-8; this says what isWellFormed does, in browsers too
 * old to have it, which the loader is still to refuse in words.
 *
 * @param {unknown} account
 */
function isAccount(account) {
  return typeof account === "string" && !/\p{Surrogate}/u.test(account) && new TextEncoder().encode(account).length <= ACCOUNT_BYTES;
}

/**
 * Which release of which host the app asked for, and whose vault.
 *
 * @param {import("./lifecycle.js").Plan} plan
 * @returns {import("./kms.d.ts").Release}
 */
function askedFor({ release: { page, origin, pinned }, account }) {
  const pin = pinned && Object.freeze({ policy: pinned.policy, wasm: pinned.wasm });
  return Object.freeze({ url: page, origin, account, pin, measurement: pinned?.measurement });
}

/**
 * What the app holds: `call`, and the same once more by names.
 *
 * @param {Connection} connection
 * @param {import("./kms.d.ts").Release} release
 * @returns {import("./kms.d.ts").Kms}
 */
function surface(connection, release) {
  /** @type {Record<string, Record<string, Function>>} */
  const namespaces = {};
  for (const method of Object.keys(METHODS)) {
    const [namespace, name] = method.split(".");
    namespaces[namespace] ??= {};
    namespaces[namespace][name] = (/** @type {unknown} */ params, /** @type {import("./kms.d.ts").CallOptions} */ options) =>
      connection.call(method, params, options);
  }
  namespaces.mirror.status = () => connection.mirrorStatus();
  for (const namespace of Object.values(namespaces)) Object.freeze(namespace);
  const kms = {
    ...namespaces,
    release,
    get launch() {
      return connection.report;
    },
    /** @type {Connection["call"]} */
    call: (method, params, options) => connection.call(method, params, options),
    /** @type {import("./events.js").Events["on"]} */
    on: (event, listener) => connection.events.on(event, listener),
    /** @type {import("./events.js").Events["off"]} */
    off: (event, listener) => connection.events.off(event, listener),
    close: () => connection.close(),
  };
  return /** @type {import("./kms.d.ts").Kms} */ (/** @type {unknown} */ (Object.freeze(kms)));
}
