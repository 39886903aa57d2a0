// The enclave's dialogs without an enclave: the text that every loader carries, in a frame as
// the SDK makes it, under the policy of a release. The test is the worker: it shows screens, and
// reads what was answered.

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { go } from "./gotool.mjs";
import { contentTypes, serve } from "./server.mjs";

// The language is what the page's address says: a browser has only one.
const BEFORE = `(() => {
"use strict";
const wanted = new URLSearchParams(location.search).get("lang");
Object.defineProperty(navigator, "languages", { get: () => [wanted] });
`;
const AFTER = `
const heard = [];
const host = new ScreenHost("https://app.example", {
  opened: (open) => heard.push({ open }),
  answered: (id, answer, file) => heard.push({ id, answer, file: file && base64Of(file) }),
});
const show = (id, request) => host.show(id, request, request.kind === "save-file" ? new Uint8Array([1, 2, 3]).buffer : undefined);
globalThis.gallery = { host, heard, show, normalised, bytesOf, refusals: [] };
addEventListener("securitypolicyviolation", (event) => gallery.refusals.push(event.effectiveDirective + " " + event.blockedURI));
})();
`;

const policyOf = (hash, app) =>
  `default-src 'none'; script-src '${hash}' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'; ` +
  `frame-ancestors ${app}; require-trusted-types-for 'script'; trusted-types enclave`;

const framed = (url) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>app</title><style>body { margin: 0 } iframe { border: 0; inline-size: 480px; block-size: 640px; }</style>
<iframe id="enclave" title="Key enclave" sandbox="allow-scripts allow-same-origin allow-downloads" allow="publickey-credentials-get; publickey-credentials-create" src="${url}"></iframe>
<button id="elsewhere">elsewhere</button>`;

async function joined() {
  const directory = await mkdtemp(join(tmpdir(), "kms-e2e-joined-"));
  try {
    const file = join(directory, "screens.js");
    await go(["run", "./e2e/joined", file]);
    return await readFile(file, "utf8");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Serves the gallery on two sites: page(language) is the app's, with the frame at enclave. */
export async function serveGallery() {
  const script = BEFORE + (await joined()) + AFTER;
  const hash = "sha384-" + createHash("sha384").update(script).digest("base64");
  const server = await serve((_, url) => answer(url));
  const { ip: app, localhost: enclave } = server;
  function answer({ pathname, search }) {
    if (pathname === "/screens.js") return { headers: { "content-type": contentTypes.js }, body: script };
    if (pathname === "/kms.html") {
      const body = `<!doctype html><html><meta charset="utf-8"><title>KMS enclave</title><body><script src="screens.js" integrity="${hash}"></script>`;
      return { headers: { "content-type": contentTypes.html, "content-security-policy": policyOf(hash, app) }, body };
    }
    if (pathname === "/") return { headers: { "content-type": contentTypes.html }, body: framed(`${enclave}/kms.html${search}`) };
  }
  return { enclave, page: (language) => `${app}/?lang=${language}`, close: () => server.close() };
}
