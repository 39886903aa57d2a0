// One screen while it is shown: its frame, its focus, its answer, its end.
//
// The focus begins where the screen says, which is never a button that confirms.
// One answer leaves a screen, whatever is pressed after it. What was typed in
// secret leaves the document with the answer, or when the window loses the focus.

const TURN_MS = 100;

// Whoever listens to the field hears of it.
function empty(input) {
  input.value = "";
  input.dispatchEvent(new Event("input"));
}

class Stage {
  root;
  #settle;
  #content = element("div");
  #heading = element("h1", { id: "title", tabIndex: -1 });
  #problem = element("p", { id: "problem", className: "problem", role: "alert" });
  #note = element("p", { id: "note", className: "note", role: "status" });
  #status = element("p", { id: "status", className: "quiet status", role: "status", tabIndex: -1 });
  #secrets = [];
  #ends = [];
  #turns = [];
  #first; // gets the focus
  #focused = false; // once the focus was in the screen it is the user's to move
  #escape = () => this.answer(null);
  #answered = false;
  #timer;

  // settle(answer, file) is called once, with null for a no.
  constructor(origin, settle, alert = false) {
    this.#settle = settle;
    this.root = element(
      "main",
      { role: alert ? "alertdialog" : "dialog", "aria-modal": "true", "aria-labelledby": "title", "aria-describedby": "what" },
      element("header", {}, element("b", {}, say("common.product")), element("bdi", {}, say("common.asking", { app: printable(origin, 300) }))),
      this.#heading, this.#content, this.#status,
    );
  }

  // Fills the screen: its title, what it says, its problem if it has one, and the rest.
  draw(title, what, ...rest) {
    this.#heading.textContent = title;
    this.#content.append(element("div", { id: "what" }, ...what), this.#problem, this.#note, ...rest);
  }

  // Where the focus begins; at the top of what is to be read first.
  begin(node = this.#heading) {
    this.#first = node;
  }

  // What Escape does, where that is not a no.
  escape(fn) {
    this.#escape = fn;
  }

  cancelButton() {
    return button("cancel", "common.cancel", () => this.answer(null));
  }

  // Says what is wrong, and with which field. The field is emptied and gets the focus.
  problem(text, input) {
    for (const each of this.root.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
    this.#problem.textContent = text;
    if (!input) return;
    input.setAttribute("aria-invalid", "true");
    empty(input);
    this.begin(input);
    if (input.isConnected) input.focus();
  }

  note(text) {
    this.#note.textContent = text;
  }

  status(text) {
    this.#status.textContent = text;
  }

  // input holds a secret for as long as the screen lasts and the window has the focus.
  secret(input) {
    this.#secrets.push(input);
  }

  atEnd(fn) {
    this.#ends.push(fn);
  }

  eachTurn(fn) {
    this.#turns.push(fn);
  }

  // Called when the screen is in the document.
  enter() {
    document.title = this.#heading.textContent;
    document.addEventListener("keydown", this.#onKey);
    addEventListener("blur", this.#onBlur);
    this.#timer = setInterval(() => this.#turn(), TURN_MS);
    this.#turn();
  }

  answer(answer, file) {
    if (this.#answered) return;
    this.#answered = true;
    this.#status.textContent = say("common.moment");
    this.#status.focus({ preventScroll: true });
    this.#quit();
    this.#disable();
    this.#settle(answer, file);
  }

  #disable() {
    for (const control of this.root.querySelectorAll("button, input, textarea")) control.disabled = true;
  }

  remove() {
    this.#answered = true;
    this.#quit();
    clearInterval(this.#timer);
    this.root.remove();
    document.title = say("common.product");
  }

  #quit() {
    document.removeEventListener("keydown", this.#onKey);
    removeEventListener("blur", this.#onBlur);
    this.#clear();
    this.#turns = [];
    for (const end of this.#ends.splice(0)) end();
  }

  #clear() {
    this.#secrets.forEach(empty);
  }

  // On the document: where nothing may take the focus yet, keys go to its body.
  #onKey = (event) => {
    if (event.key !== "Escape" || event.isComposing || !event.isTrusted) return;
    event.preventDefault();
    this.#escape();
  };

  // Whoever takes the focus away gets the keys that follow. So what was typed is
  // begun anew, and the user is told that something happened.
  #onBlur = () => {
    if (!this.#secrets.some((input) => input.value !== "")) return;
    this.#clear();
    this.note(say("common.blurred"));
  };

  #turn() {
    if (Sight.unfocused) this.#onBlur();
    this.#takeFocus();
    for (const turn of this.#turns) turn();
  }

  // The frame is shown only after the screen was drawn, and until then nothing
  // in it can have the focus; in WebKit not before the user has pressed a key or
  // a button in it. The top is what is read first, so nothing scrolls.
  #takeFocus() {
    this.#focused ||= this.root.contains(document.activeElement);
    if (!this.#focused && !this.#answered) this.#first?.focus({ preventScroll: true });
  }
}
