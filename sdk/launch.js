// Measured launch: from a pin to a session with exactly the pinned release, or an error that says why not.
//
// What can run at the same time does: the frame loads, the module is fetched, the share is read and
// the level is proved. Only then is anything handed over. docs/protocol.md section 2 has the handshake.

import { MAX_MODULE, bodyOf } from "./body.js";
import { hexOf } from "./bytes.js";
import { proveEnforcement } from "./canary.js";
import { FETCH, checkRelease } from "./check.js";
import { AppPolicyWatch, diagnose, tooOld } from "./diagnose.js";
import { View } from "./dialog.js";
import { KmsError, asKmsError } from "./errors.js";
import { fileUrl, isIntegrity } from "./pin.js";
import { Session, refusal } from "./session.js";
import { isIsolated, warningsAbout } from "./surroundings.js";

/** How long a frame that has loaded may be silent before the SDK looks for a reason, in milliseconds. */
const SILENCE_MS = 500;

/**
 * @typedef {object} Plan
 * @property {import("./pin.js").Release} release
 * @property {string} account
 * @property {Element} container
 * @property {import("./kms.d.ts").Level} minimum
 * @property {number} timeoutMs for all of it: milliseconds from 1 to 2^31-1
 * @property {() => Promise<import("./share.js").Held>} held share and marker
 */

/**
 * @typedef {object} Launched
 * @property {Session} session
 * @property {import("./share.js").Held} held what it was launched with
 * @property {import("./kms.d.ts").Launch} report
 */

// What package release demands of them: no room for a host's own words.
const VERSION = /^(dev|\d{1,9}(\.\d{1,9}){2}(-[0-9A-Za-z.-]{1,32})?(\+[0-9A-Za-z.-]{1,32})?)$/;
const MEASUREMENT = /^[0-9a-f]{96}$/;

/** @typedef {{ version: string, commit: string, measurement: string, wasm: string }} Ready */

/**
 * Launches a release. When it has thrown, nothing of it is left: no frame, no worker, no timer.
 *
 * @param {Plan} plan
 * @param {import("./session.js").Listener} listener of the session
 * @returns {Promise<Launched>} within the plan's timeoutMs
 * @throws {KmsError} `launch_refused` if what runs would not be the release or the level; `unsupported` if the browser cannot; `timeout`
 *   after timeoutMs; `invalid_request` if the container left the document; `integrity`, `storage_unavailable`, `storage_full` or
 *   `internal` as share and worker say
 */
export async function launch(plan, listener) {
  const old = tooOld();
  if (old) throw old;
  if (!plan.container.isConnected) throw new KmsError("invalid_request", "container: an element that is in the document wanted; frames load nowhere else", { details: { member: "container" } });
  return await new Attempt(plan, listener).run();
}

class Attempt {
  #plan;
  #listener;
  #over = new AbortController();
  #clock = new Stopwatch();
  #app;
  #view;
  /** @type {Session | undefined} */ #session;

  /**
   * @param {Plan} plan
   * @param {import("./session.js").Listener} listener
   */
  constructor(plan, listener) {
    this.#plan = plan;
    this.#listener = listener;
    this.#app = new AppPolicyWatch(plan.release.origin);
    this.#view = new View(plan.release, plan.container);
  }

