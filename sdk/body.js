// Bodies of a host's answers, bounded: a host can answer without end, and fill the app's memory.

import { KmsError } from "./errors.js";

/** Largest module that is taken, in bytes: what package release allows a file. */
export const MAX_MODULE = 32 << 20;

/** Largest page or loader that is taken, in bytes; a loader has about a tenth of it. */
export const MAX_TEXT = 1 << 20;

/**
 * All of a body. The limit counts what arrives after decoding, because a small answer can decode
 * to a large one.
 *
 * @param {Response} response
 * @param {number} limit in bytes
 * @param {string} what it is, for the error
 * @returns {Promise<Uint8Array<ArrayBuffer>>} which owns the whole of its buffer
 * @throws {KmsError} `launch_refused` when there is more than limit
 */
export async function bodyOf(response, limit, what) {
  const reader = response.body?.getReader();
  /** @type {Uint8Array[]} */ const pieces = [];
  let length = 0;
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || !value) return joined(pieces, length);
    pieces.push(value);
    length += value.length;
    if (length <= limit) continue;
    await reader?.cancel().catch(() => {});
    throw new KmsError("launch_refused", `the enclave's host answers with a ${what} of more than ${limit >> 10} KiB; no release has such a one`, {
      details: { cause: "too-large" },
    });
  }
}

/**
 * The same as text. A release's page is ASCII.
 *
 * @param {Response} response
 * @param {string} what
 * @returns {Promise<string>}
 * @throws {KmsError} as bodyOf
 */
export async function textOf(response, what) {
  return new TextDecoder().decode(await bodyOf(response, MAX_TEXT, what));
}

/**
 * @param {Uint8Array[]} pieces
 * @param {number} length of all of them
 */
function joined(pieces, length) {
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
