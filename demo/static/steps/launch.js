// Step: what was started, how sure the app is of it, and why.

import { checks, facts, h, more, svg } from "../dom.js";
import { pin, url } from "../pin.js";
import { startAdvice } from "../words.js";
import { failure } from "../step.js";

const absent = "not available here"; // as the enclave says it of an algorithm that this browser lacks

export const launch = {
  id: "launch",

  async run({ kms }) {
    const test = await kms.enclave.selfTest();
    return {
      extra: [
        checks(test.tests.map(({ name, ok, error }) => [ok || (error === absent ? null : false), name, error ? ` (${error})` : ""])),
        h("p", { class: "fine" }, `${Math.round(test.milliseconds)} ms. The enclave says this of itself: it shows that the code works, `
          + "not that it is the right code. The pin shows that."),
      ],
    };
  },
};

/** What the app says about a launch that worked: what is wrong around it, the SDK's own element, and where the time went. */
export function launched(kms) {
  const { timings, warnings = [] } = kms.launch;
  const status = h("kms-status");
  status.kms = kms;
  return [
    warnings.length > 0 ? surroundings(warnings) : null,
    status,
    more("Where the time went", h("h4", {}, "Until each was done"),
      facts(stages.filter(([stage]) => stage in timings).sort(([a], [b]) => timings[a] - timings[b]).map(([stage, name]) => [name, bar(timings[stage], timings.total)])),
      h("p", { class: "fine" }, "Counted from the start, the earliest first. They run side by side, so they do not add up.")),
  ];
}

/** What the SDK found around the enclave's frame that should not be there. */
function surroundings(warnings) {
  return h("div", { class: "notice", "data-tone": "warn" },
    h("p", {}, h("strong", {}, "The page around the enclave is not as it should be.")),
    h("ul", {}, warnings.map((warning) => h("li", {}, warning))));
}

/** What the app says when the enclave did not start. */
export function refused(error, again) {
  const button = h("button", { type: "button" }, "Try again");
  button.addEventListener("click", again);
  return [shown(error), h("p", {}, startAdvice[error.code ?? "sdk"] ?? "Reload the page. If that does not help, stop the demo and start it again."), h("p", { class: "actions" }, button)];
}

/** The element shows a KmsError; anything else means that the SDK itself is missing. */
function shown(error) {
  if (!customElements.get("kms-status") || error.code === undefined) return failure(error);
  const status = h("kms-status");
  status.release = { url, pin: pin ?? undefined };
  status.error = error;
  return status;
}

// The stages of a launch, as the SDK names and times them.
const stages = [
  ["share", "Share read"],
  ["frame", "Frame loaded"],
  ["level", "Level proved"],
  ["wasm", "Code fetched"],
  ["worker", "Worker running"],
  ["total", "All"],
];

/** A duration as a bar: how much of the whole had passed. */
function bar(ms, whole) {
  return h("span", { class: "bar" },
    svg("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "bar-rail", width: 100, height: 1 }), svg("rect", { class: "bar-fill", width: (100 * ms) / whole, height: 1 })),
    h("span", {}, milliseconds(ms)));
}

const milliseconds = (ms) => `${Math.round(ms)} ms`;
