// Step: two keys, their names and their public halves.

import { checks, copyable, groups, h, more, time } from "../dom.js";
import { picture } from "../picture.js";
import { thumbprint } from "../verify.js";
import { algorithms, purposes } from "../words.js";
import { needsVault } from "../step.js";

export const keys = {
  id: "keys",

  needs: needsVault,

  label: ({ signing, vapid }) => (signing || vapid ? "Create two more" : "Create both keys"),

  hint: ({ signing, vapid }) => (signing || vapid
    ? "The steps below work with the newest two, so their results are cleared when you create more. The earlier keys stay in the vault; “Your keys” replaces and revokes them."
    : null),

  async run(session) {
    let took;
    const made = await session.ask(async (kms) => {
      const began = performance.now();
      const both = await Promise.all([
        kms.keys.create({ purpose: "vapid", label: "Push notifications" }),
        kms.keys.create({ purpose: "signing", label: "Signing" }),
      ]);
      took = performance.now() - began;
      return both;
    }, (both) => both.map(({ key }) => key.kid));
    const all = session.status.counts.keys;
    return {
      show: [
        await pair(session),
        h("p", { class: "fine" }, `Both made and written down in ${Math.round(took)} ms.`, all > made.length ? ` The vault holds ${all} keys now; these two are the newest, and the steps below use them.` : ""),
      ],
    };
  },
};

/** The two keys as cards, each with its name computed again by this page. */
export async function pair({ vapid, signing }) {
  const cards = await Promise.all([vapid, signing].filter(Boolean).map(card));
  return h("ul", { class: "pair" }, cards);
}

async function card(key) {
  const { kid, alg, purpose, label, createdAt, publicKey } = key;
  const same = (await thumbprint(publicKey.jwk)) === kid;
  return h("li", { class: "key" },
    h("div", { class: "key-head" }, picture(kid),
      h("div", {}, h("h3", {}, label || purposes[purpose]), h("p", { class: "fine" }, algorithms[alg] ?? alg), h("p", { class: "fine" }, "made ", time(createdAt)))),
    h("p", { class: "label" }, "Thumbprint"),
    h("p", { class: "mono kid" }, groups(kid, 4)),
    checks([[same, same ? "Computed again here: the same." : "Computed again here: different!"]]),
    more("Public key",
      copyable("As a JSON Web Key", JSON.stringify(publicKey.jwk), JSON.stringify(publicKey.jwk, null, 2)),
      copyable(purpose === "vapid" ? "For pushManager.subscribe" : "As raw bytes", publicKey.raw)));
}
