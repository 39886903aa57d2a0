// As much of a document as dialog.js, launch.js and kms.js touch. It draws nothing and loads nothing.

class ElementStandIn extends EventTarget {
  attributes = new Map();
  children = [];
  parent = null;

  constructor(name) {
    super();
    this.localName = name;
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }

  append(child) {
    child.parent = this;
    this.children.push(child);
  }

  remove() {
    this.parent?.children.splice(this.parent.children.indexOf(this), 1);
    this.parent = null;
  }

  get isConnected() {
    return this === document.body || (this.parent?.isConnected ?? false);
  }

  /** The root counts as a child: what is in it goes with its host. */
  attachShadow() {
    const root = new ElementStandIn("#shadow-root");
    this.append(root);
    return root;
  }

  getRootNode() {
    return document;
  }

  focus() {
    document.activeElement = this;
  }
}

class DialogStandIn extends ElementStandIn {
  open = false;

  showModal() {
    this.open = true;
    document.activeElement = this;
  }

  /** As browsers do it: the focus leaves what is no longer drawn, and the event comes later. */
  close() {
    this.open = false;
    document.activeElement = document.body;
    queueMicrotask(() => this.dispatchEvent(new Event("close")));
  }
}

function windowStandIn() {
  const window = Object.assign(new EventTarget(), { opener: null, length: 0 });
  return Object.assign(window, { top: window });
}

/** Makes the globals that a page has. */
export function install() {
  class DocumentStandIn extends EventTarget {
    adoptedStyleSheets = [];
    body = new ElementStandIn("body");
    activeElement = this.body;
    querySelectorAll = () => []; // no frames beside the enclave's
    createElement = (name) => (name === "dialog" ? new DialogStandIn(name) : new ElementStandIn(name));
  }
  const globals = {
    Document: DocumentStandIn,
    document: new DocumentStandIn(),
    window: windowStandIn(),
    location: { origin: "https://app.example" },
    Element: ElementStandIn,
    HTMLElement: ElementStandIn,
    HTMLDialogElement: DialogStandIn,
    HTMLIFrameElement: class {},
    ShadowRoot: class {},
    CSSStyleSheet: class {
      replaceSync() {}
    },
  };
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  Object.defineProperty(DocumentStandIn.prototype, "adoptedStyleSheets", { value: undefined, configurable: true, writable: true });
  globalThis.isSecureContext = true;
  globalThis.indexedDB ??= {};
  Object.defineProperty(globalThis, "navigator", { value: { locks: {}, onLine: true }, configurable: true });
}
