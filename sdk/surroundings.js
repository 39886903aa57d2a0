// What is around the enclave's frame, and should not be.
//
// A pin decides which code runs in the frame. It does not decide who else is of that frame's origin:
// any other document of the enclave's host that holds a reference to the frame's window can script
// it. The SDK puts the frame where nobody but the app's page finds it (dialog.js). The app adds a
// second wall: with no foreign document of that origin in its group of windows there is nobody to
// look. Whether it did is looked at once per launch, while the rest of the launch goes on; what
// cannot be found out is not a warning. docs/embedding.md has the requirements.

import { CLASS } from "./dialog.js";

/** How long the app's own server may take to say which policy its page has, in milliseconds. */
const ANSWER_MS = 500;

const WORDS = Object.freeze({
  framed: "The app's page is itself in a frame of another page, which can bring documents of the enclave's host near it. Forbid that: frame-ancestors 'none' in the app's Content-Security-Policy.",
  opened: "The window that opened the app can still reach it. Send Cross-Origin-Opener-Policy: same-origin with the app's page.",
  policy: "The app's page is not served with Cross-Origin-Opener-Policy: same-origin, so a page of the enclave's host may open it, or be opened by it, and reach into it.",
  frames: "There are frames beside the enclave's that could hold documents of the enclave's host. Sandbox them without allow-same-origin.",
});

/** @type {Promise<boolean | undefined> | undefined} */
let isolation; // a document's policy does not change

/**
 * Whether the document was served with `Cross-Origin-Opener-Policy: same-origin`; undefined if that
 * cannot be found out. A page is not told, so its own address is asked for once more, from the
 * cache if it is there. The app's policy must allow that (`connect-src 'self'`).
 *
 * @returns {Promise<boolean | undefined>}
 */
export function isIsolated() {
  isolation ??= globalThis.crossOriginIsolated ? Promise.resolve(true) : askServer().catch(() => undefined);
  return isolation;
}

async function askServer() {
  // Where the document came from; location may have been rewritten since (history.pushState).
  const url = performance.getEntriesByType("navigation")[0]?.name || location.href;
  const response = await fetch(url, { method: "HEAD", cache: "force-cache", mode: "same-origin", signal: AbortSignal.timeout(ANSWER_MS) });
  return response.ok ? isSameOriginPolicy(response.headers.get("cross-origin-opener-policy")) : undefined;
}

/**
 * @param {string | null} header an item of structured fields (RFC 9651); two of them are none
 * @returns {boolean}
 */
export function isSameOriginPolicy(header) {
  return header !== null && /^ *same-origin *(;[^,]*)?$/.test(header);
}

/**
 * What is wrong around the enclave's frame, in sentences for the app's developers.
 *
 * @param {boolean | undefined} isolated from isIsolated
 * @returns {readonly string[]}
 */
export function warningsAbout(isolated) {
  const framed = window.top !== window;
  /** @type {[boolean, string][]} */
  const found = [
    [framed, WORDS.framed],
    [window.opener !== null, WORDS.opened],
    [!framed && isolated === false, WORDS.policy],
    [hasOpenFrames(document), WORDS.frames],
  ];
  return Object.freeze(found.flatMap(([wrong, words]) => (wrong ? [words] : [])));
}

/**
 * Whether frames in the document could hold documents of another origin that keep that origin.
 *
 * @param {Document} inside
 * @returns {boolean}
 */
function hasOpenFrames(inside) {
  const { numbered, open } = look(inside);
  // More frames than were found: something else than an element of this list holds one.
  return open || numbered < (inside.defaultView?.length ?? 0);
}

/**
 * Looks through a tree of nodes and the open shadow trees in it.
 *
 * @param {Document | ShadowRoot} root
 * @returns {{ numbered: number, open: boolean }} how many frames of the document's own tree there are, and whether one is open
 */
function look(root) {
  let numbered = 0;
  let open = false;
  for (const element of root.querySelectorAll("*")) {
    const { contentWindow } = /** @type {{ contentWindow?: Window | null }} */ (/** @type {unknown} */ (element));
    if (contentWindow) {
      numbered += 1;
      open ||= !element.closest(`.${CLASS}`) && isOpen(element);
    } else if (element.shadowRoot && !element.closest(`.${CLASS}`)) {
      open ||= look(element.shadowRoot).open;
    }
  }
  return { numbered, open };
}

/** @param {Element} frame */
function isOpen(frame) {
  const sandbox = frame instanceof HTMLIFrameElement ? frame.getAttribute("sandbox") : null;
  if (sandbox !== null && !sandbox.toLowerCase().split(/[\t\n\f\r ]+/).includes("allow-same-origin")) return false;
  const { contentDocument } = /** @type {{ contentDocument?: Document | null }} */ (/** @type {unknown} */ (frame));
  // A frame of the app's own is as the app made it: what is in it counts.
  return contentDocument ? hasOpenFrames(contentDocument) : true;
}
