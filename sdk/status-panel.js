// The parts of <kms-status> that a person reads, each made from a model of what is known.

import { auditCommand, isCommit, printable } from "./command.js";
import { groupsOf, isMeasurement } from "./fingerprint.js";
import { copyButton, groupTable, h, icon, picture } from "./status-parts.js";
import { fill } from "./status-words.js";

/** How many groups of a measurement stand for it where there is no room for all. */
const SHORT = 8;

/** @typedef {Record<keyof typeof import("./status-words.js").english, string>} Texts */

/**
 * What is known.
 * @typedef {object} Model
 * @property {"waiting" | "refused" | import("./kms.d.ts").Level} level
 * @property {Texts} texts
 * @property {import("./kms.d.ts").Launch | undefined} launch
 * @property {string | undefined} url of the release
 * @property {string | undefined} measurement of what runs; if nothing does, of what was pinned
 * @property {(text: string) => void} say to those who listen to the page
 */

/**
 * Level and reason in a box.
 *
 * @param {Model} model
 * @returns {HTMLElement}
 */
export function head({ level, texts, launch }) {
  if (level === "waiting") return h("div", { class: "head" }, icon("waiting"), h("p", { class: "level" }, texts.waiting));
  return h("div", { class: "head" }, icon(level), h("p", { class: "level" }, texts[level]), why(level, texts, launch));
}

/**
 * @param {Exclude<Model["level"], "waiting">} level
 * @param {Texts} texts
 * @param {Model["launch"]} launch
 */
function why(level, texts, launch) {
  return level === "refused" ? undefined : h("p", { class: "why", title: launch?.why }, texts[`${level}Why`]);
}

/**
 * The one line of the compact form.
 *
 * @param {Model} model
 * @returns {HTMLElement}
 */
export function badge({ level, texts, measurement }) {
  const short = level !== "waiting" && isMeasurement(measurement) ? h("span", { class: "short" }, groupsOf(measurement).slice(0, 2).join(" ")) : undefined;
  const name = h("span", { class: "level" }, level === "waiting" ? texts.waiting : texts[level]);
  return h("summary", {}, icon(level), h("span", { class: "badge" }, h("span", {}, `${texts.label}:`), " ", name, " ", short));
}

/**
 * What was proven and what was not, a sentence each.
 *
 * @param {Model} model
 * @returns {HTMLElement | undefined}
 */
export function claims({ level, texts }) {
  if (level === "waiting") return undefined;
  /** @type {[string, string][]} */
  const pairs = [[texts.proven, texts[`${level}Proven`]]];
  if (level !== "refused") pairs.push([texts.unproven, texts[`${level}Unproven`]]);
  return list("claims", pairs);
}

/**
 * Version, commit and host. Version and commit are the loader's words: without a pin, the host's.
 *
 * @param {Model} model
 * @returns {HTMLElement | undefined}
 */
export function facts({ texts, launch, url }) {
  /** @type {[string, Node | string][]} */
  const pairs = [];
  if (launch) pairs.push([texts.version, printable(launch.version)], [texts.commit, isCommit(launch.commit) ? h("code", {}, launch.commit) : texts.commitUnknown]);
  if (url) pairs.push([texts.host, new URL(url).host]);
  return pairs.length > 0 ? list("facts", pairs) : undefined;
}

/**
 * @param {string} kind
 * @param {[string, Node | string][]} pairs
 */
