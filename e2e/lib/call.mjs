// Calls that wait for a person: they are begun in the app's page, and end there some dialogs later.

import assert from "node:assert/strict";
import { eventually } from "./process.mjs";

/** Begins a call of window.kms. What becomes of it is { result } or { code, message } in window.outcome. */
export const begin = (page, method, params = {}) => page.evaluate((method, params) => {
  window.outcome = undefined;
  kms.call(method, params).then((result) => (window.outcome = { result }), ({ code, message }) => (window.outcome = { code, message }));
}, method, params);

/** What became of the call that was begun last. */
export const ended = (page) => eventually("the call's end", () => page.evaluate(() => window.outcome), { timeoutMs: 60_000 });

/** The result of the call that was begun last, which is not to fail. */
export async function result(page) {
  const { result, code, message } = await ended(page);
  assert.ok(result, `${code}: ${message}`);
  return result;
}
