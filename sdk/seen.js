// The release that this app saw last, so that an update is noticed.
//
// One entry per (enclave origin, account) in the app's own localStorage:
//
//   key    "kms-enclave/seen " and the JSON of [origin, account]
//   value  JSON of { measurement, version, at }           at: milliseconds since 1970
//
// It is a memory and no proof: whoever can write to the app's origin can change it. Storage that is
// forbidden, full or foreign makes it forget; it never makes the app fail.

import { isMeasurement } from "./fingerprint.js";

/** @typedef {{ measurement: string, version: string, at: number }} Seen */

/**
 * What was noted last.
 *
 * @param {string} origin of the enclave
 * @param {string} account
 * @param {Storage} [storage]
 * @returns {Seen | undefined} nothing if nothing was, or it cannot be read
 */
export function lastSeen(origin, account, storage) {
  try {
    const { measurement, version, at } = JSON.parse((storage ?? localStorage).getItem(keyOf(origin, account)) ?? "{}");
    return isMeasurement(measurement) && typeof version === "string" && Number.isFinite(at) ? { measurement, version, at } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Notes a release as seen.
 *
 * @param {string} origin of the enclave
 * @param {string} account
 * @param {{ measurement: string, version: string }} release
 * @param {Storage} [storage]
 * @returns {boolean} whether it will be remembered
 */
export function noteSeen(origin, account, { measurement, version }, storage) {
  try {
    const kept = storage ?? localStorage;
    kept.setItem(keyOf(origin, account), JSON.stringify({ measurement, version, at: Date.now() }));
    return kept.getItem(keyOf(origin, account)) !== null;
  } catch {
    return false;
  }
}

/**
 * @param {string} origin
 * @param {string} account
 */
function keyOf(origin, account) {
  return `kms-enclave/seen ${JSON.stringify([origin, account])}`;
}
