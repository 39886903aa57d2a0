// What the benchmarks share.

/** What stands behind an option of the command line: a number where otherwise is one. */
export function argument(name, otherwise) {
  const at = process.argv.indexOf(name);
  if (at < 0) return otherwise;
  return typeof otherwise === "number" ? Number(process.argv[at + 1]) : process.argv[at + 1];
}

export const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

/** Firefox rounds its clock to a millisecond for pages; here it must not. */
export const precise = { "privacy.reduceTimerPrecision": false };
