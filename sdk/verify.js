// Verifying again, after the launch: what the person behind the button of <kms-status> gets.
//
// Each check says who vouches for it, because that is what it is worth:
//
//   enclave  the enclave's own account; a page cannot vouch for itself
//   app      this SDK, in the app's origin, fetched it and compared it
//   browser  the browser was seen to do it
//
// Without a pin there is nothing to compare with but the release's own words. Then the same checks
// show only that the host is consistent with itself, and `pinned` in the result is false.

import { integrityOf } from "./bytes.js";
import { proveEnforcement } from "./canary.js";
import { FETCH, fetchPage, responseDifference } from "./check.js";
import { asKmsError } from "./errors.js";
import { isMeasurement } from "./fingerprint.js";
import { fileUrl, isIntegrity, parseRelease, pinOf } from "./pin.js";

/** How long all of it may take, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** @typedef {import("./status.d.ts").Check} Check */

/**
 * @typedef {object} Subject
 * @property {import("./kms.d.ts").Kms} [kms] a connection; without one only the host is looked at
 * @property {string} url
 * @property {import("./kms.d.ts").Pin} [pin]
 * @property {Element} parent in the document, where the canary may be for a moment
 */

/** What the host serves. */
const FILES = /** @type {const} */ (["page", "loader", "wasm"]);

/**
 * Verifies what a host serves and what a connection runs, within 30 seconds. It does not reject for what it finds.
 *
 * @param {Subject} subject
 * @param {(check: Check) => void} [onCheck] told of each check when it is done
 * @returns {Promise<import("./status.d.ts").Verification>}
 * @throws {KmsError} `invalid_request` if URL or pin break the grammar
 */
export async function verify(subject, onCheck = () => {}) {
  const release = parseRelease(subject.url, subject.pin);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const own = subject.kms && (await ownAccount(subject.kms));
  const expected = release.pinned ?? claimed(subject.kms?.launch.measurement, own?.wasm);
  /** @type {Promise<Check>[]} */
  const checks = [];
  /** @param {Promise<Check>} check */
  const add = (check) => checks.push(check.then((done) => (onCheck(done), done)));
  if (own) add(Promise.resolve(own.check));
  if (subject.kms && own) add(Promise.resolve(running(subject.kms.launch.measurement, own, expected)));
  if (expected) for (const name of FILES) add(served(name, () => LOOKS[name](release, expected, signal)));
  if (release.pinned) add(enforcement(release.pinned.policy, subject, signal));
  const done = await Promise.all(checks);
  return Object.freeze({ verdict: verdictOf(done), pinned: release.pinned !== undefined, at: Date.now(), checks: done });
}

/**
 * The verdict over all checks. Nothing checked is nothing matched.
 *
 * @param {readonly Check[]} checks
 * @returns {import("./status.d.ts").Verification["verdict"]}
 */
export function verdictOf(checks) {
  if (checks.some(({ outcome }) => outcome === "failed")) return "mismatch";
  const complete = FILES.every((file) => checks.some(({ name, outcome }) => name === file && outcome === "passed"));
  return complete && checks.every(({ outcome }) => outcome !== "unknown") ? "matched" : "incomplete";
}

/**
 * The pin that a release without one would have, if its own words are true.
 *
 * @param {unknown} measurement
 * @param {unknown} wasm
 */
function claimed(measurement, wasm) {
  return isMeasurement(measurement) && isIntegrity(wasm) ? pinOf(measurement, wasm) : undefined;
}

/**
 * What the enclave says of itself.
 *
 * @param {import("./kms.d.ts").Kms} kms
 * @returns {Promise<{ check: Check, wasm?: string, measurement?: string }>}
 */
