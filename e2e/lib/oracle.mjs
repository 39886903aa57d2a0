// What a vault owes to those who were told that something was done. The oracle lives outside the
// browser: it knows every operation that was planned, hears of every one that was acknowledged, and
// later compares the log and the keys with both. It is the JavaScript sister of internal/simulator's
// model, for real browsers.
//
// An operation counts as acknowledged when the report of it has arrived here: its tab may be killed
// right after. One that was planned and not acknowledged may have been done, wholly, or not at all.
// Absence is failure: what was acknowledged and is not there, and what is there and was not planned.
//
// It must never ask the vault what was promised, and never forget an acknowledgement.

/** The purpose of a key that a method needs. */
export const purposeFor = { "jwt.sign": "signing", "challenge.sign": "signing", "token.vapid": "vapid", "key.agree": "agreement" };

/** The host of token.vapid's endpoint for a tag; its leaf says it. */
export const endpointOf = (tag) => `https://${tag}.push.example`;

/** What tells a planned call's leaf from all others; keys.create's leaf says nothing but the kid. */
function tagOf({ method, kid, details = {} }, keys) {
  switch (method) {
    case "jwt.sign":
      return details.aud;
    case "token.vapid":
      return details.aud?.slice("https://".length, -".push.example".length);
    case "challenge.sign":
    case "key.agree":
      return details.context;
    case "keys.revoke":
      return details.reason;
    case "keys.rotate":
      return `rotate ${kid}`;
    case "keys.create":
      return keys.get(kid)?.label;
  }
}

/** The outcomes after which nobody knows whether it was done (docs/embedding.md). */
const unknown = new Set(["timeout", "interrupted", "internal"]);

export class Oracle {
  /** Every call that anybody may make: tag → { tag, method, kid? }. */
  planned = new Map();
  /** What its tab was told: tag → { jti?, kid?, successor? }. */
  acknowledged = new Map();
  /** Calls that were said not to have been done: tag → code. */
  refused = new Map();
  /** Failures whose outcome is not known: tag → code. */
  open = new Map();
  replay = new Replay();

  plan(calls) {
    for (const call of calls) this.planned.set(call.tag, call);
  }

  /** Takes a report of a tab: calls that were answered, and how. */
  hear(reports) {
    for (const { tag, code, ...told } of reports) {
      if (code === undefined) this.acknowledged.set(tag, told);
      else (unknown.has(code) ? this.open : this.refused).set(tag, code);
    }
  }

  /**
   * Compares what a vault shows with what was heard: { verdict, counts, keys, entries }, as from
   * audit.verify, vault.status, keys.list and audit.entries; entries are those after the ones that
   * it was shown before. Returns what is wrong, in sentences.
   */
  compare({ verdict, counts, keys, entries }) {
    const wrong = this.replay.add(entries, new Map(keys.map((key) => [key.kid, key])), this.planned);
    const { size } = this.replay;
    if (!verdict.valid) wrong.push(`the log does not verify: ${verdict.reason}`);
    if (verdict.size !== size) wrong.push(`audit.verify has seen ${verdict.size} entries, and there are ${size}`);
    if (counts.entries !== size) wrong.push(`vault.status counts ${counts.entries} entries, and there are ${size}`);
    if (counts.keys !== keys.length) wrong.push(`vault.status counts ${counts.keys} keys, and keys.list has ${keys.length}`);
    wrong.push(...this.replay.against(keys), ...this.#promises());
    return wrong;
  }

  /** Acknowledgements without an effect, or with another one; refusals with one. */
  *#promises() {
    const { landed } = this.replay;
    for (const [tag, told] of this.acknowledged) {
      const leaf = landed.get(tag);
      if (!leaf) {
        yield `${this.planned.get(tag)?.method} ${tag} was acknowledged, and is not in the log`;
        continue;
      }
      for (const [member, found] of [["jti", leaf.details?.jti], ["kid", leaf.kid], ["successor", leaf.details?.successor]]) {
        if (told[member] !== undefined && told[member] !== found) yield `${leaf.method} ${tag} was acknowledged with ${member} ${told[member]}, the log has ${found}`;
      }
    }
    for (const [tag, code] of this.refused) {
      if (landed.has(tag)) yield `${this.planned.get(tag)?.method} ${tag} was refused with ${code}, and is in the log`;
    }
  }

