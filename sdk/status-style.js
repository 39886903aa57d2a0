// How <kms-status> looks. An app changes its colours with the custom properties --kms-…; all
// defaults have 4.5:1 for text and 3:1 for borders of controls, in both schemes.

const LIGHT = { ink: "#12201f", soft: "#4c5c5b", line: "#d5dfe0", control: "#74858c", ground: "#ffffff", sunk: "#f0f4f5", accent: "#0b6b65", "accent-ink": "#ffffff", good: "#116a3a", "good-wash": "#e5f5ea", part: "#1f5fae", "part-wash": "#e8f0fb", warn: "#7d4a00", "warn-wash": "#fdf1dc", bad: "#a81f18", "bad-wash": "#fdebe9" };
/** @type {Record<string, string>} */
const DARK = { ink: "#e7eeed", soft: "#a5b5b4", line: "#2c383b", control: "#728388", ground: "#151c1f", sunk: "#0e1517", accent: "#5fdcc6", "accent-ink": "#04211e", good: "#7ddfa0", "good-wash": "#12291b", part: "#8fbcff", "part-wash": "#12233a", warn: "#f3c06b", "warn-wash": "#2e2410", bad: "#ff9d94", "bad-wash": "#351917" };

/**
 * The element's own names differ from any that a page may use: a page that says --kms-ink: var(--ink)
 * means its own --ink.
 *
 * @param {(light: string, dark: string) => string} choose
 */
function colours(choose) {
  return Object.entries(LIGHT).map(([name, light]) => `--_${name}: var(--kms-${name}, ${choose(light, DARK[name])});`).join(" ");
}

