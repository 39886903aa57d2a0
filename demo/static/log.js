// The enclave's log, as far as this page has read it, and as a file.

import { h } from "./dom.js";

const page = 500; // entries of one request, and of what is read at first

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

/**
 * Hands the whole log to the browser as a file.
 *
 * @returns {Promise<{ name: string, command: string }>} the file's name, and the command that checks it
 */
export async function exportLog(kms) {
  const pages = [];
  let cursor;
  do {
    const got = await kms.audit.export(cursor ? { cursor } : {});
    pages.push(got.text);
    cursor = got.next;
  } while (cursor);
  const name = `activity-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.kmsaudit`;
  const href = URL.createObjectURL(new Blob(pages, { type: "application/octet-stream" }));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser has read it by then
  return { name, command: `bin/enclave audit verify ~/Downloads/${name}` };
}
