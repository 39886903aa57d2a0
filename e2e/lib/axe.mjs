// axe-core in a page: what it finds against WCAG 2.2 AA.

import { readFile } from "node:fs/promises";

// ASCII, as WebKitWebDriver wants what it carries.
const text = (await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8")).replace(/[^ -~\n\t]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

/** axe-core's own text, to be served as a script. */
export const source = text;

export const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** Puts axe into a document, past its policy. */
export const install = (frame) => frame.evaluate(`() => { ${text} }`);

/**
 * What breaks these rules in the document, or in what the selector finds there, as lines; minor matters aside if serious is
 * set. A run in which axe looks at next to nothing is an error.
 */
export async function violations(frame, { rules = WCAG, within, serious = false } = {}) {
  const { looked, found } = await frame.evaluate(async (rules, within) => {
    const { violations, passes } = await axe.run(within ? document.querySelector(within) : document, { runOnly: rules, resultTypes: ["violations"] });
    return {
      looked: passes.length,
      found: violations.map(({ id, impact, nodes }) => ({ impact, line: `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 120)} ${failureSummary}`).join(" | ")}` })),
    };
  }, rules, within);
  if (looked < (rules === WCAG ? 6 : 1)) throw new Error(`axe looked at ${looked} things`);
  return found.filter(({ impact }) => !serious || impact !== "minor").map(({ line }) => line);
}
