// The lies of a host, as a table: what it changes, and what comes of it in each engine.

import { createHash } from "node:crypto";

/** It starts, as the pinned release and at the strongest level, and nothing of the liar's runs. */
export const HARMLESS = "harmless";
/** It is refused, and nothing of the liar's runs. */
export const BLOCKED = "blocked";
/** It is refused. The liar's code may have run in the frame, if it was fast enough; it was handed nothing. */
export const NOTICED = "noticed";
/** It starts, or time is up first: how fast the browser takes the answer decides. Nothing of the liar's runs. */
export const EITHER = "harmless or blocked";
/** The liar's code is handed the share, and plays the enclave. */
export const THROUGH = "through";

// What a lie is made of. Each takes the honest answer and the context { release, other, evil, origin }.

const text = (change) => (answer, context) => ({ ...answer, body: Buffer.from(change(answer.body.toString(), context)) });
const bytes = (change) => (answer, context) => ({ ...answer, body: change(Buffer.from(answer.body), context) });
const header = (name, value) => (answer, context) => {
  const { [name]: _, ...headers } = answer.headers;
  return { ...answer, headers: value === undefined ? headers : { ...headers, [name]: typeof value === "function" ? value(context) : value } };
};
const policy = (change) => (answer, context) => header("content-security-policy", change(answer.headers["content-security-policy"], context))(answer, context);
const without = (directive) => policy((value) => value.replace(new RegExp(`(^|; )${directive} [^;]*(; |$)`), "$1").replace(/; $/, ""));
const noPolicy = header("content-security-policy");
const both = (...changes) => (answer, context) => changes.reduce((changed, change) => change(changed, context), answer);
const charset = (name) => (answer) => ({
  ...answer,
  headers: { ...answer.headers, "content-type": answer.headers["content-type"].replace(/; charset=.*/, name ? `; charset=${name}` : "") },
});
const status = (code, headers = {}) => () => ({ status: code, headers: { "access-control-allow-origin": "*", ...headers }, body: "" });
const redirect = (location) => (answer, context, url) => status(302, { location: location(context, url) })();

const flip = (place) => bytes((body) => {
  body[Math.min(body.length - 1, Math.floor(body.length * place))] ^= 1;
  return body;
});
const flipAfter = (mark) => bytes((body) => {
  body[body.indexOf(mark) + mark.length] ^= 1;
  return body;
});
const cut = (keep) => bytes((body) => body.subarray(0, Math.floor(body.length * keep)));
const append = (more) => bytes((body, context) => Buffer.concat([body, Buffer.from(more(context))]));

// Says how much it will send, sends half, and hangs up.
const hangUp = (answer) => ({
  ...answer,
  headers: { ...answer.headers, "content-length": String(answer.body.length) },
  body: (response) => void response.write(answer.body.subarray(0, answer.body.length >> 1), () => response.destroy()),
});
const stall = (answer) => ({ ...answer, body: () => new Promise(() => {}) });
const stallInside = (answer) => ({ ...answer, body: (response) => void response.write(answer.body.subarray(0, answer.body.length >> 1)) });

