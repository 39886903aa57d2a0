// What the page knows: the connection, the vault's status, its keys and its log, and
// the two keys that the steps work with. No private key is in here, because none ever reaches the page.

import { Log } from "./home/activity.js";
import { pin, url } from "./pin.js";

/** One app's session with the enclave. Fields are read by the steps; only this class changes them. */
export class Session extends EventTarget {
  /** @type {import("./sdk/kms.d.ts").Kms | null} */ kms = null;
  status = null;
  keys = [];
  log = new Log();
  why = undefined; // the vault is locked: the reason that the event gave
  vapid = null;
  signing = null;

  /** Starts the enclave. The SDK is imported here, so that the page can say so if it is missing. */
  async start(container) {
    const [{ connect }] = await Promise.all([import("./sdk/kms.js"), import("./sdk/status.js")]);
    this.kms = await connect({ url, pin: pin ?? undefined, account: "demo", container });
    this.kms.on("locked", ({ reason }) => { this.why = reason; });
    for (const event of ["locked", "unlocked"]) {
      this.kms.on(event, () => this.refresh().catch(() => {
        // Whoever asks for something next is told what is wrong.
      }));
    }
    await this.refresh();
  }

  /**
   * Reads again what the enclave has: a reload, another tab or a step may have changed it.
   *
   * @param {string[]} [preferred] which of the keys made in the same second to work with: by default the ones so far
   */
  refresh(preferred) {
    const read = () => this.#read(preferred ?? [this.vapid?.kid, this.signing?.kid]);
    const done = this.#last.then(read, read); // one after the other, so that the last word is the newest
    this.#last = done;
    return done;
  }

  #last = Promise.resolve();

  async #read(preferred) {
    this.status = await this.kms.vault.status();
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
    const { keys } = this;
    const newest = (purpose) => keys
      .filter((key) => key.purpose === purpose && key.state === "active")
      .sort((a, b) => b.createdAt - a.createdAt || preferred.includes(b.kid) - preferred.includes(a.kid))[0] ?? null;
    this.vapid = newest("vapid");
    this.signing = newest("signing");
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
