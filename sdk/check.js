// The level `checked`: fetch what the host serves and compare it with the pin, before connecting.
//
// This is for browsers that do not enforce the pin on the frame. It detects a host that serves a
// changed release to everybody. It does not stop one that serves these requests the true bytes and
// the frame others (Sec-Fetch-Dest tells them apart).

import { MAX_TEXT, bodyOf, textOf } from "./body.js";
import { integrityOf } from "./bytes.js";
import { quoted } from "./command.js";
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
  return headerDifference(response.headers.get("content-security-policy"), pinned) ?? pageDifference(await textOf(response, "page"), pinned);
}

/**
 * @param {import("./pin.js").Release} release
 * @param {import("./pin.js").Pinned} pinned
 * @param {AbortSignal} signal
 */
async function checkLoader(release, pinned, signal) {
  const response = await fetch(fileUrl(release, pinned.loader, "js"), { ...FETCH, signal });
  if (!response.ok) throw refused("status", `the enclave's loader was answered with HTTP ${response.status}`);
  const got = await integrityOf(await bodyOf(response, MAX_TEXT, "loader"));
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
  if (!header.startsWith(pinned.policy)) return `the host serves the enclave's page with another policy than the pinned one: ${quoted(header)}`;
  if (!HEADER_TAIL.test(header.slice(pinned.policy.length))) {
    return `the host adds something else than frame-ancestors and trusted types to the pinned policy: ${quoted(header)}`;
  }
  return undefined;
}

/**
 * How a page differs from the one text that a page of the pinned release is. Markup is not measured,
 * and HTML is not read with patterns: so nothing in it is left to the host.
 *
 * @param {string} body
 * @param {import("./pin.js").Pinned} pinned
 * @returns {string | undefined} nothing if it does not
 */
export function pageDifference(body, pinned) {
  if (body === pageOf(`${pinned.measurement.slice(0, 32)}.js`, pinned.loader)) return undefined;
  const named = /integrity="(sha384-[A-Za-z0-9+/]{64})"/.exec(body)?.[1];
  const other = named && named !== pinned.loader ? `; it names the loader ${named}` : "";
  return `the enclave's page is not the one that starts the pinned loader, ${pinned.loader}, and nothing else${other}`;
}

/**
 * web/kms.html.
 *
 * @param {string} script
 * @param {string} integrity
 */
const pageOf = (script, integrity) =>
  `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>KMS enclave</title>\n<body>\n<script src="${script}" integrity="${integrity}"></script>\n`;

/**
 * @param {string} what
 * @param {string} message
 */
function refused(what, message) {
  return new KmsError("launch_refused", `${message}; nothing was handed to it`, { details: { cause: "wrong-pin", what } });
}
