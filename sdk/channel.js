// Requests and replies over whatever session is there.
//
// A call waits in the queue until a session has room, is posted, and is settled by its reply. Some
// have work to do before they are queued (`prepare`) and after they have succeeded (`succeeded`).
//
//   preparing ──> queued ──post──> posted ──reply──> finishing ──> settled
//                   ^                │ ├── time-out ──> settled, and forgotten once the worker answers
//                   └──── backing off┘ └── session lost: queued again if repeatable, else `interrupted`
//
// A call has one budget of time, which runs while it is preparing, posted, backing off or finishing,
// and covers all of its repetitions. It stands still in the queue and while a dialog is open. What a
// call's own `prepare` or `succeeded` has begun goes on when the call is settled before them.

import { KmsError, errorFromWire } from "./errors.js";

/** Requests that the worker takes at once, and the part of them kept for cancelling others. */
const WORKER_LIMIT = 256;
const CONTROL_RESERVE = 8;

/** Bytes of JSON text in a request. */
const MESSAGE_LIMIT = 1 << 20;

/** A call is tried this often. The pause before try n+1 is 2^n times the base, with jitter. */
const TRIES = 4;
const BACKOFF_MS = 40;

/** What `succeeded` returns to have the call posted once more: what was answered is out of date. */
export const AGAIN = Symbol("again");

/** Errors of the enclave which promise that nothing was done. Others leave that open. */
const NOTHING_DONE = new Set(["invalid_request", "unknown_method", "not_found", "locked", "denied", "quota_exceeded", "exists", "conflict", "busy", "unsupported", "storage_full"]);

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
 * @property {number} timeoutMs the call's budget in milliseconds, from 1 to 2^31-1
 * @property {AbortSignal} [signal]
 * @property {() => Promise<object | void>} [prepare] runs before the call is queued, and may return other params for it; what it throws is the call's error
 * @property {(result: unknown) => Promise<unknown> | unknown} [succeeded] runs before the call resolves, and also when it had timed out;
 *   what it throws is the call's error. AGAIN has the call posted once more, but only once
 * @property {() => void} [undone] runs at most once, after `prepare`, when it is sure that the enclave has done nothing
 */

/** `doubt`: it was posted, and no reply promised that nothing was done. @typedef {{ method: string, params: string, options: CallOptions, resolve: (result: unknown) => void, reject: (error: KmsError) => void, left: number, startedAt: number, timer: unknown, tries: number, doubt: boolean, reviewed: boolean, undone: boolean, result: unknown, id: number, state: "preparing" | "queued" | "posted" | "backing off" | "finishing" | "settled", unlisten: () => void }} Call */

