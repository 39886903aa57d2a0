// A relay, as the app sees it: its HTTP requests, each in bounded time, to the relay's origin only.
//
// Tokens go into one header of a request, and nowhere else: into no URL, no message and no log.

import { KmsError } from "./errors.js";

const ATTEMPT_MS = 10_000; // for an answer, body included; of a stream, for its head
const TOTAL_MS = 30_000; // for all attempts and the waits between them
const ATTEMPTS = 3;
const MAX_ANSWER = 64 << 10; // bytes

/**
 * What a relay's problems (RFC 9457, `type` is "urn:kms-relay:" and the word) are in the SDK's words.
 * @type {Readonly<globalThis.Record<string, import("./types.d.ts").ErrorCode>>}
 */
const PROBLEMS = Object.freeze({
  malformed: "invalid_request",
  unauthorized: "denied",
  forbidden: "denied",
  "unknown-subscription": "not_found",
  gone: "not_found",
  "too-large": "invalid_request",
  "idempotency-key-reused": "conflict",
  "endpoint-refused": "denied",
  "stash-refused": "denied",
  "too-many-requests": "quota_exceeded",
  "queue-full": "quota_exceeded",
  unavailable: "busy",
  "storage-full": "busy",
});

/** @typedef {{ signal?: AbortSignal }} Options */

export class RelayClient {
  /** @param {string} origin */
  constructor(origin) {
    /** @readonly */ this.origin = origin;
  }

