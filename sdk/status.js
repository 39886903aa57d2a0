// <kms-status>: what runs in the enclave's frame, how sure that is, and a button to look again.
//
//   import "./sdk/status.js";
//   document.querySelector("kms-status").kms = kms;        // or .error, if connect rejected
//
// A page cannot vouch for itself, and neither can this element for the page that it is in: it shows
// what the SDK in the app's own source found out. Its API is in status.d.ts. It keeps one thing, the
// release seen last (seen.js), and needs no permission of the app's Content Security Policy.

import { printable } from "./command.js";
import { KmsError, asKmsError } from "./errors.js";
import { parseRelease } from "./pin.js";
import { lastSeen, noteSeen } from "./seen.js";
import { addResult, audit, badge, claims, facts, head, print, versions, warning } from "./status-panel.js";
import { h, icon } from "./status-parts.js";
import { styleSheet } from "./status-style.js";
import { fill, wordsFor } from "./status-words.js";
import { verify } from "./verify.js";

export { defineWords } from "./status-words.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./status.d.ts").Verification} Verification */
/** @typedef {{ url: string, pin?: import("./kms.d.ts").Pin }} Wanted */

// Codes with which something was refused, rather than just not working today.
const REFUSALS = new Set(["launch_refused", "integrity"]);

/** Properties that an app may have set before this module was there. */
const PROPERTIES = /** @type {const} */ (["kms", "error", "release", "words"]);

export class KmsStatus extends HTMLElement {
  static observedAttributes = ["compact", "lang"];

  #root = h("div", { class: "root" });
  #alerts = h("div", { class: "alerts", role: "alert" });
  #notices = h("div", { class: "notices", role: "status" });
  #spoken = h("p", { class: "sr", role: "status" });
  /** @type {HTMLElement} */ #box = h("div");
  /** @type {Kms | undefined} */ #kms;
  /** @type {KmsError | undefined} */ #error;
  /** @type {Wanted | undefined} */ #wanted;
  /** @type {import("./status.d.ts").KmsStatus["words"]} */ #words = {};
  /** @type {Promise<Verification> | undefined} */ #verifying;
  /** @type {Verification | undefined} */ #verification;
  #turn = 0; // counts connections
  /** What the connection told: an alert of storage, or its end. @type {Map<"integrity" | "closed", string>} */ #told = new Map();
  #stop = () => {};

  constructor() {
    super();
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [styleSheet()];
    this.#root.append(this.#alerts, this.#notices, this.#box, this.#spoken);
    shadow.append(this.#root);
  }

  connectedCallback() {
    for (const name of PROPERTIES) this.#adopt(name);
    this.#listen();
    this.#render();
  }

  disconnectedCallback() {
    this.#stop();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#render();
  }

  get kms() {
    return this.#kms;
  }

  set kms(kms) {
    this.#begin(kms, undefined);
  }

  get error() {
    return this.#error;
  }

  set error(error) {
    this.#begin(undefined, error);
  }

  get release() {
    return this.#wanted;
  }

  set release(wanted) {
    this.#wanted = wanted;
    this.#render();
  }

  get words() {
    return this.#words;
  }

  set words(words) {
    this.#words = words ?? {};
    this.#render();
  }

  get compact() {
    return this.hasAttribute("compact");
  }

  set compact(compact) {
    this.toggleAttribute("compact", Boolean(compact));
  }

  /**
   * What the button does. One at a time: a second call gets the first one's result.
   *
   * @returns {Promise<Verification>}
   * @throws {KmsError} `invalid_request` if there is nothing to verify, or it breaks the grammar
   */
  verify() {
    if (this.#verifying) return this.#verifying;
    const mine = this.#verify().finally(() => {
      if (this.#verifying === mine) this.#verifying = undefined;
    });
    this.#verifying = mine;
    return mine;
  }

  async #verify() {
    const release = this.#kms?.release ?? this.#wanted;
    if (!release) throw new KmsError("invalid_request", "kms: a connection wanted, or release");
    const { texts } = this.#language();
    const [button, verdict, results] = this.#verifyParts();
    button?.setAttribute("aria-disabled", "true");
    results?.replaceChildren();
    let done = 0;
    const progress = () => verdict && (verdict.textContent = fill(texts.verifying, { done }));
    progress();
    const turn = this.#turn;
    let verification;
    try {
      verification = await verify({ kms: this.#kms, url: release.url, pin: release.pin, parent: this.#root }, (check) => {
        done += 1;
        if (turn === this.#turn && results) addResult(results, texts, check);
        progress();
      });
    } catch (error) {
      if (verdict) verdict.textContent = fill(texts.broken, { message: asKmsError(error, "internal", "verify").message });
      throw error;
    } finally {
      button?.removeAttribute("aria-disabled");
    }
    // What was found out about another connection is not shown beside this one.
    if (turn === this.#turn) {
      this.#verification = verification;
      this.#showVerification();
    }
    this.dispatchEvent(new CustomEvent("kms-verified", { detail: verification, bubbles: true, composed: true }));
    return verification;
  }

  /** @param {typeof PROPERTIES[number]} name set on the element before it was upgraded */
  #adopt(name) {
    if (!Object.hasOwn(this, name)) return;
    const early = this[name];
    delete this[name];
    /** @type {any} */ (this)[name] = early;
  }

