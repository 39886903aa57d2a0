// A whole app in TypeScript: connect, make a vault and a key, sign a token.
// In an app of your own the import is the path of your vendored copy.

import { connect, KmsError, type Key, type Kms, type Pin } from "../kms.js";

const url = "https://kms.example/r/000102030405060708090a0b0c0d0e0f/kms.html";
const pin: Pin = {
  policy:
    "default-src 'none'; script-src 'sha384-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'",
  wasm: "sha384-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v",
};

async function openVault(account: string): Promise<Kms> {
  const kms = await connect({ url, pin, account, container: document.querySelector("#kms") ?? document.body });
  console.info(`enclave ${kms.launch.version}, ${kms.launch.level}: ${kms.launch.why}`);
  for (const warning of kms.launch.warnings) console.warn(warning);
  // Before anything else is awaited: what happened at the start is told then.
  kms.on("alert", ({ message }) => console.error(`tell the user: ${message}`));
  kms.on("closed", ({ reason }) => console.warn(`the enclave is gone: ${reason}`));
  kms.on("locked", ({ reason }) => console.info(`the vault is locked (${reason}): show nothing of it any more, and offer to unlock it`));
  const { state, reason } = await kms.vault.status();
  // Each of these asks the user, in the enclave's own dialog. In a page, let a button do it: a dialog that nobody asked for is one to say no to.
  if (state === "absent") await kms.vault.create({ persistence: "device", lock: "passphrase", idleSeconds: 900 });
  if (state === "locked") await kms.vault.unlock();
  if (state === "lost" && reason === "marker-without-vault") {
    if ((await kms.mirror.status()).kept) await kms.mirror.restore(); // the sealed copy that the SDK keeps
    else await kms.backup.restore({ lock: "passphrase" });
  }
  if (state === "lost" && reason === "share-missing") await kms.vault.destroy(); // only if the right share is gone for good; then restore, or begin again
  return kms;
}

/** What makes it safe to rely on the vault: a second way in, and a backup file that the user says to have. */
export async function protect(kms: Kms): Promise<string> {
  const { recovery, slots } = await kms.vault.status();
  if (slots.length === 1) await kms.slots.manage();
  if (!recovery.enabled) await kms.recovery.enable();
  const { keys, createdAt } = await kms.backup.save();
  return `a backup of ${keys} keys, ${new Date(createdAt * 1000).toLocaleDateString()}`;
}

/** A new key in the place of one that may be known to others. The old one signs nothing more, and what it signed should not be trusted. */
export async function replace(kms: Kms, { kid }: Key): Promise<Key> {
  const { key } = await kms.keys.rotate({ kid });
  await kms.keys.revoke({ kid, reason: "it may have leaked" });
  return key;
}

async function signingKey(kms: Kms): Promise<Key> {
  for (let after: string | undefined; ; ) {
    const { keys, next } = await kms.keys.list(after ? { after } : {});
    const found = keys.find(({ purpose, state }) => purpose === "signing" && state === "active");
    if (found) return found;
    if (!next) return (await kms.keys.create({ purpose: "signing", label: "API tokens" })).key;
    after = next;
  }
}

export async function apiToken(account: string): Promise<string> {
  const kms = await openVault(account);
  try {
    const { kid } = await signingKey(kms);
    const { token } = await kms.jwt.sign({ kid, audience: "https://api.example", ttlSeconds: 300 }, { signal: AbortSignal.timeout(5_000) });
    return token;
  } catch (error) {
    if (error instanceof KmsError && error.code === "cancelled") console.info("the user said no: nothing was done");
    if (error instanceof KmsError && error.code === "locked") console.info("it locked meanwhile: unlock it, and try again");
    throw error;
  } finally {
    kms.close();
  }
}
