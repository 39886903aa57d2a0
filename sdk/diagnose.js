// Why the enclave's frame does not load, in words an app developer can act on.
//
// A page is told almost nothing about a cross-origin frame that failed. What can be found out:
// violations of the app's own policy are events on its document; and a release's files may be
// fetched by anyone (Access-Control-Allow-Origin: *), which shows what the host serves.

import { MAX_MODULE, MAX_TEXT, bodyOf } from "./body.js";
import { integrityOf } from "./bytes.js";
import { FETCH, fetchPage, responseDifference } from "./check.js";
import { KmsError } from "./errors.js";
import { fileUrl } from "./pin.js";

/** How long after a violation of fetch's its event may come, in milliseconds. */
const EVENT_MS = 50;

/**
 * What this browser lacks.
 *
 * @returns {KmsError | undefined}
 */
export function tooOld() {
  if (!globalThis.isSecureContext) {
    return new KmsError("unsupported", "the app's page must come from https (or from a loopback address while developing): browsers have no cryptography elsewhere");
  }
  const needed = {
    WebAssembly: typeof WebAssembly === "object",
    "crypto.subtle": typeof crypto?.subtle === "object",
    IndexedDB: typeof indexedDB === "object",
    "<dialog>": typeof HTMLDialogElement === "function" && "showModal" in HTMLDialogElement.prototype,
    "constructable style sheets": "adoptedStyleSheets" in Document.prototype,
    "AbortSignal.timeout": "timeout" in AbortSignal,
    "Web Locks": "locks" in navigator,
  };
  const missing = Object.entries(needed).flatMap(([name, there]) => (there ? [] : [name]));
  if (missing.length === 0) return undefined;
  return new KmsError("unsupported", `this browser is too old for the enclave; it lacks ${missing.join(", ")}`, { details: { cause: "too-old", missing } });
}

/** Notices when the app's own Content Security Policy blocks the enclave. */
export class AppPolicyWatch {
  /** Rejects when it does; never resolves. @readonly @type {Promise<never>} */ blocked;
  /** What blocked, if something did. @type {KmsError | undefined} */ error;
  #stop = () => {};

  /** @param {string} origin of the enclave */
  constructor(origin) {
    this.blocked = new Promise((_, reject) => {
      /** @param {SecurityPolicyViolationEvent} event */
      const listen = (event) => {
        if (event.disposition !== "enforce" || !concerns(event, origin)) return;
        this.error ??= blockedByApp(event, origin);
        reject(this.error);
      };
      document.addEventListener("securitypolicyviolation", listen);
      this.#stop = () => document.removeEventListener("securitypolicyviolation", listen);
    });
    this.blocked.catch(() => {});
  }

  stop() {
    this.#stop();
  }
}

/**
 * @param {SecurityPolicyViolationEvent} event
 * @param {string} origin
 */
function concerns({ blockedURI, effectiveDirective }, origin) {
  const ours = blockedURI === origin || blockedURI.startsWith(`${origin}/`);
  return ours && /^(frame-src|child-src|connect-src)$/.test(effectiveDirective);
}

/**
 * @param {SecurityPolicyViolationEvent} event
 * @param {string} origin
 */
function blockedByApp({ effectiveDirective, originalPolicy }, origin) {
  const directive = effectiveDirective === "child-src" ? "frame-src" : effectiveDirective;
  return new KmsError(
    "launch_refused",
    `this app's own Content-Security-Policy blocks the enclave: add "${directive} ${origin}" (it needs frame-src and connect-src)`,
    { details: { cause: "app-csp", directive, policy: originalPolicy } },
  );
}

/**
 * Looks at what the host serves and says what is wrong with it.
 *
 * @param {import("./pin.js").Release} release
 * @param {AppPolicyWatch} app
 * @param {AbortSignal} signal
 * @returns {Promise<KmsError | undefined>} nothing if everything looks right from here
 */