  /** @param {string} id */
  #path(id) {
    return `/v1/subscriptions/${encodeURIComponent(id)}`;
  }

  /** @param {string} id */
  messages(id) {
    return `${this.origin}${this.#path(id)}/messages`;
  }

  /**
   * Whether a relay answers there, asked without a token.
   *
   * @param {Options} options
   * @throws {KmsError} `unsupported` if something else does; or as every request
   */
  async reach(options) {
    try {
      await this.#ask("GET", this.#path("0"), undefined, undefined, options);
    } catch (error) {
      if (error instanceof KmsError && error.details.problem === "unauthorized") return;
      throw error;
    }
    throw this.#strange("an answer to a request without a token");
  }

  /**
   * @param {string} id
   * @param {string} token of scope register, as for all that follow
   * @param {{ subscription: PushSubscriptionJSON, publicKey: string, tokens: string[] }} registration
   * @param {Options} options
   * @returns {Promise<{ created: boolean, sent: number }>} whether the relay knew nothing of it before, and so counts from zero
   */
  async register(id, token, { subscription: { endpoint, expirationTime = null, keys }, publicKey, tokens }, options) {
    const { status, answer } = await this.#ask("PUT", this.#path(id), token, { subscription: { endpoint, expirationTime, keys }, publicKey, tokens }, options);
    return { created: status === 201, sent: this.#state(answer).sent };
  }

  /**
   * @param {string} id
   * @param {string} token
   * @param {string[]} tokens
   * @param {Options} options
   */
  async stash(id, token, tokens, options) {
    return this.#state((await this.#ask("PUT", `${this.#path(id)}/tokens`, token, { tokens }, options)).answer);
  }

  /**
   * @param {string} id
   * @param {string} token
   * @param {Options} options
   */
  async state(id, token, options) {
    return this.#state((await this.#ask("GET", this.#path(id), token, undefined, options)).answer);
  }

  /**
   * @param {string} id
   * @param {string} token
   * @param {Options} options
   */
  async remove(id, token, options) {
    await this.#ask("DELETE", this.#path(id), token, undefined, options);
  }

  /**
   * The stream of events. The caller reads it, and ends it by the signal.
   *
   * @param {string} id
   * @param {string} token
   * @param {string | undefined} last the event to go on after
   * @param {AbortSignal} signal
   * @returns {Promise<ReadableStream<Uint8Array>>}
   */
  async events(id, token, last, signal) {
    const headers = { accept: "text/event-stream", ...(last !== undefined && { "last-event-id": last }) };
    const stop = new AbortController();
    const end = () => stop.abort();
    if (signal.aborted) end();
    signal.addEventListener("abort", end);
    const timer = setTimeout(() => stop.abort(), ATTEMPT_MS);
    try {
      const response = await this.#fetch("GET", `${this.#path(id)}/events`, token, undefined, headers, stop.signal);
      if (!response.ok) throw await this.#problem(response);
      if (!response.body || !response.headers.get("content-type")?.startsWith("text/event-stream")) throw this.#strange("no stream of events");
      return response.body;
    } catch (error) {
      signal.removeEventListener("abort", end);
      throw this.#failure(error, stop.signal, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Every request here can be repeated, and is: where the relay says when, and after a network's failure.
   *
   * @param {string} method
   * @param {string} path
   * @param {string | undefined} token
   * @param {object | undefined} body
   * @param {Options} options
   * @returns {Promise<{ status: number, answer: unknown }>} the JSON of the answer; undefined if it has no body
   * @throws {KmsError} of a problem, see PROBLEMS; `timeout` or `interrupted` if there is no answer, `cancelled` if the signal fired
   */
  async #ask(method, path, token, body, { signal }) {
    const end = Date.now() + TOTAL_MS;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(method, path, token, body, signal);
      } catch (error) {
        const wait = error instanceof KmsError && error.retryable ? Number(error.details.retryAfter ?? attempt) * 1000 : Infinity;
        if (attempt === ATTEMPTS || Date.now() + wait + ATTEMPT_MS > end) throw error;
        await sleep(wait, signal);
      }
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string | undefined} token
   * @param {object | undefined} body
   * @param {AbortSignal | undefined} signal
   */
  async #once(method, path, token, body, signal) {
    const stop = new AbortController();
    const end = () => stop.abort();
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end);
    const timer = setTimeout(end, ATTEMPT_MS);
    try {
      const response = await this.#fetch(method, path, token, body, { accept: "application/json" }, stop.signal);
      if (!response.ok) throw await this.#problem(response);
      const text = await bounded(response);
      return { status: response.status, answer: text === "" ? undefined : parsed(text) };
    } catch (error) {
      throw this.#failure(error, stop.signal, signal);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string | undefined} token
   * @param {object | undefined} body
   * @param {globalThis.Record<string, string>} headers
   * @param {AbortSignal} signal
   */
  #fetch(method, path, token, body, headers, signal) {
    return fetch(this.origin + path, {
      method, signal, mode: "cors", credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer",
      headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
    });
  }

  /**
   * @param {Response} response
   * @returns {Promise<KmsError>}
   */
  async #problem(response) {
    const { type, title, detail } = /** @type {any} */ (parsed(await bounded(response)) ?? {});
    const problem = /^urn:kms-relay:([a-z-]{1,40})$/.exec(type)?.[1];
    if (!problem) return this.#strange(`status ${response.status}`, response.status >= 500);
    const retryAfter = retrySeconds(response.headers.get("retry-after"));
    const busy = response.status === 429 || response.status >= 500;
    const said = [title, detail].filter((text) => typeof text === "string").map((text) => text.slice(0, 200)).join(": ");
    return new KmsError(PROBLEMS[problem] ?? "internal", `the relay ${this.origin}: ${said}`, {
      retryable: busy,
      details: { relay: this.origin, status: response.status, problem, ...(retryAfter !== undefined && { retryAfter }) },
    });
  }

  /**
   * @param {string} what it answered
   * @param {boolean} [retryable]
   */
  #strange(what, retryable = false) {
    return new KmsError(retryable ? "busy" : "unsupported", `the relay ${this.origin}: ${what}, which is not a relay's; wanted one of this SDK's version`, { retryable, details: { relay: this.origin } });
  }

  /**
   * @param {unknown} error
   * @param {AbortSignal} stopped
   * @param {AbortSignal | undefined} signal the caller's
   */
  #failure(error, stopped, signal) {
    if (error instanceof KmsError) return error;
    const details = { relay: this.origin };
    if (signal?.aborted) return new KmsError("cancelled", "the caller's signal fired", { details });
    if (stopped.aborted) return new KmsError("timeout", `the relay ${this.origin} has not answered within ${ATTEMPT_MS} ms`, { retryable: true, details });
    return new KmsError("interrupted", `the relay ${this.origin} cannot be reached; is it in connect-src of the app's Content-Security-Policy?`, { retryable: true, details, cause: error });
  }

  /**
   * @param {unknown} answer
   * @returns {import("./push.d.ts").RelayState}
   */
  #state(answer) {
    const { id, sent, failed, queued, tokens, state } = /** @type {any} */ (answer ?? {});
    const numbers = [sent, failed, queued, tokens?.left, tokens?.until];
    if (typeof id !== "string" || !numbers.every(Number.isSafeInteger) || !["active", "gone"].includes(state)) throw this.#strange("a state of another form");
    return { id, sent, failed, queued, tokens: { left: tokens.left, until: tokens.until }, state };
  }
}

/**
 * Seconds of a Retry-After (RFC 9110 section 10.2.3), in either form.
 *
 * @param {string | null} text
 */
function retrySeconds(text) {
  if (text === null) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const until = Date.parse(text);
  return Number.isNaN(until) ? undefined : Math.max(0, Math.ceil((until - Date.now()) / 1000));
}

/** @param {Response} response */
async function bounded(response) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let size = 0; reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    text += decoder.decode(value, { stream: true });
    if (size <= MAX_ANSWER) continue;
    await reader.cancel().catch(() => {});
    return "";
  }
  return text;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>} early if the signal fires
 */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, milliseconds);
    if (signal?.aborted) over();
    signal?.addEventListener("abort", over);
  });
}
