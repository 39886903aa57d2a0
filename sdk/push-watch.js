// What happens at a relay, as it happens: its events, and what the service worker tells. The stash is renewed when it runs low.

import { KmsError, asKmsError } from "./errors.js";
import { RelayClient, sleep } from "./push-client.js";
import { eventsOf } from "./push-events.js";
import { dropToken, now, registerToken } from "./push-lease.js";
import { isLow } from "./push-status.js";
import * as store from "./push-store.js";

/** @typedef {import("./kms.d.ts").Kms} Kms */
/** @typedef {import("./push.d.ts").PushEvent} PushEvent */
/** @typedef {import("./push.d.ts").RelayState} RelayState */
/** @typedef {import("./push-store.js").Record} Record */

const SILENCE_MS = 45_000; // a relay says something every 15 seconds
const MIN_WAIT_MS = 1000; // before it is asked again
const MAX_WAIT_MS = 60_000;
const RENEW_SHARE = 1 / 2; // of the tokens that an hour has, which a relay that says that it has none can have taken

export class Watch {
  #kms;
  #scope;
  #listener;
  #renew;
  #stop = new AbortController();
  /** @type {string | undefined} */ #last;

  /**
   * @param {Kms} kms
   * @param {string} scope
   * @param {(event: PushEvent) => void} listener
   * @param {() => Promise<RelayState>} renew
   */
  constructor(kms, scope, listener, renew) {
    this.#kms = kms;
    this.#scope = scope;
    this.#listener = listener;
    this.#renew = renew;
  }

  /** @param {AbortSignal} [signal] */
  start(signal) {
    if (signal?.aborted) return;
    signal?.addEventListener("abort", () => this.stop());
    navigator.serviceWorker.addEventListener("message", this.#heard);
    navigator.serviceWorker.startMessages?.();
    this.#kms.on("closed", this.#closed);
    void this.#run();
  }

  stop() {
    this.#stop.abort();
    this.#kms.off("closed", this.#closed);
    navigator.serviceWorker.removeEventListener("message", this.#heard);
  }

  /** @param {PushEvent} event */
  #tell(event) {
    if (this.#stop.signal.aborted) return;
    try {
      this.#listener(event);
    } catch (error) {
      reportError(error);
    }
  }

  #heard = (/** @type {MessageEvent} */ { data }) => {
    if (data?.scope !== this.#scope) return;
    if (data.kmsPush === "arrived" || data.kmsPush === "subscription") this.#tell({ type: data.kmsPush });
    if (data.kmsPush === "alert") this.#tell({ type: "alert", kind: data.kind });
  };

  #closed = (/** @type {import("./kms.d.ts").Events["closed"]} */ { code, reason }) => {
    this.#tell({ type: "ended", problem: new KmsError(code, reason) });
    this.stop();
  };

  async #run() {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted; ) {
      const before = this.#last;
      /** @type {KmsError | undefined} */ let problem;
      try {
        await this.#listen(signal);
      } catch (error) {
        problem = asKmsError(error, "internal", "watching");
      }
      if (signal.aborted) return;
      failures = problem && before === this.#last ? failures + 1 : 0;
      if (problem && this.#isOver(problem, failures)) {
        this.#tell({ type: "ended", problem });
        return this.stop();
      }
      if (problem) this.#tell({ type: "problem", problem });
      const wait = Math.max(Number(problem?.details.retryAfter ?? 0) * 1000, Math.min(MAX_WAIT_MS, MIN_WAIT_MS * 2 ** failures));
      await sleep(wait * (1 + Math.random() / 4), signal); // not all apps at once, after a relay's restart
    }
  }

  /**
   * What does not pass by itself. A token that is refused is replaced once.
   *
   * @param {KmsError} problem
   * @param {number} failures in a row
   */
  #isOver({ code, retryable, details }, failures) {
    if (details.problem === "unauthorized") return failures > 1;
    return !retryable && code !== "interrupted" && code !== "storage_unavailable";
  }

  /** @param {AbortSignal} signal */
  async #listen(signal) {
    const { record } = await store.read(this.#scope);
    if (record?.state !== "active") throw new KmsError("not_found", `${this.#scope} serves no relay any more`);
    const token = await registerToken(this.#kms, record, { signal });
    try {
      const stream = await new RelayClient(record.relay).events(record.id, token, this.#last, signal);
      for await (const { id, type, data } of eventsOf(stream, SILENCE_MS)) {
        await this.#take(type, data);
        this.#last = id ?? this.#last;
      }
    } catch (error) {
      if (error instanceof KmsError && error.details.problem === "unauthorized") dropToken(record);
      throw error;
    }
  }

  /**
   * @param {string} type
   * @param {string} text
   */
  async #take(type, text) {
    const data = JSON.parse(text);
    if (type === "receipt") {
      const { message, outcome, status, sent, at } = data;
      this.#tell({ type, message, outcome, status, sent, at });
    }
    if (type === "tokens") this.#tell({ type, left: data.left, until: data.until, ...(await this.#restocked(data)) });
  }

  /** @param {RelayState["tokens"]} tokens */
  async #restocked(tokens) {
    const { record } = await store.read(this.#scope);
    if (!record || !isLow(tokens, record)) return {};
    // A relay could say so all the time, in every tab, and leave nothing for the others.
    const pause = (3600 * record.stash) / (record.perHour * RENEW_SHARE);
    if (now() - (record.restockedAt ?? 0) < pause) return {};
    await store.amend(this.#scope, { restockedAt: now() });
    try {
      return { renewed: await this.#renew() };
    } catch (error) {
      return { problem: asKmsError(error, "internal", "the stash was not renewed") };
    }
  }
}
