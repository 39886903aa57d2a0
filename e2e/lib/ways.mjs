// Every way out of a page and of a worker that we know of, as code of a hostile enclave.
//
// A way is a function of its target { url, name, tcp, stun, quic } and of tools that the place
// provides. It returns NOTHING when the browser does not have it. Ways that replace their own
// document are apart: each needs a frame of its own. The functions travel as text.

/** What a way returns where the browser does not have it. */
export const UNSUPPORTED = "unsupported";

/** Ways out of a document that stay in it. */
export const pageWays = {
  "fetch": ({ url }) => fetch(url, { mode: "no-cors" }),
  "fetch, cors": ({ url }) => fetch(url),
  "fetch, keepalive": ({ url }) => fetch(url, { mode: "no-cors", method: "POST", keepalive: true, body: "x" }),
  "fetchLater": ({ url }) => (typeof fetchLater === "function" ? void fetchLater(url, { activateAfter: 0 }) : "unsupported"),
  "XMLHttpRequest": ({ url }) => new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.onloadend = resolve;
    request.open("GET", url);
    request.send();
  }),
  "sendBeacon": ({ url }) => void navigator.sendBeacon(url, "x"),
  "EventSource": ({ url }) => void new EventSource(url),
  "WebSocket": ({ url }) => void new WebSocket(url.replace("http", "ws")),
  "WebTransport": ({ quic }) => (typeof WebTransport === "function" ? new WebTransport(quic).ready : "unsupported"),
  "WebRTC": async ({ stun }) => {
    if (typeof RTCPeerConnection !== "function") return "unsupported";
    const connection = new RTCPeerConnection({ iceServers: [{ urls: stun }] });
    connection.createDataChannel("x");
    await connection.setLocalDescription(await connection.createOffer());
    globalThis.kept = connection; // it asks for as long as it lives
    await new Promise((resolve) => setTimeout(resolve, 1200));
  },
  "image": ({ url }) => void (new Image().src = url),
  "image, srcset": ({ url }) => void (new Image().srcset = `${url} 2x`),
  "audio": ({ url }) => void new Audio(url).load(),
  "video": ({ url }, { add }) => void add("video", { src: url, poster: url, preload: "auto" }),
  "style sheet": ({ url }, { add }) => void add("link", { rel: "stylesheet", href: url }),
  "style element, @import": ({ url }, { add }) => void (add("style", {}).textContent = `@import "${url}";`),
  "constructed sheet, background": ({ url }) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`html, body { background: url("${url}") }`);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    return void document.body.getBoundingClientRect();
  },
  "style attribute": ({ url }) => void (document.documentElement.style.borderImageSource = `url("${url}")`),
  "FontFace": ({ url }) => new FontFace("x", `url("${url}")`).load(),
  "SVG image and filter": ({ url }, { html }) => {
    const holder = document.createElement("div");
    holder.innerHTML = html(`<svg><image href="${url}"/><use href="${url}#x"/></svg>`);
    document.body.append(holder);
  },
  "link prefetch": ({ url }, { add }) => void add("link", { rel: "prefetch", href: url }),
  "link preload": ({ url }, { add }) => void add("link", { rel: "preload", as: "image", href: url }),
  "link modulepreload": ({ url }, { add }) => void add("link", { rel: "modulepreload", href: url }),
  "link prerender": ({ url }, { add }) => void add("link", { rel: "prerender", href: url }),
  "link preconnect": ({ tcp }, { add }) => void add("link", { rel: "preconnect", href: tcp }),
  "link dns-prefetch": ({ name }, { add }) => void add("link", { rel: "dns-prefetch", href: name }),
  "link preconnect, by name": ({ name }, { add }) => void add("link", { rel: "preconnect", href: name }),
  "fetch, by name": ({ name }) => fetch(name, { mode: "no-cors" }),
  "link icon": ({ url }, { add }) => void add("link", { rel: "icon", href: url }),
  "link manifest": ({ url }, { add }) => void add("link", { rel: "manifest", href: url }),
  "speculation rules": ({ url }, { add, script }) => {
    if (!HTMLScriptElement.supports?.("speculationrules")) return "unsupported";
    const rules = document.createElement("script");
    rules.type = "speculationrules";
    rules.text = script(JSON.stringify({ prefetch: [{ urls: [url], eagerness: "immediate" }], prerender: [{ urls: [`${url}?prerender`], eagerness: "immediate" }] }));
    document.head.append(rules);
  },
  "script": ({ url }, { add, scriptURL }) => void add("script", { src: scriptURL(url) }),
  "import()": ({ url }) => import(url),
  "Worker": ({ url }, { scriptURL }) => void new Worker(scriptURL(url)),
  "SharedWorker": ({ url }, { scriptURL }) => (typeof SharedWorker === "function" ? void new SharedWorker(scriptURL(url)) : "unsupported"),
  "worklet": ({ url }) => (typeof AudioWorkletNode === "function" ? new OfflineAudioContext(1, 1, 44100).audioWorklet.addModule(url) : "unsupported"),
  "service worker": ({ url }, { scriptURL }) => navigator.serviceWorker.register(scriptURL(url)),
  "service worker from a blob": ({ url }, { scriptURL }) =>
    navigator.serviceWorker.register(scriptURL(URL.createObjectURL(new Blob([`fetch(${JSON.stringify(url)})`], { type: "text/javascript" })))),
  "frame": ({ url }, { add }) => void add("iframe", { src: url }),
  "frame, srcdoc": ({ url }, { add, html }) => void add("iframe", { srcdoc: html(`<img src="${url}"><meta http-equiv="refresh" content="0; url=${url}">`) }),
  "frame, data:": ({ url }, { add }) => void add("iframe", { src: `data:text/html,<img src="${url}">` }),
  "frame, blob:": ({ url }, { add }) => void add("iframe", { src: URL.createObjectURL(new Blob([`<img src="${url}">`], { type: "text/html" })) }),
  "frame, about:blank": ({ url }, { add }) => {
    const frame = add("iframe", {});
    frame.contentWindow.fetch(url, { mode: "no-cors" }).catch(() => {});
    new frame.contentWindow.Image().src = url;
  },
  "object": ({ url }, { add }) => void add("object", { data: url }),
  "embed": ({ url }, { add, scriptURL }) => void add("embed", { src: scriptURL(url) }),
  "form into a frame": ({ url }, { add }) => {
    add("iframe", { name: "there" });
    add("form", { action: url, method: "POST", target: "there" }).submit();
  },
  "form into a window": ({ url }, { add }) => void add("form", { action: url, target: "_blank" }).submit(),
  "window.open": ({ url }) => void window.open(url, "_blank"),
  "window.open, noopener": ({ url }) => void window.open(url, "_blank", "noopener"),
  "a, target=_blank": ({ url }, { add }) => void add("a", { href: url, target: "_blank", rel: "noopener" }).click(),
  "Notification": ({ url }) => (typeof Notification === "function" ? void new Notification("x", { icon: url, image: url }) : "unsupported"),
  "PaymentRequest": ({ url }) => {
    if (typeof PaymentRequest !== "function") return "unsupported";
    const amount = { currency: "EUR", value: "1" };
    return new PaymentRequest([{ supportedMethods: url }], { total: { label: "x", amount } }).canMakePayment();
  },
  "FedCM": ({ url }) => (typeof IdentityCredential === "function" ? navigator.credentials.get({ identity: { providers: [{ configURL: url, clientId: "x" }] } }) : "unsupported"),
  "WebAuthn, related origins": ({ url }) =>
    typeof PublicKeyCredential === "function"
      ? navigator.credentials.get({ publicKey: { challenge: new Uint8Array(16), rpId: new URL(url).hostname, timeout: 1000 } })
      : "unsupported",
};

