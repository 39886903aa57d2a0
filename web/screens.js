// The enclave's own dialogs. They are drawn in the measured frame, with
// textContent and one constructable stylesheet: this origin has no style-src,
// and its pages have no markup of their own.
//
// What a dialog can prove is bounded: an app can hide the frame it embeds, or
// move the focus. So the focus never starts on the confirming button, and what
// cannot be undone is typed, and waits for as long as it can be seen.

const STYLE = `
  :root { color-scheme: light dark; --text: #1a1c21; --quiet: #50545e; --page: #ffffff; --field: #ffffff; --line: #767b87; --danger: #b3191f; --on-danger: #ffffff; --focus: #1558d6; --soft: #eef0f4; }
  @media (prefers-color-scheme: dark) {
    :root { --text: #f1f2f5; --quiet: #b9bec9; --page: #1d1f24; --field: #14161a; --line: #8d93a1; --danger: #ff8f88; --on-danger: #2b0506; --focus: #8ab4ff; --soft: #2b2e36; }
  }
  * { box-sizing: border-box; }
  html, body { margin: 0; min-height: 100%; background: var(--page); color: var(--text); }
  body { font: 1rem/1.5 system-ui, sans-serif; }
  [role=alertdialog] { max-width: 34rem; margin: 0 auto; padding: 1.25rem; overflow-wrap: anywhere; }
  h1 { margin: 0 0 .75rem; font-size: 1.3rem; line-height: 1.25; }
  p { margin: 0 0 .75rem; }
  dl { margin: 0 0 1rem; padding: .75rem; background: var(--soft); border-radius: .5rem; }
  dt { color: var(--quiet); font-size: .875rem; }
  dd { margin: 0 0 .5rem; font-weight: 600; }
  dd:last-child { margin-bottom: 0; }
  label { display: block; margin-bottom: .25rem; }
  input { width: 100%; min-height: 2.75rem; padding: .5rem .75rem; font: inherit; color: inherit; background: var(--field); border: 1px solid var(--line); border-radius: .5rem; }
  progress { display: block; width: 100%; height: .5rem; margin: 1rem 0 .25rem; accent-color: var(--danger); }
  .quiet { color: var(--quiet); font-size: .875rem; }
  .buttons { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1rem; }
  button { flex: 1 1 8rem; min-height: 2.75rem; padding: .5rem 1rem; font: inherit; font-weight: 600; color: var(--text); background: transparent; border: 1px solid var(--line); border-radius: .5rem; cursor: pointer; }
  button.danger { color: var(--on-danger); background: var(--danger); border-color: var(--danger); }
  button:disabled { color: var(--quiet); background: transparent; border: 1px dashed var(--line); cursor: not-allowed; }
  :focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
  @media (prefers-reduced-motion: no-preference) { button { transition: background-color .15s; } }
  @media (forced-colors: active) { button:disabled { color: GrayText; border-color: GrayText; } }
`;

// Text that somebody else chose, made safe to show: no control or formatting
// characters (which could reorder what is read), and bounded.
function printable(text, limit) {
  const clean = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
  return clean.length > limit ? clean.slice(0, limit) + "..." : clean;
}

function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// Draws a dialog and returns it; answer is called with true or false when the
// user decides. Whoever holds the dialog removes it.
function showDialog(request, answer) {
  if (document.adoptedStyleSheets.length === 0) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    document.adoptedStyleSheets = [sheet];
  }
  return new DestroyDialog(request, answer);
}

function keysAtStake(n) {
  if (n === 0) return "There are no keys in it.";
  if (n === 1) return "The one key in it will be deleted. This cannot be undone, and whatever trusts the key will no longer know you.";
  if (n === 2) return "Both keys in it will be deleted. This cannot be undone, and whatever trusts the keys will no longer know you.";
  const all = n < 0 ? "Every key in it will be deleted. How many there are cannot be read." : `All ${n} keys in it will be deleted.`;
  return all + " This cannot be undone, and whatever trusts the keys will no longer know you.";
}

// What is known about a vault that does not open, and what deleting it means.
// An app brings about "share-missing" by giving a wrong secret.
function condition({ state, reason }) {
  if (state === "lost" && reason === "share-missing") {
    return "The app gave another secret than the one this vault was made with, so it does not open now. The vault may be intact: with the right secret it would open. Deleting it destroys it for good.";
  }
  if (state === "lost") return "The app remembers a vault, but this browser no longer has it: its storage was emptied. Deleting clears what is left and makes room for a new, empty one.";
  if (state === "damaged") return "What this browser has stored of the vault is not what was written. Some of its keys may still work. Deleting it destroys them for good.";
  if (state === "unreadable") return "The vault cannot be read now. It may be intact. Deleting it destroys it for good.";
  return "";
}

