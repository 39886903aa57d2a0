// The element that holds the enclave's frame: a <dialog> that is closed, and so not drawn, until
// the enclave itself asks to be shown. The frame never moves in the document, because a moved
// iframe loads again and everything in it is lost.
//
// The frame lies in a shadow tree. A frame of the document's own tree is an element of `window`, by
// its number, for every frame and every window that can name the app's: a page of the enclave's
// origin among them (in an advertisement's frame, or as the page that opened the app) is of the
// same origin as the enclave's frame, so it could script it and take the share from the
// handshake, whatever the frame's own code was pinned to. Frames in shadow trees have no number
// (HTML, "document-tree child navigables"); nothing but the app's own page can find them.
//
// What is taller than the element scrolls inside the frame: its size is never changed while a person reads,
// and no screen of the enclave can push a button out of the element. On a phone it has all of the screen but
// the parts that the device keeps for itself.
//
// The app's Content Security Policy may forbid inline styles, so styles are set through the CSSOM.

const SANDBOX = "allow-scripts allow-same-origin allow-downloads";
const ALLOW = "publickey-credentials-get; publickey-credentials-create";
/** Of the element that holds the enclave's frame. */
export const CLASS = "kms-enclave-dialog";

const RULES = `
  .${CLASS} { box-sizing: border-box; inline-size: min(100vw, 34rem); block-size: min(100dvh, 44rem);
    max-inline-size: none; max-block-size: none; margin: auto; padding: 0; border: 0; border-radius: .75rem;
    overflow: hidden; overscroll-behavior: contain; background: Canvas; box-shadow: 0 1rem 3rem rgb(0 0 0 / .35); }
  .${CLASS}::backdrop { background: rgb(0 0 0 / .5); }
  .${CLASS} > div { block-size: 100%; }
  @media (max-width: 34rem) { .${CLASS} { block-size: 100dvh; border-radius: 0; } }
  @media (max-width: 34rem) or (max-height: 44rem) {
    .${CLASS} { padding: env(safe-area-inset-top) env(safe-area-inset-right) env(safe-area-inset-bottom) env(safe-area-inset-left); }
  }
  @media (forced-colors: active) { .${CLASS} { border: 1px solid; } }`;

const FRAME_RULES = "iframe { display: block; inline-size: 100%; block-size: 100%; border: 0; }";

/** @type {WeakSet<Document | ShadowRoot>} */
const styled = new WeakSet();

/** The frame and the dialog around it. */
export class View {
  /** @readonly */ dialog = document.createElement("dialog");
  /** @readonly */ iframe = document.createElement("iframe");
  #wanted = false;
  /** @type {Element | null} */ #focused = null;

  /**
   * Puts the frame into the document, which makes it load.
   *
   * @param {import("./pin.js").Release} release
   * @param {Element} container
   */
  constructor(release, container) {
    const { dialog, iframe } = this;
    dialog.className = CLASS;
    dialog.setAttribute("aria-label", "Key enclave");
    dialog.setAttribute("closedby", "none"); // the enclave closes it, after an answer
    iframe.setAttribute("sandbox", SANDBOX);
    iframe.setAttribute("allow", ALLOW);
    iframe.setAttribute("referrerpolicy", "no-referrer");
    iframe.title = "Key enclave";
    if (release.pinned) iframe.setAttribute("csp", release.pinned.policy);
    iframe.src = release.page;
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => this.#stayOpen());
    const host = document.createElement("div");
    const shadow = host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [sheetOf(FRAME_RULES)];
    shadow.append(iframe);
    dialog.append(host);
    addStyles(container);
    container.append(dialog);
  }

  /**
   * Shows the frame as a modal dialog, or hides it and gives the focus back to what had it when it
   * was first shown.
   *
   * @param {boolean} open
   */
  show(open) {
    if (open === this.#wanted) return;
    this.#wanted = open;
    if (open) this.#focused = document.activeElement;
    if (open) this.#open();
    else this.#close();
  }

  /** Takes the frame out of the document, which ends its worker. */
  remove() {
    this.show(false);
    this.dialog.remove();
  }

  #open() {
    if (!this.dialog.isConnected || this.dialog.open) return;
    this.dialog.showModal();
    this.iframe.focus();
  }

  #close() {
    this.dialog.close();
    // close() does this by itself, except where the focus had left the dialog.
    if (this.#focused instanceof HTMLElement && this.#focused.isConnected) this.#focused.focus();
    this.#focused = null;
  }

  // Some browsers close a dialog at the second Escape whatever its page says. The question in it
  // is still open, so it is shown again.
  #stayOpen() {
    if (this.#wanted) this.#open();
  }
}

/** @param {Element} container */
function addStyles(container) {
  const root = container.getRootNode();
  if (!(root instanceof Document || root instanceof ShadowRoot) || styled.has(root)) return;
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheetOf(RULES)];
  styled.add(root);
}

/** @param {string} rules */
function sheetOf(rules) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules);
  return sheet;
}
