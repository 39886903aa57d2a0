// Ways in: the passphrase and the passkeys that a vault has.

// What the worker found, in words.
function problemText({ code, number = 0, text = "" }) {
  return say("problem." + code, { n: number, text: printable(text, 60) });
}

// The field that a problem is about: none, if it is about a passkey.
function fieldOf({ code }, passphrase) {
  return code === "wrong-passkey" ? undefined : passphrase;
}

function passphraseField(stage, autocomplete, oninput) {
  const secret = field("passphrase", [say("unlock.passphrase")], { autocomplete, oninput });
  const row = element("div", { className: "beside" });
  secret.input.replaceWith(row);
  row.append(secret.input, secretFields(stage, secret));
  return secret;
}

function passkeyNotes() {
  return hasPasskeys() ? [] : [element("p", { className: "note" }, say("passkey.missing"))];
}

// Answers with the passphrase in its one form, if it has one.
function answerPassphrase(stage, input, more = {}) {
  const text = normalised(input.value);
  if (text === undefined) return stage.problem(say("problem.odd"), input);
  stage.answer({ choice: "passphrase", text, ...more });
}

function drawUnlock(stage, { app, proof, phrase, return: back = false, problem }) {
  const cancel = stage.cancelButton();
  const nodes = [], made = [cancel];
  let first = cancel, input;
  if (proof.passkeys) {
    nodes.push(...passkeyNotes());
    const passkey = unlockWithPasskey(stage, proof);
    made.push(passkey);
    if (hasPasskeys()) first = passkey;
  }
  if (proof.passphrase) {
    const secret = passphraseField(stage, "current-password", () => (unlock.disabled = secret.input.value === ""));
    const unlock = button("unlock", "unlock.go", () => answerPassphrase(stage, secret.input), "main");
    unlock.disabled = true;
    enterPresses(secret.input, unlock);
    first = input = secret.input;
    nodes.push(secret.node);
    made.push(unlock);
  }
  const instead = phrase ? [element("div", { className: "seldom" }, button("phrase", "unlock.phrase", () => stage.answer({ choice: "phrase" }), "link"))] : [];
  stage.draw(say(back ? "return.open.title" : "unlock.title"), [paragraph(back ? "return.open.lead" : "unlock.lead"), facts(...appFacts(app))], ...nodes, buttons(...made), ...instead);
  stage.begin(first);
  if (problem) stage.problem(problemText(problem), fieldOf(problem, input));
}

function unlockWithPasskey(stage, { passkeys, challenge, passphrase }) {
  const task = new PasskeyTask(stage);
  const use = button("passkey", "passkey.use", () => {
    task.run((signal) => usePasskey(passkeys, challenge, signal), (passkey) => stage.answer({ choice: "passkey", passkey }));
  }, passphrase ? "" : "main");
  use.disabled = !hasPasskeys();
  return use;
}
