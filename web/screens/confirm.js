// What is about to happen, and the user's yes to it.

// A yes that is held back until the gate is open. What confirms is made with
// button(), and obeys only then.
class Confirmation {
  nodes = [];
  #stage;
  #request;
  #gate;
  #word;
  #clock;
  #progress;
  #buttons = []; // { node, ready }

  constructor(stage, request) {
    this.#stage = stage;
    this.#request = request;
    if (request.word) this.#askWord(request);
    if (request.waitMs) this.#askTime(request);
    this.#gate = new Gate(stage.root, request.waitMs ?? 0);
    stage.eachTurn(() => this.#turn());
    stage.atEnd(() => this.#gate.end());
  }

  get word() {
    return this.#word?.input;
  }

  #askWord({ word, waitMs }) {
    this.#word = field("word", rich("confirm.word", { word: element("strong", { lang: "en" }, word) }), {
      type: "text", autocapitalize: "characters", "aria-describedby": waitMs ? "problem wait" : "problem", oninput: () => this.show(),
    });
    this.nodes.push(this.#word.node);
  }

  #askTime({ waitMs }) {
    this.#progress = element("progress", { className: "danger", max: waitMs, value: 0, "aria-labelledby": "wait" });
    this.#clock = element("p", { id: "wait", className: "quiet" });
    this.nodes.push(this.#progress, this.#clock);
  }

  // A button that confirms by what act() does, once the gate is open, the word is typed and ready() is true.
  button(id, key, look, ready, act) {
    const node = button(id, key, () => this.#may(ready) && act(), look);
    node.disabled = true;
    this.#buttons.push({ node, ready });
    return node;
  }

  // What every answer that confirms has in it.
  get typed() {
    return this.#word ? { word: this.#word.input.value.trim() } : {};
  }

  #may(ready) {
    return this.#gate.open && (!this.#word || this.#word.input.value.trim() === this.#request.word) && ready();
  }

  #turn() {
    const before = this.#gate.hidden;
    this.#gate.turn();
    this.show();
    if (this.#gate.hidden !== before) this.#stage.note(before ? "" : say("confirm.hidden"));
  }

