// What an app asks allowRelay for, checked.

import { KmsError } from "./errors.js";
import { MAX_TOKEN_SECONDS } from "./push-lease.js";

const OPTIONS = new Set(["relay", "worker", "scope", "module", "contact", "lifeSeconds", "tokenSeconds", "perHour", "perDay", "stash", "pushesPerHour"]);
const LOCAL = /^(localhost|127(\.\d{1,3}){3}|\[::1\]|.*\.localhost)$/;

/** @typedef {Required<Pick<import("./push.d.ts").RelayOptions, "relay" | "module" | "contact" | "lifeSeconds" | "tokenSeconds" | "stash" | "pushesPerHour">> & { worker: string, scope: string, perHour?: number, perDay?: number }} Plan */

/**
 * @param {import("./push.d.ts").RelayOptions} options
 * @returns {Plan}
 * @throws {KmsError} `invalid_request`
 */
export function planOf(options) {
  demand("options", typeof options === "object" && options !== null, "an object with relay, worker, scope and contact wanted");
  const strange = Object.keys(options).find((name) => !OPTIONS.has(name));
  demand(strange ?? "", strange === undefined, `unknown option; ${[...OPTIONS].join(", ")} are known`);
  const { module = false, contact, lifeSeconds = 43_200, stash = 4, pushesPerHour = 60, perHour, perDay } = options;
  const { tokenSeconds = Math.min(lifeSeconds, MAX_TOKEN_SECONDS) } = options;
  demand("module", typeof module === "boolean", "true or false wanted");
  demand("contact", typeof contact === "string" && /^(mailto:[^@\s]+@[^@\s]+|https:\/\/\S+)$/.test(contact), "mailto:someone@somewhere, or an https: page, wanted");
  number("lifeSeconds", lifeSeconds, 300, 2_592_000);
  number("tokenSeconds", tokenSeconds, 60, MAX_TOKEN_SECONDS);
  number("stash", stash, 2, 16);
  number("pushesPerHour", pushesPerHour, 1, 10_000);
  if (perHour !== undefined) number("perHour", perHour, 1, 240);
  if (perDay !== undefined) number("perDay", perDay, 1, 2000);
  const scope = ownURL("scope", options.scope);
  const worker = ownURL("worker", options.worker);
  return { relay: originOf(options.relay), worker, scope, module, contact, lifeSeconds, tokenSeconds, perHour, perDay, stash, pushesPerHour };
}

/** @param {unknown} relay */
function originOf(relay) {
  const url = typeof relay === "string" ? urlOf(relay) : undefined;
  const plain = url !== undefined && url.pathname === "/" && !url.search && !url.hash && !url.username && !url.password;
  const safe = url?.protocol === "https:" || (url?.protocol === "http:" && LOCAL.test(url.hostname));
  demand("relay", plain && safe, "an origin with https wanted, or with http on this device");
  return /** @type {URL} */ (url).origin;
}

/**
 * @param {string} member
 * @param {unknown} value
 */
function ownURL(member, value) {
  const url = value instanceof URL || typeof value === "string" ? urlOf(value) : undefined;
  demand(member, url?.origin === location.origin && !url.hash && !url.search, "a URL of the app's own origin, without a query, wanted");
  return /** @type {URL} */ (url).href;
}

/** @param {string | URL} text */
function urlOf(text) {
  try {
    return new URL(text, location.href);
  } catch {
    return undefined;
  }
}

/**
 * @param {string} member
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 */
function number(member, value, least, most) {
  demand(member, Number.isInteger(value) && Number(value) >= least && Number(value) <= most, `a whole number from ${least} to ${most} wanted`);
}

/**
 * @param {string} member
 * @param {unknown} fulfilled
 * @param {string} message
 */
export function demand(member, fulfilled, message) {
  if (!fulfilled) throw new KmsError("invalid_request", `${member}: ${message}`, { details: { member } });
}