function list(kind, pairs) {
  return h("dl", { class: kind }, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/**
 * The measurement in full, and as a picture.
 *
 * @param {Model} model
 * @returns {HTMLElement | undefined}
 */
export function print({ level, texts, measurement, say }) {
  if (!isMeasurement(measurement)) return undefined;
  const title = level === "refused" ? texts.pinnedMeasurement : texts.measurement;
  const table = groupTable(measurement, {
    caption: title,
    row: (name) => fill(texts.row, { name }),
    column: (name) => fill(texts.column, { name }),
  });
  const button = copyButton({ text: measurement, from: table, label: texts.copyMeasurement, words: texts, say });
  return h(
    "div",
    { class: "section" },
    h("div", { class: "bar" }, h("h3", {}, title), button),
    h("div", { class: "print" }, pictureOfShort(measurement, texts), table, h("p", { class: "fine" }, `${texts.measurementHint} ${texts.pictureHint}`)),
  );
}

/**
 * @param {string} measurement
 * @param {Texts} texts
 */
function pictureOfShort(measurement, texts) {
  return picture(measurement, fill(texts.picture, { start: groupsOf(measurement).slice(0, 2).join(" ") }));
}

/**
 * What an auditor types.
 *
 * @param {Model} model
 * @returns {HTMLElement | undefined}
 */
export function audit({ texts, launch, url, say }) {
  if (!url) return undefined;
  const lines = auditCommand(url, launch?.commit);
  if (lines.length === 0) return h("div", { class: "audit" }, h("h3", {}, texts.audit), h("p", { class: "fine" }, texts.auditUnsafe));
  const tail = "--rebuild .";
  const code = h("code", {}, lines.join("\n").slice(0, -tail.length), h("span", { class: "nowrap" }, tail));
  const button = copyButton({ text: lines.join("\n"), from: code, label: texts.copyCommand, words: texts, say });
  return h("div", { class: "audit" }, h("div", { class: "bar" }, h("h3", {}, texts.audit), button), h("pre", { tabindex: 0, role: "group", "aria-label": texts.audit }, code), h("p", { class: "fine" }, texts.auditHint));
}

/**
 * A warning that cannot be missed: for a region with the role alert.
 *
 * @param {Texts} texts
 * @param {string} title
 * @param {...(Node | string | undefined)} lines
 * @returns {HTMLElement}
 */
export function warning(texts, title, ...lines) {
  return h(
    "div",
    { class: "warning" },
    icon("warning"),
    h("p", {}, h("strong", {}, h("span", { class: "sr" }, `${texts.warning}: `), title)),
    ...lines.flatMap((line) => (line === undefined ? [] : [line instanceof HTMLDListElement || line instanceof HTMLButtonElement ? line : h("p", {}, line)])),
  );
}

/**
 * The release seen last beside the one that runs.
 *
 * @param {Texts} texts
 * @param {import("./seen.js").Seen} before
 * @param {{ version: string, measurement: string }} now
 * @returns {HTMLElement}
 */
export function versions(texts, before, now) {
  /** @type {(name: string, release: { version: string, measurement: string }) => HTMLElement} */
  const one = (name, { version, measurement }) =>
    h("div", {}, pictureOfShort(measurement, texts), h("dt", {}, `${name}: ${printable(version)}`), h("dd", { class: "short" }, groupsOf(measurement).slice(0, SHORT).join(" ")));
  return h("dl", { class: "versions" }, one(texts.before, before), one(texts.now, now));
}

const BY = Object.freeze(/** @type {const} */ ({ enclave: "byEnclave", app: "byApp", browser: "byBrowser" }));

/**
 * Adds a line to the result, under the heading that says who vouches for it.
 *
 * @param {Element} results
 * @param {Texts} texts
 * @param {import("./status.d.ts").Check} check
 */
export function addResult(results, texts, check) {
  let section = results.querySelector(`[data-by="${check.by}"]`);
  if (!section) {
    section = h("section", { "data-by": check.by }, h("h4", {}, texts[BY[check.by]]), h("ul"));
    results.append(section);
  }
  section.lastElementChild?.append(line(texts, check));
}

/**
 * @param {Texts} texts
 * @param {import("./status.d.ts").Check} check
 */
function line(texts, { name, outcome, detail }) {
  const own = /** @type {keyof Texts} */ (`${name}${outcome === "passed" ? "Passed" : "Failed"}`);
  const word = (outcome === "passed" || outcome === "failed") && own in texts ? texts[own] : texts[outcome];
  const more = detail ? h("p", { class: "fine", lang: "en" }, printable(detail, 400)) : undefined;
  return h("li", { "data-check": name, "data-outcome": outcome }, icon(outcome), h("span", {}, texts[name]), h("span", { class: "outcome" }, word), more);
}
