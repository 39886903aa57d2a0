// Buttons that ask the enclave for something: busy meanwhile, and a sentence about what came of it.
//
// A button that is busy is not disabled: it would lose the focus, and the enclave's dialog
// gives the focus back to what had it.

import { h } from "../dom.js";
import { adviceOf, sentence } from "../words.js";

/**
 * A button.
 *
 * @param {string} id where a page is drawn anew, the focus goes to the button of the same id
 * @param {string} text
 * @param {() => Promise<string | Node | void>} work returns what there is to say
 * @param {{ look?: string, label?: string }} [more] look: a class; label: what it does, where the text alone does not say
 */
export function button(id, text, work, { look, label } = {}) {
  const node = h("button", { type: "button", id, class: look, "aria-label": label }, text);
  node.addEventListener("click", () => act(node, work));
  return node;
}

/** Does the work of a button, and says in its section what came of it. */
export async function act(node, work) {
  if (node.getAttribute("aria-busy") === "true") return;
  const place = node.closest("[data-says]").querySelector(":scope > .said");
  node.setAttribute("aria-busy", "true");
  node.classList.add("working");
  say(place, null);
  try {
    const said = await work();
    if (said) say(place, said, "good");
  } catch (error) {
    if (error.code === undefined) console.error(error);
    say(place, told(error), error.code === "cancelled" || error.code === "expired" ? "plain" : "bad");
  } finally {
    node.removeAttribute("aria-busy");
    node.classList.remove("working");
  }
}

/** @param {Element} place @param {string | Node | null} content */
export function say(place, content, tone = "plain") {
  place.replaceChildren(...(content === null ? [] : [h("div", { class: "notice", "data-tone": tone }, typeof content === "string" ? h("p", {}, content) : content)]));
}

/** An error as sentences; its own words, if it brings some, and the advice alone where the message would say it again. */
function told(error) {
  if (error.inWords) return error.inWords;
  const { code, message, details } = error;
  if (code === "cancelled" || code === "expired" || details?.reason === "dialog-open" || details?.reason === "asked-too-soon") return adviceOf(error);
  return [sentence(message), details?.member ? undefined : adviceOf(error)].filter(Boolean).join(" ");
}

/**
 * Draws a place anew if what it shows has changed; the focus stays on what has the same id, or goes
 * to the heading of the section.
 *
 * @param {Element} place
 * @param {unknown} key what it shows, as JSON
 * @param {() => any} build
 */
export function redraw(place, key, build) {
  const text = JSON.stringify(key);
  if (place.dataset.shows === text) return;
  place.dataset.shows = text;
  const focused = place.contains(document.activeElement) ? document.activeElement.id : undefined;
  place.replaceChildren(...[build()].flat(Infinity).filter(Boolean));
  if (focused === undefined) return;
  const heading = place.closest("section").querySelector("h1, h2");
  heading.tabIndex = -1;
  (place.querySelector(`#${CSS.escape(focused)}`) ?? heading).focus({ preventScroll: true });
}
