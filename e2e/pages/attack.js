// What an unpinned page of the enclave's host can do with the enclave's storage in the same
// partition. It knows every format. With the share it succeeds, which shows that it is a real
// attack; without it, it must not. Runs in the attacker's frame.
export async function attack(share) {
  const answer = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const report = { databases: [], records: 0, handles: 0, exported: [], opened: [], vaultKeys: [] };
  const utf8 = new TextEncoder();
  const base64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  const unwrap = (wrapped, key, aad, format, algorithm, usages, extractable) => crypto.subtle.unwrapKey(
    format, wrapped.slice(12), key, { name: "AES-GCM", iv: wrapped.slice(0, 12), additionalData: aad }, algorithm, extractable, usages);

  const deriveKEK = (secret, salt, info) => crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt, info: utf8.encode(info) }, secret, { name: "AES-GCM", length: 256 }, false, ["unwrapKey", "decrypt"]);

  async function tryHeader(header, handle) {
    const instance = base64(header.instance);
    const label = (what) => Uint8Array.from([...utf8.encode(what), 0, ...instance]);
    const secret = await unwrap(base64(header.device), handle, label("kms-enclave/wrap/device-secret/v1"), "raw", "HKDF", ["deriveKey"], false);
    const salts = share ? [new Uint8Array(share)] : [new Uint8Array(0), new Uint8Array(32), instance, base64(header.shareId)];
    for (const salt of salts) {
      for (const [info, blobs, what] of [
        ["kms-enclave/kek/device/v1", header.slots.map((slot) => slot.vaultKey), "kms-enclave/wrap/vault-key/v1"],
        ["kms-enclave/kek/ledger/v1", [header.ledgerKey.device], "kms-enclave/wrap/ledger-key/v1"],
      ]) {
        const kek = await deriveKEK(secret, salt, info);
        for (const blob of blobs) {
          await unwrap(base64(blob), kek, label(what), "raw", "HKDF", ["deriveKey"], false).then(() => report.vaultKeys.push(what), () => {});
        }
      }
    }
    return "device secret";
  }

  // WebKitGTK does not list the databases of third-party frames, which it keeps in memory.
  const listed = (await indexedDB.databases()).map(({ name }) => name);
  for (const name of new Set([...listed, "kms-enclave"])) {
    report.databases.push(name);
    const database = await answer(indexedDB.open(name));
    const all = {};
    for (const store of database.objectStoreNames) {
      const objects = database.transaction(store).objectStore(store);
      const [keys, values] = await Promise.all([answer(objects.getAllKeys()), answer(objects.getAll())]);
      all[store] = values.map((value, i) => ({ key: keys[i], value }));
    }
    database.close();
    report.records += all.records?.length ?? 0;
    report.handles += all.handles?.length ?? 0;
    for (const { key: [vault], value: handle } of all.handles ?? []) {
      for (const format of ["raw", "jwk", "pkcs8", "spki"]) {
        await crypto.subtle.exportKey(format, handle).then(() => report.exported.push(format), () => {});
      }
      for (const { key, value } of (all.records ?? []).filter(({ key }) => key[0] === vault)) {
        for (const start of [0, 1]) {
          await crypto.subtle.decrypt({ name: "AES-GCM", iv: value.slice(start, start + 12) }, handle, value.slice(start + 12))
            .then(() => report.opened.push(key.join("/")), () => {});
        }
        if (key[1] !== "vault") continue;
        const [text] = new TextDecoder().decode(value.slice(1)).split("\n"); // the vouch of the vault key is the line after it
        const header = JSON.parse(text);
        report.deviceSecret = await tryHeader(header, handle).catch((e) => `${e.name}: ${e.message}`);
      }
    }
  }
  return report;
}