  show() {
    if (this.#clock) this.#showTime();
    for (const { node, ready } of this.#buttons) {
      if (node.disabled !== this.#may(ready)) continue;
      // A disabled button would lose the focus to nowhere.
      if (node === document.activeElement) this.#stage.root.querySelector("#cancel").focus();
      node.disabled = !node.disabled;
      if (this.#clock) this.#stage.status(node.disabled ? "" : say("confirm.ready"));
    }
  }

  #showTime() {
    const { remaining } = this.#gate;
    const n = Math.ceil(remaining / 1000);
    this.#progress.value = this.#request.waitMs - remaining;
    this.#clock.textContent = n > 0 ? say("confirm.wait", { n }) : say("confirm.waited");
  }
}

// Actions that take something away, or all protection.
const DANGEROUS = ["keys.revoke", "lease.revoke", "slots.remove", "slots.add.device", "vault.destroy"];

// The action as the words have it: a way in that does not ask is an action of its own.
const deedIn = ({ action, slot }) => (action === "slots.add" && slot?.kind === "device" ? "slots.add.device" : action);

function drawConfirm(stage, request) {
  const { app, problem } = request;
  const action = deedIn(request);
  const lead = paragraph("confirm.asks." + action, { kind: say("ways.kind." + (request.slot?.kind ?? "passphrase")) });
  const confirmation = new Confirmation(stage, request);
  const cancel = stage.cancelButton();
  const { nodes, buttons: proving, input } = proofOf(stage, request, confirmation, action);
  stage.draw(
    say((request.enabled ? "confirm.again." : "confirm.title.") + action),
    [lead, facts(...appFacts(app), ...subjectFacts(request)), ...reasonOf(request), ...meaningOf(request, action)],
    ...nodes, ...confirmation.nodes, buttons(cancel, ...proving),
  );
  stage.begin(cancel);
  if (problem) stage.problem(problemText(problem), problem.code === "word-wrong" ? confirmation.word : fieldOf(problem, input));
}

// The fields and buttons that prove that the user is there.
function proofOf(stage, { proof }, confirmation, action) {
  const look = DANGEROUS.includes(action) ? "danger" : "main";
  const go = "confirm.go." + action;
  if (!proof.passphrase && !proof.passkeys) {
    return { nodes: [], buttons: [confirmation.button("confirm", go, look, () => true, () => stage.answer({ choice: "confirm", ...confirmation.typed }))] };
  }
  const nodes = [], made = [];
  let input;
  if (proof.passphrase) {
    const secret = passphraseField(stage, "current-password", () => confirmation.show());
    input = secret.input;
    nodes.push(secret.node);
    const confirm = confirmation.button("confirm", go, look, () => input.value !== "", () => answerPassphrase(stage, input, confirmation.typed));
    enterPresses(input, confirm);
    made.push(confirm);
  }
  if (proof.passkeys) {
    const task = new PasskeyTask(stage);
    nodes.push(...passkeyNotes());
    made.unshift(confirmation.button("passkey", "passkey.use", proof.passphrase ? "" : look, () => hasPasskeys() && !task.running, () => {
      const { typed } = confirmation;
      task.run((signal) => usePasskey(proof.passkeys, proof.challenge, signal), (passkey) => stage.answer({ choice: "passkey", passkey, ...typed }));
    }));
  }
  return { nodes, buttons: made, input };
}

function subjectFacts({ key, slot, lease }) {
  if (lease) return leaseFacts(lease);
  if (key) {
    return [
      ["fact.key", key.label || say("fact.nameless")],
      ["fact.kid", shortKid(key.kid)],
      ["fact.purpose", say("fact.purpose." + key.purpose)],
      ["fact.created", moment(key.createdAt)],
      ["fact.used", key.uses === 0 ? say("fact.never") : say("fact.uses", { n: key.uses, when: moment(key.lastUsedAt) })],
    ];
  }
  if (slot?.id) {
    return [["fact.way", slotName(slot)], ["fact.added", slot.createdAt ? moment(slot.createdAt) : undefined]];
  }
  return [];
}

function leaseFacts({ relay, service, expiresAt, tokenSeconds, perHour, perDay, tokens, lastUsedAt }) {
  return [
    ["fact.relay", relay],
    ["fact.service", service],
    ["fact.until", moment(expiresAt)],
    ["fact.token", span(tokenSeconds)],
    ["fact.limit", say("fact.limits", { hour: perHour, day: perDay })],
    ["fact.given", tokens > 0 ? say("fact.uses", { n: tokens, when: moment(lastUsedAt) }) : undefined],
  ];
}

// A duration, to the minute.
function span(seconds) {
  const n = Math.ceil(seconds / 60);
  return n % 60 === 0 ? say("fact.hours", { n: n / 60 }) : say("fact.minutes", { n });
}

function slotName(slot) {
  const kind = say("ways.kind." + slot.kind), name = nameOfWay(slot);
  return name ? `${kind}: ${printable(name, 100)}` : kind;
}

function reasonOf({ reason }) {
  return reason ? [quiet("confirm.reason"), element("blockquote", {}, element("p", {}, theirs(reason, 300)))] : [];
}

// What the action means for the user.
function meaningOf({ vault, enabled }, action) {
  if (action === "slots.add.device") return [warning("confirm.means.slots.add.device")];
  if (action !== "vault.destroy") return [paragraph((enabled ? "confirm.renews." : "confirm.means.") + action)];
  const condition = conditionOf(vault);
  const gone = vault.reason === "marker-without-vault"; // there are no keys to delete
  return [...(condition ? [paragraph(condition)] : []), ...(gone ? [] : [keysAtStake(vault.keys)])];
}

function keysAtStake(n) {
  if (n === 0) return paragraph("confirm.keys.none");
  return n < 0 ? paragraph("confirm.keys.unknown") : paragraph("confirm.keys.some", { n });
}

// What is known about a vault that does not open, and what deleting it means.
// An app brings about "share-missing" by giving a wrong secret.
function conditionOf({ state, reason }) {
  if (state === "lost") return reason === "share-missing" ? "confirm.state.share" : "confirm.state.lost";
  if (state === "damaged") return "confirm.state.damaged";
  if (state === "unreadable") return "confirm.state.unreadable";
  return undefined;
}

function drawRestore(stage, request) {
  const { from, keys: n, createdAt, lock, persistence, problem } = request;
  const confirmation = new Confirmation(stage, request);
  const cancel = stage.cancelButton();
  const go = confirmation.button("confirm", "restore.go", "main", () => true, () => stage.answer({ choice: "confirm", ...confirmation.typed }));
  const warnings = warningsOf(request);
  stage.draw(
    say("restore.title"),
    [
      paragraph("restore.lead"),
      facts(["fact.saved", moment(createdAt)], ["fact.keys", say("fact.count", { n })], ["fact.epoch", String(request.epoch)],
        ["restore.from", from.origin], ["fact.account", from.account || say("fact.nameless")],
        ["restore.lock", say("restore.lock." + lock)], ["restore.place", say("restore.place." + persistence)]),
      paragraph("restore.means"),
      ...warnings,
      ...(request.word && warnings.length > 0 ? [paragraph("restore.word")] : []),
    ],
    ...confirmation.nodes, buttons(cancel, go),
  );
  stage.begin(cancel);
  if (problem) stage.problem(problemText(problem), confirmation.word);
}

// What somebody who brings a vault back may not expect. A word is asked for because of these, but not where only
// the account is another.
function warningsOf({ app, from, lock, persistence }) {
  const foreign = from.origin !== app.origin || from.account !== app.account;
  return [
    ...(foreign ? [warning("restore.foreign", { app: theirs(app.origin, 300), account: theirs(app.account || say("fact.nameless")) })] : []),
    ...(lock === "none" ? [warning("restore.open")] : []),
    ...(persistence === "session" ? [warning("restore.brief")] : []),
  ];
}

function drawReturn(stage, request) {
  const { app, at, keys: n, entries, lock, missing = 0, damaged = 0, older = false, unknown = false, gap = false, deleted = false, problem } = request;
  const confirmation = new Confirmation(stage, request);
  const cancel = stage.cancelButton();
  const go = confirmation.button("confirm", "return.go", "main", () => true, () => stage.answer({ choice: "confirm", ...confirmation.typed }));
  stage.draw(
    say("return.title"),
    [
      paragraph("return.lead"),
      facts(...appFacts(app), ["return.at", moment(at)], ["fact.keys", say("fact.count", { n })], ["return.entries", String(entries)], ["restore.lock", say("restore.lock." + lock)]),
      ...(deleted ? [warning("return.deleted")] : []),
      ...(older ? [warning("return.older")] : unknown ? [warning("return.unknown")] : [paragraph("return.newest")]),
      ...(missing > 0 ? [warning("return.missing", { n: missing })] : []),
      ...(damaged > 0 ? [warning("return.damaged", { n: damaged })] : []),
      ...(gap ? [warning("return.gap")] : []),
      paragraph("return.look"),
      ...(request.word ? [paragraph("return.word")] : []),
    ],
    ...confirmation.nodes, buttons(cancel, go),
  );
  stage.begin(cancel);
  if (problem) stage.problem(problemText(problem), confirmation.word);
}
