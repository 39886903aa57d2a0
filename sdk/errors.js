// The one kind of error that the SDK throws.

/**
 * Every code, as in the enclave's own package `api`. Branch on the code, never on the message.
 * @type {readonly import("./types.d.ts").ErrorCode[]}
 */
export const CODES = Object.freeze([
  "invalid_request",
  "unknown_method",
  "not_found",
  "locked",
  "denied",
  "cancelled",
  "expired",
  "quota_exceeded",
  "exists",
  "conflict",
  "busy",
  "interrupted",
  "timeout",
  "unsupported",
  "launch_refused",
  "storage_unavailable",
  "storage_full",
  "integrity",
  "internal",
]);

/**
 * An error of the enclave or of the SDK. `message` is for people: what was wrong and what to do;
 * it never contains a secret. `retryable` says that trying again later can help; the SDK has by then
 * repeated what is harmless to repeat. After `timeout` and `interrupted` it is false where a repetition
 * could do something twice.
 */
export class KmsError extends Error {
  /**
   * @param {import("./types.d.ts").ErrorCode} code
   * @param {string} message
   * @param {{ retryable?: boolean, details?: Readonly<Record<string, unknown>>, cause?: unknown }} [more]
   */
  constructor(code, message, { retryable = false, details = {}, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "KmsError";
    /** @readonly */ this.code = code;
    /** @readonly */ this.retryable = retryable;
    /** @readonly */ this.details = details;
  }
}

/**
 * The error of a reply. A code that this SDK does not know, from a newer release, becomes
 * `internal` and is kept in `details.code`.
 *
 * @param {{ code?: unknown, message?: unknown, retryable?: unknown, details?: unknown }} wire
 * @returns {KmsError}
 */
export function errorFromWire({ code, message, retryable, details }) {
  const known = CODES.find((each) => each === code);
  const members = typeof details === "object" && details !== null ? { ...details } : {};
  return new KmsError(known ?? "internal", typeof message === "string" ? message : "error without a message", {
    retryable: retryable === true,
    details: known ? members : { ...members, code },
  });
}

/**
 * Anything that was thrown, as a KmsError: what already is one stays itself.
 *
 * @param {unknown} error
 * @param {import("./types.d.ts").ErrorCode} code for what is not a KmsError yet
 * @param {string} what did not work
 * @returns {KmsError}
 */
export function asKmsError(error, code, what) {
  if (error instanceof KmsError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new KmsError(code, `${what}: ${reason}`, { cause: error });
}
