// What the page knows: the connection, the vault's status and the two keys it
// works with. No private key is in here, because none ever reaches the page.

import { pin, url } from "./pin.js";

/** One app's session with the enclave. Fields are read by the steps; only this class changes them. */
export class Session extends EventTarget {
  /** @type {import("./sdk/kms.d.ts").Kms | null} */ kms = null;
  status = null;
  vapid = null;
  signing = null;

  /** Starts the enclave. The SDK is imported here, so that the page can say so if it is missing. */
  async start(container) {
    const [{ connect }] = await Promise.all([import("./sdk/kms.js"), import("./sdk/status.js")]);
    this.kms = await connect({ url, pin: pin ?? undefined, account: "demo", container });
    for (const event of ["locked", "unlocked"]) this.kms.on(event, () => this.refresh());
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
    const keys = this.status.state === "unlocked" ? await this.#keys() : [];
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
