import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeBytes, encodeBytes, hexOf, integrityOf } from "../bytes.js";
import { allowsAncestor } from "../diagnose.js";
import { headerDifference, pageDifference } from "../check.js";
import { fileUrl, parseRelease } from "../pin.js";
import { isSameOriginPolicy } from "../surroundings.js";

const loader = await integrityOf(new TextEncoder().encode("loader"));
const wasm = await integrityOf(new TextEncoder().encode("wasm"));
const prefix = hexOf(loader).slice(0, 32);
const url = `https://kms.example/r/${prefix}/kms.html`;
const policy = `default-src 'none'; script-src '${loader}' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'`;

test("a pin that the release was built with", () => {
  const release = parseRelease(url, { policy, wasm });
  assert.equal(release.origin, "https://kms.example");
  assert.equal(release.pinned?.measurement, hexOf(loader));
  assert.equal(fileUrl(release, wasm, "wasm"), `https://kms.example/r/${prefix}/${hexOf(wasm).slice(0, 32)}.wasm`);
  assert.equal(parseRelease(url, undefined).pinned, undefined);
  assert.equal(parseRelease(`http://localhost:8080/r/${prefix}/kms.html`, undefined).origin, "http://localhost:8080");
});

test("policies that Chromium would ignore, or that pin something else", () => {
  const bad = {
    "trailing line break": `${policy}\n`,
    "line break inside": policy.replace("; worker", ";\nworker"),
    "trailing space": `${policy} `,
    "trailing semicolon": `${policy};`,
    comma: policy.replace("; worker", ", worker"),
    "report-uri": `${policy}; report-uri https://evil.example/`,
    "second hash": policy.replace(`'${loader}'`, `'${loader}' '${wasm}'`),
    "sha256": policy.replace(/'sha384-[^']*'/, `'sha256-${"A".repeat(43)}='`),
    "short hash": policy.replace(loader, loader.slice(0, -1)),
    "network worker": policy.replace("worker-src blob:", "worker-src 'self'"),
    "way out": policy.replace("connect-src 'none'", "connect-src *"),
    "eval": policy.replace("'wasm-unsafe-eval'", "'unsafe-eval'"),
    "other order": policy.replace("base-uri 'none'; form-action 'none'", "form-action 'none'; base-uri 'none'"),
    "upper case": policy.replace("default-src", "Default-Src"),
    "no-break space": policy.replace(" 'wasm", "\u00a0'wasm"),
    empty: "",
    number: 7,
    missing: undefined,
  };
  for (const [name, value] of Object.entries(bad)) {
    assert.throws(() => parseRelease(url, { policy: value, wasm }), { code: "invalid_request", details: { member: "pin.policy" } }, name);
  }
  for (const value of [undefined, "", loader.slice(0, -1), `${wasm}\n`, hexOf(wasm), `${wasm} ${wasm}`]) {
    assert.throws(() => parseRelease(url, { policy, wasm: value }), { code: "invalid_request", details: { member: "pin.wasm" } });
  }
  for (const pin of [null, "", policy, 7]) assert.throws(() => parseRelease(url, pin), { code: "invalid_request" });
});

test("URLs that are not one release", () => {
  const bad = [
    undefined, "", "kms.html", `http://kms.example/r/${prefix}/kms.html`, `${url}?a`, `${url}#a`, url.replace("https://", "https://u:p@"), url.replace("https:", "HTTPS:"),
    url.replace("/r/", "/x/../r/"), url.replace("/kms.html", "//kms.html"), url.replace(prefix, prefix.toUpperCase()), url.replace(prefix, prefix.slice(1)),
    url.replace("kms.html", "kms.htm"), `ftp://kms.example/r/${prefix}/kms.html`, `javascript:/r/${prefix}/kms.html`,
  ];
  for (const each of bad) assert.throws(() => parseRelease(each, undefined), { code: "invalid_request", details: { member: "url" } }, String(each));
  assert.throws(() => parseRelease(url.replace(prefix, "0".repeat(32)), { policy, wasm }), { message: /the pin is of/ });
});

test("bytes are canonical base64url", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  assert.deepEqual(decodeBytes(encodeBytes(bytes)), bytes);
  assert.equal(encodeBytes(new Uint8Array([251, 255]).buffer), "-_8");
  assert.equal(encodeBytes(bytes.subarray(0, 0)), "");
  for (const text of ["A", "-_9", "+/8", "-_8=", "-_8\n", "ä"]) assert.throws(() => decodeBytes(text), TypeError, text);
  assert.equal(encodeBytes(new Uint8Array(100_000)).length, Math.ceil((100_000 * 4) / 3));
});

const { pinned } = parseRelease(url, { policy, wasm });
const tail = "; frame-ancestors https://app.example; require-trusted-types-for 'script'; trusted-types enclave";

test("response headers that obey the pin, and that do not", () => {
  assert.equal(headerDifference(policy + tail, pinned), undefined);
  assert.equal(headerDifference(`${policy}${tail.replace("app.example", "app.example https://b.example")}`, pinned), undefined);
  const bad = [null, "", policy, policy + tail.replace("enclave", "*"), `${policy}${tail}; report-uri /r`, policy + tail.replace("ancestors", "ancestors https://a;report-uri /r; frame-ancestors"),
    `${policy}${tail}, default-src 'none'`, (policy + tail).replace("blob:", "'self'")];
  for (const header of bad) assert.equal(typeof headerDifference(header, pinned), "string", String(header));
});

test("pages that load the pinned loader, and that do more", () => {
  const page = readFileSync(new URL("../../web/kms.html", import.meta.url), "utf8").replace("{{script}}", `${prefix}.js`).replace("{{integrity}}", loader);
  assert.equal(pageDifference(page, pinned), undefined);
  const bad = [page.replace(loader, wasm), page.replace(`integrity="${loader}"`, ""), page.replace(loader, `${loader} ${wasm}`), page.replace("<title>", `<script src="y.js"></script><title>`),
    page.replace("<title>", `<meta http-equiv="refresh" content="0"><title>`), page.replace("<title>", `<base href="/"><title>`), page.replace("<body>", "<body><label for=x>"), page.replace("<body>", "<body><iframe>"), "", `${page} `, page.replace("\n", "\r\n"),
    page.replace("<title>", `<meta/http-equiv="refresh" content="0;url=/e"><title>`), page.replace("<script", "<!-- <script").replace("</script>", "</script> -->"),
    page.replace("<script", "<textarea><script"), page.replace(`src="${prefix}.js"`, `x=' integrity="${loader}"' src=evil.js`)];
  for (const body of bad) assert.equal(typeof pageDifference(body, pinned), "string", body);
});

test("frame-ancestors", () => {
  const origin = "https://app.example:8443";
  for (const list of ["*", origin, "https:", "https://app.example:*", "https://*.example:8443", "app.example:8443", `'self' ${origin}`]) assert.ok(allowsAncestor(list, origin), list);
  for (const list of ["'none'", "'self'", "https://app.example", "http://app.example:8443", "https://other.example:8443", "https://*.app.example:8443", ""]) assert.ok(!allowsAncestor(list, origin), list);
});

test("which opener policies isolate a page", () => {
  for (const header of ["same-origin", " same-origin", 'same-origin; report-to="x"', "same-origin;report-to=x"]) assert.ok(isSameOriginPolicy(header), header);
  for (const header of [null, "", "same-origin-allow-popups", "unsafe-none", "noopener-allow-popups", "same-origin, same-origin", "SAME-ORIGIN", '"same-origin"', "same-origin; a, same-origin"]) {
    assert.ok(!isSameOriginPolicy(header), String(header));
  }
});
