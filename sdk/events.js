// Events of a connection. What happens while an app cannot have subscribed yet is kept for it.

import { KmsError } from "./errors.js";

/** @typedef {(data: any) => void} Listener */

const NAMES = new Set(["locked", "unlocked", "alert", "closed"]);

export class Events {
  /** @type {Map<string, Set<Listener>>} */ #listeners = new Map();
  /** @type {[string, unknown][] | undefined} */ #kept = [];

  /**
   * @param {string} name
   * @param {Listener} listener
   * @throws {KmsError} `invalid_request` if there is no such event, or the listener is no function
   */
  on(name, listener) {
    if (!NAMES.has(name)) throw new KmsError("invalid_request", `event: one of ${[...NAMES].join(", ")} wanted, got ${name}`, { details: { member: "event" } });
    if (typeof listener !== "function") throw new KmsError("invalid_request", "listener: a function wanted", { details: { member: "listener" } });
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
  }

  /**
   * @param {string} name
   * @param {Listener} listener
   */
  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  /**
   * @param {string} name
   * @param {unknown} data
   */
  emit(name, data) {
    if (this.#kept) {
      this.#kept.push([name, data]);
      return;
    }
    // A copy, because a listener may take itself off; and one that throws is not the others' problem.
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(data);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** Emits what was kept, and keeps nothing more. */
  release() {
    const kept = this.#kept ?? [];
    this.#kept = undefined;
    for (const [name, data] of kept) this.emit(name, data);
  }
}
