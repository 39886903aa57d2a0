// The words of the first page: what happened, in sentences.

import { purposes } from "../words.js";

export const locks = {
  passphrase: "Opens with your passphrase.",
  passkey: "Opens with your passkey.",
  none: "Opens by itself in this browser: whoever uses this profile can use the keys.",
};

const kinds = { passphrase: "a passphrase", passkey: "a passkey", device: "this device, without asking", recovery: "the recovery phrase" };

export const uses = {
  signing: "Signs tokens and messages",
  identity: "Proves who you are",
  vapid: "Signs for push messages",
  agreement: "Agrees on secrets with others",
};

export const lockedBecause = {
  asked: "It was locked on request.",
  idle: "Nobody used it for a while, so it locked itself.",
  start: "It locks whenever the page is left or loaded anew.",
};

/** "15 minutes" */
export function duration(seconds) {
  const [unit, size] = seconds % 3600 === 0 ? ["hour", 3600] : ["minute", 60];
  return new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "long" }).format(Math.round(seconds / size));
}

export const many = (n, one, other = `${one}s`) => `${n} ${n === 1 ? one : other}`;

/** What each level means for a person: what holds, and what is left. */
export const meanings = {
  enforced: {
    holds: "Your browser runs exactly the program that this app was built with, or none.",
    left: "Even the people who serve the enclave cannot hand you another one.",
  },
  checked: {
    holds: "This app compared the program with the one it was built with, and would not have started another.",
    left: "A host that lies to your browser but not to the check would get through. Chrome and Edge rule that out.",
  },
  unpinned: {
    holds: "This app takes whatever program the enclave's host sends.",
    left: "You trust that host as much as the app itself.",
  },
};

// What vaults of before named a device or a passphrase by themselves: it says no more than the kind.
const storedNames = ["This browser", "Passphrase"];

/** A way in: its kind, and the name if somebody gave it one. */
export function way({ kind, label } = {}) {
  const name = label && !storedNames.includes(label) ? ` “${label}”` : "";
  return `${kinds[kind] ?? "a way in"}${name}`;
}

/** How many wrong secrets were tried, if the entry tells. */
const triesOf = ({ details }) => Number(details?.tries ?? 0);

const after = (entry) => (triesOf(entry) > 0 ? `, after ${many(triesOf(entry), "wrong try", "wrong tries")}` : "");

// What was done, by method. name is that of the key.
const did = {
  "vault.create": () => "The vault was set up.",
  "vault.unlock": (entry) => `The vault was opened with ${way(entry.details)}${after(entry)}.`,
  "vault.lock": ({ details }) => (details?.why === "idle" ? "The vault locked itself: nobody used it." : "The vault was locked."),
  "slots.add": (entry) => `A way in was added: ${way(entry.details)}.`,
  "slots.remove": (entry) => `A way in was removed: ${way(entry.details)}.`,
  "slots.change": (entry) => `A way in was changed: ${way(entry.details)}.`,
  "slots.raise": () => "The passphrase was made harder to guess: each try takes more work now.",
  "recovery.enable": () => "A new recovery phrase was set up.",
  "recovery.check": () => "The recovery phrase was checked.",
  "backup.save": () => "A backup file was made.",
  "backup.kept": () => "You said that you have the backup file.",
  "backup.restore": () => "The vault came back from a backup file.",
  "mirror.restore": ({ details }) => (details?.older ? "The vault came back from an older copy in this app: what happened after it is missing." : "The vault came back from the copy in this app."),
  "keys.create": (entry, name) => `${name} was created.`,
  "keys.rotate": (entry, name) => `${name} was replaced by a new key.`,
  "keys.revoke": (entry, name) => `${name} was revoked.`,
  "jwt.sign": ({ details }, name) => `${name} signed a token for ${details?.aud ?? "somebody"}.`,
  "challenge.sign": ({ details }, name) => `${name} signed a message: ${details?.context ?? "no purpose given"}.`,
  "key.agree": ({ details }, name) => `${name} agreed on a secret: ${details?.context ?? "no purpose given"}.`,
  "token.vapid": ({ details }, name) => `${name} signed for push messages through ${details?.aud ?? "a service"}.`,
  "token.relay": (entry, name) => `${name} signed for a relay${entry.details?.scope === "send" ? ": whoever has the token may send through it" : ""}.`,
  "lease.grant": ({ details }) => `You allowed the relay ${details?.relay ?? ""} to notify you.`,
  "lease.renew": () => "You allowed a relay to notify you for longer.",
  "lease.revoke": ({ details }) => `You stopped the relay ${details?.relay ?? ""}.`,
};

// What the app wanted, where it was refused.
const wanted = {
  "vault.create": "set up a vault", "audit.show": "show the log",
  "vault.unlock": "open the vault", "vault.lock": "lock the vault", "vault.destroy": "delete the vault", "slots.add": "add a way in", "slots.remove": "remove a way in",
  "slots.change": "change a way in", "slots.manage": "change the ways in", "recovery.enable": "set up a recovery phrase", "recovery.check": "check the recovery phrase",
  "backup.save": "save a backup", "backup.restore": "restore a backup", "mirror.restore": "bring the vault back", "keys.create": "create a key", "keys.rotate": "replace a key", "keys.revoke": "revoke a key",
  "jwt.sign": "sign a token", "challenge.sign": "sign a message", "key.agree": "agree on a secret", "token.vapid": "sign for push messages",
  "token.relay": "sign for a relay", "lease.grant": "let a relay notify you", "lease.renew": "let a relay notify you for longer", "lease.revoke": "stop a relay",
};

const because = {
  cancelled: "You said no.", expired: "Nobody answered.", denied: "The rules do not allow it.", locked: "The vault was locked.", not_found: "There was no such key.",
  quota_exceeded: "It was more than the vault allows.", conflict: "Something else changed at the same time.", unsupported: "This browser or vault cannot do it.",
};

function whyNot(entry) {
  const tries = triesOf(entry);
  if (entry.outcome === "denied" && tries > 0) return `Wrong secrets were tried: ${tries === 1 ? "once" : `${tries} times`}.`;
  return because[entry.outcome] ?? `It failed (${entry.outcome}).`;
}

/** One entry of the log as a sentence. @param {string} name of its key */
export function sentenceOf(entry, name) {
  if (entry.outcome !== "ok") {
    const times = Number(entry.details?.count ?? 1);
    const about = entry.kid ? ` It was about ${name.replace(/^A key/, "a key")}.` : "";
    return `The app asked to ${wanted[entry.method] ?? `call ${entry.method}`}.${about} ${whyNot(entry)}${times > 1 ? ` ${times} times.` : ""}`;
  }
  return did[entry.method]?.(entry, name) ?? `${entry.method} was done.`;
}

/** What kinds of entries there are, to filter by. */
export const filters = {
  all: ["Everything", () => true],
  uses: ["Uses of keys", ({ method, outcome }) => outcome === "ok" && /^(jwt|challenge|key|token)\./.test(method)],
  changes: ["Changes", ({ method, outcome }) => outcome === "ok" && !/^(jwt|challenge|key|token)\./.test(method)],
  refused: ["Refused", ({ outcome }) => outcome !== "ok"],
};

/** A key as a sentence names it. */
export const nameOf = (key, kid) => (key ? `“${key.label || purposes[key.purpose]}”` : `A key (${(kid ?? "").slice(0, 8)}…)`);
