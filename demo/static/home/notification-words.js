// What can be wrong with notifications, in words.

/** Whether a relay has no record of the subscription any more. */
const isForgotten = (problem) => problem?.details?.problem === "unknown-subscription";

/** What a relay's subscription wants before it can be used again, if it does. */
export function endedWords({ leaseUntil, subscription, relay, problem }) {
  if (leaseUntil * 1000 <= Date.now()) return undefined; // its own state says so
  if (isForgotten(problem)) return "The relay does not know you any more: its own data is gone. Your permission still holds.";
  if (subscription === "missing") return "Your browser has given up this subscription, as it does when a site's data or its permission is cleared.";
  if (subscription === "changed" || relay?.state === "gone") return "The push service has ended this subscription.";
  return undefined;
}

/** That a relay could not be asked. */
export const problemOf = ({ code }) => (code === "interrupted" || code === "timeout"
  ? "The relay does not answer now, so what it has sent is not known. Stopping it works all the same."
  : `The relay could not be asked (${code}), so what it has sent is not known. Stopping it works all the same.`);

const alerts = {
  "after-lease": () => "A message came after the permission had ended. One that was sent before, and came late, looks the same.",
  rate: () => "More messages came within an hour than is usual.",
  unexplained: (times) => `${times === 1 ? "A message" : `${times} messages`} came that the relay does not say it has sent: somebody else may have a token.`,
  unreadable: () => "A message came that this app cannot read. You were shown that one came.",
};

/** One alert as a sentence. @param {import("../sdk/push.d.ts").PushAlert} alert */
export const alertOf = ({ kind, times }) => `${alerts[kind]?.(times) ?? `Something is strange (${kind}).`}${times > 1 && kind !== "unexplained" ? ` ${times} times.` : ""}`;

const steps = { unsubscribe: "the browser still has the subscription", forget: "the relay still has its record", unregister: "the browser still has the service worker" };

/** What is left of a relay that was stopped. */
export const unfinished = (left) => left.map(({ step }) => steps[step] ?? step).join(", and ");

/** What failed where, by the step that the SDK names. */
const failures = {
  relay: () => "The relay does not answer. Is the demo still running in its terminal? Nothing was changed.",
  register: () => "The relay did not take the registration, so it can send nothing. Try again: you are not asked a second time.",
  worker: () => "The part of this app that shows messages did not start. Reload the page and try again.",
  subscription: ({ code }) => (code === "timeout"
    ? "Your browser's push service has not answered within a minute, so nothing can reach you here. It is the browser maker's, and needs the network; some builds of Chromium come without one. Nothing was allowed. Try again later, or in another browser."
    : "Your browser's push service gave no address, so nothing can reach you here. It is the browser maker's, and needs the network; private windows have none. Nothing was allowed."),
};

const reasons = {
  notifications: "Your browser does not let this app show notifications. Open the site settings beside the address, allow notifications there, and press the button again.",
  lease: "An earlier permission for this relay still runs, on other terms. Revoke its key (“Push”) below “Your keys”, and try again.",
};

const passing = new Set(["cancelled", "expired", "locked", "quota_exceeded", "busy"]); // of these the page has words

/**
 * An error of the SDK's push, with words for it in inWords where the page's own do not fit.
 *
 * @param {import("../sdk/kms.d.ts").KmsError} error
 */
export function worded(error) {
  const { code, details } = error;
  const inWords = reasons[details?.reason] ?? (passing.has(code) || details?.reason ? undefined : failures[details?.step]?.(error));
  return Object.assign(error, inWords && { inWords });
}