// Whether a dialog can be seen, as far as the browser tells. Chromium tells
// whether anything covers the frame, makes it transparent, clips or distorts it
// (Intersection Observer v2; a CSS mask escapes it). The others tell only which
// part of it is in the viewport, and WebKit not at first. In Firefox the dialog
// must have the focus, too, which a frame that is not drawn does not have there;
// in WebKit the focus comes and goes, and says nothing.
// visibilityState is about the tab: in a hidden frame it is "visible".
class Sight {
  #last; // of the observer's entries
  #observer = new IntersectionObserver((entries) => (this.#last = entries.at(-1)), {
    trackVisibility: true, delay: 100, threshold: Array.from({ length: 21 }, (_, i) => i / 20),
  });

  constructor(target) {
    this.#observer.observe(target);
  }

  static #tellsAll = "isVisible" in IntersectionObserverEntry.prototype;
  static #focusTells = CSS.supports("-moz-appearance", "none");

  get clear() {
    if (document.visibilityState !== "visible" || (this.#last && !this.#readable)) return false;
    return !Sight.#tellsAll || this.#last?.isVisible === true;
  }

  get attended() {
    return this.clear && (!Sight.#focusTells || document.hasFocus());
  }

  // Enough of it is in the viewport to read, in CSS pixels: no less than a phone at
  // a high zoom shows.
  get #readable() {
    const { width, height } = this.#last.intersectionRect;
    return width >= 240 && height >= 120;
  }

  end() {
    this.#observer.disconnect();
  }
}

const LOST_MS = 3000; // out of sight for longer, and the wait begins anew

// "Delete this vault?", with a word to type and a wait that counts only while
// the dialog can be seen.
class DestroyDialog {
  #answer;
  #request;
  #remaining; // milliseconds until the confirming button may be used
  #sight;
  #unseen = 0; // milliseconds in a row
  #last = performance.now();
  #timer;
  #word;
  #confirm;
  #progress;
  #clock;
  #status;
  #root;
  #focused = false; // once the focus was in the dialog it is the user's to move

  constructor(request, answer) {
    this.#request = request;
    this.#answer = answer;
    this.#remaining = request.waitMs;
    this.#root = this.#draw();
    document.title = "Delete this vault?";
    document.body.append(this.#root);
    this.#sight = new Sight(this.#root);
    this.#takeFocus();
    this.#timer = setInterval(() => this.#tick(), 200);
    document.addEventListener("keydown", this.#key);
    this.#show();
  }

  remove() {
    clearInterval(this.#timer);
    this.#sight.end();
    document.removeEventListener("keydown", this.#key);
    this.#word.value = "";
    this.#root.remove();
    document.title = "KMS enclave";
  }

  #draw() {
    const { origin, account, keys, reason, word } = this.#request;
    this.#word = element("input", {
      id: "word", type: "text", autocomplete: "off", autocapitalize: "characters", spellcheck: false,
      "aria-describedby": "wait", oninput: () => this.#show(),
    });
    this.#confirm = element("button", { id: "confirm", type: "button", className: "danger", disabled: true, onclick: () => this.#decide() });
    this.#confirm.textContent = "Delete for good";
    this.#progress = element("progress", { max: this.#request.waitMs, "aria-labelledby": "wait" });
    this.#clock = element("p", { id: "wait", className: "quiet" });
    this.#status = element("p", { id: "status", className: "quiet", role: "status" });
    const cancel = element("button", { id: "cancel", type: "button", onclick: () => this.#answer(false) }, "Cancel");
    const known = condition(this.#request);
    const gone = reason === "marker-without-vault"; // there are no keys to delete
    return element(
      "main",
      { role: "alertdialog", "aria-modal": "true", "aria-labelledby": "title", "aria-describedby": "what" },
      element("h1", { id: "title" }, "Delete this vault?"),
      element(
        "div",
        { id: "what" },
        element("p", {}, "An app asks to delete the vault in which your keys for it are kept."),
        element("dl", {}, ...this.#fact("The app", origin), ...this.#fact("Account, in the app's words", account || "(no name)")),
        ...(known ? [element("p", {}, known)] : []),
        ...(gone ? [] : [element("p", {}, keysAtStake(keys))]),
      ),
      element("label", { htmlFor: "word" }, "To go on, type ", element("strong", {}, word)),
      this.#word,
      this.#progress,
      this.#clock,
      element("div", { className: "buttons" }, cancel, this.#confirm),
      this.#status,
    );
  }

  #fact(term, text) {
    return [element("dt", {}, term), element("dd", {}, element("bdi", {}, printable(text, 300)))];
  }

  // On the document: where nothing may take the focus yet, keys go to its body.
  #key = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    this.#answer(false);
  };

  // The frame is shown only after the dialog was drawn, and until then nothing
  // in it can have the focus; in WebKit not before the user has pressed a key or
  // a button in it.
  #takeFocus() {
    this.#focused ||= this.#root.contains(document.activeElement);
    if (!this.#focused) this.#root.querySelector("#cancel").focus();
  }

  #tick() {
    this.#takeFocus();
    const now = performance.now();
    const seen = this.#sight.attended;
    this.#unseen = seen ? 0 : this.#unseen + now - this.#last;
    // A timer that comes late counts as one turn, so that time in which the
    // page could not draw is not time in which it was read.
    if (seen) this.#remaining = Math.max(0, this.#remaining - Math.min(now - this.#last, 400));
    else if (this.#unseen > LOST_MS) this.#remaining = this.#request.waitMs;
    this.#last = now;
    this.#show();
  }

  get #typed() {
    return this.#word.value.trim() === this.#request.word;
  }

  #show() {
    const seconds = Math.ceil(this.#remaining / 1000);
    const may = seconds === 0 && this.#typed && this.#sight.clear;
    this.#progress.value = this.#request.waitMs - this.#remaining;
    this.#clock.textContent = seconds > 0 ? `Time to think: ${seconds} s, while this is in front and nothing covers it` : "The time to think is over.";
    if (this.#confirm.disabled === may) {
      this.#confirm.disabled = !may;
      this.#status.textContent = may ? "The vault can be deleted now." : "";
    }
  }

  #decide() {
    if (this.#remaining === 0 && this.#typed && this.#sight.clear) this.#answer(true);
  }
}