/** Ways out of a worker. */
export const workerWays = {
  "fetch": pageWays.fetch,
  "fetch, cors": pageWays["fetch, cors"],
  "fetch, keepalive": pageWays["fetch, keepalive"],
  "XMLHttpRequest": pageWays.XMLHttpRequest,
  "EventSource": ({ url }) => (typeof EventSource === "function" ? void new EventSource(url) : "unsupported"),
  "WebSocket": pageWays.WebSocket,
  "WebTransport": pageWays.WebTransport,
  "FontFace": ({ url }) => (typeof FontFace === "function" ? new FontFace("x", `url("${url}")`).load() : "unsupported"),
  "import()": pageWays["import()"],
  "fetch, by name": pageWays["fetch, by name"],
  "importScripts": ({ url }, { scriptURL }) => void importScripts(scriptURL(url)),
  "Worker": ({ url }, { scriptURL }) => (typeof Worker === "function" ? void new Worker(scriptURL(url)) : "unsupported"),
  "Worker from a blob": ({ url }, { scriptURL }) => {
    if (typeof Worker !== "function") return "unsupported";
    const text = `fetch(${JSON.stringify(url)}, { mode: "no-cors" })`;
    return void new Worker(scriptURL(URL.createObjectURL(new Blob([text], { type: "text/javascript" }))));
  },
  "Notification": ({ url }) => (typeof Notification === "function" ? void new Notification("x", { icon: url }) : "unsupported"),
};

