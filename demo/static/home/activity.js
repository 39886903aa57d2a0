// What happened to the vault and its keys, as the enclave's log has it, in plain words.

import { copyable, h, time } from "../dom.js";
import { exportLog } from "../log.js";
import { button, redraw } from "./act.js";
import { filters, many, nameOf, sentenceOf } from "./words.js";

const shownAtOnce = 20;

/** The section of the activity. */
export class Activity {
  #session;
  #list = h("ol", { class: "events", id: "events" });
  #more = h("p", { class: "actions" });
  #filter = h("select", { id: "filter" }, Object.entries(filters).map(([value, [text]]) => h("option", { value }, text)));
  #limit = shownAtOnce;

  constructor(place, session) {
    this.#session = session;
    this.#filter.addEventListener("change", () => {
      this.#limit = shownAtOnce;
      this.draw();
    });
    place.append(
      h("div", { class: "bar-of-tools" }, h("label", {}, "Show ", this.#filter),
        button("show-activity", "Show it in the enclave's own dialog", async () => { await session.kms.audit.show(); }),
        button("export", "Save it for an auditor", () => save(session.kms))),
      this.#list, this.#more);
  }

  draw() {
    const { log, keys } = this.#session;
    const known = new Map(keys.map((key) => [key.kid, key]));
    const all = log.entries.filter(filters[this.#filter.value][1]).toReversed();
    const shown = all.slice(0, this.#limit);
    redraw(this.#list, shown.map((entry) => [entry.seq, known.get(entry.kid)?.label]), () => (shown.length === 0
      ? h("li", { class: "empty" }, this.#filter.value === "refused" ? "Nothing was refused." : "Nothing of that kind.")
      : shown.map((entry) => line(entry, nameOf(known.get(entry.kid), entry.kid)))));
    const left = all.length > shown.length || !log.complete;
    redraw(this.#more, [left, log.size], () => (left ? button("older", "Show older", () => this.#older()) : null));
  }

  async #older() {
    this.#limit += shownAtOnce;
    const { log, kms } = this.#session;
    if (!log.complete && log.entries.filter(filters[this.#filter.value][1]).length < this.#limit) await log.readOlder(kms);
    this.draw();
  }
}

function line(entry, name) {
  const refused = entry.outcome !== "ok";
  return h("li", { class: refused ? "refused" : null },
    h("p", {}, refused ? h("strong", { class: "tag", "data-tone": "bad" }, "Refused") : null, refused ? " " : null, sentenceOf(entry, name)),
    h("p", { class: "fine" }, time(entry.time), ` · no. ${entry.seq}`));
}

async function save(kms) {
  const { name, command } = await exportLog(kms);
  return h("div", {}, h("p", {}, `${name} was handed to your browser. An auditor checks it, without this browser or you:`), copyable("Command", command));
}

/** One line about it, for those who only look. */
export const summary = ({ log }) => {
  const refused = log.entries.filter(filters.refused[1]).length;
  return `${many(log.size, "entry", "entries")}${refused > 0 ? `, ${log.complete ? "" : "at least "}${refused} of them refused` : ""}. One that is changed, or taken out of the middle, no longer fits the rest. That the newest ones are missing shows to whoever saw them: this app, which remembers, or somebody with the log's head or a saved file.`;
};
