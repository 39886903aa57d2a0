// Keys as cards: what each is for, where it stands, what it did, and what can be done with it.

import { checks, copyable, groups, h, limitBytes, more, time, when } from "../dom.js";
import { picture } from "../picture.js";
import { challengeMessage, decode, encode, verify, verifyToken } from "../verify.js";
import { purposes } from "../words.js";
import { act, button } from "./act.js";
import { many, uses } from "./words.js";

const states = { active: ["good", "Active"], retired: ["warn", "Retired"], revoked: ["bad", "Revoked"] };

const utf8 = new TextEncoder();

/** The section of the keys. Cards stay the same elements for as long as their keys exist. */
export class Keys {
  #session;
  #cards = new Map();
  #place;
  #ended;
  #empty = h("p", { class: "empty" }, "No key yet. The form above makes one; its private half never leaves the enclave.");

  constructor(place, session) {
    this.#session = session;
    this.#place = h("ul", { class: "pair", id: "active-keys" });
    const list = h("ul", { class: "pair", id: "ended-keys" });
    this.#ended = h("details", { class: "ended" }, h("summary", {}), list);
    place.append(form(session), this.#empty, this.#place, this.#ended);
  }

  draw() {
    const { keys } = this.#session;
    const known = new Map(keys.map((key) => [key.kid, key]));
    for (const [kid, card] of this.#cards) {
      if (known.has(kid)) continue;
      card.node.remove();
      this.#cards.delete(kid);
    }
    const sorted = keys.toSorted((a, b) => b.createdAt - a.createdAt || (a.kid < b.kid ? -1 : 1));
    for (const key of sorted) {
      if (!this.#cards.has(key.kid)) this.#cards.set(key.kid, new Card(this.#session));
      this.#cards.get(key.kid).update(key, known);
    }
    const of = (list) => list.map(({ kid }) => this.#cards.get(kid).node);
    arrange(this.#place, of(sorted.filter(({ state }) => state === "active")));
    const ended = sorted.filter(({ state }) => state !== "active");
    arrange(this.#ended.lastChild, of(ended));
    this.#ended.hidden = ended.length === 0;
    this.#ended.firstChild.textContent = `${many(ended.length, "key")} that ${ended.length === 1 ? "signs" : "sign"} no more`;
    this.#empty.hidden = keys.length > 0;
  }
}

/** Puts the nodes into a list in this order, without moving what is in its place: to move is to lose the focus. */
function arrange(list, nodes) {
  nodes.forEach((node, i) => { if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null); });
  while (list.children.length > nodes.length) list.lastChild.remove();
}

function form(session) {
  const label = h("input", { id: "new-label", name: "label", maxlength: 64, autocomplete: "off", placeholder: "Work laptop" });
  const purpose = h("select", { id: "new-purpose", name: "purpose" }, Object.entries(uses).map(([value, text]) => h("option", { value }, text)));
  const node = h("form", { class: "new-key" },
    h("label", {}, "Name", label), h("label", {}, "What it is for", purpose), h("button", { id: "new-key" }, "Create a key"));
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    void act(node.querySelector("button"), async () => {
      const { key } = await session.ask((kms) => kms.keys.create({ purpose: purpose.value, label: label.value.trim() }));
      label.value = "";
      return `${key.label ? `“${key.label}”` : "The key"} was created. It can do one thing only: ${uses[key.purpose].toLowerCase()}.`;
    });
  });
  return node;
}

/** One key. */
class Card {
  node = h("li", { class: "key my-key", "data-says": "" });
  #session;
  #key;
  #head = h("div", { class: "key-head" });
  #facts = h("p", { class: "fine" });
  #past = h("div", {});
  #result = h("div", { class: "result" });
  #use;
  #end;

  constructor(session) {
    this.#session = session;
  }

  update(key, known) {
    if (!this.#key) this.#build(key);
    this.#key = key;
    const [tone, word] = states[key.state] ?? ["plain", key.state];
    this.node.dataset.state = key.state;
    this.#head.querySelector(".tag").dataset.tone = tone;
    this.#head.querySelector(".tag").textContent = word;
    this.#facts.replaceChildren(["Never used", "Used once"][key.uses] ?? `Used ${key.uses} times`, ...(key.lastUsedAt ? [", last ", time(key.lastUsedAt)] : []), ". Since ", time(key.createdAt), ".");
    this.#past.replaceChildren(...pastOf(key, known));
    this.#use.hidden = key.state !== "active";
    this.#end.hidden = key.state === "revoked";
    this.#end.querySelector(".rotate").hidden = key.state !== "active";
    if (key.state !== "active") this.#result.replaceChildren();
  }

  #build(key) {
    const { kid, purpose, publicKey, label } = key;
    const name = label || purposes[purpose];
    this.#head.append(picture(kid), h("div", {}, h("h3", { id: `name-${kid}` }, name), h("p", { class: "fine" }, uses[purpose] ?? purpose), h("p", {}, h("span", { class: "tag" }))));
    this.#use = this.#useOf(key, name);
    this.#end = this.#endOf(key, name);
    this.node.setAttribute("aria-labelledby", `name-${kid}`);
    this.node.append(this.#head, this.#facts, this.#past, this.#use, this.#result, h("div", { class: "said", role: "status" }), this.#end,
      more("Name and public half", h("p", { class: "mono kid" }, groups(kid, 4)), copyable("Public key", JSON.stringify(publicKey.jwk), JSON.stringify(publicKey.jwk, null, 2))));
  }

  /** The form that has the key do what it is for. */
  #useOf({ kid, purpose }, name) {
    const { title, label, value, most, go, work } = {
      vapid: { title: "Sign for a push service", label: "Endpoint", value: "https://push.example.net/send/abc123", most: 2048, go: "Sign", work: signVAPID },
      agreement: { title: "Agree on a secret", label: "What for", value: "our conversation", most: 128, go: "Agree", work: agree },
    }[purpose] ?? { title: "Sign something", label: "Text", value: "", most: 2000, go: "Sign", work: signText };
    const field = limitBytes(h("input", { id: `use-${kid}`, value, required: true, autocomplete: "off" }), most);
    const form = h("form", { class: "inline" }, h("label", {}, label, field), h("button", { "aria-label": `${go} with ${name}` }, go));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void act(form.querySelector("button"), async () => {
        const { said, shown } = await this.#session.ask((kms) => work(kms, this.#key, field.value));
        this.#result.replaceChildren(...shown);
        return `${said} with ${name}. The result is above.`;
      });
    });
    return more(title, form);
  }

  /** What ends a key, with what that means. */
  #endOf({ kid }, name) {
    const reason = h("input", { id: `reason-${kid}`, maxlength: 200, autocomplete: "off", placeholder: "for instance: lost laptop" });
    return more("Replace or revoke",
      h("div", { class: "rotate" },
        h("p", { class: "fine" }, h("strong", {}, "Replace"), " when it is time for a new one: a new key takes over, this one never signs again, and what it signed stays valid."),
        button(`rotate-${kid}`, "Replace…", async () => {
          const { key } = await this.#session.ask((kms) => kms.keys.rotate({ kid }));
          return `A new key has taken over: it begins with ${key.kid.slice(0, 4)}. Give its public half to whoever checks signatures.`;
        }, { label: `Replace ${name}…` })),
      h("div", {},
        h("p", { class: "fine" }, h("strong", {}, "Revoke"), " when somebody else may have used it: it is over at once, nothing takes its place, and nobody should trust what it signed. There is no way back."),
        h("label", { class: "fine" }, "Reason, kept with the key", reason),
        button(`revoke-${kid}`, "Revoke…", async () => {
          await this.#session.ask((kms) => kms.keys.revoke({ kid, ...(reason.value.trim() && { reason: reason.value.trim() }) }));
          return "Revoked. Tell whoever relies on it.";
        }, { look: "danger", label: `Revoke ${name}…` })));
  }
}

