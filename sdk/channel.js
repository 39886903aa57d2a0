// Requests and replies over whatever session is there.
//
// A call waits in the queue until a session has room, is posted, and is settled by its reply. Its
// time runs from posting, stands still while a dialog is open, and covers all of its repetitions.
//
//   queued ──post──> posted ──reply──> settled
//     ^                │ ├── time-out ──> settled, and forgotten once the worker answers
//     └──── backing off┘ └── session lost: queued again if repeatable, else `interrupted`

import { KmsError, errorFromWire } from "./errors.js";

/** Requests that the worker takes at once, and the part of them kept for cancelling others. */
const WORKER_LIMIT = 256;
const CONTROL_RESERVE = 8;

/** Bytes of JSON text in a request. */
const MESSAGE_LIMIT = 1 << 20;

/** A call is tried this often. The pause before try n+1 is 2^n times the base, with jitter. */
const TRIES = 4;
const BACKOFF_MS = 40;

/**
 * What a channel takes from outside; tests bring their own.
 * @typedef {object} Clock
 * @property {() => number} now milliseconds, monotonic
 * @property {(run: () => void, milliseconds: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random 0 ≤ r < 1; needs no secrecy
 */

/** @type {Clock} */
export const browserClock = {
  now: () => performance.now(),
  setTimeout: (run, milliseconds) => setTimeout(run, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/**
 * @typedef {object} CallOptions
 * @property {boolean} repeatable doing it twice does no harm
 * @property {boolean} dialog the user is asked: never ask twice
 * @property {number} timeoutMs machine time
 * @property {AbortSignal} [signal]
 * @property {(result: unknown) => Promise<void> | void} [succeeded] runs before the call resolves, and also when it had timed out
 */

/** @typedef {{ method: string, params: string, options: CallOptions, resolve: (result: unknown) => void, reject: (error: KmsError) => void, left: number, postedAt: number, timer: unknown, tries: number, id: number, state: "queued" | "posted" | "backing off" | "settled", unlisten: () => void }} Call */

/** Calls of one connection. */
export class Channel {
  #clock;
  /** @type {((text: string) => void) | undefined} */ #post;
  #lastId = 0;
  #paused = false;
  #draining = false;
  /** @type {Set<Call>} */ #queue = new Set();
  /** @type {Set<Call>} */ #resting = new Set();
  /** In the worker's hands, by id. What was cancelled or timed out stays until it is answered. @type {Map<number, Call>} */ #pending = new Map();
  /** Ids to be cancelled, as soon as there is room. @type {number[]} */ #controls = [];
  /** @type {Set<number>} */ #controlIds = new Set();
  /** @type {KmsError | undefined} */ #closed;
  /** @type {(() => void)[]} */ #idle = [];
  #onpost;

  /**
   * @param {Clock} [clock]
   * @param {() => void} [onpost] something is pending now
   */
  constructor(clock = browserClock, onpost = () => {}) {
    this.#clock = clock;
    this.#onpost = onpost;
  }

  /** How many requests the worker has not answered. */
  get pending() {
    return this.#pending.size + this.#controlIds.size;
  }

  /**
   * Calls a method.
   *
   * @param {string} method
   * @param {unknown} params
   * @param {CallOptions} options
   * @returns {Promise<unknown>} the result
   * @throws {KmsError}
   */
  call(method, params, options) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      if (options.signal?.aborted) return reject(calledOff());
      /** @type {Call} */
      const call = { method, params: encodeParams(method, params), options, resolve, reject, left: options.timeoutMs, postedAt: 0, timer: undefined, tries: 0, id: 0, state: "queued", unlisten: () => {} };
      this.#listen(call);
      this.#queue.add(call);
      this.#pump();
    });
  }

  /**
   * A session is there: what waits is posted.
   *
   * @param {(text: string) => void} post
   */
  attach(post) {
    this.#post = post;
    this.#draining = false;
    this.#pump();
  }

  /**
   * Posts nothing but cancellations until the next session, and waits until nothing is pending.
   *
   * @returns {Promise<void>}
   */
  drain() {
    this.#draining = true;
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /**
   * The session is lost. Repeatable calls wait for the next one, before all others; the rest fail.
   *
   * @param {string} message
   */
  detach(message) {
    this.#post = undefined;
    const calls = [...this.#pending.values()].filter((call) => call.state === "posted");
    this.#pending.clear();
    this.#controlIds.clear();
    this.#controls = [];
    const again = calls.filter((call) => call.options.repeatable && !call.options.signal?.aborted && call.tries < TRIES);
    for (const call of calls) this.#stopTimer(call);
    for (const call of again) call.state = "queued";
    this.#queue = new Set([...again, ...this.#queue]);
    const lost = new KmsError("interrupted", `${message}; whether it was done is not known`);
    for (const call of calls.filter((call) => !again.includes(call))) this.#settle(call, lost);
    this.#wake();
  }

  /**
   * Everything fails from now on.
   *
   * @param {KmsError} error
   */
  close(error) {
    this.#post = undefined;
    this.#closed = error;
    const calls = [...this.#pending.values(), ...this.#queue, ...this.#resting];
    this.#pending.clear();
    this.#controlIds.clear();
    this.#queue.clear();
    for (const call of calls) if (call.state !== "settled") this.#settle(call, error);
    this.#wake();
  }

  /**
   * A reply of the worker.
   *
   * @param {{ id?: unknown, result?: unknown, error?: Record<string, unknown> }} reply
   */
  async receive({ id, result, error }) {
    if (typeof id !== "number") return;
    const call = this.#pending.get(id);
    this.#controlIds.delete(id);
    this.#pending.delete(id);
    if (call) this.#stopTimer(call);
    if (call && error) this.#failed(call, errorFromWire(error));
    this.#pump();
    if (call && !error) await this.#succeeded(call, result);
    this.#wake();
  }

  /**
   * Stops the clocks while a dialog is open.
   *
   * @param {boolean} paused
   */
  pause(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    for (const call of this.#pending.values()) {
      if (call.state !== "posted") continue;
      if (paused) this.#stopTimer(call);
      else this.#startTimer(call);
    }
  }

  #pump() {
    while (this.#post && this.#controls.length > 0 && this.pending < WORKER_LIMIT) this.#postCancel(/** @type {number} */ (this.#controls.shift()));
    for (const call of this.#queue) {
      if (!this.#post || this.#draining || this.pending >= WORKER_LIMIT - CONTROL_RESERVE) return;
      this.#queue.delete(call);
      this.#postCall(call);
    }
  }

  /** @param {Call} call */
  #postCall(call) {
    call.id = ++this.#lastId;
    call.tries += 1;
    call.state = "posted";
    this.#pending.set(call.id, call);
    this.#post?.(`{"v":1,"id":${call.id},"method":${JSON.stringify(call.method)},"params":${call.params}}`);
    this.#startTimer(call);
    this.#onpost();
  }

  /** @param {number} target */
  #postCancel(target) {
    if (!this.#pending.has(target)) return;
    const id = ++this.#lastId;
    this.#controlIds.add(id);
    this.#post?.(`{"v":1,"id":${id},"method":"enclave.cancel","params":{"id":${target}}}`);
  }

  /** @param {Call} call */
  #startTimer(call) {
    call.postedAt = this.#clock.now();
    if (!this.#paused) call.timer = this.#clock.setTimeout(() => this.#timeOut(call), Math.max(0, call.left));
  }

  /** @param {Call} call */
  #stopTimer(call) {
    if (call.timer === undefined) return;
    this.#clock.clearTimeout(call.timer);
    call.timer = undefined;
    call.left -= this.#clock.now() - call.postedAt;
  }

  /** @param {Call} call */
  #timeOut(call) {
    call.timer = undefined;
    this.#cancel(call.id);
    const { timeoutMs, repeatable } = call.options;
    this.#settle(call, new KmsError("timeout", `${call.method}: no reply within ${timeoutMs} ms${repeatable ? "" : "; whether it was done is not known"}`, { retryable: repeatable }));
  }

  /** @param {Call} call */
  #listen(call) {
    const { signal } = call.options;
    if (!signal) return;
    const abort = () => this.#abort(call);
    signal.addEventListener("abort", abort, { once: true });
    call.unlisten = () => signal.removeEventListener("abort", abort);
  }

  // What the worker already has may be done by now, so its reply is what counts: `cancelled`, or
  // the result if that came first.
  /** @param {Call} call */
  #abort(call) {
    if (call.state === "posted") return this.#cancel(call.id);
    this.#queue.delete(call);
    if (call.state === "backing off") this.#clock.clearTimeout(call.timer);
    this.#settle(call, calledOff());
  }

  /** @param {number} id */
  #cancel(id) {
    this.#controls.push(id);
    this.#pump();
  }

  /**
   * @param {Call} call
   * @param {KmsError} error
   */
  #failed(call, error) {
    if (call.state === "settled") return;
    if (call.options.signal?.aborted || !mayRepeat(call, error)) return this.#settle(call, error);
    const pause = BACKOFF_MS * 2 ** call.tries * (0.5 + this.#clock.random() / 2);
    if (pause >= call.left) return this.#settle(call, error);
    call.left -= pause;
    call.state = "backing off";
    this.#resting.add(call);
    call.timer = this.#clock.setTimeout(() => {
      call.timer = undefined;
      call.state = "queued";
      this.#resting.delete(call);
      this.#queue.add(call);
      this.#pump();
    }, pause);
  }

  /**
   * @param {Call} call
   * @param {unknown} result
   */
  async #succeeded(call, result) {
    try {
      await call.options.succeeded?.(result);
    } catch (error) {
      return this.#settle(call, /** @type {KmsError} */ (error));
    }
    this.#settle(call, undefined, result);
  }

  /**
   * @param {Call} call
   * @param {KmsError | undefined} error
   * @param {unknown} [result]
   */
  #settle(call, error, result) {
    if (call.state === "settled") return;
    if (call.timer !== undefined) this.#clock.clearTimeout(call.timer);
    call.state = "settled";
    call.unlisten();
    this.#resting.delete(call);
    if (error) call.reject(error);
    else call.resolve(result);
  }

  #wake() {
    if (this.pending > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/**
 * `busy` and `conflict` promise that nothing was done; after other errors only a repeatable method
 * may be repeated. Nobody is asked twice.
 *
 * @param {Call} call
 * @param {KmsError} error
 */
function mayRepeat({ tries, options }, { code, retryable }) {
  const harmless = options.repeatable || code === "busy" || code === "conflict";
  return retryable && harmless && !options.dialog && tries < TRIES;
}

/**
 * @param {string} method
 * @param {unknown} params
 * @returns {string} JSON text
 */
function encodeParams(method, params) {
  /** @type {string | undefined} */ let text;
  try {
    text = JSON.stringify(params ?? {});
  } catch (error) {
    throw new KmsError("invalid_request", `params: cannot be written as JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  if (text === undefined) throw new KmsError("invalid_request", "params: an object wanted");
  if (text.length * 3 > MESSAGE_LIMIT && new TextEncoder().encode(text + method).length + 64 > MESSAGE_LIMIT) {
    throw new KmsError("invalid_request", `params: more than ${MESSAGE_LIMIT} bytes of JSON text`);
  }
  return text;
}

function calledOff() {
  return new KmsError("cancelled", "the app called it off before it was begun");
}
