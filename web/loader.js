// The launcher. It runs in the enclave's frame, once, before anything else can.
//
// Order matters here. Markup is not measured, so the first act is to stop the
// parser and to drop every node that came with the page; a host could otherwise
// stream a <label> that turns a click on it into a click on a dialog. Names in
// that markup can shadow members of document ("named access"), so until it is
// gone, members are taken from the prototypes.
//
// The page opens its body before this script: Chromium never draws a frame
// whose parser was stopped before there was one.

window.stop();
const integrity = getter(Document, "currentScript").call(document)?.integrity;
replaceDocument();

const started = performance.now();

function getter(type, name) {
  return Object.getOwnPropertyDescriptor(type.prototype, name).get;
}

function replaceDocument() {
  const { removeChild, appendChild } = Node.prototype;
  const { createElement } = Document.prototype;
  const firstChild = getter(Node, "firstChild");
  for (let node; (node = firstChild.call(document)); ) removeChild.call(document, node);
  const root = createElement.call(document, "html");
  root.append(createElement.call(document, "head"), createElement.call(document, "body"));
  root.lang = "en";
  appendChild.call(document, root);
}

// A launch that is refused, with the stable word the app's SDK branches on.
class Refusal extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

// The policy that a page of this release must run under, to the letter. The
// part before frame-ancestors is the pin; the part that deployments choose is
// who may embed. It holds origins in lower case, which is how every engine
// gives them back.
const pinOf = (hash) =>
  `default-src 'none'; script-src '${hash}' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'`;
const ORIGIN = "https?://[a-z0-9*.-]+(?::[0-9]+)?";
const ANCESTORS = new RegExp(`^; frame-ancestors (?:'none'|${ORIGIN}(?: ${ORIGIN})*)$`);
const TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types enclave";

function isThePolicy(policy, hash) {
  const pin = pinOf(hash);
  if (!policy.startsWith(pin) || !policy.endsWith(TRUSTED_TYPES)) return false;
  return ANCESTORS.test(policy.slice(pin.length, policy.length - TRUSTED_TYPES.length));
}

// Exactly one hash: with two, the browser accepts a script that matches either.
function checkIntegrity() {
  if (typeof integrity !== "string" || !/^sha384-[A-Za-z0-9+/]{64}$/.test(integrity)) {
    throw new Refusal("integrity", "The page did not name the loader by exactly one SHA-384 hash.");
  }
  return integrity;
}

function checkPlatform() {
  const missing = [
    ["a secure context (https, or localhost)", isSecureContext && crypto.subtle],
    ["WebAssembly", typeof WebAssembly === "object"],
    ["Trusted Types", typeof trustedTypes === "object"],
    ["constructable stylesheets", "adoptedStyleSheets" in document],
    ["well-formed strings", String.prototype.isWellFormed],
  ].filter(([, present]) => !present);
  if (missing.length > 0) {
    throw new Refusal("unsupported", `This browser lacks ${missing.map(([name]) => name).join(", ")}.`);
  }
}

// A service worker of this origin could answer in the enclave's name. Where the
// browser offers none (private windows of some), there is none to fear; where it
// will not say, the launch is refused.
async function checkServiceWorkers() {
  const container = navigator.serviceWorker;
  if (container === undefined) return;
  let registrations;
  try {
    registrations = await container.getRegistrations();
  } catch {
    throw new Refusal("service-worker", "The browser does not say whether a service worker is registered for this origin.");
  }
  if (registrations.length > 0 || container.controller) {
    throw new Refusal("service-worker", "A service worker is registered for the enclave's origin. Clear this site's data, then try again.");
  }
}

