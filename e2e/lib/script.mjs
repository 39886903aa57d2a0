// Functions that travel into a page, and what comes back.
//
// Arguments and results are JSON in all three engines, so that a test cannot pass in one
// because its driver is more generous. An exception comes back as a PageError that keeps
// the members tests look at.

/** Something that was thrown, or rejected, inside a page. */
export class PageError extends Error {
  constructor({ name, message, stack, ...members }) {
    super(message);
    this.name = name;
    this.pageStack = stack;
    Object.assign(this, members);
  }
}

/**
 * Source of an expression that is a promise of the JSON text of fn(...args)'s outcome. The text
 * is ASCII: WebKitWebDriver does not carry every character a string can hold.
 */
export function expression(fn, args) {
  return `(async () => {
    const encode = (outcome) => JSON.stringify(outcome).replace(/[^ -~]/g, (c) => "\\\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
    try {
      const value = await (${fn})(...${JSON.stringify(args)});
      return encode({ value });
    } catch (e) {
      const error = { name: String(e?.name ?? typeof e), message: String(e?.message ?? e), stack: String(e?.stack ?? "") };
      for (const member of ["code", "retryable", "details"]) if (e?.[member] !== undefined) error[member] = e[member];
      return encode({ error });
    }
  })()`;
}

/** The value in the JSON text that an expression yielded; throws its error. */
export function outcome(text) {
  const { value, error } = JSON.parse(text);
  if (error) throw new PageError(error);
  return value;
}

/** Rejects after timeoutMs with a message that says what did not happen. */
export function within(what, timeoutMs, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${timeoutMs} ms`)), timeoutMs);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}