async function ownAccount(kms) {
  try {
    const { ok, wasm, loader, tests, milliseconds } = await kms.enclave.selfTest();
    const wrong = tests.filter(({ ok, error }) => !ok && error !== "not available here").map(({ name }) => name);
    const detail = ok ? `${tests.filter((test) => test.ok).length} known answers, ${Math.round(milliseconds)} ms` : `wrong answers: ${wrong.join(", ") || "none was tested"}`;
    return { check: check("selfTest", "enclave", ok ? "passed" : "failed", detail), wasm, measurement: loader.measurement };
  } catch (error) {
    return { check: check("selfTest", "enclave", "unknown", asKmsError(error, "internal", "self-test").message) };
  }
}

/**
 * Compares what the enclave says it runs with what was expected.
 *
 * @param {string} launched the measurement at launch
 * @param {{ wasm?: string, measurement?: string }} own
 * @param {import("./pin.js").Pinned | undefined} expected
 * @returns {Check}
 */
function running(launched, own, expected) {
  if (own.wasm === undefined || !expected) return check("running", "enclave", "unknown", "it gave no account of itself");
  const same = own.wasm === expected.wasm && own.measurement === expected.measurement && launched === expected.measurement;
  return check("running", "enclave", same ? "passed" : "failed", same ? "" : `it says loader ${own.measurement} and module ${own.wasm}`);
}

/** What the host serves now, one file each. */
const LOOKS = Object.freeze({
  /** @type {Look} */
  page: async (release, expected, signal) => {
    const response = await fetchPage(release, signal);
    return response.ok ? await responseDifference(response, expected) : unserved(response);
  },
  /** @type {Look} */
  loader: (release, expected, signal) => fileDifference(fileUrl(release, expected.loader, "js"), expected.loader, signal),
  /** @type {Look} */
  wasm: (release, expected, signal) => fileDifference(fileUrl(release, expected.wasm, "wasm"), expected.wasm, signal),
});

/** @typedef {(release: import("./pin.js").Release, expected: import("./pin.js").Pinned, signal: AbortSignal) => Promise<string | undefined>} Look returns how it differs */

/**
 * @param {"page" | "loader" | "wasm"} name
 * @param {() => Promise<string | undefined>} look
 * @returns {Promise<Check>} unknown if there was no answer: what cannot be fetched proves nothing
 */
async function served(name, look) {
  try {
    const difference = await look();
    return check(name, "app", difference === undefined ? "passed" : "failed", difference ?? "");
  } catch (error) {
    return check(name, "app", "unknown", asKmsError(error, "launch_refused", "it could not be fetched").message);
  }
}

/**
 * Fetches past the browser's cache, which may hold what the host served earlier.
 *
 * @param {string} url
 * @param {string} wanted
 * @param {AbortSignal} signal
 * @returns {Promise<string | undefined>}
 */
async function fileDifference(url, wanted, signal) {
  const response = await fetch(url, { ...FETCH, cache: "no-store", signal });
  if (!response.ok) return unserved(response);
  const got = await integrityOf(await response.arrayBuffer());
  return got === wanted ? undefined : `got ${got}, wanted ${wanted}`;
}

/**
 * @param {Response} response
 * @returns {never}
 */
function unserved({ status }) {
  throw new Error(`the host answered HTTP ${status}`);
}

/**
 * @param {string} policy
 * @param {Subject} subject
 * @param {AbortSignal} signal
 * @returns {Promise<Check>} failed only where the launch had shown it; a browser that cannot do it is no surprise
 */
async function enforcement(policy, { kms, parent }, signal) {
  const { enforced, why } = await proveEnforcement(policy, parent, signal);
  const lost = kms?.launch.level === "enforced";
  return check("enforcement", "browser", enforced ? "passed" : lost ? "failed" : "unavailable", why);
}

/**
 * @param {Check["name"]} name
 * @param {Check["by"]} by
 * @param {Check["outcome"]} outcome
 * @param {string} detail
 * @returns {Check}
 */
function check(name, by, outcome, detail) {
  return Object.freeze({ name, by, outcome, detail });
}
