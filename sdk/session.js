// One frame with one worker, from the handshake to its death: two ports and the view.

import { CODES, KmsError } from "./errors.js";

/** details.cause of a start that ended because the page was left. */
export const LEFT = "left";

/**
 * What a session tells.
 * @typedef {object} Listener
 * @property {(text: string) => void} message JSON text from the worker: a reply or an event
 * @property {(open: boolean) => void} dialog the enclave begins or ends a dialog
 * @property {(id: number) => void} pong
 * @property {() => void} left the page was left, which ends the worker; it may be shown again. Nothing after it
 * @property {(message: string) => void} died once, and nothing after it
 */

/**
 * A session, from its handshake on. It throws nothing: what goes wrong is told by `started`, `left` and `died`.
 * After `dispose`, `left` or `died` nothing is heard from it, and what is posted goes nowhere.
 */
export class Session {
  #app = new MessageChannel();
  #frame = new MessageChannel();
  #view;
  #listener;
  #over = false;
  #away = false; // the page was left, and may be shown again
  /** Ends with the session. */ #listening = new AbortController();
  /** Resolves with the data of the worker's first event; rejects with a KmsError if it could not start. Has no bound of its own. @readonly @type {Promise<unknown>} */ started;
  /** @type {(data: unknown) => void} */ #start = () => {};
  /** @type {(error: KmsError) => void} */ #fail = () => {};

  /**
   * @param {import("./dialog.js").View} view
   * @param {Listener} listener
   * @param {EventTarget} page tests bring their own
   */
  constructor(view, listener, page = window) {
    this.#view = view;
    this.#listener = listener;
    this.started = new Promise((resolve, reject) => {
      this.#start = resolve;
      this.#fail = reject;
    });
    this.started.catch(() => {});
    for (const { port1: port } of [this.#app, this.#frame]) port.addEventListener("close", () => this.#die("the enclave's worker ended (its port was closed)"));
    this.#app.port1.onmessage = ({ data }) => this.#fromWorker(data);
    this.#frame.port1.onmessage = ({ data }) => this.#fromLoader(data);
    // A page that is left may be kept, its frames and workers with it, and one that was writing would keep the enclave's
    // database for itself: no other tab could write for as long as this one is kept. So the frame goes at once.
    const { signal } = this.#listening;
    page.addEventListener("pagehide", () => ((this.#away = true), this.#close()), { signal });
    page.addEventListener("pageshow", (event) => /** @type {PageTransitionEvent} */ (event).persisted && this.#leave(), { signal });
  }

  /**
   * Sends the handshake's second and last window message (docs/protocol.md section 2).
   *
   * @param {string} origin of the enclave
   * @param {{ account: string, share: Uint8Array, marker: boolean, wasm: ArrayBuffer }} what
   */
  connect(origin, what) {
    const target = this.#view.iframe.contentWindow;
    target?.postMessage({ kmsEnclave: 1, type: "connect", ...what }, origin, [this.#app.port2, this.#frame.port2, what.wasm]);
  }

  /** @param {string} text a request: JSON text of at most 1 MiB, with an id that no pending request has */
  post(text) {
    this.#app.port1.postMessage(text);
  }

  /** @param {number} id that the pong will carry */
  ping(id) {
    this.#frame.port1.postMessage({ type: "ping", id });
  }

  /** @param {boolean} open whether the frame is shown as a modal dialog */
  show(open) {
    this.#view.show(open);
  }

  /** Ends the worker, without a word to the listener. */
  dispose() {
    this.#over = true;
    this.#listening.abort();
    this.#close();
  }

  #close() {
    this.#app.port1.close();
    this.#frame.port1.close();
    this.#view.remove();
  }

  /** @param {unknown} data */
  #fromWorker(data) {
    if (this.#over || typeof data !== "string") return;
    const first = data.startsWith('{"event":"ready"') ? parse(data) : undefined;
    if (first) this.#start(first.data);
    else this.#listener.message(data);
  }

  /** @param {unknown} data */
  #fromLoader(data) {
    if (this.#over || typeof data !== "object" || data === null) return;
    const { type, code, reason, message, open, id } = /** @type {Record<string, unknown>} */ (data);
    const words = typeof message === "string" ? message.replace(/\.$/, "") : "no reason given";
    if (type === "dialog") this.#listener.dialog(open === true);
    else if (type === "pong" && typeof id === "number") this.#listener.pong(id);
    else if (type === "failed") this.#fail(new KmsError(CODES.find((each) => each === code) ?? "launch_refused", `the enclave's worker did not start: ${words}`));
    else if (type === "refused") this.#fail(refusal(reason, words));
    else if (type === "left") this.#leave();
    else if (type === "died") this.#die(`the enclave's worker ended (${words})`);
  }

  #leave() {
    if (this.#over) return;
    this.#over = true;
    this.#fail(new KmsError("launch_refused", "while it started, the page was left; connect again", { retryable: true, details: { cause: LEFT } }));
    this.#listener.left();
  }

  /** @param {string} message */
  #die(message) {
    if (this.#over || this.#away) return;
    this.#over = true;
    this.#fail(new KmsError("launch_refused", `while it started, ${message}`));
    this.#listener.died(message);
  }
}

/**
 * The error of a loader that refused to go on.
 *
 * @param {unknown} reason the protocol's stable word
 * @param {string} message
 * @returns {KmsError} `unsupported` or `launch_refused`, with the word in details.reason
 */
export function refusal(reason, message) {
  const code = reason === "unsupported" ? "unsupported" : "launch_refused";
  return new KmsError(code, `the enclave refused to start: ${message}`, { details: { cause: "refused", reason } });
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