/** What came before a key, and what became of it. */
function pastOf({ endedAt, state, reason, successor, predecessor }, known) {
  const lines = [];
  if (endedAt) lines.push([state === "revoked" ? "Revoked " : "Retired ", time(endedAt), reason ? `: “${reason}”` : "", successor ? `. ${short(successor)} took over.` : "."]);
  const chain = [];
  for (let kid = predecessor; kid && !chain.includes(kid); kid = known.get(kid)?.predecessor) chain.push(kid);
  if (chain.length > 0) lines.push([`Takes the place of ${chain.map(short).join(", which took that of ")}.`]);
  return lines.map((line) => h("p", { class: "fine" }, line));
}

const short = (kid) => `${kid.slice(0, 4)}…`;

async function signText(kms, key, text) {
  const context = "note of the demo";
  const data = utf8.encode(text);
  const { signature } = await kms.challenge.sign({ kid: key.kid, context, data: encode(data) });
  const valid = await verify(key, decode(signature), challengeMessage(context, data));
  return { said: "Signed", shown: [copyable("Signature", signature), checks([[valid, "Checked in this page, with the public key alone."]])] };
}

async function signVAPID(kms, key, endpoint) {
  const { token } = await kms.token.vapid({ kid: key.kid, endpoint, subject: "mailto:push@example.com", ttlSeconds: 15 * 60 });
  const { valid, claims } = await verifyToken(key, token);
  return { said: "Signed", shown: [copyable("Token", token), checks([[valid, `Good for ${claims.aud} until ${when(claims.exp)}; checked in this page.`]])] };
}

/** With a partner that this page makes up, and that forgets its half at once. */
async function agree(kms, key, context) {
  const partner = await crypto.subtle.generateKey("X25519", false, ["deriveBits"]);
  const publicKey = encode(new Uint8Array(await crypto.subtle.exportKey("raw", partner.publicKey)));
  const { secret } = await kms.key.agree({ kid: key.kid, publicKey, context });
  const print = new Uint8Array(await crypto.subtle.digest("SHA-256", decode(secret)));
  return {
    said: "Agreed on a secret",
    shown: [h("p", {}, "Agreed on 32 bytes for this purpose, with a partner that this page made up."), copyable("Fingerprint of the secret", encode(print).slice(0, 16))],
  };
}
