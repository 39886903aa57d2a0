// The level `checked`: fetch what the host serves and compare it with the pin, before connecting.
//
// This is for browsers that do not enforce the pin on the frame. It detects a host that serves a
// changed release to everybody. It does not stop one that serves these requests the true bytes and
// the frame others (Sec-Fetch-Dest tells them apart).

import { integrityOf } from "./bytes.js";
import { KmsError } from "./errors.js";
import { fileUrl } from "./pin.js";

/** How every file of a release is fetched: nothing of the user's goes along. */
export const FETCH = Object.freeze({
  mode: /** @type {const} */ ("cors"),
  credentials: /** @type {const} */ ("omit"),
  redirect: /** @type {const} */ ("error"),
  referrerPolicy: /** @type {const} */ ("no-referrer"),
});

// The response header is the pin and these three, in this order.
const HEADER_TAIL = /^; frame-ancestors [^;,]+; require-trusted-types-for 'script'; trusted-types enclave$/;

// All that kms.html may consist of. Text is not measured and need not be: the loader stops the
// parser and replaces the document.
const TAGS = new Set(["html", "head", "meta", "title", "body", "script"]);

/**
 * Compares page, response header and loader with the pin.
 *
 * @param {import("./pin.js").Release} release
 * @param {import("./pin.js").Pinned} pinned
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 * @throws {KmsError} `launch_refused` if they differ; TypeError of fetch if there is no answer
 */
export async function checkRelease(release, pinned, signal) {
  await Promise.all([checkPage(release, pinned, signal), checkLoader(release, pinned, signal)]);
}

/**
 * @param {import("./pin.js").Release} release
 * @param {import("./pin.js").Pinned} pinned
 * @param {AbortSignal} signal
 */
async function checkPage(release, pinned, signal) {
  const response = await fetchPage(release, signal);
  if (!response.ok) throw refused("status", `the enclave's page was answered with HTTP ${response.status}`);
  const difference = await responseDifference(response, pinned);
  if (difference) throw refused("page", difference);
}

/**
 * The enclave's page as the host serves it now, never from a cache.
 *
 * @param {import("./pin.js").Release} release
 * @param {AbortSignal} signal
 * @returns {Promise<Response>}
 */
export function fetchPage(release, signal) {
  return fetch(release.page, { ...FETCH, cache: "no-store", signal });
}

/**
 * How a page, with its response header, differs from what the pin demands.
 *
 * @param {Response} response
 * @param {import("./pin.js").Pinned} pinned
 * @returns {Promise<string | undefined>} nothing if it does not
 */
export async function responseDifference(response, pinned) {
  return headerDifference(response.headers.get("content-security-policy"), pinned) ?? pageDifference(await response.text(), pinned);
}

/**
 * @param {import("./pin.js").Release} release
 * @param {import("./pin.js").Pinned} pinned
 * @param {AbortSignal} signal
 */
async function checkLoader(release, pinned, signal) {
  const response = await fetch(fileUrl(release, pinned.loader, "js"), { ...FETCH, signal });
  if (!response.ok) throw refused("status", `the enclave's loader was answered with HTTP ${response.status}`);
  const got = await integrityOf(await response.arrayBuffer());
  if (got !== pinned.loader) throw refused("loader", `the host serves a loader with ${got}, the pin says ${pinned.loader}`);
}

/**
 * How a Content-Security-Policy response header differs from what the pin demands.
 *
 * @param {string | null} header several headers arrive joined by commas, which no pin contains
 * @param {import("./pin.js").Pinned} pinned
 * @returns {string | undefined} nothing if it does not
 */
export function headerDifference(header, pinned) {
  if (header === null) return "the host serves the enclave's page without a Content-Security-Policy, or does not let the app read it";
  if (!header.startsWith(pinned.policy)) return `the host serves the enclave's page with another policy than the pinned one: ${header}`;
  if (!HEADER_TAIL.test(header.slice(pinned.policy.length))) {
    return `the host adds something else than frame-ancestors and trusted types to the pinned policy: ${header}`;
  }
  return undefined;
}

/**
 * How a page differs from a page that loads the pinned loader and nothing else.
 *
 * @param {string} body
 * @param {import("./pin.js").Pinned} pinned
 * @returns {string | undefined} nothing if it does not
 */
export function pageDifference(body, pinned) {
  const tags = Array.from(body.matchAll(/<\/?([a-z][^\s/>]*)[^>]*>/gi), ([text, name]) => ({ text, name: name.toLowerCase() }));
  const strange = tags.find(({ name, text }) => !TAGS.has(name) || /\shttp-equiv/i.test(text));
  if (strange) return `the enclave's page contains ${strange.text}`;
  const scripts = tags.filter(({ name, text }) => name === "script" && !text.startsWith("</"));
  const integrity = scripts.length === 1 ? /\sintegrity="([^"]*)"/.exec(scripts[0].text)?.[1] : undefined;
  if (integrity !== pinned.loader) return `the enclave's page loads ${integrity ?? "something else than one script with a hash"}, the pin says ${pinned.loader}`;
  return undefined;
}

/**
 * @param {string} what
 * @param {string} message
 */
function refused(what, message) {
  return new KmsError("launch_refused", `${message}; nothing was handed to it`, { details: { cause: "wrong-pin", what } });
}
