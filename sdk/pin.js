// What an app writes down about a release, and its one grammar.
//
// A pin has two forms of the same fact that a browser can act on: `policy`, the Content Security
// Policy that the enclave's iframe must obey, which contains the loader's hash; and `wasm`, the
// hash of the module. The grammar is this strict because Chromium ignores a `csp` attribute that
// it cannot parse (a line break, a comma, a report-uri), without a word, and then enforces nothing.
//
//   policy  default-src 'none'; script-src 'sha384-…' 'wasm-unsafe-eval'; worker-src blob:;
//           connect-src 'none'; base-uri 'none'; form-action 'none'            (one line)
//   wasm    sha384-…                                        (64 characters of standard base64)
//   url     https://HOST/r/HEX/kms.html     HEX = the first 32 digits of the loader's hash in hex

import { hexOf, integrityFromHex } from "./bytes.js";
import { KmsError } from "./errors.js";

const HASH = "sha384-[A-Za-z0-9+/]{64}";
const POLICY = new RegExp(
  `^default-src 'none'; script-src '(${HASH})' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'$`,
);
const INTEGRITY = new RegExp(`^${HASH}$`);
const PATH = /^\/r\/([0-9a-f]{32})\/kms\.html$/;
const LOOPBACK = /^(localhost|127\.0\.0\.1|\[::1\])$/;

/**
 * A pin that obeys the grammar.
 * @typedef {object} Pinned
 * @property {string} policy what the iframe's `csp` attribute says
 * @property {string} loader hash of the loader, "sha384-…"
 * @property {string} wasm hash of the module, "sha384-…"
 * @property {string} measurement the loader's hash as 96 hexadecimal digits
 */

/**
 * One release at one host, checked.
 * @typedef {object} Release
 * @property {string} page URL of kms.html
 * @property {string} origin of the enclave
 * @property {string} prefix the first 32 hexadecimal digits of the measurement, from the URL
 * @property {Pinned | undefined} pinned nothing if the app pinned no release
 */

/**
 * Checks the grammar of URL and pin and that they name the same release.
 *
 * @param {unknown} url
 * @param {unknown} pin
 * @returns {Release}
 * @throws {KmsError} `invalid_request`, naming the option, if the grammar is broken or they contradict
 */
export function parseRelease(url, pin) {
  const { page, origin, prefix } = parseUrl(url);
  const pinned = pin === undefined ? undefined : parsePin(pin);
  if (pinned && !pinned.measurement.startsWith(prefix)) {
    throw invalid("url", `release ${prefix} wanted by the URL, but the pin is of ${pinned.measurement.slice(0, 32)}; take both from one release`);
  }
  return { page, origin, prefix, pinned };
}

/** @param {unknown} url */
function parseUrl(url) {
  if (typeof url !== "string" || !URL.canParse(url)) throw invalid("url", "absolute URL wanted, https://HOST/r/HEX/kms.html");
  const { protocol, hostname, origin, pathname, href } = new URL(url);
  if (protocol !== "https:" && !(protocol === "http:" && LOOPBACK.test(hostname))) {
    throw invalid("url", `https wanted (http on loopback only), got ${protocol}//`);
  }
  const path = PATH.exec(pathname);
  // Comparing with the parts refuses credentials, query, fragment and every second spelling.
  if (!path || href !== url || href !== origin + pathname) {
    throw invalid("url", "https://HOST/r/HEX/kms.html wanted, with 32 lower-case hexadecimal digits and nothing after it");
  }
  return { page: href, origin, prefix: path[1] };
}

/**
 * @param {unknown} pin
 * @returns {Pinned}
 */
function parsePin(pin) {
  const { policy, wasm } = /** @type {{ policy?: unknown, wasm?: unknown }} */ (typeof pin === "object" && pin !== null ? pin : {});
  const match = typeof policy === "string" ? POLICY.exec(policy) : null;
  if (typeof policy !== "string" || !match) {
    throw invalid("pin.policy", "the policy line that `enclave build` printed wanted, unchanged and without a line break");
  }
  if (!isIntegrity(wasm)) throw invalid("pin.wasm", "sha384- and 64 characters of base64 wanted");
  return { policy, loader: match[1], wasm, measurement: hexOf(match[1]) };
}

/**
 * The pin of a release with these two hashes.
 *
 * @param {string} measurement 96 hexadecimal digits
 * @param {string} wasm "sha384-…"
 * @returns {Pinned}
 * @throws {KmsError} `invalid_request` if they are not hashes
 */
export function pinOf(measurement, wasm) {
  const loader = integrityFromHex(measurement);
  const policy = `default-src 'none'; script-src '${loader}' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'`;
  return parsePin({ policy, wasm });
}

/**
 * Whether a value is a SHA-384 in the form of the `integrity` attribute.
 *
 * @param {unknown} value
 * @returns {value is string}
 */
export function isIntegrity(value) {
  return typeof value === "string" && INTEGRITY.test(value);
}

/**
 * The URL of a file of a release; every file's name is the start of its own hash.
 *
 * @param {Release} release
 * @param {string} integrity of the file
 * @param {"js" | "wasm"} extension
 * @returns {string}
 */
export function fileUrl(release, integrity, extension) {
  return new URL(`${hexOf(integrity).slice(0, 32)}.${extension}`, release.page).href;
}

/**
 * @param {string} option
 * @param {string} message
 */
function invalid(option, message) {
  return new KmsError("invalid_request", `${option}: ${message}`, { details: { member: option } });
}
