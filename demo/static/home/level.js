// What the launch level means for the person in front of it, next to the SDK's own account.

import { h } from "../dom.js";
import { levels } from "../words.js";
import { meanings } from "./words.js";

/** Draws the panel for a connection; once, because a level holds for as long as the enclave runs. */
export function drawLevel(place, kms) {
  const status = h("kms-status", { compact: true });
  status.kms = kms;
  const reached = kms.launch.level;
  place.replaceChildren(
    h("ol", { class: "levels" }, Object.entries(meanings).map(([level, { holds, left }]) => h("li", { "aria-current": level === reached ? "true" : null },
      h("h3", {}, levels[level].name, level === reached ? h("span", { class: "tag", "data-tone": levels[level].tone }, "What you have") : null),
      level === reached ? [h("p", {}, holds), h("p", { class: "fine" }, left)] : h("p", { class: "fine" }, holds)))),
    status);
}
