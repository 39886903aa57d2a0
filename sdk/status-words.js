// The texts of <kms-status>. English is complete; an app may add languages and change single texts.
// {name} stands for a value. What is not translated stays English, and is marked as English.

export const english = Object.freeze({
  label: "Enclave",
  waiting: "The enclave is starting…",

  enforced: "Enforced",
  checked: "Checked",
  unpinned: "Not pinned",
  refused: "Did not start",
  enforcedWhy: "The browser itself refuses to run anything but the pinned release, and a test frame has shown that it does.",
  checkedWhy: "This browser cannot enforce a pin, so the app fetched the release and compared it before it connected.",
  unpinnedWhy: "The app pinned no release, so whatever the enclave's host serves is what runs.",
  proven: "Proven",
  unproven: "Not proven",
  enforcedProven: "The code in the enclave's frame is the release with this measurement, whatever its host would rather serve.",
  enforcedUnproven: "That the release is a good one: for that, somebody reads its source and rebuilds it, with the command below.",
  checkedProven: "The host gave this app's check exactly the pinned page and loader.",
  checkedUnproven: "That the frame got the same: a host that serves a check one thing and a frame another is not noticed.",
  unpinnedProven: "Nothing about the code: the measurement is what the enclave says of itself.",
  unpinnedUnproven: "That this is the release you expect. Compare the measurement with one that you trust.",
  refusedProven: "Nothing: no enclave is running here.",

  version: "Release",
  commit: "Source commit",
  commitUnknown: "not named by the release",
  host: "Served by",
  measurement: "Measurement",
  pinnedMeasurement: "Measurement that this app pinned",
  measurementHint: "Same digits, same code: it is the SHA-384 of the loader, which names everything else by hash. Read it aloud by row and column.",
  row: "Row {name}",
  column: "Column {name}",
  picture: "Picture of the measurement that begins with {start}",
  pictureHint: "The picture shows 96 of the 384 bits. It is a glance, not a proof.",
  copy: "Copy",
  copyMeasurement: "Copy the measurement",
  copyCommand: "Copy the command",
  copied: "Copied",
  notCopied: "Selected: press Ctrl+C",

  verify: "Verify",
  verifyAgain: "Verify again",
  verifyHint: "Asks the enclave to test itself, fetches its files from the host again, past every cache, and compares.",
  verifying: "Verifying… {done} done",
  matched: "Everything matches.",
  matchedUnpinned: "The host agrees with what the enclave says of itself. Nothing was pinned, so that is all it shows.",
  mismatch: "Something does not match.",
  incomplete: "Nothing was found to be wrong, but not everything could be checked.",
  broken: "It could not be verified: {message}",
  selfTest: "Known-answer tests",
  running: "What it says it runs",
  page: "Page and policy",
  loader: "Loader",
  wasm: "Module",
  enforcement: "Enforcement of the pin",
  byEnclave: "The enclave's own account; a page cannot vouch for itself",
  byApp: "Fetched from the host again and compared by this app",
  byBrowser: "Tried out in this browser",
  passed: "matches",
  failed: "does not match",
  unknown: "could not be checked",
  unavailable: "this browser cannot",
  selfTestPassed: "right",
  selfTestFailed: "wrong",
  enforcementPassed: "holds",
  enforcementFailed: "does not hold",

  audit: "For an auditor",
  auditHint: "In a checkout of the source: rebuilds the release and compares it with what the host serves, byte for byte.",
  auditUnsafe: "No command is shown: this address holds characters that a shell would not leave alone.",

  warning: "Warning",
  refusedTitle: "The enclave did not start.",
  refusedAdvice: "Do not go on as if it had. Tell whoever runs this app; a lower demand would only hide it.",
  failedTitle: "The enclave could not be started.",
  mismatchTitle: "The enclave is not what this app expects.",
  mismatchList: "Does not match: {what}.",
  mismatchEnforced: "What runs here was enforced when it started. Still, do not approve anything until whoever runs this app has explained it.",
  mismatchOther: "Do not type a secret or approve anything here until whoever runs this app has explained it.",
  integrityTitle: "Something stored is not what was written.",
  closedTitle: "The enclave has stopped.",

  updatedTitle: "The enclave was updated",
  updated: "This app now pins another release than the one seen here on {date}.",
  aroundTitle: "The page around the enclave could be safer.",
  changedTitle: "The enclave changed, and nothing was pinned.",
  changed: "Its host alone decided to run other code than the one seen here on {date}. If nobody told you to expect that, stop here.",
  before: "Before",
  now: "Now",
  noted: "Noted",
  notKept: "This browser does not let the app remember the release, so an update would not be noticed.",
});

/** @typedef {Partial<Record<keyof typeof english, string>>} Some */

/** @type {Map<string, Some>} */
const languages = new Map();

/**
 * Adds texts for a language, by its primary subtag. See status.d.ts.
 *
 * @param {string} language
 * @param {Some} words
 */
export function defineWords(language, words) {
  languages.set(primary(language), { ...languages.get(primary(language)), ...words });
}

/**
 * The texts for a language.
 *
 * @param {string} language of the page, "" if it does not say
 * @param {Some} own of one element; they win
 * @returns {{ texts: Record<keyof typeof english, string>, language: string }} and the language that they are in
 */
export function wordsFor(language, own) {
  const found = languages.get(primary(language));
  return { texts: { ...english, ...found, ...own }, language: found || Object.keys(own).length > 0 ? language : "en" };
}

/**
 * @param {string} text
 * @param {Readonly<Record<string, string | number>>} values
 * @returns {string} text with its {names} replaced
 */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (name, key) => (Object.hasOwn(values, key) ? String(values[key]) : name));
}

/** @param {string} language */
function primary(language) {
  return language.toLowerCase().split("-")[0];
}