// Sends until nobody takes it any more.
const endless = (filler) => (answer, { liar }) => ({
  ...answer,
  body: async (response) => {
    const piece = Buffer.alloc(1 << 16, filler);
    response.write(answer.body);
    while (response.socket && !response.socket.destroyed) {
      liar.poured += piece.length;
      if (!response.write(piece)) await Promise.race(["drain", "close"].map((name) => new Promise((resolve) => response.once(name, resolve))));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  },
});

const insert = (markup) => text((page, context) => page.replace("<script ", `${markup(context)}\n<script `));
const scriptTag = (attributes) => text((page, context) => page.replace(/<script [^>]*>/, `<script ${attributes(context, /src="([^"]*)"/.exec(page)[1], /integrity="([^"]*)"/.exec(page)[1])}>`));
const inline = ({ evil }) => `<script>${evil}</script>`;
const evilPage = text((_, context) => `<!doctype html><title>KMS enclave</title>${inline(context)}`);
const evilFile = ({ evil }) => ({ "/evil/own.js": { headers: { "content-type": "text/javascript", "access-control-allow-origin": "*" }, body: evil } });
const evilHome = (context) => ({ "/evil/home.html": { headers: { "content-type": "text/html" }, body: inline(context) } });
const evilLoader = text((_, { evil }) => evil);
const hashOf = (algorithm, content) => `${algorithm}-${createHash(algorithm).update(content).digest("base64")}`;
const otherHash = `sha384-${"A".repeat(64)}`;
const another = (part) => (answer, { other }) => other.files[part];

const CHARSETS = ["shift_jis", "gbk", "gb18030", "big5", "euc-kr", "iso-2022-jp", "windows-1252", "x-user-defined", "utf-7", ""];
const all = (outcome) => [outcome, outcome, outcome];

/**
 * The table. expected is what comes of it in Chromium, Firefox and WebKit. A lie about a part is
 * told to everybody, or with frameOnly to the frame alone, which Sec-Fetch-Dest gives away.
 */
export const lies = [
  ["honest", {}, all(HARMLESS)],

  // Bits, lengths, and files that are another one.
  ["a bit of the page's first byte", { page: flip(0) }, [HARMLESS, BLOCKED, BLOCKED]],
  ["a bit in the page's hash", { page: flipAfter('integrity="sha384-') }, all(BLOCKED)],
  ["a bit in the loader's address", { page: flipAfter('src="') }, all(BLOCKED)],
  ["a bit of the page's last byte", { page: flip(1) }, [HARMLESS, BLOCKED, BLOCKED]],
  ["a bit of the loader's first byte", { loader: flip(0) }, all(BLOCKED)],
  ["a bit in the loader's middle", { loader: flip(0.5) }, all(BLOCKED)],
  ["a bit of the loader's last byte", { loader: flip(1) }, all(BLOCKED)],
  ["a bit of the module's first byte", { wasm: flip(0) }, all(BLOCKED)],
  ["a bit in the module's middle", { wasm: flip(0.5) }, all(BLOCKED)],
  ["a bit of the module's last byte", { wasm: flip(1) }, all(BLOCKED)],
  ["the page cut before the script", { page: text((page) => page.slice(0, page.indexOf("<script"))) }, all(BLOCKED)],
  ["the page cut inside the script's tag", { page: text((page) => page.slice(0, page.indexOf(" integrity"))) }, all(BLOCKED)],
  ["half a loader", { loader: cut(0.5) }, all(BLOCKED)],
  ["an empty loader", { loader: cut(0) }, all(BLOCKED)],
  ["half a module", { wasm: cut(0.5) }, all(BLOCKED)],
  ["an empty module", { wasm: cut(0) }, all(BLOCKED)],
  ["a connection lost in the loader", { loader: hangUp }, all(BLOCKED)],
  ["a connection lost in the module", { wasm: hangUp }, all(BLOCKED)],
  ["text behind the page", { page: append(() => "<p>hello") }, [HARMLESS, NOTICED, NOTICED]],
  ["a script behind the page", { page: append(inline) }, [HARMLESS, NOTICED, NOTICED]],
  ["a script behind the loader", { loader: append(({ evil }) => `\n${evil}`) }, all(BLOCKED)],
  ["a byte behind the module", { wasm: append(() => "\0") }, all(BLOCKED)],
  ["the module as the loader", { loader: (answer, { release }) => ({ ...answer, body: release.files.wasm.body }) }, all(BLOCKED)],
  ["the loader as the module", { wasm: (answer, { release }) => ({ ...answer, body: release.files.loader.body }) }, all(BLOCKED)],
  ["another release's page", { page: another("page") }, all(BLOCKED)],
  ["another release's loader", { loader: another("loader") }, all(BLOCKED)],
  ["another release's module", { wasm: another("wasm") }, all(BLOCKED)],
  ["another release, whole, under this one's names", {
    page: another("page"), loader: another("loader"), wasm: another("wasm"),
  }, all(BLOCKED)],

  // Another meaning for the same bytes.
  ...CHARSETS.map((name) => [`charset ${name || "left out"}`, { page: charset(name), loader: charset(name) }, all(HARMLESS)]),
  ...["utf-16le", "utf-16be"].map((name) => [`charset ${name} for the loader`, { loader: charset(name) }, all(BLOCKED)]),
  ["charset utf-16le for the page", { page: charset("utf-16le") }, all(BLOCKED)],
  ["the page as text/plain", { page: header("content-type", "text/plain") }, all(BLOCKED)],
  ["the page as XHTML", { page: header("content-type", "application/xhtml+xml") }, all(BLOCKED)],
  ["an SVG page with a script", { page: both(header("content-type", "image/svg+xml"), noPolicy, text((_, { evil }) => `<svg xmlns="http://www.w3.org/2000/svg"><script><![CDATA[${evil}]]></script></svg>`)) }, [BLOCKED, NOTICED, NOTICED]],
  ["a page of several parts", { page: both(noPolicy, text((page, context) => `--x\r\nContent-Type: text/html\r\n\r\n${inline(context)}\r\n--x--`), header("content-type", "multipart/x-mixed-replace; boundary=x")) }, [BLOCKED, NOTICED, NOTICED]],
  ["the page to be saved", { page: header("content-disposition", "attachment") }, all(BLOCKED)],
  ["the loader as text/plain", { loader: header("content-type", "text/plain") }, all(BLOCKED)],
  ["the module as text/html", { wasm: header("content-type", "text/html") }, all(HARMLESS)],

  // A page of the liar's own.
  ["a page of its own", { page: evilPage }, [BLOCKED, NOTICED, NOTICED]],
  ["a page of its own without a policy", { page: both(evilPage, noPolicy) }, [BLOCKED, NOTICED, NOTICED]],
  ["a page of its own, Allow-CSP-From", { page: both(evilPage, noPolicy, header("allow-csp-from", "*")) }, [BLOCKED, NOTICED, NOTICED]],
  ["the page without a policy, Allow-CSP-From", { page: both(noPolicy, header("allow-csp-from", "*")) }, all(BLOCKED)],
  ["the page with its policy, Allow-CSP-From", { page: header("allow-csp-from", "*") }, [BLOCKED, HARMLESS, HARMLESS]],
  ["an inline script before the loader", { page: insert(inline) }, [HARMLESS, NOTICED, NOTICED]],
  ["a script file before the loader", { page: insert(() => '<script src="/evil/own.js"></script>'), extra: evilFile }, [HARMLESS, NOTICED, NOTICED]],
  ["an event handler before the loader", { page: insert(({ evil }) => `<img src="data:," onerror="${evil.replaceAll('"', "&quot;")}">`) }, [HARMLESS, NOTICED, NOTICED]],
  ["a srcdoc frame before the loader", { page: insert((context) => `<iframe srcdoc="${inline(context).replaceAll('"', "&quot;")}"></iframe>`) }, [HARMLESS, NOTICED, NOTICED]],
  ["a base element before the loader", { page: insert(() => '<base href="/evil/">') }, [HARMLESS, NOTICED, NOTICED]],
  ["an image and a form before the loader", { page: insert(() => '<img src="/evil/ran"><form action="/evil/ran"><button>') }, [HARMLESS, NOTICED, NOTICED]],

  // What the page says about its script.
  ["no integrity", { page: scriptTag((_, src) => `src="${src}"`) }, all(BLOCKED)],
  ["no integrity, and another loader", { page: scriptTag((_, src) => `src="${src}"`), loader: evilLoader }, all(BLOCKED)],
  ["a second hash in integrity", { page: scriptTag((_, src, hash) => `src="${src}" integrity="${hash} ${otherHash}"`) }, all(BLOCKED)],
  ["a second hash, of another loader", { page: scriptTag(({ evil }, src, hash) => `src="${src}" integrity="${hash} ${hashOf("sha384", evil)}"`), loader: evilLoader }, all(BLOCKED)],
  ["integrity with sha256", { page: scriptTag(({ release }, src) => `src="${src}" integrity="${hashOf("sha256", release.files.loader.body)}"`) }, all(BLOCKED)],
  ["integrity with sha512", { page: scriptTag(({ release }, src) => `src="${src}" integrity="${hashOf("sha512", release.files.loader.body)}"`) }, all(BLOCKED)],
  ["integrity of another loader", { page: scriptTag(({ evil }, src) => `src="${src}" integrity="${hashOf("sha384", evil)}"`), loader: evilLoader }, all(BLOCKED)],
  ["a nonce in its place", { page: both(scriptTag((_, src) => `src="${src}" nonce="x"`), policy((value) => value.replace("script-src", "script-src 'nonce-x'"))), loader: evilLoader }, [BLOCKED, NOTICED, NOTICED]],
  ["a module script", { page: scriptTag((_, src, hash) => `type="module" crossorigin src="${src}" integrity="${hash}"`) }, all(BLOCKED)],

  // A looser policy. Where the loosening is for a script, there is one.
  ...["default-src", "script-src", "worker-src", "connect-src", "base-uri", "form-action", "frame-ancestors", "require-trusted-types-for", "trusted-types"]
    .map((name) => [`no ${name}`, { page: without(name) }, all(BLOCKED)]),
  ...[
    ["default-src 'none'", "default-src *"], ["connect-src 'none'", "connect-src *"], ["connect-src 'none'", "connect-src 'self'"],
    ["worker-src blob:", "worker-src 'self'"], ["worker-src blob:", "worker-src blob: 'self'"], ["base-uri 'none'", "base-uri *"],
    ["form-action 'none'", "form-action *"], ["'wasm-unsafe-eval'", "'wasm-unsafe-eval' 'unsafe-eval'"], ["'wasm-unsafe-eval'", "'wasm-unsafe-eval' 'strict-dynamic'"],
    ["'wasm-unsafe-eval'", `'wasm-unsafe-eval' '${otherHash}'`], ["'wasm-unsafe-eval'", "'wasm-unsafe-eval' 'self'"],
    ["trusted-types enclave", "trusted-types *"], ["frame-ancestors", "frame-ancestors *"], ["; frame-ancestors", "; img-src *; frame-ancestors"],
  ].map(([from, to]) => [`${to} for ${from}`, { page: policy((value) => value.replace(from, to)) }, all(BLOCKED)]),
  ["'unsafe-inline', and an inline script", { page: both(insert(inline), policy((value) => value.replace("script-src", "script-src 'unsafe-inline'"))) }, [BLOCKED, NOTICED, NOTICED]],
  ["'unsafe-inline' alone, and an inline script", { page: both(evilPage, header("content-security-policy", "script-src 'unsafe-inline'")) }, [BLOCKED, NOTICED, NOTICED]],
  ["a hash for an inline script", { page: both(insert(inline), policy((value, { evil }) => value.replace("script-src", `script-src '${hashOf("sha384", evil)}'`))) }, [BLOCKED, NOTICED, NOTICED]],
  ["a host for a script file", { page: both(insert(() => '<script src="/evil/own.js"></script>'), policy((value) => value.replace("script-src", "script-src 'self'"))), extra: evilFile }, [BLOCKED, NOTICED, NOTICED]],
  ["no policy", { page: noPolicy }, all(BLOCKED)],
  ["an empty policy", { page: header("content-security-policy", "") }, all(BLOCKED)],
  ["the policy as report-only", { page: both((answer) => header("content-security-policy-report-only", answer.headers["content-security-policy"])(answer), noPolicy) }, all(BLOCKED)],
  ["the policy in a meta element only", { page: both((answer) => text((page) => page.replace("<title>", `<meta http-equiv="Content-Security-Policy" content="${answer.headers["content-security-policy"]}"><title>`))(answer), noPolicy) }, all(BLOCKED)],

  // A policy with more in it. All of these load; the loader compares, to the letter.
  ["report-uri", { page: policy((value) => `${value}; report-uri /evil/report`) }, all(BLOCKED)],
  ["report-to", { page: both(policy((value) => `${value}; report-to x`), header("reporting-endpoints", ({ origin }) => `x="${origin}/evil/report"`)) }, all(BLOCKED)],
  ["a second policy that reports", { page: (answer) => header("content-security-policy", [answer.headers["content-security-policy"], "img-src 'none'; report-uri /evil/report"])(answer) }, all(BLOCKED)],
  ["a report-only policy that reports", { page: header("content-security-policy-report-only", "default-src 'none'; report-uri /evil/report") }, all(BLOCKED)],
  ["a second policy, stricter", { page: policy((value) => `${value}, media-src 'none'`) }, [HARMLESS, BLOCKED, BLOCKED]],
  ["a stricter policy", { page: policy((value) => `${value}; img-src 'none'`) }, all(BLOCKED)],
  ["a stricter policy, without WebAssembly", { page: policy((value) => value.replace(" 'wasm-unsafe-eval'", "")) }, all(BLOCKED)],
  ["a sandbox", { page: policy((value) => `${value}; sandbox allow-scripts allow-same-origin`) }, all(BLOCKED)],
  ["upgrade-insecure-requests", { page: policy((value) => `${value}; upgrade-insecure-requests`) }, all(BLOCKED)],

  // Somewhere else.
  ["a redirect to the same page", { page: redirect((_, url) => `${url.pathname}?again`), spare: "?again" }, [HARMLESS, BLOCKED, BLOCKED]],
  ["a redirect to a page of its own", { page: redirect(() => "/evil/home.html"), extra: evilHome }, [BLOCKED, NOTICED, NOTICED]],
  ["a redirect to another host", { page: redirect(({ other }) => other.url) }, all(BLOCKED)],
  ["a redirect of the loader", { loader: redirect((_, url) => `${url.pathname}?again`), spare: "?again" }, all(BLOCKED)],
  ["a redirect of the loader to another", { loader: redirect(() => "/evil/own.js"), extra: evilFile }, all(BLOCKED)],
  ["a redirect of the module", { wasm: redirect((_, url) => `${url.pathname}?again`), spare: "?again" }, all(BLOCKED)],
  ["a meta refresh before the loader", { page: insert(() => '<meta http-equiv="refresh" content="0; url=/evil/home.html">'), extra: evilHome }, [HARMLESS, NOTICED, NOTICED]],
  ["a meta refresh in the loader's place", { page: text(() => '<!doctype html><meta http-equiv="refresh" content="0; url=/evil/home.html">'), extra: evilHome }, [BLOCKED, NOTICED, NOTICED]],
  ["a Refresh header", { page: header("refresh", "0; url=/evil/home.html"), extra: evilHome }, all(HARMLESS)],

  // Other headers.
  ["a Link header that loads", { page: header("link", '</evil/ran>; rel=stylesheet, </evil/ran>; rel=preload; as=script, </evil/ran>; rel=modulepreload, </evil/ran>; rel=prefetch') }, all(HARMLESS)],
  ["Speculation-Rules", { page: header("speculation-rules", '"/evil/ran"') }, all(HARMLESS)],
  ["Clear-Site-Data", { page: header("clear-site-data", '"cache", "cookies", "storage"') }, all(HARMLESS)],
  ["X-Frame-Options", { page: header("x-frame-options", "DENY") }, all(HARMLESS)],
  ["a Content-Encoding that is not so", { page: header("content-encoding", "gzip") }, [BLOCKED, BLOCKED, HARMLESS]],

  // No answer, or too much of one.
  ...[200, 404].flatMap((code) => ["page", "loader", "wasm"].map((part) => [`${code} and nothing, for the ${part}`, { [part]: status(code, { "content-type": "text/html" }) }, all(BLOCKED)])),
  ...["page", "loader", "wasm"].flatMap((part) => [
    [`no answer for the ${part}`, { [part]: stall, timeoutMs: 2500 }, all(BLOCKED)],
    [`half of the ${part}, then silence`, { [part]: stallInside, timeoutMs: 2500 }, all(BLOCKED)],
  ]),
  ["a page without end", { page: endless(" "), timeoutMs: 8000 }, [EITHER, BLOCKED, BLOCKED]],
  ["a loader without end", { loader: endless(" "), timeoutMs: 8000 }, all(BLOCKED)],
  ["a module without end", { wasm: endless("\0"), timeoutMs: 8000 }, all(BLOCKED)],
];

/** Lies to the frame alone: the check of the SDK sees the honest release. */
export const liesToTheFrame = [
  ["a page of its own", { page: evilPage }, [BLOCKED, BLOCKED, BLOCKED]],
  ["a page of its own without a policy", { page: both(evilPage, noPolicy) }, [BLOCKED, THROUGH, THROUGH]],
  ["a page of its own, Allow-CSP-From", { page: both(evilPage, noPolicy, header("allow-csp-from", "*")) }, [BLOCKED, THROUGH, THROUGH]],
  ["'unsafe-inline' for its own script", { page: both(evilPage, header("content-security-policy", "script-src 'unsafe-inline'")) }, [BLOCKED, THROUGH, THROUGH]],
  ["a script before the loader, and its hash", { page: both(insert(inline), policy((value, { evil }) => value.replace("script-src", `script-src '${hashOf("sha384", evil)}'`))) }, [BLOCKED, THROUGH, THROUGH]],
  ["no integrity, no policy, another loader", { page: both(scriptTag((_, src) => `src="${src}"`), noPolicy), loader: evilLoader }, [BLOCKED, THROUGH, THROUGH]],
  ["another loader", { loader: evilLoader }, all(BLOCKED)],
  ["a redirect to a page of its own", { page: redirect(() => "/evil/home.html"), extra: evilHome }, [BLOCKED, THROUGH, THROUGH]],
  ["a meta refresh", { page: text(() => '<!doctype html><meta http-equiv="refresh" content="0; url=/evil/home.html">'), extra: evilHome }, [BLOCKED, THROUGH, THROUGH]],
  ["a script behind the loader", { page: append(inline) }, all(HARMLESS)],
].map(([name, lie, expected]) => [name, { ...lie, frameOnly: true }, expected]);