export async function diagnose(release, app, signal) {
  try {
    const response = await fetchPage(release, signal);
    if (!response.ok) return refused("not-found", `the enclave's host answers HTTP ${response.status} for ${release.page}; is this release still served?`);
    return frameRefused(response) ?? (release.pinned && (await differs(release, release.pinned, response, signal)));
  } catch (error) {
    if (error instanceof KmsError) return error;
    if (signal.aborted) return undefined;
    return await unreachable(release, app, signal);
  }
}

/** @param {Response} response */
function frameRefused(response) {
  const header = response.headers.get("content-security-policy") ?? "";
  const list = /(?:^|;)\s*frame-ancestors\s+([^;,]*)/i.exec(header)?.[1];
  if (list === undefined || allowsAncestor(list, location.origin)) return undefined;
  return refused(
    "frame-ancestors",
    `the enclave's host does not let ${location.origin} embed it: its frame-ancestors are ${list.trim()}; start it with --frame-ancestors ${location.origin}`,
  );
}

/**
 * Whether a frame-ancestors list (CSP 3 section 6.4.2) names an origin.
 *
 * @param {string} list
 * @param {string} origin
 * @returns {boolean}
 */
export function allowsAncestor(list, origin) {
  const { protocol, hostname, port } = new URL(origin);
  return list.trim().split(/\s+/).some((source) => {
    if (source === "*" || source === origin || source === protocol) return true;
    const parts = /^(?:([a-z][a-z0-9+.-]*:)\/\/)?(\*\.)?([^:/]+)(?::(\d+|\*))?\/?$/i.exec(source);
    if (!parts) return false;
    const [, scheme, wildcard, host, wantedPort] = parts;
    if (scheme && scheme.toLowerCase() !== protocol) return false;
    if (wantedPort !== "*" && (wantedPort ?? "") !== port) return false;
    return wildcard ? hostname.endsWith(`.${host.toLowerCase()}`) : hostname === host.toLowerCase();
  });
}

/**
 * @param {import("./pin.js").Release} release
 * @param {import("./pin.js").Pinned} pinned
 * @param {Response} page
 * @param {AbortSignal} signal
 */
async function differs(release, pinned, page, signal) {
  const difference = await responseDifference(page, pinned);
  if (difference) return refused("wrong-pin", `${difference}. Pin the release that the host serves, after checking it, or take the host's word for nothing`);
  const found = await Promise.all([
    fileDiffers("loader", fileUrl(release, pinned.loader, "js"), pinned.loader, MAX_TEXT, signal),
    fileDiffers("wasm", fileUrl(release, pinned.wasm, "wasm"), pinned.wasm, MAX_MODULE, signal),
  ]);
  return found.find((error) => error);
}

/**
 * @param {string} what
 * @param {string} url
 * @param {string} wanted
 * @param {number} limit in bytes
 * @param {AbortSignal} signal
 */
async function fileDiffers(what, url, wanted, limit, signal) {
  const response = await fetch(url, { ...FETCH, signal });
  if (!response.ok) return refused("not-found", `the enclave's host answers HTTP ${response.status} for the pinned ${what}, ${url}`);
  const got = await integrityOf(await bodyOf(response, limit, what));
  return got === wanted ? undefined : refused("wrong-pin", `the host serves a ${what} with ${got}, the pin says ${wanted}`);
}

/**
 * @param {import("./pin.js").Release} release
 * @param {AppPolicyWatch} app
 * @param {AbortSignal} signal
 */
async function unreachable(release, app, signal) {
  await new Promise((resolve) => setTimeout(resolve, EVENT_MS));
  if (app.error) return app.error;
  const answers = await fetch(release.page, { mode: "no-cors", credentials: "omit", cache: "no-store", signal }).then(() => true, () => false);
  if (answers) return refused("not-an-enclave", `${release.origin} answers, but not as an enclave: no Access-Control-Allow-Origin, or a redirect`);
  const offline = navigator.onLine ? "" : "; the browser is offline";
  return new KmsError("launch_refused", `the enclave's host cannot be reached: ${release.origin}${offline}; see whether it runs, and whether scheme and port are right`, { retryable: true, details: { cause: "unreachable" } });
}

/**
 * @param {string} cause
 * @param {string} message
 */
function refused(cause, message) {
  return new KmsError("launch_refused", message, { details: { cause } });
}
