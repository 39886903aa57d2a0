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
  "activity": drawActivity,
  "methods": drawMethods,
  "done": drawDone,
};

const ALERTS = ["confirm", "restore"]; // they interrupt, and want a yes

function drawDone(stage, { what, keys: n = 0 }) {
  const close = { choice: "close" };
  const closing = button("close", "common.close", () => stage.answer(close), "main");
  stage.draw(say("done.title"), [paragraph("done." + what, { n })], buttons(closing));
  stage.begin(closing);
  stage.escape(() => stage.answer(close));
}

// What is being done, told in place of a screen. Nothing can be answered.
class ProgressView {
  #text = element("p", { id: "doing" });
  #bar = element("progress", { id: "bar", "aria-labelledby": "doing" });

  constructor(stage) {
    const what = element("div", { role: "status", tabIndex: -1 }, this.#text);
    stage.draw(say("progress.title"), [what], this.#bar);
    stage.begin(what);
    stage.escape(() => {});
  }

  show({ what, done = 0, total = 0 }) {
    const text = say("progress." + what);
    if (this.#text.textContent !== text) this.#text.textContent = text;
    if (total === 0) return this.#bar.removeAttribute("value");
    this.#bar.max = total;
    this.#bar.value = done;
  }
}

// The dialog in the frame. Its listener is told when it opens and closes, and
// gets the answer to each screen, by the screen's number.
class ScreenHost {
  #origin;
  #listener; // { opened(open), answered(id, answer, file) }
  #stage;
  #progress;

  constructor(origin, listener) {
    this.#origin = origin;
    this.#listener = listener;
    document.documentElement.lang = language();
    dress();
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
    if (this.#progress === undefined) {
      const stage = new Stage(this.#origin, () => {});
      const view = new ProgressView(stage);
      view.show(progress);
      this.#enter(stage);
      this.#progress = view;
    }
    this.#progress.show(progress);
  }

  dismiss() {
    if (this.#stage === undefined) return;
    this.#stage.remove();
    this.#stage = this.#progress = undefined;
    this.#listener.opened(false);
  }

  // The app makes the frame visible first: focus in a frame that is not rendered
  // goes nowhere.
  #enter(stage) {
    if (this.#stage === undefined) this.#listener.opened(true);
    this.#progress = undefined;
    const before = this.#stage;
    this.#stage = stage;
    document.body.prepend(stage.root);
    before?.remove();
    scrollTo(0, 0);
    stage.enter();
  }
}
