// New secrets: a passphrase, a passkey.

function drawNewPassphrase(stage, request) {
  const { app, for: purpose, suggestion, minChars, problem } = request;
  const next = button("next", "common.next", () => answerNew(stage, request, first.input, again.input), "main");
  next.disabled = true;
  const oninput = () => (next.disabled = first.input.value === "" || again.input.value === "");
  const properties = { autocomplete: "new-password", oninput };
  const first = field("passphrase", [say("passphrase.new")], { ...properties, "aria-describedby": "problem hint" }, element("p", { id: "hint", className: "quiet" }, say("passphrase.hint", { n: minChars })));
  const again = field("repeat", [say("passphrase.repeat")], properties);
  const toggle = secretFields(stage, first, again);
  const suggest = button("suggest", "passphrase.suggest", () => {
    if (first.input.type === "password") toggle.act();
    first.input.value = again.input.value = suggestion;
    stage.note(say("passphrase.suggested"));
    oninput();
  }, "small");
  for (const { input } of [first, again]) enterPresses(input, next);
  const later = purpose === "forgot" ? [button("later", "passphrase.later", () => stage.answer({ choice: "later" }))] : [];
  stage.draw(
    say("passphrase.title." + purpose),
    [paragraph("passphrase.lead." + purpose), ...(purpose === "vault" ? [facts(...appFacts(app)), quiet("passphrase.lost")] : [])],
    first.node, again.node, element("div", { className: "row" }, toggle, suggest),
    buttons(stage.cancelButton(), ...later, next),
  );
  stage.begin(first.input);
  if (problem) stage.problem(problemText(problem), first.input);
}

// Answers with a passphrase that both fields have, in its one form. The worker looks at it again.
function answerNew(stage, { minChars, maxBytes }, first, again) {
  const text = normalised(first.value);
  const refuse = (message, input) => {
    empty(again);
    stage.problem(message, input);
  };
  if (text === undefined) return refuse(say("problem.odd"), first);
  if (codePoints(text) < minChars) return refuse(say("problem.short", { n: minChars }), first);
  if (bytesIn(text) > maxBytes) return refuse(say("problem.long", { n: maxBytes }), first);
  if (text !== normalised(again.value)) return refuse(say("passphrase.differ"), again);
  stage.answer({ choice: "passphrase", text });
}

// Some authenticators yield the PRF's output only when they are used. That takes
// one more click, because browsers ask for one before each of their own dialogs.
// The worker gets all that the use answered, and verifies that, too.
function drawNewPasskey(stage, request) {
  const { app, for: purpose, challenge, salt, problem } = request;
  const task = new PasskeyTask(stage);
  const kind = say("ways.kind.passkey");
  const label = field("label", [say("passkey.label")], { type: "text", maxLength: 64, value: request.label || kind, "aria-describedby": "problem labelled" }, element("p", { id: "labelled", className: "quiet" }, say("passkey.labelled")));
  // The word for its kind is no name: it would stay in today's language.
  const named = () => (label.input.value.trim() === kind ? "" : label.input.value.trim());
  const answer = (created) => stage.answer({ choice: "passkey", created, label: named() });
  const finish = (created) => {
    const use = button("finish", "passkey.finish", () => {
      const credentials = [{ id: created.id, salt }];
      task.run((signal) => usePasskey(credentials, challenge, signal), (used) => answer({ ...created, used }));
    }, "main");
    create.replaceWith(use);
    use.focus();
    stage.note(say("passkey.once"));
  };
  const create = button("create", "passkey.create", () => {
    task.run((signal) => createPasskey(request, signal), ({ created, unfinished }) => (unfinished ? finish(created) : answer(created)));
  }, "main");
  create.disabled = !hasPasskeys();
  const cancel = stage.cancelButton();
  stage.draw(
    say("passkey.title"),
    [paragraph("passkey.lead." + purpose), quiet("passkey.what"), facts(...appFacts(app))],
    ...(hasPasskeys() ? [label.node] : passkeyNotes()),
    buttons(cancel, create),
  );
  stage.begin(hasPasskeys() ? create : cancel);
  if (problem) stage.problem(problemText(problem));
}