// light-dark() follows the page's color-scheme; a browser without it gets the light colours.
const RULES = `
:host { ${colours((light) => light)} }
@supports (color: light-dark(#000, #fff)) { :host { ${colours((light, dark) => `light-dark(${light}, ${dark})`)} } }
:host { display: block; container-type: inline-size; min-inline-size: 0; color: var(--_ink); font: 15px/1.5 var(--kms-font, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif); text-align: start; }
:host([hidden]) { display: none; }
*, *::before, *::after { box-sizing: border-box; }
p, h3, h4, ul, dl, dd, pre, table, figure { margin: 0; padding: 0; }
ul { list-style: none; }
.root, .alerts, .notices, .panel { display: grid; gap: 16px; min-inline-size: 0; grid-template-columns: minmax(0, 1fr); }
.alerts:empty, .notices:empty { display: none; }
.sr { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.fine { color: var(--_soft); font-size: 13.5px; }
.icon { flex: none; inline-size: 24px; block-size: 24px; fill: none; stroke: currentcolor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.icon-waiting { animation: turn 1s linear infinite; }
code, pre, .groups, .short { font-family: var(--kms-mono, ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace); font-variant-ligatures: none; }
:focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px; border-radius: 4px; }

.warning { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 4px 14px; padding: 16px 18px; border: 3px solid var(--_bad); border-inline-start-width: 10px; border-radius: 10px; background: var(--_bad-wash); }
.warning > .icon { grid-row: span 4; inline-size: 34px; block-size: 34px; color: var(--_bad); }
.warning > * { grid-column: 2; min-inline-size: 0; overflow-wrap: anywhere; }
.warning > .icon { grid-column: 1; }
.warning strong { color: var(--_bad); font-size: 17px; }
.notice { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 6px 12px; padding: 14px 16px; border: 2px solid var(--_warn); border-radius: 10px; background: var(--_warn-wash); }
.notice > * { grid-column: 2; min-inline-size: 0; }
.notice > .icon { grid-column: 1; grid-row: span 4; color: var(--_warn); }
.versions { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 230px), 1fr)); gap: 12px; margin-block: 8px; }
.versions > div { display: grid; grid-template-columns: 56px minmax(0, 1fr); gap: 0 12px; align-items: start; }
.versions dt { font-weight: 650; grid-column: 2; }
.versions dd { grid-column: 2; }
.versions .picture { inline-size: 56px; grid-row: 1 / span 3; }
.short { font-size: 13px; overflow-wrap: anywhere; }

.head { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 2px 12px; align-items: center; padding: 14px 16px; border-radius: 10px; border: 1px solid var(--tone); background: var(--wash); }
.head > .icon { grid-row: span 2; inline-size: 32px; block-size: 32px; color: var(--tone); }
.level { font-weight: 700; font-size: 18px; line-height: 1.3; color: var(--tone); }
.root { --tone: var(--_soft); --wash: var(--_sunk); }
.root[data-level="enforced"] { --tone: var(--_good); --wash: var(--_good-wash); }
.root[data-level="checked"] { --tone: var(--_part); --wash: var(--_part-wash); }
.root[data-level="unpinned"] { --tone: var(--_warn); --wash: var(--_warn-wash); }
.root[data-level="refused"], .root[data-level][data-alarm] { --tone: var(--_bad); --wash: var(--_bad-wash); }
dl.claims, dl.facts { display: grid; gap: 8px; }
dl.claims > div, dl.facts > div { display: grid; grid-template-columns: 124px minmax(0, 1fr); gap: 12px; }
.claims dt { font-weight: 650; }
.facts dt { color: var(--_soft); }
dd { min-inline-size: 0; overflow-wrap: anywhere; }
h3 { font-size: 16px; font-weight: 650; line-height: 1.3; }
.bar { display: flex; align-items: center; justify-content: space-between; gap: 12px; }

.print { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 12px 20px; align-items: center; padding: 16px; border-radius: 10px; background: var(--_sunk); }
.print .picture { inline-size: 176px; block-size: 176px; }
.groups { border-collapse: separate; border-spacing: 0; justify-self: start; font-size: 17px; line-height: 1.35; letter-spacing: .04em; }
.groups td { padding: 2px 9px; }
.groups th { padding: 2px 6px; color: var(--_soft); font: 600 12px/1.4 var(--kms-font, system-ui, sans-serif); letter-spacing: 0; }
.groups tbody tr:nth-child(even) td { background: color-mix(in srgb, var(--_ink) 5%, transparent); }
.print > .fine { grid-column: 1 / -1; }

button { min-block-size: 44px; padding: 9px 20px; border: 1px solid var(--_control); border-radius: 9px; background: var(--_ground); color: var(--_ink); font: inherit; font-weight: 600; line-height: 1.3; cursor: pointer; justify-self: start; }
button:hover { background: var(--_sunk); }
button.main { border-color: var(--_accent); background: var(--_accent); color: var(--_accent-ink); }
button.main:hover { filter: brightness(1.08); }
button[aria-disabled="true"] { border-color: var(--_control); background: var(--_sunk); color: var(--_soft); cursor: progress; filter: none; }
button.small { min-block-size: 32px; padding: 4px 12px; font-size: 13.5px; flex: none; }
.verify, .audit, .section { display: grid; gap: 8px; min-inline-size: 0; }
.act { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; }
.act .fine { flex: 1 1 220px; }
.verdict { margin-block-start: 4px; font-weight: 650; }
.verdict:empty, .results:empty { display: none; }
.results { display: grid; gap: 12px; }
.results section { border: 1px solid var(--_line); border-radius: 10px; overflow: hidden; }
.results h4 { padding: 7px 14px; background: var(--_sunk); color: var(--_soft); font-size: 13.5px; font-weight: 600; }
.results li { display: grid; grid-template-columns: 20px minmax(0, 1fr) auto; gap: 0 10px; padding: 8px 14px; border-block-start: 1px solid var(--_line); }
.results .icon { inline-size: 20px; block-size: 20px; margin-block-start: 1px; stroke-width: 3; color: var(--_soft); }
.results [data-outcome="passed"] .icon, .results [data-outcome="passed"] .outcome { color: var(--_good); }
.results [data-outcome="failed"] { background: var(--_bad-wash); }
.results [data-outcome="failed"] .icon, .results [data-outcome="failed"] .outcome { color: var(--_bad); }
.results .outcome { font-size: 14px; font-weight: 600; color: var(--_soft); }
.results .fine { grid-column: 2 / -1; overflow-wrap: anywhere; }
.nowrap { white-space: nowrap; }
pre { padding: 12px 14px; border-radius: 10px; background: var(--_sunk); font-size: 13.5px; white-space: pre-wrap; overflow-wrap: anywhere; }

.badge { flex: 1; display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 8px; }
.compact > summary { display: flex; align-items: center; gap: 10px; padding: 8px 14px; border: 1px solid var(--tone); border-radius: 10px; background: var(--wash); cursor: pointer; list-style: none; }
.compact > summary::-webkit-details-marker { display: none; }
.compact > summary::after { content: ""; inline-size: 8px; block-size: 8px; flex: none; margin-inline-end: 4px; border: solid currentcolor; border-width: 0 2px 2px 0; transform: rotate(45deg); }
.compact[open] > summary::after { transform: rotate(-135deg); }
.compact > summary .icon { color: var(--tone); }
.compact > summary .level { font-size: 16px; }
.compact > .panel { margin-block-start: 16px; }
.compact > .panel > .head { display: none; }

@container (max-width: 470px) {
  .print { grid-template-columns: minmax(0, 1fr); justify-items: center; padding: 14px 8px; }
  .groups { justify-self: center; font-size: 16px; }
  .groups td { padding-inline: 6px; }
  dl.claims > div, dl.facts > div { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .warning, .notice { padding: 14px 12px; gap: 4px 10px; }
  .warning > .icon { inline-size: 26px; block-size: 26px; }
}
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { .icon-waiting { animation: none; } }
@media (forced-colors: active) { .picture { forced-color-adjust: none; } }
`;

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** @returns {CSSStyleSheet} one for all elements */
export function styleSheet() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(RULES);
  }
  return sheet;
}
