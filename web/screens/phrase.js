// The recovery phrase: shown once, asked back, and entered.

const READ_MS = 5000; // how long a phrase is in sight before the user can go on

// The words are text of the document for as long as the screen lasts. Its
// nodes lose them before they leave it.
function drawShowPhrase(stage, { words }) {
  const list = element("ol", { id: "words", className: "words", lang: "en" }, ...words.map((word) => element("li", { translate: false }, word)));
  const next = button("next", "phrase.written", () => stage.answer({ choice: "next" }), "main");
  next.disabled = true;
  const gate = new Gate(stage.root, READ_MS);
  stage.eachTurn(() => {
    gate.turn();
    if (next.disabled && gate.remaining === 0) {
      next.disabled = false;
      stage.status(say("phrase.ready"));
    }
  });
  stage.atEnd(() => {
    gate.end();
    for (const item of list.children) item.textContent = "";
  });
  stage.draw(say("phrase.show"), [paragraph("phrase.lead"), paragraph("phrase.power")], list, quiet("phrase.paper"), buttons(stage.cancelButton(), next));
  stage.begin();
}

function drawAskWords(stage, { positions, problem }) {
  const fields = positions.map((n) => field(`word-${n}`, [say("phrase.nth", { n })], { type: "text", oninput: () => show() }));
  const next = button("next", "common.next", () => stage.answer({ choice: "words", text: fields.map(({ input }) => wordsIn(input.value).join("")).join(" ") }), "main");
  const show = () => (next.disabled = fields.some(({ input }) => wordsIn(input.value).length !== 1));
  show();
  for (const { input } of fields) {
    stage.secret(input);
    enterPresses(input, next);
  }
  stage.draw(
    say("phrase.back"), [paragraph("phrase.asked")], ...fields.map(({ node }) => node),
    buttons(stage.cancelButton(), button("back", "phrase.again", () => stage.answer({ choice: "back" })), next),
  );
  stage.begin(fields[0].input);
  const wrong = Math.max(0, positions.indexOf(problem?.number));
  if (problem) stage.problem(problemText(problem), fields[wrong].input);
}

const PHRASE_WORDS = 12;

function drawPhrase(stage, { app, for: purpose, problem }) {
  const count = element("p", { id: "count", className: "quiet", role: "status" });
  const show = () => {
    const n = wordsIn(phrase.input.value).length;
    const text = say("phrase.count", { n, of: PHRASE_WORDS });
    if (count.textContent !== text) count.textContent = text; // who listens to it hears each number once
    next.disabled = n === 0;
  };
  const phrase = field("phrase", [say("phrase.field")], { rows: 3, oninput: () => show(), "aria-describedby": "problem hint" }, element("p", { id: "hint", className: "quiet" }, say("phrase.hint")), count);
  const next = button("next", "phrase.go." + purpose, () => stage.answer({ choice: "phrase", text: wordsIn(phrase.input.value).join(" ") }), "main");
  enterPresses(phrase.input, next);
  stage.secret(phrase.input);
  show();
  stage.draw(say("phrase.title." + purpose), [paragraph("phrase.lead." + purpose), facts(...appFacts(app)), element("p", { className: "note" }, say("phrase.only"))], phrase.node, buttons(stage.cancelButton(), next));
  stage.begin(phrase.input);
  if (problem) stage.problem(problemText(problem), phrase.input);
}