// Violations that are provoked on purpose. The event of each carries the text of
// the policy it violated, and there is one event per policy, so that a second
// one (a host's report-uri is a way out) shows as well. Nothing here reaches a
// network: every URL is a data URL. The browser's console shows them as errors.
//
// originalPolicy, as the engines were seen to give it: Chromium 156 and
// WebKitGTK 2.50 the header's own characters; Firefox 153 its normal form, with
// lower-case directive names, single spaces, no second directive of a name, and
// report-uri made absolute. The header that package release writes is the same
// text in both, so one comparison serves all. Other violations (media, frame,
// worker) come 10 to 70 ms later in some engine and would tell nothing more.
const PROVOCATIONS = {
  "connect-src": () => void fetch("data:,").catch(() => {}),
  "img-src": () => void (new Image().src = "data:,"),
  "script-src-elem": (make) => {
    const script = document.createElement("script");
    script.text = make.createScript(PROBE);
    document.head.append(script);
    script.remove();
  },
  "style-src-elem": () => {
    const style = document.createElement("style");
    style.textContent = "html{}";
    document.head.append(style);
    style.remove();
  },
  "trusted-types": () => void trustedTypes.createPolicy("not-enclave", {}),
  "require-trusted-types-for": () => void (document.createElement("div").innerHTML = "x"),
};
const PROBE = ";"; // a script that would do nothing, if it ran
const PROVOCATION_LIMIT = 5000; // milliseconds until a missing event counts as absent

function checkPolicy(hash, make) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const refuse = (message) => reject(new Refusal("policy", message));
  // A second policy's event comes right behind the first one's. So all is provoked
  // twice: when the last event of the second time has come, all of the first have.
  let times = 2, missing;
  const provokeAll = () => {
    missing = new Set(Object.keys(PROVOCATIONS));
    for (const provoke of Object.values(PROVOCATIONS)) {
      try {
        provoke(make);
      } catch {
        // Some violations throw as well. The event is what counts.
      }
    }
  };
  const timer = setTimeout(
    () => refuse(`The page does not run under its policy: ${[...missing].join(", ")} did not stop what it must stop.`),
    PROVOCATION_LIMIT,
  );
  const onViolation = (event) => {
    if (event.disposition !== "enforce" || !isThePolicy(event.originalPolicy, hash)) {
      refuse("The page runs under another policy than this release's: " + printable(event.originalPolicy, 600));
    }
    missing.delete(event.effectiveDirective);
    if (missing.size > 0) return;
    times--;
    if (times === 0) resolve();
    else provokeAll();
  };
  document.addEventListener("securitypolicyviolation", onViolation);
  provokeAll();
  return promise.finally(() => {
    clearTimeout(timer);
    document.removeEventListener("securitypolicyviolation", onViolation);
  });
}

// The one Trusted Types policy of the frame: the script of one provocation,
// and the one URL a worker may be started from.
function trustedTypesPolicy(workerURL) {
  const only = (allowed) => (text) => {
    if (text !== allowed) throw new TypeError("not what this release starts");
    return text;
  };
  return trustedTypes.createPolicy("enclave", { createScript: only(PROBE), createScriptURL: only(workerURL) });
}

// A worker that is started from a blob has no URL to be tampered with, and
// inherits this page's policy.
function blobOfWorker() {
  return URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
}

