// Steps: the vault's life. Created by the app, deleted only through the
// enclave's own dialog, and never mistaken for absent when it is lost.

import { facts, h, time } from "../dom.js";
import { durabilities, reasons, states } from "../words.js";

export const vault = {
  id: "vault",

  needs: ({ status }) => ({
    unlocked: "You have a vault. The last step deletes it.",
    locked: "You have a vault, and it is locked. “Your keys” unlocks it.",
    lost: "You have a lost vault. “Your keys” says whether it can come back; see there first.",
  }[status?.state] ?? null),

  async run(session, form) {
    await session.ask((kms) => kms.vault.create({ persistence: form.get("persistence"), lock: "none" }));
    return { show: describe(session.status) };
  },
};

export const destroy = {
  id: "destroy",

  needs: ({ status }) => (status?.state === "absent" ? "There is no vault to delete." : null),

  async run(session) {
    const keys = session.status.counts.keys;
    const lost = session.status.state === "lost";
    await session.ask((kms) => kms.vault.destroy());
    return {
      show: h("div", { class: "notice", "data-tone": "good" },
        h("p", {}, h("strong", {}, lost ? "What was left of the vault is gone." : `The vault and ${count(keys)} are gone.`)),
        h("p", {}, "The enclave and this app have both forgotten it. “Create a vault” makes a new one, with new keys.")),
    };
  },
};

const count = (keys) => ({ 1: "its one key", 2: "both of its keys" }[keys] ?? `its ${keys} keys`);

/** A vault's status in words. */
export function describe(status) {
  if (status.state === "lost") return lost(status);
  if (status.state === "absent") return h("p", { class: "fine" }, states.absent);
  const [name, meaning] = durabilities[status.durability] ?? [status.durability, ""];
  return [
    facts([
      ["State", states[status.state] ?? status.state],
      ["Kept", status.persistence === "session" ? "in memory" : "on this device"],
      ["Durability", [h("strong", {}, name), ` (${status.durability}). `, meaning]],
      ["Lock", status.lock === "none" ? "None: it opens together with the app." : status.lock],
      ["Created", status.createdAt ? time(status.createdAt) : null],
      ["Holds", `${status.counts.keys} ${status.counts.keys === 1 ? "key" : "keys"}, ${status.counts.entries} log ${status.counts.entries === 1 ? "entry" : "entries"}`],
    ]),
  ];
}

/** Lost is not absent: keys existed, and somebody should know. */
function lost(status) {
  return h("div", { class: "notice", "data-tone": "bad" },
    h("p", {}, h("strong", {}, "Your vault is lost. That is not the same as never having had one.")),
    h("p", {}, reasons[status.reason] ?? "The enclave cannot open what this app remembers."),
    h("p", {}, "“", h("a", { href: "#home" }, "Your keys"), "” says what can be done. To start anew, ", h("a", { href: "#destroy" }, "delete what is left"), "; then you can create a vault here. The enclave will not do it behind your back."));
}
