// What an auditor types to check the release that an app embeds.
//
// The lines are made to be pasted into a shell, so nothing gets into them that is not of a narrow
// grammar: the URL comes from the app, but the commit is what the enclave's host says.

const URL_PARTS = /^https?:\/\/(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d+)?\/r\/[0-9a-f]{32}\/kms\.html$/;
const COMMIT = /^[0-9a-f]{40}$/;

/**
 * Whether a value is the name of a Git commit, and so may be shown as one.
 *
 * @param {unknown} value
 * @returns {value is string}
 */
export function isCommit(value) {
  return typeof value === "string" && COMMIT.test(value);
}

/**
 * The lines that rebuild the release from a checkout of its source and compare it with what the host serves.
 *
 * @param {string} url of kms.html
 * @param {string} [commit] what the release says it was built from
 * @returns {string[]} none if the URL has a character that a shell would not leave alone
 */
export function auditCommand(url, commit) {
  if (!URL_PARTS.test(url)) return [];
  // Square brackets of an IPv6 address are a pattern to a shell.
  const quoted = url.includes("[") ? `'${url}'` : url;
  return [...(isCommit(commit) ? [`git checkout ${commit}`] : []), "make enclave", `bin/enclave verify ${quoted} --rebuild .`];
}

/**
 * Text that a host chose, made harmless to look at: printable ASCII, and not long.
 *
 * @param {unknown} text
 * @param {number} [limit] of characters
 * @returns {string}
 */
export function printable(text, limit = 64) {
  const clean = String(text).replace(/[^ -~]/g, "?");
  return clean.length > limit ? `${clean.slice(0, limit - 1)}~` : clean;
}

/**
 * The same in quotes, inside a sentence of ours: so that nobody takes it for our words.
 *
 * @param {unknown} text
 * @returns {string}
 */
export function quoted(text) {
  return JSON.stringify(printable(text, 300));
}
