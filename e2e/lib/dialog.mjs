// The user in front of the enclave's own dialog: real clicks and real typing in the measured frame.

import { eventually } from "./process.mjs";

/**
 * Has the frame's clock run four times as fast, which is the most that the wait lets it (Gate in web/screens/sight.js). For
 * tests that are not about how long it is.
 */
export const hurry = (frame) => frame.evaluate(() => {
  const real = performance.now.bind(performance);
  performance.now = () => real() * 4;
});

/** Types the word, waits out the time to think, and confirms. */
export async function confirmDestroy(page, enclave) {
  const frame = await page.frame(enclave);
  await frame.waitFor("#word");
  await hurry(frame);
  await frame.type("#word", "DELETE");
  await frame.waitFor("#confirm:enabled", 25_000);
  await frame.click("#confirm");
}

/** Says no. */
export async function cancelDialog(page, enclave) {
  const frame = await page.frame(enclave);
  await frame.click("#cancel");
}

/** Chooses a new passphrase. */
export async function newPassphrase(frame, passphrase) {
  await frame.fill({ "#passphrase": passphrase, "#repeat": passphrase }, "#next");
}

/** Proves to be there, with the passphrase or, in a vault without a lock, with the word alone. */
export async function prove(frame, { passphrase, word } = {}) {
  await frame.waitFor("[role=alertdialog] #confirm");
  await frame.fill({ ...(passphrase && { "#passphrase": passphrase }), ...(word && { "#word": word }) }, "#confirm");
}

/** Reads the phrase that is shown, goes on, and gives the words that are asked back. */
export async function learnPhrase(frame) {
  await frame.waitFor("#words");
  const words = await frame.evaluate(() => Array.from(document.querySelectorAll("#words li"), (item) => item.textContent));
  await frame.waitFor("#next:enabled", 20_000);
  await frame.click("#next");
  await frame.waitFor("[id^=word-]");
  const asked = await frame.evaluate(() => Array.from(document.querySelectorAll("[id^=word-]"), ({ id }) => id));
  await frame.fill(Object.fromEntries(asked.map((id) => [`#${id}`, words[Number(id.slice(5)) - 1]])), "#next");
  return words;
}

/** Waits until the screen says that something is wrong, in words like these. */
export async function problem(frame, words) {
  await eventually(`a problem ${words}`, async () => words.test(await frame.evaluate(() => document.querySelector("#problem")?.textContent ?? "")), { timeoutMs: 30_000 });
}

/** Closes the screen that says what has been done. */
export async function closeDone(frame) {
  await frame.waitFor("#close:enabled", 30_000);
  await frame.click("#close");
}