  /** @returns {Promise<Launched>} */
  async run() {
    const limit = this.#deadline();
    const ready = this.#clock.time("frame", awaitReady(this.#view.iframe, this.#plan.release, this.#over.signal));
    try {
      return await first([this.#establish(ready), this.#app.blocked, this.#suspect(ready), limit]);
    } catch (error) {
      const explained = await this.#explain(error, limit);
      this.#session?.dispose();
      this.#view.remove();
      throw explained;
    } finally {
      this.#over.abort();
      this.#app.stop();
    }
  }

  /**
   * @param {Promise<Ready>} ready
   * @returns {Promise<Launched>}
   */
  async #establish(ready) {
    const [hello, proof, wasm, held, isolated] = await Promise.all([
      ready,
      this.#clock.time("level", reachLevel(this.#plan, this.#view.dialog, this.#over.signal)),
      this.#clock.time("wasm", this.#module(ready)),
      this.#clock.time("share", this.#plan.held()),
      isIsolated(),
    ]);
    const warnings = warningsAbout(isolated);
    this.#over.signal.throwIfAborted();
    this.#session = new Session(this.#view, this.#listener);
    this.#session.connect(this.#plan.release.origin, { account: this.#plan.account, share: held.share, marker: held.marker, wasm });
    const data = await this.#clock.time("worker", this.#session.started);
    const { version, commit, measurement } = hello;
    const timings = { ...this.#clock.marks, total: this.#clock.now(), enclave: timingsOf(data) };
    return { session: this.#session, held, report: Object.freeze({ ...proof, warnings, version, commit, measurement, timings, memory: memoryOf(data) }) };
  }

  /**
   * The module's bytes; under a pin fetched at once, else the one that the loader names. Nothing is
   * checked here: the worker compiles them only if they have the hash that its loader carries, and
   * the loader is the pinned one. Checking twice would cost a fifth of the launch.
   *
   * @param {Promise<Ready>} ready
   * @returns {Promise<ArrayBuffer>}
   */
  async #module(ready) {
    const { release } = this.#plan;
    const integrity = release.pinned?.wasm ?? (await ready).wasm;
    const response = await fetch(fileUrl(release, integrity, "wasm"), { ...FETCH, signal: this.#over.signal });
    if (!response.ok) throw new KmsError("launch_refused", `the enclave's host answers HTTP ${response.status} for the module ${integrity}: this release was withdrawn there, or url, pin.policy and pin.wasm are not of one release`, { details: { cause: "not-found" } });
    return (await bodyOf(response, MAX_MODULE, "module")).buffer;
  }

  /** @returns {Promise<never>} rejects when the time is used up */
  #deadline() {
    const { timeoutMs } = this.#plan;
    return new Promise((_, reject) => {
      const timer = setTimeout(() => reject(new KmsError("timeout", `connect: not within ${timeoutMs} ms; ${this.#clock.pending()}`, { retryable: true })), timeoutMs);
      this.#over.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    });
  }

  /**
   * Looks for a reason when the frame stays silent; rejects if there is one, and never resolves.
   *
   * @param {Promise<Ready>} ready
   * @returns {Promise<never>}
   */
  async #suspect(ready) {
    const { signal } = this.#over;
    const loaded = new Promise((resolve) => this.#view.iframe.addEventListener("load", resolve, { once: true, signal }));
    const silence = loaded.then(() => pause(SILENCE_MS, signal));
    const half = pause(this.#plan.timeoutMs / 2, signal);
    const silent = await Promise.race([silence.then(() => true), half.then(() => true), ready.then(() => false, () => false)]);
    const reason = silent ? await diagnose(this.#plan.release, this.#app, this.#over.signal) : undefined;
    if (reason) throw reason;
    return await new Promise(() => {});
  }

  /**
   * Turns what fetch throws, which says nothing, into words.
   *
   * @param {unknown} error
   * @param {Promise<never>} limit
   * @returns {Promise<KmsError>}
   */
  async #explain(error, limit) {
    if (error instanceof KmsError) return error;
    const reason = await first([diagnose(this.#plan.release, this.#app, this.#over.signal), limit]).catch(() => undefined);
    return reason ?? asKmsError(error, "launch_refused", "the enclave could not be launched");
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal ends it without a result, and lets go of the timer
 * @returns {Promise<void>}
 */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return;
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  });
}

/**
 * The first of the promises to settle; the others may reject unheard.
 *
 * @template T
 * @param {Promise<T>[]} promises
 * @returns {Promise<T>}
 */
function first(promises) {
  for (const promise of promises) promise.catch(() => {});
  return Promise.race(promises);
}

/**
 * The launch level that is reached, and why not a higher one.
 *
 * @param {Plan} plan
 * @param {Element} parent for the canary
 * @param {AbortSignal} signal
 * @returns {Promise<{ level: import("./kms.d.ts").Level, why: string }>}
 * @throws {KmsError} `launch_refused` if it is below the minimum, or the host serves something else
 */
async function reachLevel({ release, minimum }, parent, signal) {
  if (!release.pinned) {
    return { level: "unpinned", why: "The app pinned no release, so whatever the host serves is what runs." };
  }
  const { enforced, why } = await proveEnforcement(release.pinned.policy, parent, signal);
  if (enforced) return { level: "enforced", why: `The browser itself refuses anything but the pinned release: ${why}.` };
  if (minimum === "enforced") {
    throw new KmsError("launch_refused", `level "enforced" wanted, but ${why}; use a Chromium-based browser, or accept minimum "checked"`, {
      details: { cause: "level", level: "checked" },
    });
  }
  await checkRelease(release, release.pinned, signal);
  return {
    level: "checked",
    why: `Page and loader were fetched and are the pinned ones, but ${why}: a host that serves this check one thing and the frame another is not noticed.`,
  };
}

/**
 * Waits for the loader's one window message, and stops listening.
 *
 * @param {HTMLIFrameElement} iframe
 * @param {import("./pin.js").Release} release
 * @param {AbortSignal} signal stops listening as well
 * @returns {Promise<Ready>}
 */
function awaitReady(iframe, release, signal) {
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    signal.addEventListener("abort", () => done.abort(), { once: true });
    /** @param {MessageEvent} event */
    const listen = (event) => {
      if (event.source !== iframe.contentWindow || event.origin !== release.origin || event.data?.kmsEnclave !== 1) return;
      done.abort();
      try {
        resolve(acceptReady(event.data, release));
      } catch (error) {
        reject(error);
      }
    };
    window.addEventListener("message", listen, { signal: done.signal });
  });
}

/**
 * @param {Record<string, unknown>} message
 * @param {import("./pin.js").Release} release
 * @returns {Ready}
 */
function acceptReady(message, { pinned, prefix }) {
  const { type, version, commit, measurement, wasm, reason, message: words } = message;
  if (type === "refused") throw refusal(reason, String(words));
  const wellFormed = type === "ready" && typeof version === "string" && typeof commit === "string" && typeof measurement === "string";
  if (!wellFormed || !isIntegrity(wasm) || !VERSION.test(version) || !MEASUREMENT.test(measurement)) {
    throw new KmsError("launch_refused", "the enclave's first message is not of this protocol; SDK and release do not fit together");
  }
  const wanted = pinned ? measurement === pinned.measurement && wasm === pinned.wasm : measurement.startsWith(prefix);
  if (!wanted) {
    throw new KmsError("launch_refused", `the loader says it is ${measurement} with wasm ${hexOf(wasm)}, which is not what was asked for`, {
      details: { cause: "wrong-pin", measurement, wasm },
    });
  }
  return { version, commit, measurement, wasm };
}

/**
 * @param {unknown} data of the event "ready"
 * @returns {Record<string, number>} milliseconds
 */
function timingsOf(data) {
  const { timings } = /** @type {{ timings?: Record<string, unknown> }} */ (data ?? {});
  return Object.fromEntries(Object.entries(timings ?? {}).flatMap(([name, value]) => (typeof value === "number" ? [[name, value]] : [])));
}

/**
 * @param {unknown} data of the event "ready"
 * @returns {number} bytes
 */
function memoryOf(data) {
  const { memory } = /** @type {{ memory?: unknown }} */ (data ?? {});
  return typeof memory === "number" ? memory : 0;
}

/** Milliseconds since the launch began, of each step's end. */
class Stopwatch {
  #start = performance.now();
  /** @type {Set<string>} */ #running = new Set();
  /** @type {Record<string, number>} */ marks = {};

  now() {
    return Math.round((performance.now() - this.#start) * 10) / 10;
  }

  /**
   * @template T
   * @param {string} name
   * @param {Promise<T>} step
   * @returns {Promise<T>} the step
   */
  async time(name, step) {
    this.#running.add(name);
    const value = await step;
    this.#running.delete(name);
    this.marks[name] = this.now();
    return value;
  }

  /** In words, for a time-out. */
  pending() {
    return `still waiting for: ${[...this.#running].join(", ")}`;
  }
}
