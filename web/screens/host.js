// Shows the screens that the worker asks for, one in place of the other, and
// passes on what the user answered.

const SCREENS = {
  "confirm": drawConfirm,
  "unlock": drawUnlock,
  "new-passphrase": drawNewPassphrase,
  "new-passkey": drawNewPasskey,
  "show-phrase": drawShowPhrase,
  "ask-words": drawAskWords,
  "phrase": drawPhrase,
  "save-file": drawSaveFile,
  "pick-file": drawPickFile,
  "restore": drawRestore,
  "return": drawReturn,
  "activity": drawActivity,
  "methods": drawMethods,
  "done": drawDone,
};

const ALERTS = ["confirm", "restore", "return"]; // they interrupt, and want a yes

function drawDone(stage, { what, keys: n = 0 }) {
  const close = { choice: "close" };
  const closing = button("close", "common.close", () => stage.answer(close), "main");
  stage.draw(say("done.title"), [paragraph("done." + what, { n })], buttons(closing));
  stage.begin(closing);
  stage.escape(() => stage.answer(close));
}

// What is being done, told in place of a screen. Nothing can be answered. Returns what tells the next.
function drawProgress(stage, first) {
  const doing = element("p", { id: "doing" });
  const tell = ({ what }) => (doing.textContent = say("progress." + what));
  tell(first);
  const place = element("div", { role: "status", tabIndex: -1 }, doing);
  stage.draw(say("progress.title"), [place], element("progress", { id: "bar", "aria-labelledby": "doing" }));
  stage.begin(place);
  stage.escape(() => {});
  return tell;
}

// The dialog in the frame. Its listener is told when it opens and closes, and
// gets the answer to each screen, by the screen's number.
class ScreenHost {
  #origin;
  #listener; // { opened(open), answered(id, answer, file) }
  #stage;
  #progress; // tells what is being done, while that is what is shown

  constructor(origin, listener) {
    this.#origin = origin;
    this.#listener = listener;
  }

  // Of a screen that is not there any more, nothing is heard: it settles once,
  // and its buttons are gone.
  show(id, request, file) {
    const settle = (answer, blob) => this.#listener.answered(id, answer, blob);
    const stage = new Stage(this.#origin, settle, ALERTS.includes(request.kind));
    SCREENS[request.kind](stage, request, file);
    this.#enter(stage);
  }

  progress(progress) {
    if (this.#progress !== undefined) return this.#progress(progress);
    const stage = new Stage(this.#origin, () => {});
    const tell = drawProgress(stage, progress);
    this.#enter(stage);
    this.#progress = tell;
  }

  dismiss() {
    if (this.#stage === undefined) return;
    this.#stage.remove();
    this.#stage = this.#progress = undefined;
    this.#listener.opened(false);
  }

  // The app makes the frame visible first: focus in a frame that is not rendered
  // goes nowhere. Most launches show nothing, so the page is not dressed before.
  #enter(stage) {
    if (this.#stage === undefined) {
      document.documentElement.lang = language();
      dress();
      this.#listener.opened(true);
    }
    this.#progress = undefined;
    const before = this.#stage;
    this.#stage = stage;
    document.body.prepend(stage.root);
    before?.remove();
    scrollTo(0, 0);
    stage.enter();
  }
}