function hexOfHash(hash) {
  return Array.from(atob(hash.slice("sha384-".length)), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

// Takes one handshake from the embedding page, and listens no longer on window:
// what runs beside the app (extensions) posts messages there, too.
function handshake() {
  const { promise, resolve } = Promise.withResolvers();
  addEventListener("message", function onMessage(event) {
    if (event.source !== parent || event.data?.kmsEnclave !== 1 || event.data.type !== "connect") return;
    removeEventListener("message", onMessage);
    resolve(event);
  });
  return promise;
}

// What is wrong with a handshake; undefined if nothing is.
function handshakeFault({ data, origin, ports }) {
  if (origin === "null" || origin === "") return "the app has no origin of its own (a sandbox without allow-same-origin, or a file)";
  if (ports.length !== 2) return `got ${ports.length} ports, wanted the app port and the frame port`;
  if (typeof data.account !== "string" || !data.account.isWellFormed()) return "account: a well-formed string wanted";
  if (new TextEncoder().encode(data.account).length > 128) return "account: at most 128 bytes wanted";
  if (!(data.share instanceof Uint8Array) || data.share.length !== 32) return "share: a Uint8Array of 32 bytes wanted";
  if (typeof data.marker !== "boolean") return "marker: a boolean wanted";
  if (!(data.wasm instanceof ArrayBuffer)) return "wasm: an ArrayBuffer wanted";
  const known = ["kmsEnclave", "type", "account", "share", "marker", "wasm"];
  const extra = Object.keys(data).find((name) => !known.includes(name));
  return extra && `${printable(extra, 64)}: unknown member`;
}

// One running enclave: the worker, the port that tells the app about it, and the dialog.
class Launch {
  #worker;
  #port;
  #screens;
  #over = false;

  constructor(worker, port, origin) {
    this.#worker = worker;
    this.#port = port;
    this.#screens = new ScreenHost(origin, {
      opened: (open) => port.postMessage({ type: "dialog", open }),
      answered: (id, answer, file) => worker.postMessage({ type: "answer", id, answer, file }, file ? [file] : []),
    });
    worker.onmessage = ({ data }) => this.#fromWorker(data);
    worker.onmessageerror = () => this.#end({ type: "died", message: "The worker sent what cannot be read." });
    worker.onerror = (event) => {
      event.preventDefault();
      this.#end({ type: "died", message: "The worker stopped: " + printable(event.message || "the browser gave no reason", 200) });
    };
    port.onmessage = ({ data }) => this.#fromApp(data);
    // A page that is left may be kept, to be shown again: an unlocked vault does not outlive it.
    // Not every browser tells a frame that it goes; all tell it that it is back.
    for (const event of ["pagehide", "pageshow"]) {
      addEventListener(event, ({ type, persisted }) => (type === "pagehide" || persisted) && this.#end({ type: "left" }));
    }
  }

  start(message, transfer) {
    this.#worker.postMessage({ type: "start", ...message }, transfer);
  }

  #fromApp(data) {
    if (data?.type === "ping" && Number.isSafeInteger(data.id)) this.#worker.postMessage({ type: "ping", id: data.id });
  }

  #fromWorker(data) {
    switch (data.type) {
      case "pong":
        return this.#port.postMessage({ type: "pong", id: data.id });
      case "failed":
        return this.#end({ type: "failed", code: data.code, message: data.message });
      case "exited":
        return this.#end({ type: "died", message: "The enclave's program ended. Connect again." });
      case "dialog":
        return this.#draw(data.request?.kind, () => this.#screens.show(data.id, data.request, data.file));
      case "progress":
        return this.#draw(data.progress?.what, () => this.#screens.progress(data.progress));
      case "dismiss":
        return this.#screens.dismiss();
    }
  }

  // A question that nobody sees would never be answered.
  #draw(what, draw) {
    try {
      draw();
    } catch (error) {
      this.#end({ type: "died", message: `The dialog ${printable(String(what), 40)} cannot be drawn: ` + printable(String(error), 200) });
    }
  }

  #end(message) {
    if (this.#over) return;
    this.#over = true;
    this.#worker.terminate();
    this.#screens.dismiss();
    this.#port.postMessage(message);
  }
}

async function launch() {
  const hash = checkIntegrity();
  checkPlatform();
  const workerURL = blobOfWorker();
  const make = trustedTypesPolicy(workerURL);
  await Promise.all([checkServiceWorkers(), checkPolicy(hash, make)]);

  const worker = new Worker(make.createScriptURL(workerURL), { name: "KMS enclave" });
  const shaken = handshake();
  const release = { ...RELEASE, measurement: hexOfHash(hash) };
  const checksMs = performance.now() - started;
  parent.postMessage({ kmsEnclave: 1, type: "ready", ...release }, "*");

  const event = await shaken;
  const fault = handshakeFault(event);
  if (fault !== undefined) {
    worker.terminate();
    event.ports[1]?.postMessage({ kmsEnclave: 1, type: "refused", reason: "handshake", message: "The handshake is malformed: " + fault + "." });
    return;
  }
  const [appPort, framePort] = event.ports;
  const { account, share, marker, wasm } = event.data;
  new Launch(worker, framePort, event.origin).start(
    { appPort, account, share: share.slice(), marker, wasm, origin: event.origin, release, checksMs },
    [appPort, wasm],
  );
}

launch().catch((error) => {
  const reason = error instanceof Refusal ? error.reason : "unsupported";
  const message = error instanceof Refusal ? error.message : "The loader could not start: " + printable(String(error), 200);
  parent.postMessage({ kmsEnclave: 1, type: "refused", reason, message }, "*");
});
