// The demo's words: what a state, a level or an error code means to a person.

export const levels = {
  enforced: { name: "Enforced", tone: "good" },
  checked: { name: "Checked", tone: "part" }, // weaker than enforced: what the host sends to the frame alone is not seen
  unpinned: { name: "Not pinned", tone: "warn" },
};

export const states = {
  absent: "There is no vault yet.",
  locked: "The vault is locked.",
  unlocked: "The vault is open.",
};

export const durabilities = {
  persistent: ["Lasts", "The browser has promised not to clear this storage by itself."],
  "best-effort": ["Lasts, usually", "Kept across restarts, but the browser may clear it when the disk is full or the site goes unused."],
  "browser-session": ["Until the browser closes", "This browser forgets what an embedded page stored when it closes. The keys come back from this app’s copy, if a passphrase, passkey or phrase opens it."],
  memory: ["In memory only", "Nothing is stored. The keys end with this tab."],
};

export const purposes = { vapid: "Push (VAPID)", signing: "Signing", identity: "Identity", agreement: "Key agreement" };

export const algorithms = { ES256: "ES256 · ECDSA on P-256", EdDSA: "EdDSA · Ed25519", X25519: "X25519" };

/** What an error code means, and what one can do about it. */
const errors = {
  invalid_request: "Change what is named and try again.",
  unknown_method: "The enclave has no such method.",
  not_found: "There is no vault, or no such key. Reload the page to see what there is.",
  locked: "The vault has to be unlocked first.",
  denied: "The enclave's rules do not allow this, or not now.",
  cancelled: "You said no. Nothing was changed.",
  expired: "Nobody answered, so the question was taken back. Nothing was changed.",
  quota_exceeded: "That is more than a vault allows.",
  exists: "There is one already.",
  conflict: "Another tab changed it at the same moment. Nothing was done: try again.",
  busy: "The enclave is busy. Try again in a moment.",
  interrupted: "The enclave ended in the middle of it. Look at the log before you try again.",
  timeout: "It took too long. Look at the log before you try again.",
  unsupported: "This browser, or this vault, cannot do it.",
  launch_refused: "The enclave did not start as pinned, so it did not start at all.",
  storage_unavailable: "The browser does not let an embedded page store anything. Private windows and strict settings do that; an in-memory vault still works.",
  storage_full: "The browser's storage is full. Nothing was written.",
  integrity: "Something is not what it was when it was written. Nothing was touched.",
  internal: "That is a defect of the enclave. Please report it.",
};

/** What to do when the enclave does not start, by error code; "sdk" if there is none. */
export const startAdvice = {
  sdk: "The SDK did not load: one of its modules is missing, or is not the one that this page's import map names, as after a change in sdk/ while the demo runs. Stop the demo, start it again and reload.",
  launch_refused: "Is the demo still running in its terminal? If another release was built meanwhile, stop the demo and start it again. Then reload this page.",
  integrity: "What the enclave's host served is not the release that this app pinned. Stop the demo, start it again and reload.",
  timeout: "Is the demo still running in its terminal? Reload when it is.",
  interrupted: "Is the demo still running in its terminal? Reload when it is.",
  unsupported: "Try a current Chrome, Edge, Firefox or Safari.",
  storage_unavailable: "Allow this page's embedded content to store data, or use an ordinary window.",
};

/** Why the enclave shows no dialog now, by details.reason; the code is denied. */
const denials = {
  "dialog-open": "Another dialog of the enclave is open. Answer it, and try again.",
  "asked-too-soon": "It is too soon to ask again. Wait half a minute, and try again. After each further no the wait doubles, up to a quarter of an hour: a page must not wear anybody down with dialogs.",
};

/** What an alert is about, by details.reason. That a vault is lost its state says. */
export const alerts = {
  "rolled-back": "Your vault is in an older state than this app has seen before: somebody has put back what the enclave stores. Keys that were replaced or revoked since may work again. Find out who used this device, and replace your keys.",
  "another-vault": "This is another vault than the one that this app has seen here, and nobody deleted that one: somebody has replaced what the enclave stores. Keys of a vault that was given up may work again. Find out who used this device before you rely on these keys.",
  "log-taken-back": "Entries are missing at the end of your vault's log that this app has seen before: somebody has put back what the enclave stores. Keys that were replaced or revoked since may work again. Find out who used this device, and replace your keys.",
  "log-replaced": "Your vault's log is not the one that this app has seen before: somebody has put back what the enclave stores, and used it again. Keys that were replaced or revoked since may work again. Find out who used this device, and replace your keys.",
};

/** Why a vault is lost. */
export const reasons = {
  "marker-without-vault": "This app remembers that a vault was made here, but the enclave finds none. The browser, or the enclave's host, has cleared its storage.",
  "share-missing": "The vault is still there, but this app has lost the 32 bytes without which it does not open. This site's data was cleared: by somebody, or by the browser.",
};

/** What an error means, and what one can do about it. */
export const adviceOf = ({ code, details }) => denials[details?.reason] ?? errors[code];

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A message as a sentence. A name such as ttlSeconds at its beginning stays as it is. */
export function sentence(message) {
  const text = /^[a-z]+\b/.test(message) ? capital(message) : message;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
