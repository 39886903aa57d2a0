// Notices a worker that is gone or hangs, while somebody waits for it.
//
// Browsers do not tell a page that a worker was ended from outside. So while calls are pending the
// worker is pinged through the loader, and counts as dead after a few unanswered pings.

import { browserClock } from "./channel.js";

/** Pause between pings, in milliseconds. */
export const EVERY_MS = 1000;

/** So many ticks in a row without an answer, and the worker counts as dead. */
export const MISSED = 5;

export class Heartbeat {
  #clock;
  #what;
  /** @type {unknown} */ #timer;
  #sent = 0;
  #answered = 0;
  #missed = 0;
  #lastTick = 0;

  /**
   * @param {{ ping: (id: number) => void, needed: () => boolean, lost: () => void }} what
   * @param {import("./channel.js").Clock} [clock]
   */
  constructor(what, clock = browserClock) {
    this.#what = what;
    this.#clock = clock;
  }

  /** Begins to watch, if it does not already. Cheap: called for every request. */
  watch() {
    if (this.#timer !== undefined) return;
    this.#missed = 0;
    this.#answered = this.#sent;
    this.#wait();
  }

  /** @param {number} id of the ping that is answered */
  pong(id) {
    this.#answered = Math.max(this.#answered, id);
  }

  stop() {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait() {
    this.#lastTick = this.#clock.now();
    this.#timer = this.#clock.setTimeout(() => this.#tick(), EVERY_MS);
  }

  #tick() {
    this.#timer = undefined;
    if (!this.#what.needed()) return;
    // A late tick means that this page was busy, throttled or asleep, and answers may be waiting behind it.
    const late = this.#clock.now() - this.#lastTick > 2 * EVERY_MS;
    const silent = this.#answered < this.#sent;
    this.#missed = silent && !late ? this.#missed + 1 : 0;
    if (this.#missed >= MISSED) return this.#what.lost();
    this.#what.ping(++this.#sent);
    this.#wait();
  }
}