  /** How many were done without anybody having been told: the killed commits that had landed. */
  get unheard() {
    return [...this.replay.landed.keys()].filter((tag) => !this.acknowledged.has(tag)).length;
  }

  /** Acknowledged operations by method. */
  get byMethod() {
    const counts = {};
    for (const tag of this.acknowledged.keys()) {
      const { method } = this.planned.get(tag);
      counts[method] = (counts[method] ?? 0) + 1;
    }
    return counts;
  }

  /** An oracle that was told the same, and has seen nothing of the vault: to compare all of the log once more. */
  afresh() {
    return Object.assign(new Oracle(), { planned: this.planned, acknowledged: this.acknowledged, refused: this.refused, open: this.open });
  }
}

/** What the log says that the vault must hold. */
class Replay {
  size = 0;
  time = 0;
  keys = new Map(); // kid → { state, uses, predecessor, successor, label, purpose }
  landed = new Map(); // tag → its leaf

  add(entries, keys, planned) {
    const wrong = [];
    for (const entry of entries) {
      const say = (what) => wrong.push(`entry ${entry.seq} (${entry.method}${entry.kid ? ` ${entry.kid}` : ""}): ${what}`);
      if (entry.seq !== this.size) say(`it stands in place ${this.size}`);
      if (entry.time < this.time) say("it is older than the one before");
      this.size += 1;
      this.time = entry.time;
      if (entry.outcome !== "ok") continue;
      const tag = tagOf(entry, keys);
      const call = planned.get(tag);
      if (entry.method === "vault.create") {
        if (entry.seq !== 0) say("a second vault");
        continue;
      }
      if (!call) say(`nobody planned ${tag}`);
      else if (call.method !== entry.method || (call.kid ?? entry.kid) !== entry.kid) say(`planned was ${call.method} ${call.kid}`);
      if (this.landed.has(tag)) say(`${tag} was done before, as entry ${this.landed.get(tag).seq}`);
      this.landed.set(tag, entry);
      const fault = this.#apply(entry, call);
      if (fault) say(fault);
    }
    return wrong;
  }

  #apply({ method, kid, details = {} }, call) {
    const key = this.keys.get(kid);
    switch (method) {
      case "keys.create":
        this.keys.set(kid, { state: "active", uses: 0, label: call?.params?.label, purpose: details.purpose });
        return key && "the key exists";
      case "keys.rotate":
        if (key?.state !== "active") return `a key is replaced that is ${key?.state}`;
        if (this.keys.has(details.successor)) return "the successor exists";
        Object.assign(key, { state: "retired", successor: details.successor });
        this.keys.set(details.successor, { state: "active", uses: 0, label: key.label, purpose: key.purpose, predecessor: kid });
        return;
      case "keys.revoke":
        if (!key || key.state === "revoked") return `a key is revoked that is ${key?.state}`;
        key.state = "revoked";
        return;
      case "jwt.sign":
      case "challenge.sign":
      case "token.vapid":
      case "key.agree":
        if (key?.state !== "active") return `a key is used that is ${key?.state}`;
        key.uses += 1;
        return;
    }
    return "an operation that nobody plans";
  }

  /** What is wrong with a list of keys. */
  *against(keys) {
    const shown = new Set(keys.map(({ kid }) => kid));
    if (shown.size !== keys.length) yield "keys.list has a key twice";
    for (const kid of this.keys.keys()) if (!shown.has(kid)) yield `key ${kid} is in the log, and not in the list`;
    for (const key of keys) {
      const wanted = this.keys.get(key.kid);
      if (!wanted) {
        yield `key ${key.kid} is in the list, and not in the log`;
        continue;
      }
      for (const [member, value] of Object.entries({ predecessor: undefined, successor: undefined, ...wanted })) {
        if (key[member] !== value) yield `key ${key.kid} has ${member} ${key[member]}, the log says ${value}`;
      }
      if ((key.endedAt !== undefined) !== (wanted.state !== "active")) yield `key ${key.kid} is ${key.state}, and ended at ${key.endedAt}`;
    }
  }
}
