// The gallery's screens, shown as the worker shows them and answered as people answer them.

import { serveGallery } from "./gallery.mjs";
import { eventually } from "./process.mjs";
import { samples } from "./samples.mjs";

let gallery;

/** Starts what `open` opens; `close` ends it. */
export const serve = async () => (gallery = await serveGallery());
export const close = () => gallery?.close();

/** A page of the app with the dialogs in a frame, and the frame; page is one to use again, from its beginning. */
export async function open(browser, language = "en", page = undefined) {
  page ??= await browser.newPage();
  await page.goto(gallery.page(language));
  const frame = await page.frame(gallery.enclave);
  await eventually("the screens", () => frame.evaluate(() => typeof gallery === "object"));
  return { page, frame };
}

let shown = 0;

/** Shows a sample, or a request, as the worker does; returns its number. */
export async function show(frame, request) {
  const id = ++shown;
  await frame.evaluate((id, request) => gallery.show(id, request), id, typeof request === "string" ? samples[request] : request);
  return id;
}

export const answers = (frame) => frame.evaluate(() => gallery.heard.filter(({ id }) => id));
export const enabled = (frame, selector) => frame.evaluate((selector) => document.querySelector(selector)?.disabled === false, selector);
export const focus = (frame) => frame.evaluate(() => document.activeElement.id);

/** The one answer to the screen with this number; what is its name where there are several. */
export async function answered(frame, id, what = id, limits) {
  return await eventually(`an answer to ${what}`, async () => (await answers(frame)).find((each) => each.id === id), limits);
}

/** Waits until a button may be used, and presses it. */
export async function press(frame, selector) {
  await eventually(selector, () => enabled(frame, selector));
  await frame.click(selector);
}

/** Gives the app's frame this size, in CSS pixels. */
export const resize = (page, width, height) => page.evaluate((width, height) => {
  Object.assign(document.querySelector("#enclave").style, { inlineSize: `${width}px`, blockSize: `${height}px` });
}, width, height);
