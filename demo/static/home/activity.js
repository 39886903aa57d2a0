// What happened to the vault and its keys, as the enclave's log has it, in plain words.

import { copyable, h } from "../dom.js";
import { button, redraw } from "./act.js";
import { filters, many, nameOf, sentenceOf } from "./words.js";

const page = 500; // entries of one request, and of what is read at first
const shownAtOnce = 20;

/** The newest entries of the log, read once each. */
export class Log {
  entries = [];
  size = 0;
  #vault;

  get complete() {
    return this.size === this.entries.length;
  }

  /** Reads what is new. Another vault begins another log. */
  async read(kms, vault) {
    const { size } = await kms.audit.head();
    if (this.#vault !== vault || size < this.size) this.entries = [];
    this.#vault = vault;
    let from = this.entries.length > 0 ? this.size : Math.max(0, size - page);
    while (from < size) {
      const got = await kms.audit.entries({ from, limit: page });
      this.entries.push(...got.entries);
      from += got.entries.length;
      if (got.entries.length === 0) break;
    }
    this.size = this.entries.length > 0 ? this.entries.at(-1).seq + 1 : size;
  }

  /** Reads an earlier page. */
  async readOlder(kms) {
    const first = this.entries[0]?.seq ?? 0;
    const from = Math.max(0, first - page);
    const older = [];
    while (from + older.length < first) {
      const got = await kms.audit.entries({ from: from + older.length, limit: first - from - older.length });
      if (got.entries.length === 0) break;
      older.push(...got.entries);
    }
    this.entries.unshift(...older);
  }

  forget() {
    this.entries = [];
    this.size = 0;
  }
}

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
        button("show-activity", "Show it in the enclave's own dialog", () => session.kms.audit.show().then(() => {})),
        button("export", "Save it for an auditor", () => save(session))),
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

const at = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function line(entry, name) {
  const refused = entry.outcome !== "ok";
  const date = new Date(entry.time * 1000);
  return h("li", { class: refused ? "refused" : null },
    h("p", {}, refused ? h("strong", { class: "tag", "data-tone": "bad" }, "Refused") : null, refused ? " " : null, sentenceOf(entry, name)),
    h("p", { class: "fine" }, h("time", { datetime: date.toISOString() }, at.format(date)), ` · no. ${entry.seq}`));
}

async function save({ kms }) {
  const pages = [];
  let cursor;
  do {
    const got = await kms.audit.export(cursor ? { cursor } : {});
    pages.push(got.text);
    cursor = got.next;
  } while (cursor);
  const name = `activity-${new Date().toISOString().slice(0, 10)}.kmsaudit`;
  const href = URL.createObjectURL(new Blob(pages, { type: "application/octet-stream" }));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser has read it by then
  return h("div", {}, h("p", {}, `${name} was handed to your browser. An auditor checks it, without this browser or you:`),
    copyable("Command", `bin/enclave audit verify ~/Downloads/${name}`));
}

/** One line about it, for those who only look. */
export const summary = ({ log }) => {
  const refused = log.entries.filter(filters.refused[1]).length;
  return `${many(log.size, "entry", "entries")}, none of which can be changed or taken out unnoticed${refused > 0 ? `; ${refused} refused` : ""}.`;
};
