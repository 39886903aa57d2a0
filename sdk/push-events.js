// A stream of events (HTML section 9.2), read by fetch: EventSource sends no Authorization. A relay ends
// its lines with LF; the other two ends that a stream may have are not taken.

const MAX_EVENT = 64 << 10; // characters of an event that is not over

/** @typedef {{ id?: string, type: string, data: string }} ServerEvent */

/**
 * The events of a stream. Ends when the stream ends, or is silent for longer than silenceMs: a relay says something every 15 seconds.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number} silenceMs
 * @returns {AsyncGenerator<ServerEvent, void>}
 */
export async function* eventsOf(stream, silenceMs) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await orSilence(reader.read(), silenceMs);
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = /** @type {string} */ (blocks.pop());
      for (const block of blocks) yield* eventOf(block);
      if (rest.length > MAX_EVENT) return;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * @param {string} block
 * @returns {ServerEvent[]} one, or none: a comment
 */
function eventOf(block) {
  const fields = block.split("\n").map((line) => /^(id|event|data)(?:: ?(.*))?$/.exec(line) ?? []);
  const value = (/** @type {string} */ name) => fields.filter(([, field]) => field === name).map(([, , text = ""]) => text);
  const data = value("data");
  if (data.length === 0) return [];
  return [{ id: value("id").at(-1), type: value("event").at(-1) ?? "message", data: data.join("\n") }];
}

/**
 * @template T
 * @param {Promise<ReadableStreamReadResult<T>>} reading
 * @param {number} silenceMs
 * @returns {Promise<ReadableStreamReadResult<T>>}
 */
function orSilence(reading, silenceMs) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const silence = new Promise((resolve) => {
    timer = setTimeout(resolve, silenceMs, { done: true, value: undefined });
  });
  return Promise.race([reading, /** @type {Promise<ReadableStreamReadResult<T>>} */ (silence)]).finally(() => clearTimeout(timer));
}
