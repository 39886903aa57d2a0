// Step: the page tries to get at a private key, by every way that a page has.

import { checks, h } from "../dom.js";
import { needsKey } from "../step.js";

export const reach = {
  id: "reach",

  needs: needsKey("signing"),

  async run(session) {
    const attempts = await Promise.all([ask(session), look(), search(), read(session)]);
    return {
      show: h("ol", { class: "attempts" }, attempts.map(({ title, code, answer, held }) =>
        h("li", {}, h("h3", {}, title), h("pre", { tabindex: "0", role: "group", "aria-label": `What was tried: ${title}` }, h("code", {}, code)),
          checks([[held, answer]])))),
    };
  },
};

/** Asks for the key. */
async function ask({ kms, signing }) {
  const attempt = { title: "Ask for it", code: 'await kms.call("keys.export", { kid })' };
  try {
    await kms.call("keys.export", { kid: signing.kid });
    return { ...attempt, held: false, answer: "The enclave answered. It should not have." };
  } catch (error) {
    return { ...attempt, held: error.code === "unknown_method", answer: [h("code", {}, error.code), `: ${error.message}`] };
  }
}

/** Looks into the enclave's frame. */
async function look() {
  const attempt = { title: "Look into the frame", code: 'host.shadowRoot.querySelector("iframe").contentWindow.document' };
  const frames = [...document.querySelectorAll("#kms *")].flatMap(({ shadowRoot }) => [...shadowRoot?.querySelectorAll("iframe") ?? []]); // the SDK keeps it in a shadow tree
  try {
    for (const { contentWindow } of frames) void contentWindow.document;
    if (frames.length === 0) return { ...attempt, held: false, answer: "The page did not find the frame, so it could not try." };
    return { ...attempt, held: false, answer: "The page could read the frame. It should not have." };
  } catch (error) {
    return { ...attempt, held: error.name === "SecurityError", answer: [h("code", {}, error.name), ": the browser keeps the two sites apart."] };
  }
}

/** Searches everything that the app's own origin has stored, where the SDK keeps the share. */
async function search() {
  const names = (await indexedDB.databases()).map(({ name }) => name);
  const found = (await Promise.all(names.map(keysIn))).flat();
  return {
    title: "Search the storage",
    code: "for (const { name } of await indexedDB.databases()) …",
    held: found.length === 0,
    answer: found.length > 0 ? `There are ${found.length} key handles. There should be none.` : [
      "No key in ", names.length === 0 ? "it" : names.map((name, i) => [i > 0 ? ", " : "", h("code", {}, name)]), ". ",
      "The SDK keeps 32 bytes here, the app's share: the vault does not open without them, and they open nothing by themselves. "
      + "The vault is in the enclave's own storage, which this page cannot see."],
  };
}

/** Every key handle in the records of one database of this origin. */
async function keysIn(name) {
  const database = await done(indexedDB.open(name));
  try {
    const stores = [...database.objectStoreNames];
    if (stores.length === 0) return [];
    const transaction = database.transaction(stores);
    const records = await Promise.all(stores.map((store) => done(transaction.objectStore(store).getAll())));
    return records.flat().flatMap((record) => [record, ...Object.values(record ?? {})]).filter((value) => value instanceof CryptoKey);
  } finally {
    database.close(); // an open connection would hold up the SDK
  }
}

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

// The members in which a JWK would carry private key material (RFC 7518 section 6, RFC 8037 section 2).
const privateMembers = new Set(["d", "k", "p", "q", "dp", "dq", "qi", "oth"]);

/** Lists what the page holds of the key it signs with. */
async function read({ kms, signing }) {
  const members = [];
  const walk = (value, path) => {
    for (const [name, inner] of Object.entries(value)) {
      if (typeof inner === "object" && inner !== null) walk(inner, `${path}${name}.`);
      else members.push(`${path}${name}`);
    }
  };
  walk(signing, "");
  const secret = members.some((name) => privateMembers.has(name.split(".").at(-1)));
  return {
    title: "Count what we hold",
    code: `key = { ${members.join(", ")} }\nkms = { ${Object.keys(kms).join(", ")} }`,
    held: !secret,
    answer: "Public members, methods, and behind them one message port. Nothing in this page is a private key, or a handle to one.",
  };
}
