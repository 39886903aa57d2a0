// One request of every kind of screen, as the worker makes them (prompt/screens.go), and variants
// that look different.

const bytes = (value) => Buffer.alloc(32, value).toString("base64");
const app = { origin: "https://app.example", account: "alice@example.com" };
const key = { kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", label: "Login on the laptop", purpose: "signing", createdAt: 1795500003, lastUsedAt: 1795700003, uses: 41 };
const passkeys = [{ slot: "s2", label: "Phone", id: bytes(2), salt: bytes(3) }];
const both = { passphrase: true, passkeys, challenge: bytes(1) };
const word = "DELETE";
const slot = { id: "s2", kind: "passkey", label: "Phone", createdAt: 1795500003 };

const lease = { relay: "https://relay.example", service: "https://updates.push.services.mozilla.com", grantedAt: 1795700003, expiresAt: 1795743203, tokenSeconds: 900, perHour: 60, perDay: 500, tokens: 0, lastUsedAt: 0 };

export const WORDS = ["abandon", "ability", "able", "about", "above", "absent", "absorb", "abstract", "absurd", "abuse", "access", "accident"];
export const SUGGESTION = "correct horse battery staple lamp river";

const confirm = (action, more) => ({ kind: "confirm", app, action, proof: both, enabled: false, ...more });
const event = (seq, method, more) => ({ seq, time: 1795700003 - seq * 17_000, method, origin: "https://app.example", outcome: "ok", ...more });

/** name → request. */
export const samples = {
  "rotate": confirm("keys.rotate", { key }),
  "revoke": confirm("keys.revoke", { key: { ...key, uses: 1 }, reason: "The laptop was stolen.", word }),
  "add": confirm("slots.add", { slot: { kind: "passkey", label: "" } }),
  "add device": confirm("slots.add", { slot: { kind: "device", label: "" }, proof: { passphrase: true }, word: "CONFIRM" }),
  "remove": confirm("slots.remove", { slot, proof: { passphrase: true } }),
  "remove nameless": confirm("slots.remove", { slot: { ...slot, label: "" } }),
  "remove old": confirm("slots.remove", { slot: { ...slot, kind: "device", label: "This browser" } }),
  "change": confirm("slots.change", { slot: { ...slot, kind: "passphrase", label: "" }, problem: { code: "wrong-passphrase" } }),
  "enable": confirm("recovery.enable", { proof: { passphrase: false, passkeys, challenge: bytes(1) } }),
  "enable again": confirm("recovery.enable", { enabled: true, proof: { passphrase: false }, word: "CONFIRM" }),
  "check": confirm("recovery.check", { proof: { passphrase: true } }),
  "backup": confirm("backup.save"),
  "grant": confirm("lease.grant", { lease }),
  "renew": confirm("lease.renew", { lease: { ...lease, tokenSeconds: 43_200, tokens: 12, lastUsedAt: 1795700003 }, proof: { passphrase: false }, word: "CONFIRM" }),
  "stop": confirm("lease.revoke", { lease: { ...lease, relay: "https://relay.example.org", tokens: 1, lastUsedAt: 1795700003 } }),
  "destroy": confirm("vault.destroy", { vault: { state: "unlocked", reason: "", keys: 3 }, proof: { passphrase: false }, word, waitMs: 10_000 }),
  "destroy locked": confirm("vault.destroy", { vault: { state: "locked", reason: "", keys: 12 }, proof: { passphrase: false }, word, waitMs: 10_000 }),
  "destroy lost": confirm("vault.destroy", { vault: { state: "lost", reason: "share-missing", keys: -1 }, proof: { passphrase: false }, word, waitMs: 10_000 }),
  "unlock": { kind: "unlock", app, proof: both, phrase: true },
  "unlock again": { kind: "unlock", app, proof: { passphrase: true }, phrase: false, problem: { code: "wrong-passphrase" } },
  "unlock by passkey": { kind: "unlock", app, proof: { passphrase: false, passkeys, challenge: bytes(1) }, phrase: true },
  "unlock copy": { kind: "unlock", app, proof: both, phrase: true, return: true },
  "return": { kind: "return", app, at: 1795700003, keys: 3, entries: 214, lock: "passphrase" },
  "return unknown": { kind: "return", app, at: 1795700003, keys: 3, entries: 214, lock: "passkey", unknown: true, word: "CONFIRM" },
  "return older": { kind: "return", app, at: 1795500003, keys: 1, damaged: 1, entries: 97, lock: "none", missing: 12, older: true, gap: true, deleted: true, word: "CONFIRM" },
  "new passphrase": { kind: "new-passphrase", app, for: "vault", suggestion: SUGGESTION, minChars: 10, maxBytes: 1024 },
  "forgotten passphrase": { kind: "new-passphrase", app, for: "forgot", suggestion: SUGGESTION, minChars: 10, maxBytes: 1024, problem: { code: "odd" } },
  "new passkey": { kind: "new-passkey", app, for: "vault", label: "Passkey of 27 November", challenge: bytes(1), user: bytes(4), salt: bytes(3), known: [bytes(2)] },
  "another passkey": { kind: "new-passkey", app, for: "slot", label: "Passkey", challenge: bytes(1), user: bytes(4), salt: bytes(3), known: [], problem: { code: "passkey-no-prf" } },
  "show phrase": { kind: "show-phrase", words: WORDS },
  "ask words": { kind: "ask-words", positions: [3, 7, 11] },
  "ask words again": { kind: "ask-words", positions: [3, 7, 11], problem: { code: "words-wrong", number: 7 } },
  "phrase": { kind: "phrase", app, for: "unlock" },
  "phrase check": { kind: "phrase", app, for: "check" },
  "phrase again": { kind: "phrase", app, for: "restore", problem: { code: "word-unknown", number: 4, text: "abuot" } },
  "save backup": { kind: "save-file", what: "backup", name: "keys-2026-11-27.kmsbackup", createdAt: 1795700003, keys: 3 },
  "save damaged": { kind: "save-file", what: "backup", name: "keys-2026-11-27.kmsbackup", createdAt: 1795700003, keys: 3, damaged: 2 },
  "save audit": { kind: "save-file", what: "audit", name: "activity-2026-11-27.kmsaudit", createdAt: 1795700003, keys: 0 },
  "pick file": { kind: "pick-file", app, maxBytes: 32 << 20 },
  "pick file again": { kind: "pick-file", app, maxBytes: 32 << 20, problem: { code: "file-edited" } },
  "restore": { kind: "restore", app, createdAt: 1795500003, epoch: 12, keys: 3, from: app, lock: "passphrase", persistence: "device" },
  "restore elsewhere": { kind: "restore", app, createdAt: 1795500003, epoch: 12, keys: 1, from: { origin: "https://old.example", account: "" }, lock: "passkey", persistence: "device", word: "CONFIRM" },
  "restore open": { kind: "restore", app, createdAt: 1795500003, epoch: 12, keys: 1, from: app, lock: "none", persistence: "session", word: "CONFIRM" },
  "activity": {
    kind: "activity", app, older: true, newest: true, total: 1204,
    entries: [
      event(1, "jwt.sign", { kid: key.kid, label: key.label, purpose: "signing", details: { aud: "https://api.example", jti: "x" } }),
      event(2, "vault.destroy", { outcome: "cancelled" }),
      event(3, "keys.create", { kid: key.kid, purpose: "vapid", details: { purpose: "vapid", alg: "ES256" } }),
      event(4, "token.vapid", { kid: key.kid, details: { aud: "https://push.example" } }),
      event(5, "jwt.sign", { outcome: "quota_exceeded", details: { count: "17" } }),
      event(6, "something.new", { outcome: "strange_code" }),
      event(7, "slots.add", { details: { kind: "passkey" } }),
      event(8, "something.new", {}),
      event(9, "vault.unlock", { details: { kind: "recovery", tries: "3" } }),
      event(10, "vault.unlock", { outcome: "denied", details: { tries: "5" } }),
      event(11, "keys.revoke", { outcome: "denied", kid: key.kid, label: key.label, details: { tries: "1" } }),
      event(12, "slots.raise", {}),
      event(13, "lease.grant", { kid: key.kid, lease: "l1", details: { relay: "https://relay.example", service: "https://push.example", seconds: "43200" } }),
      event(14, "token.relay", { lease: "l1", outcome: "denied", details: { count: "2" } }),
    ],
  },
  "activity empty": { kind: "activity", app, older: false, newest: true, total: 0, entries: [] },
  "methods": {
    kind: "methods", app, lock: "passphrase", recovery: true, recoveryAt: 1795500003,
    slots: [{ id: "s1", kind: "passphrase", label: "", createdAt: 1795500003 }, slot, { ...slot, id: "s3", label: "Security key" }],
  },
  "methods old": {
    kind: "methods", app, lock: "none", recovery: true, recoveryAt: 0,
    slots: [{ ...slot, kind: "device", label: "This browser" }, { ...slot, kind: "passphrase", label: "Passphrase" }, { ...slot, label: "" }, slot],
  },
  "methods open": { kind: "methods", app, lock: "none", recovery: false, slots: [{ id: "s0", kind: "device", label: "", createdAt: 1795500003, last: true }] },
  "done": { kind: "done", what: "backup.restore", keys: 3 },
};
