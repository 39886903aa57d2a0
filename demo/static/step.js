// A step: one card of the page. The card's text is in index.html; a step adds
// what its buttons do. Every step works alike: pressed, busy, result or error.

import { h, limitBytes } from "./dom.js";
import { adviceOf, sentence } from "./words.js";

/**
 * @typedef {object} Definition
 * @property {string} id of the card
 * @property {(session) => string | null} [needs] why the step cannot run yet, in words
 * @property {(session) => string | null} [hint] what running it would do that one might not expect
 * @property {(session) => string} [label] of its first button, if that changes
 * @property {(session, form: FormData, action: string) => Promise<Outcome>} run
 *
 * @typedef {object} Outcome
 * @property {Node | Node[]} [show] the result
 * @property {Node | Node[]} [extra] the result, where it should not replace the main one
 * @property {boolean} [done] whether this was what the step is about; true unless said otherwise
 */

export class Step extends EventTarget {
  /** @param {Definition} definition */
  constructor(definition, session) {
    super();
    this.definition = definition;
    this.session = session;
    this.card = document.getElementById(definition.id);
    this.form = this.card.querySelector("form");
    this.buttons = [...this.form.querySelectorAll("button")];
    for (const field of this.form.querySelectorAll("[data-bytes]")) limitBytes(field, Number(field.dataset.bytes));
    this.note = h("p", { class: "needs", id: `${definition.id}-needs` });
    this.form.append(this.note);
    for (const button of this.buttons) button.setAttribute("aria-describedby", this.note.id);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(event.submitter?.dataset.action);
    });
    this.#setState("waiting");
    this.update();
  }

  get title() {
    return this.card.querySelector("h2").textContent;
  }

  /** Shows whether the step can run now. */
  update() {
    const missing = this.#missing();
    this.note.textContent = missing ?? this.definition.hint?.(this.session) ?? "";
    if (this.definition.label) this.buttons[0].textContent = this.definition.label(this.session);
    for (const button of this.buttons) button.disabled = missing !== null || this.busy === true;
    if (missing !== null && this.state === "ready") this.#setState("waiting");
    else if (missing === null && this.state === "waiting") this.#setState("ready");
  }

  /** Why the step cannot run now, in words; null if it can. */
  #missing() {
    const { kms, status } = this.session;
    if (!kms) return "The enclave does not run.";
    if (!this.definition.needs) return null;
    return status ? this.definition.needs(this.session) : "The vault is still being read.";
  }

  /**
   * Runs the step as if its button had been pressed.
   * @returns {Promise<boolean>} whether it worked
   */
  async run(action = this.buttons[0].dataset.action) {
    if (this.busy || this.buttons.every((button) => button.disabled)) return false;
    const button = this.buttons.find((each) => each.dataset.action === action);
    this.#setBusy(button, true);
    this.#forgetFailure();
    try {
      const { show, extra, done = true } = await this.definition.run(this.session, new FormData(this.form), action);
      if (show) this.show(show);
      if (extra) this.#place(".extra", extra);
      if (done) this.#setState("done");
      announce(`${this.title}: done. The result is in the same section.`);
      return true;
    } catch (error) {
      this.show(failure(error, this.#nameField(error.details?.member)));
      this.#setState("failed");
      announce(`${this.title}: ${error.message}`);
      return false;
    } finally {
      this.#setBusy(button, false);
      this.dispatchEvent(new Event("ran"));
    }
  }

  /** Replaces the result. */
  show(content) {
    this.#place(".result", content);
  }

  /** Forgets what the step showed. */
  clear() {
    for (const place of this.card.querySelectorAll(".result, .extra")) place.replaceChildren();
    this.#setState("waiting");
    this.update();
  }

  /** Marks the step as done without running it: what it makes was there already. */
  settle(content) {
    this.show(content);
    this.#setState("done");
  }

  /** Marks the step as failed without running it. */
  fail(content) {
    this.show(content);
    this.#setState("failed");
  }

  /** What went wrong last time is not what happens now. */
  #forgetFailure() {
    for (const field of this.form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    if (this.state !== "failed") return;
    this.show([]);
    this.#setState("ready");
  }

  /**
   * The label of the field that an error is about, which is marked; fields have the names of the members that they become.
   *
   * @param {string | undefined} member as a JSON pointer, such as /params/endpoint
   */
  #nameField(member) {
    const name = member?.split("/").at(-1);
    const field = name && this.form.elements.namedItem(name);
    if (!field?.labels?.length) return undefined;
    field.setAttribute("aria-invalid", "true");
    return field.labels[0].firstChild.textContent.trim();
  }

  #place(selector, content) {
    this.card.querySelector(selector).replaceChildren(...[content].flat(Infinity).filter(Boolean));
  }

  #setBusy(button, busy) {
    this.busy = busy;
    this.card.setAttribute("aria-busy", String(busy));
    button.classList.toggle("working", busy);
    this.update();
    if (!busy && document.activeElement === document.body) this.#refocus(button);
    this.dispatchEvent(new Event("busy"));
  }

  /** Gives the focus back that disabling the button took away; to the heading, if the button is gone. */
  #refocus(button) {
    const heading = this.card.querySelector("h2");
    heading.tabIndex = -1;
    (button.checkVisibility() && !button.disabled ? button : heading).focus({ preventScroll: true });
  }

  #setState(state) {
    this.state = state;
    this.card.dataset.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

/** Why a step has no vault to work with, in words. */
const closed = ({ status }) => (status?.state === "locked" ? "Unlock the vault first, under “Your keys”." : "Create the vault first.");

/** What needs the open vault. */
export const needsVault = (session) => (session.open ? null : closed(session));

/** What needs one of the two keys that the steps work with. */
export const needsKey = (name) => (session) => (session[name] ? null : needsVault(session) ?? "Create the keys first.");

/** Says it to those who listen to the page. A result itself is not read out: tokens are long. */
function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/**
 * An error in words: what was wrong as the enclave says it, what it means, and the code that programs branch on.
 *
 * @param {Error & { code?: string, details?: { member?: string, reason?: string } }} error
 * @param {string} [field] the label of the field that it is about
 */
export function failure(error, field) {
  const member = error.details?.member;
  const advice = adviceOf(error);
  return h("div", { class: "notice", "data-tone": error.code === "cancelled" ? "plain" : "bad" },
    h("p", {}, h("strong", {}, field ? `“${field}” was not accepted: ${finding(error)}.` : sentence(error.message))),
    advice ? h("p", {}, advice) : null,
    h("p", { class: "fine" }, "Code ", h("code", {}, error.code ?? error.name), member ? [" · member ", h("code", {}, member)] : null));
}

/** A message about a member, without the member: people see its field. */
export function finding({ message, details }) {
  const before = `member ${details?.member}: `;
  return message.startsWith(before) ? message.slice(before.length) : message;
}