  /**
   * @param {Kms | undefined} kms
   * @param {KmsError | undefined} error
   */
  #begin(kms, error) {
    this.#kms = kms;
    this.#error = error;
    this.#turn += 1;
    this.#verifying = undefined;
    this.#verification = undefined;
    this.#told.clear();
    this.#listen();
    this.#render();
  }

  #listen() {
    this.#stop();
    const kms = this.#kms;
    if (!kms || !this.isConnected) return;
    /** @param {{ code: string, message: string }} alert */
    const alert = ({ code, message }) => code === "integrity" && this.#tell("integrity", message);
    /** @param {{ reason: string }} end */
    const closed = ({ reason }) => this.#tell("closed", reason);
    kms.on("alert", alert);
    kms.on("closed", closed);
    this.#stop = () => {
      kms.off("alert", alert);
      kms.off("closed", closed);
    };
  }

  /**
   * @param {"integrity" | "closed"} what
   * @param {string} message
   */
  #tell(what, message) {
    this.#told.set(what, message);
    this.#showAlerts();
  }

  /** @returns {import("./status-panel.js").Model} */
  #model() {
    const release = this.#parsed();
    const launch = this.#kms?.launch;
    return {
      level: launch?.level ?? (this.#error ? "refused" : "waiting"),
      texts: this.#language().texts,
      launch,
      url: release?.page,
      measurement: launch?.measurement ?? release?.pinned?.measurement,
      say: (text) => (this.#spoken.textContent = text),
    };
  }

  /** @returns {import("./pin.js").Release | undefined} nothing also if it breaks the grammar: then that is what the error says */
  #parsed() {
    const release = this.#kms?.release ?? this.#wanted;
    try {
      return release && parseRelease(release.url, release.pin);
    } catch {
      return undefined;
    }
  }

  #language() {
    const language = /** @type {HTMLElement | null} */ (this.closest("[lang]"))?.lang ?? document.documentElement.lang;
    return wordsFor(language, this.#words);
  }

  #render() {
    if (!this.isConnected) return;
    const model = this.#model();
    this.#root.dataset.level = model.level;
    this.#root.lang = this.#language().language;
    const open = this.#box instanceof HTMLDetailsElement && this.#box.open;
    const panel = h("div", { class: "panel" }, head(model), claims(model), facts(model), print(model), this.#verifySection(model), audit(model));
    const box = this.compact ? h("details", { class: "compact", open }, badge(model), panel) : h("div", { role: "group", "aria-label": model.texts.label }, panel);
    this.#box.replaceWith(box);
    this.#box = box;
    this.#showNotices();
    this.#showVerification();
  }

  /** @param {import("./status-panel.js").Model} model */
  #verifySection({ level, texts, url }) {
    if (level === "waiting" || !url) return undefined;
    const button = h("button", { type: "button", class: "main", id: "verify" }, texts.verify);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true") this.verify().catch(() => {}); // shown where the verdict would be
    });
    return h(
      "div",
      { class: "verify" },
      h("div", { class: "act" }, button, h("p", { class: "fine" }, texts.verifyHint)),
      h("p", { class: "verdict", id: "verdict", role: "status" }),
      h("div", { class: "results", id: "results" }),
    );
  }

  #verifyParts() {
    return ["#verify", "#verdict", "#results"].map((selector) => this.#box.querySelector(selector));
  }

  #showVerification() {
    const { texts } = this.#language();
    const [button, verdict, results] = this.#verifyParts();
    const { verdict: outcome, pinned, checks } = this.#verification ?? {};
    if (button && verdict && results && outcome && checks) {
      button.textContent = texts.verifyAgain;
      verdict.textContent = outcome === "matched" && !pinned ? texts.matchedUnpinned : texts[outcome];
      results.replaceChildren();
      for (const check of checks) addResult(results, texts, check);
    }
    this.#showAlerts();
  }

  #showAlerts() {
    const { texts } = this.#language();
    const alerts = [...this.#refusal(texts), ...this.#mismatch(texts), ...this.#changed(texts)];
    for (const [what, message] of this.#told) alerts.push(warning(texts, texts[`${what}Title`], h("span", { lang: "en" }, sentence(message))));
    this.#root.toggleAttribute("data-alarm", alerts.length > 0);
    this.#alerts.replaceChildren(...alerts);
  }

  /** @param {import("./status-panel.js").Texts} texts */
  #refusal(texts) {
    if (!this.#error) return [];
    const refused = REFUSALS.has(this.#error.code) && !this.#error.retryable;
    const message = h("span", { lang: "en" }, sentence(`${this.#error.message} (${this.#error.code})`));
    return [warning(texts, refused ? texts.refusedTitle : texts.failedTitle, message, refused ? texts.refusedAdvice : undefined)];
  }

  /** @param {import("./status-panel.js").Texts} texts */
  #mismatch(texts) {
    if (this.#verification?.verdict !== "mismatch") return [];
    const wrong = this.#verification.checks.filter(({ outcome }) => outcome === "failed").map(({ name }) => texts[name]);
    const advice = this.#kms?.launch.level === "enforced" ? texts.mismatchEnforced : texts.mismatchOther;
    return [warning(texts, texts.mismatchTitle, fill(texts.mismatchList, { what: wrong.join(", ") }), advice)];
  }

  /** What was seen last, if it is not what runs. */
  #before() {
    const { release, launch } = this.#kms ?? {};
    const before = release && lastSeen(release.origin, release.account);
    return before && launch && before.measurement !== launch.measurement ? before : undefined;
  }

  /** @param {import("./status-panel.js").Texts} texts */
  #changed(texts) {
    const before = this.#before();
    if (!before || this.#kms?.launch.level !== "unpinned") return [];
    return [warning(texts, texts.changedTitle, fill(texts.changed, { date: this.#date(before.at) }), versions(texts, before, this.#kms.launch), this.#notedButton(texts))];
  }

  #showNotices() {
    const { texts } = this.#language();
    const before = this.#before();
    this.#notices.replaceChildren();
    if (!this.#kms) return;
    this.#showSurroundings(texts, this.#kms.launch.warnings);
    if (!before) return this.#remember(texts);
    if (this.#kms.launch.level === "unpinned") return; // that is a warning
    const title = h("p", {}, h("strong", {}, texts.updatedTitle));
    this.#notices.append(h("div", { class: "notice" }, icon("updated"), title, h("p", {}, fill(texts.updated, { date: this.#date(before.at) })), versions(texts, before, this.#kms.launch), this.#notedButton(texts)));
  }

  /**
   * What is missing around the frame. The sentences are for the app's developers, and in English.
   *
   * @param {import("./status-panel.js").Texts} texts
   * @param {readonly string[]} warnings
   */
  #showSurroundings(texts, warnings) {
    if (warnings.length === 0) return;
    const title = h("p", {}, h("strong", {}, texts.aroundTitle));
    this.#notices.append(h("div", { class: "notice" }, icon("warning"), title, h("ul", { lang: "en" }, ...warnings.map((each) => h("li", {}, each)))));
  }

  /** @param {import("./status-panel.js").Texts} texts */
  #remember(texts) {
    const kms = /** @type {Kms} */ (this.#kms);
    if (!noteSeen(kms.release.origin, kms.release.account, kms.launch)) this.#notices.append(h("p", { class: "fine" }, texts.notKept));
  }

  /** @param {import("./status-panel.js").Texts} texts */
  #notedButton(texts) {
    const button = h("button", { type: "button", id: "noted" }, texts.noted);
    button.addEventListener("click", () => this.#note());
    return button;
  }

  #note() {
    const kms = /** @type {Kms} */ (this.#kms);
    noteSeen(kms.release.origin, kms.release.account, kms.launch);
    this.#showNotices();
    this.#showAlerts();
    // The button that had the focus is gone; what it was about comes next.
    const next = /** @type {HTMLElement | null} */ (this.#box.querySelector("summary, #verify"));
    next?.focus();
    this.dispatchEvent(new CustomEvent("kms-noted", { detail: { measurement: kms.launch.measurement }, bubbles: true, composed: true }));
  }

  /** @param {number} at milliseconds since 1970 */
  #date(at) {
    const { language } = this.#language();
    const known = Intl.DateTimeFormat.supportedLocalesOf(isLanguageTag(language) ? language : []);
    return new Intl.DateTimeFormat(known, { dateStyle: "long" }).format(at);
  }
}

/** @param {string} message which begins small, as errors do; a name with a colon stays as it is */
function sentence(message) {
  const text = printable(message, 800); // some of it can be a host's words
  return /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
}

/** @param {string} text of a lang attribute, which may hold anything */
function isLanguageTag(text) {
  return /^[a-z]{2,3}(-[a-z0-9]{2,8})*$/i.test(text);
}

// Two copies of this module may meet in one page; the first one serves.
if (!customElements.get("kms-status")) customElements.define("kms-status", KmsStatus);