/** Calls of one connection. */
export class Channel {
  #clock;
  /** @type {((text: string) => void) | undefined} */ #post;
  #lastId = 0;
  #paused = false;
  #draining = false;
  /** @type {Set<Call>} */ #queue = new Set();
  /** @type {Set<Call>} */ #resting = new Set();
  /** Preparing or finishing. @type {Set<Call>} */ #aside = new Set();
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
   * @throws {KmsError} `invalid_request` if params are no JSON object or more than 1 MiB of it; `cancelled` and `timeout` by signal
   *   and timeoutMs; `interrupted` if the session was lost; the reply's error; what `prepare` or `succeeded` threw
   */
  call(method, params, options) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      if (options.signal?.aborted) return reject(calledOff());
      /** @type {Call} */
      const call = { method, params: encodeParams(method, params), options, resolve, reject, left: options.timeoutMs, startedAt: 0, timer: undefined, tries: 0, doubt: false, reviewed: false, undone: false, result: undefined, id: 0, state: "queued", unlisten: () => {} };
      this.#listen(call);
      if (options.prepare) void this.#prepare(call, options.prepare);
      else this.#enqueue(call);
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
   * @param {number} limitMs waits no longer than this, and then until a dialog that is open is closed
   * @returns {Promise<void>}
   */
  drain(limitMs) {
    this.#draining = true;
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const late = () => (this.#paused ? (timer = this.#clock.setTimeout(late, limitMs)) : resolve());
      let timer = this.#clock.setTimeout(late, limitMs);
      this.#idle.push(() => (this.#clock.clearTimeout(timer), resolve()));
    });
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
    const preparing = [...this.#aside].filter((call) => call.state === "preparing");
    const calls = [...this.#pending.values(), ...this.#queue, ...this.#resting, ...preparing];
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
    for (const call of [...this.#pending.values(), ...this.#aside]) {
      if (call.state === "settled") continue;
      if (paused) this.#stopTimer(call);
      else this.#startTimer(call);
    }
  }

  /**
   * @param {Call} call
   * @param {() => Promise<object | void>} prepare
   */
  async #prepare(call, prepare) {
    call.state = "preparing";
    this.#aside.add(call);
    this.#startTimer(call);
    try {
      const params = await prepare();
      if (params) call.params = encodeParams(call.method, params);
    } catch (error) {
      this.#settle(call, /** @type {KmsError} */ (error));
    }
    if (!this.#aside.delete(call)) return this.#undone(call); // settled meanwhile
    this.#stopTimer(call);
    this.#enqueue(call);
  }

  /** @param {Call} call */
  #enqueue(call) {
    call.state = "queued";
    this.#queue.add(call);
    this.#pump();
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
    call.doubt = true;
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
    call.startedAt = this.#clock.now();
    if (!this.#paused) call.timer = this.#clock.setTimeout(() => this.#timeOut(call), Math.max(0, call.left));
  }

  /** @param {Call} call */
  #stopTimer(call) {
    if (call.timer === undefined) return;
    this.#clock.clearTimeout(call.timer);
    call.timer = undefined;
    call.left -= this.#clock.now() - call.startedAt;
  }

  /** @param {Call} call */
  #timeOut(call) {
    call.timer = undefined;
    if (call.state === "posted") this.#cancel(call.id);
    this.#settle(call, timedOut(call));
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
  // the result if that came first. If it is there already, nothing more is waited for.
  /** @param {Call} call */
  #abort(call) {
    if (call.state === "posted") return this.#cancel(call.id);
    if (call.state === "finishing") return this.#settle(call, undefined, call.result);
    this.#queue.delete(call);
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
    call.doubt = !NOTHING_DONE.has(error.code) && !saidNo(call, error);
    if (call.state === "settled") return call.doubt ? undefined : this.#undone(call);
    const pause = BACKOFF_MS * 2 ** call.tries * (0.5 + this.#clock.random() / 2);
    if (call.options.signal?.aborted || !mayRepeat(call, error) || pause >= call.left) {
      return this.#settle(call, call.doubt && !call.options.repeatable ? notRepeatable(error) : error);
    }
    call.left -= pause;
    call.state = "backing off";
    this.#resting.add(call);
    call.timer = this.#clock.setTimeout(() => {
      call.timer = undefined;
      this.#resting.delete(call);
      this.#enqueue(call);
    }, pause);
  }

  /**
   * @param {Call} call
   * @param {unknown} result
   */
  async #succeeded(call, result) {
    const { succeeded, signal } = call.options;
    if (!succeeded || signal?.aborted) this.#settle(call, undefined, result);
    if (!succeeded) return;
    if (call.state !== "settled") {
      call.state = "finishing";
      call.result = result;
      this.#aside.add(call);
      this.#startTimer(call);
    }
    let verdict;
    try {
      verdict = await succeeded(result);
    } catch (error) {
      return this.#settle(call, /** @type {KmsError} */ (error));
    }
    if (verdict === AGAIN && !call.reviewed && call.state === "finishing") this.#review(call);
    else this.#settle(call, undefined, result);
  }

  /** @param {Call} call */
  #review(call) {
    call.reviewed = true;
    this.#aside.delete(call);
    this.#stopTimer(call);
    if (this.#closed) this.#settle(call, this.#closed);
    else this.#enqueue(call);
  }

  /**
   * @param {Call} call
   * @param {KmsError | undefined} error
   * @param {unknown} [result]
   */
  #settle(call, error, result) {
    if (call.state === "settled") return;
    const before = call.state;
    if (call.timer !== undefined) this.#clock.clearTimeout(call.timer);
    call.timer = undefined;
    call.state = "settled";
    call.unlisten();
    this.#resting.delete(call);
    this.#aside.delete(call);
    if (error) call.reject(error);
    else call.resolve(result);
    if (error && before !== "preparing" && before !== "finishing" && !call.doubt) this.#undone(call);
  }

  /** @param {Call} call */
  #undone(call) {
    if (call.undone) return;
    call.undone = true;
    call.options.undone?.();
  }

  #wake() {
    if (this.pending > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/**
 * A user who says no, or does not answer, has let nothing be done. Where the app called it off, or stopped waiting,
 * the enclave may have been past the question.
 *
 * @param {Call} call
 * @param {KmsError} error
 */
function saidNo({ state, options }, { code }) {
  return options.dialog && (code === "cancelled" || code === "expired") && state !== "settled" && !options.signal?.aborted;
}

/**
 * `busy` and `conflict` promise that nothing was done; after other errors only a repeatable method
 * may be repeated. Nobody is asked twice: `busy` comes before the question, all else may come after it.
 *
 * @param {Call} call
 * @param {KmsError} error
 */
function mayRepeat({ tries, options }, { code, retryable }) {
  const harmless = options.repeatable || code === "busy" || code === "conflict";
  return retryable && harmless && (code === "busy" || !options.dialog) && tries < TRIES;
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

/**
 * @param {Call} call
 * @returns {KmsError} `timeout`, retryable if repeating does no harm
 */
function timedOut({ method, state, options: { timeoutMs, repeatable } }) {
  if (state === "preparing") {
    return new KmsError("timeout", `${method}: not begun within ${timeoutMs} ms: the app's storage does not answer, or the enclave is still being started again`, { retryable: true });
  }
  if (state === "finishing") {
    return new KmsError("timeout", `${method}: the enclave has answered, but what the SDK does then (the app's storage, starting the enclave again) took all of the ${timeoutMs} ms`, { retryable: repeatable });
  }
  return new KmsError("timeout", `${method}: no reply within ${timeoutMs} ms${repeatable ? "" : "; whether it was done is not known"}`, { retryable: repeatable });
}

/**
 * @param {KmsError} error which leaves open whether something was done that must not be done twice
 * @returns {KmsError}
 */
function notRepeatable({ code, message, details, cause }) {
  return new KmsError(code, message, { retryable: false, details, cause });
}

function calledOff() {
  return new KmsError("cancelled", "the app called it off before it was begun");
}
