// What the page knows: the connection, the vault's status, its keys and its log, and
// the two keys that the steps work with. No private key is in here, because none ever reaches the page.

import { Log } from "./log.js";
import { pin, url } from "./pin.js";

const actsOwn = new Set(["asked", "destroyed"]); // why a vault is locked by what this page asked for

/**
 * One app's session with the enclave. Fields are read by the steps; only this class changes them.
 *
 * Events: "change" after each read; "alert" and "closed" with what the enclave's events of these names bring, in detail.
 */
export class Session extends EventTarget {
  /** @type {import("./sdk/kms.d.ts").Kms | null} */ kms = null;
  status = null;
  keys = [];
  log = new Log();
  why = undefined; // the vault is locked: the reason that the event gave
  vapid = null;
  signing = null;

  #asking = 0; // calls of ask that have not ended
  #preferred = []; // which of the keys made in the same second to work with: by default the ones so far
  #last = Promise.resolve();
  #next = null;

  /** Starts the enclave. The SDK is imported here, so that the page can say so if it is missing. */
  async connect(container) {
    const [{ connect }] = await Promise.all([import("./sdk/kms.js"), import("./sdk/status.js")]);
    const kms = await connect({ url, pin: pin ?? undefined, account: "demo", container });
    // Before anything else is awaited: what happened at the start is told then.
    kms.on("locked", ({ reason }) => this.#changed(reason));
    kms.on("unlocked", () => this.#changed());
    kms.on("alert", (detail) => this.dispatchEvent(new CustomEvent("alert", { detail })));
    kms.on("closed", (detail) => {
      this.kms = null;
      this.dispatchEvent(new CustomEvent("closed", { detail }));
    });
    this.kms = kms;
  }

  /**
   * Asks the enclave for something, and reads afterwards what it has: once, whatever events come of it, and
   * also after a refusal, which is in the log.
   *
   * @template T
   * @param {(kms: import("./sdk/kms.d.ts").Kms) => Promise<T>} work
   * @param {(answer: T) => string[]} [prefer] the keys to work with from now on
   */
  async ask(work, prefer) {
    this.#asking += 1;
    try {
      const answer = await work(this.kms);
      if (prefer) this.#preferred = prefer(answer);
      return answer;
    } finally {
      this.#asking -= 1;
      await this.refresh().catch(() => {
        // The answer counts. Whoever asks for something next is told what is wrong.
      });
    }
  }

  /** Reads again what the enclave has. What is asked for while another read waits for its turn is one with it. */
  refresh() {
    this.#next ??= this.#last.then(() => {
      this.#next = null;
      return this.#read();
    });
    const next = this.#next;
    this.#last = next.catch(() => {}); // one after the other, so that the last word is the newest
    return next;
  }

  /** The enclave says that the vault is open, or locked. */
  #changed(reason) {
    this.why = reason;
    if (this.#asking > 0 && (reason === undefined || actsOwn.has(reason))) return; // ask reads it at its end
    this.refresh().catch(() => {
      // Whoever asks for something next is told what is wrong.
    });
  }

  async #read() {
    this.status = await this.kms.vault.status();
    this.mirror = await this.kms.mirror.status().catch(() => ({ kept: false })); // what this app keeps of it
    try {
      this.keys = this.open ? await this.#keys() : [];
      if (this.open) await this.log.read(this.kms, `${this.status.lineage?.vault} ${this.status.createdAt}`);
      else this.log.forget();
    } catch (error) {
      if (error.code !== "locked") throw error; // it has locked itself meanwhile
      this.status = await this.kms.vault.status();
      this.keys = [];
      this.log.forget();
    }
    const newest = (purpose) => this.keys
      .filter((key) => key.purpose === purpose && key.state === "active")
      .sort((a, b) => b.createdAt - a.createdAt || this.#preferred.includes(b.kid) - this.#preferred.includes(a.kid))[0] ?? null;
    this.vapid = newest("vapid");
    this.signing = newest("signing");
    this.#preferred = [this.vapid?.kid, this.signing?.kid];
    this.dispatchEvent(new Event("change"));
  }

  async #keys() {
    const keys = [];
    let after;
    do {
      const page = await this.kms.keys.list(after ? { after } : {});
      keys.push(...page.keys);
      after = page.next;
    } while (after);
    return keys;
  }

  get open() {
    return this.status?.state === "unlocked";
  }
}
