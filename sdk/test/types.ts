// What must and what must not type-check. `tsc -p sdk` is the test; nothing here runs.

import * as declared from "../kms.js";
import type { Events, Kms, Launch, Methods, Status } from "../kms.js";
import * as bytes from "../bytes.js";
import * as errors from "../errors.js";
import { METHODS } from "../methods.js";
import { allowRelay, relays, type PushStatus, type Relay } from "../push.js";
import { handlePush } from "../push-worker.js";
import { defineWords, type Verification } from "../status.js";

// The declarations are true: what the modules export fits them. (`connect` carries its declared type in kms.js.)
export const sameError: typeof declared.KmsError = errors.KmsError;
export const sameEncode: typeof declared.encodeBytes = bytes.encodeBytes;
export const sameDecode: typeof declared.decodeBytes = bytes.decodeBytes;
export const sameMethods: Record<keyof Methods, unknown> = METHODS;

export async function right(kms: Kms): Promise<void> {
  const status: Status = await kms.vault.status();
  const same: Status = await kms.call("vault.status");
  const { key } = await kms.keys.create({ purpose: "vapid", label: status.state + same.state });
  const { token, exp } = await kms.call("jwt.sign", { kid: key.kid, audience: "a", ttlSeconds: 60, claims: { role: "x", list: [1] } });
  const { secret } = await kms.key.agree({ kid: key.kid, publicKey: key.publicKey.raw, context: "c" }, { timeoutMs: 5 });
  declared.decodeBytes(secret + token.slice(exp));
  const level: Launch["level"] = kms.launch.level;
  for (const warning of kms.launch.warnings) void warning.toUpperCase();
  const listener = ({ code }: Events["alert"]) => void (code + level);
  kms.on("alert", listener);
  kms.off("alert", listener);
  kms.on("locked", ({ state, reason }) => void (state === "absent" || reason === "idle"));
  kms.on("unlocked", () => {});
  const { lineage } = await kms.vault.unlock();
  await kms.vault.create({ persistence: "device", lock: "passphrase", idleSeconds: 600 });
  const { slots } = await kms.slots.add({ kind: "passkey", label: "Key ring" });
  await kms.slots.remove({ id: slots[0].id });
  await kms.slots.change({ id: slots[0].id });
  void (await kms.slots.manage()).slots[0].kind;
  const { enabled } = await kms.recovery.enable();
  void (enabled === (await kms.recovery.check({}, { signal: AbortSignal.timeout(1) })).enabled);
  const { epoch, bytes: size } = await kms.backup.save();
  const back: Status = await kms.backup.restore({ lock: "passkey", seen: lineage ?? { vault: "v", epoch: epoch + size } });
  const { key: successor, retired } = await kms.keys.rotate({ kid: key.kid });
  void (successor.predecessor === retired.kid && back.state);
  void (await kms.keys.revoke({ kid: retired.kid, reason: "stolen" })).key.endedAt;
  await kms.audit.show();
  void (await kms.vault.lock()).state;
  const none: {} = await kms.vault.destroy({}, { signal: AbortSignal.timeout(1) });
  void none;
}

export async function wrong(kms: Kms): Promise<void> {
  // @ts-expect-error no such method
  await kms.call("keys.export", {});
  // @ts-expect-error no such method
  await kms.keys.export({});
  // @ts-expect-error params are required
  await kms.keys.create();
  // @ts-expect-error no such purpose
  await kms.keys.create({ purpose: "decrypting" });
  // @ts-expect-error no such member
  await kms.keys.create({ purpose: "vapid", extractable: true });
  // @ts-expect-error ttlSeconds is missing
  await kms.jwt.sign({ kid: "k", audience: "a" });
  // @ts-expect-error bytes travel as base64url text
  await kms.challenge.sign({ kid: "k", context: "c", data: new Uint8Array(3) });
  // @ts-expect-error a call by name checks params too
  await kms.call("keys.get", { key: "k" });
  // @ts-expect-error no private key in any result
  void (await kms.keys.get({ kid: "k" })).key.privateKey;
  // @ts-expect-error the user decides how to open it, but the app says which way
  await kms.backup.restore({});
  // @ts-expect-error no secret passes through the app
  await kms.vault.unlock({ passphrase: "x" });
  // @ts-expect-error no such reason
  kms.on("locked", ({ reason }) => reason === "bored");
  // @ts-expect-error no such event
  kms.on("opened", () => {});
  // @ts-expect-error the account is required
  await declared.connect({ url: "https://kms.example/" });
  // @ts-expect-error no such level
  await declared.connect({ url: "", account: "a", minimum: "trusted" });
  // @ts-expect-error the report is read-only
  kms.launch.level = "enforced";
  // @ts-expect-error warnings are read-only, too
  kms.launch.warnings.push("x");
  // @ts-expect-error no such code
  void (new declared.KmsError("oops", "message"));
}

export async function shown(element: HTMLElementTagNameMap["kms-status"], kms: Kms, error: declared.KmsError): Promise<void> {
  element.kms = kms;
  element.error = error;
  element.release = { url: kms.release.url, pin: kms.release.pin };
  element.words = { verify: "Look again" };
  element.compact = true;
  defineWords("de", { verify: "Prüfen" });
  element.addEventListener("kms-verified", ({ detail }) => void (detail.verdict === "mismatch" && detail.checks[0].name));
  const { verdict, checks }: Verification = await element.verify();
  void (verdict + checks.length);
  // @ts-expect-error no such text
  element.words = { verfy: "" };
  // @ts-expect-error what was asked for is read-only
  kms.release.account = "bob";
  // @ts-expect-error no such verdict
  void (verdict === "fine");
}

export async function pushed(kms: Kms): Promise<void> {
  const relay: Relay = await allowRelay(kms, { relay: "https://relay.example", worker: "/worker.js", scope: new URL("https://app.example/push/"), contact: "mailto:push@app.example", tokenSeconds: 3600 }, { signal: AbortSignal.timeout(1) });
  const { left, until } = (await relay.renew({ lease: true })).tokens;
  const { url, token, exp } = await relay.sendToken({ ttlSeconds: left + until });
  const { lease, advice, arrivals, problem }: PushStatus = await relay.status();
  void [url, token, exp, lease?.state === "running", advice.includes("renew-lease"), arrivals.alerts[0].kind === "rate", problem?.code];
  const { stop } = relay.watch((event) => void (event.type === "receipt" ? event.outcome === "gone" : event.type === "ended" && event.problem.code));
  stop();
  await relay.resubscribe({ rotate: true });
  for (const each of await relays(kms)) void (await each.revoke({ timeoutMs: 5 })).left[0]?.problem?.retryable;
  handlePush({ show: (data) => ({ title: data?.text() ?? "", body: "b" }), fallback: { title: "t" }, open: "/inbox" });
  // @ts-expect-error each relay needs a scope of its own
  await allowRelay(kms, { relay: "https://relay.example", worker: "/worker.js", contact: "mailto:push@app.example" });
  // @ts-expect-error nobody gives a token for ever
  await relay.sendToken();
  // @ts-expect-error no such advice
  void advice.includes("hope");
  // @ts-expect-error a notification has a title
  handlePush({ show: () => ({ body: "b" }) });
  // @ts-expect-error what the enclave granted is read-only
  relay.lease = "another";
}
