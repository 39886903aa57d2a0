// Does this browser enforce the `csp` attribute with exactly this policy?
//
// CSP Embedded Enforcement (https://w3c.github.io/webappsec-cspee/) is what makes a pin hold, and a
// browser that does not know it, or could not parse the policy, says nothing. So a frame of our
// own, with the same attribute, is made to violate the policy: an image of the app's own origin, which
// "default-src 'none'" forbids, so that nothing is fetched. The browser's console shows it as an error. Only a violation whose originalPolicy equals the pin proves it.
//
// Under the pin no script runs in that frame, so the app's page listens on the frame's document
// (sandbox="allow-same-origin"). The frame inherits the app's own policy as well; its violations
// have another originalPolicy and do not count. An image of 'self' is what most apps allow: their own
// report-uri then hears nothing of it. Frame-src does not apply to srcdoc frames.

const SETTLE_MS = 1000; // a violation is reported within a few milliseconds, or never

/**
 * @typedef {object} Proof
 * @property {boolean} enforced
 * @property {string} why a plain sentence without a full stop
 */

/**
 * Proves, or fails to prove, that this browser enforces policy on frames.
 *
 * @param {string} policy
 * @param {Element} parent where the frame may be for a moment; need not be visible
 * @param {AbortSignal} signal
 * @returns {Promise<Proof>}
 */
export async function proveEnforcement(policy, parent, signal) {
  if (!("csp" in HTMLIFrameElement.prototype)) {
    return { enforced: false, why: "this browser does not implement CSP Embedded Enforcement" };
  }
  const canary = document.createElement("iframe");
  canary.setAttribute("sandbox", "allow-same-origin");
  canary.setAttribute("csp", policy);
  canary.hidden = true;
  canary.srcdoc = emptyMarkup();
  try {
    const enforced = await Promise.race([violates(canary, parent, policy), after(SETTLE_MS, signal)]);
    return enforced
      ? { enforced, why: "a canary frame showed that this browser enforces the pinned policy, to the letter" }
      : { enforced: false, why: "a canary frame did not show the pinned policy being enforced" };
  } finally {
    canary.remove();
  }
}

/**
 * @param {HTMLIFrameElement} canary
 * @param {Element} parent
 * @param {string} policy
 * @returns {Promise<boolean>} true once the violation was seen; otherwise it stays pending
 */
function violates(canary, parent, policy) {
  return new Promise((resolve) => {
    canary.addEventListener(
      "load",
      () => {
        const inside = canary.contentDocument;
        if (!inside) return;
        inside.addEventListener("securitypolicyviolation", (event) => {
          if (event.originalPolicy === policy && event.disposition === "enforce") resolve(true);
        });
        const image = inside.createElement("img");
        image.src = import.meta.url; // it is no image, and never fetched
        inside.documentElement.append(image);
      },
      { once: true },
    );
    parent.append(canary);
  });
}

/**
 * Empty markup that an app under `require-trusted-types-for 'script'` may assign without a policy.
 * @returns {string}
 */
function emptyMarkup() {
  const { trustedTypes } = /** @type {{ trustedTypes?: { emptyHTML: string } }} */ (/** @type {unknown} */ (globalThis));
  return trustedTypes ? trustedTypes.emptyHTML : "";
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal ends the wait early
 * @returns {Promise<false>}
 */
function after(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve(false)), { once: true });
  });
}
