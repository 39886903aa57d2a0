// A whole app in TypeScript: connect, make a vault and a key, sign a token.
// In an app of your own the import is "@kms-enclave/sdk", or the path of your vendored copy.

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
  kms.on("closed", ({ reason }) => console.warn(`the enclave is gone: ${reason}`));
  const { state } = await kms.vault.status();
  if (state === "absent") await kms.vault.create({ persistence: "device", lock: "none" });
  if (state === "lost") throw new Error("the vault is lost: offer the user to destroy it and to begin again");
  return kms;
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
    if (error instanceof KmsError && error.code === "locked") console.warn("unlock the vault first");
    throw error;
  } finally {
    kms.close();
  }
}