/** Ways out that replace the document, or would. */
export const leavingWays = {
  "location": ({ url }) => void (location.href = url),
  "window.open, _self": ({ url }) => void window.open(url, "_self"),
  "a, click": ({ url }, { add }) => void add("a", { href: url }).click(),
  "a, ping": ({ url }, { add }) => void add("a", { href: "#x", ping: url }).click(),
  "a, download": ({ url }, { add }) => void add("a", { href: url, download: "x" }).click(),
  "form": ({ url }, { add }) => void add("form", { action: url }).submit(),
  "meta refresh": ({ url }, { add }) => void add("meta", { httpEquiv: "refresh", content: `0; url=${url}` }),
  "history and reload": ({ url }) => {
    if (new URL(url).origin !== location.origin) return;
    history.pushState(null, "", url);
    location.reload();
  },
  "top": ({ url }) => void (top.location = url),
  "a, target=_top": ({ url }, { add }) => void add("a", { href: url, target: "_top" }).click(),
};

// Runs the ways that are asked for, all at once, and says of each what became of the attempt.
async function runWays(ways, { names, targets }, tools) {
  const limit = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 1500, "pending"))]);
  const one = async (way, target) => {
    try {
      return (await limit(ways[way](target, tools))) === "unsupported" ? "unsupported" : "tried";
    } catch (error) {
      return `${error?.name}`;
    }
  };
  const said = {};
  await Promise.all(names.flatMap((way) => Object.entries(targets[way]).map(async ([to, target]) => {
    const outcome = await one(way, target);
    said[way] = { ...said[way], [to]: outcome };
  })));
  return said;
}

const asText = (ways) => `({${Object.entries(ways).map(([name, way]) => `${JSON.stringify(name)}: ${way}`).join(",\n")}})`;

// ASCII, as the sources of the enclave must be.
const toolsText = `
const identity = { createHTML: (text) => text, createScript: (text) => text, createScriptURL: (text) => text };
const make = globalThis.hostileTypes ?? globalThis.trustedTypes?.createPolicy("enclave", identity) ?? identity;
const tools = {
  html: (text) => make.createHTML(text), script: (text) => make.createScript(text), scriptURL: (text) => make.createScriptURL(text),
  add(name, members) {
    const made = Object.assign(document.createElement(name), members);
    (["link", "meta", "style", "script"].includes(name) ? document.head : document.body).append(made);
    return made;
  },
};`;

/** What a hostile worker runs behind the honest code: it attacks when it is told to. */
export const workerAttack = `
;(() => {
  ${toolsText}
  const runWays = ${runWays};
  const ways = ${asText(workerWays)};
  self.addEventListener("message", async ({ data }) => {
    if (data?.type === "attack") self.postMessage({ type: "attacked", said: await runWays(ways, data.attack, tools) });
  });
})();
`;

/** What a hostile page runs. worker is a function that yields its worker, once there is one. */
export const pageAttack = (worker) => `
;(() => {
  ${toolsText.replaceAll("const make =", "const make = () =>").replaceAll("make.create", "make().create")}
  const runWays = ${runWays};
  const ways = { page: ${asText(pageWays)}, leaving: ${asText(leavingWays)} };
  addEventListener("message", async ({ data }) => {
    const attack = data?.attack;
    if (!attack) return;
    const report = (said) => parent.postMessage({ attacked: attack.id, said }, "*");
    if (attack.where !== "worker") return report(await runWays(ways[attack.where], attack, tools));
    const worker = (${worker})();
    worker.addEventListener("message", ({ data }) => data.type === "attacked" && report(data.said));
    worker.postMessage({ type: "attack", attack });
  });
})();
`;

/** Makes the honest sources hostile: path -> change, for changedTree. The launch still works. */
export const hostileSources = {
  "web/worker.js": (source) => source + workerAttack,
  // Its own Trusted Types policy lets everything through, and its own Worker is remembered.
  "web/loader.js": (source) => `${source}
function trustedTypesPolicy() {
  globalThis.hostileTypes = trustedTypes.createPolicy("enclave", { createHTML: (text) => text, createScript: (text) => text, createScriptURL: (text) => text });
  return globalThis.hostileTypes;
}
globalThis.Worker = class extends Worker {
  constructor(...args) {
    super(...args);
    globalThis.hostileWorker ??= this;
  }
};
${pageAttack("() => globalThis.hostileWorker")}`,
};

/** A page with the same code and no policy: the control. */
export const controlPage = `<!doctype html><title>control</title><body><script>
const hostileWorker = new Worker(URL.createObjectURL(new Blob([${JSON.stringify(workerAttack).replaceAll("<", "\\u003c")}], { type: "text/javascript" })));
${pageAttack("() => hostileWorker").replaceAll("</", "<\\/")}
</script>`;
