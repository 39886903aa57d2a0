// Building blocks of <kms-status>. Text is always text and attributes are never markup or style, so
// that the element works under any app's Content Security Policy and Trusted Types.

import { SIDE, pictureOf, rowsOf } from "./fingerprint.js";

const SVG = "http://www.w3.org/2000/svg";
const CELL = 10; // side of a cell of the picture, in units of its view box
const MARGIN = 8;

/** @typedef {Record<string, string | number | boolean | undefined>} Attributes */
/** @typedef {(Node | string | undefined)[]} Children */

/**
 * Makes an HTML element; attributes that are false or undefined are left out.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {Children} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  put(element, attributes, children);
  return element;
}

/**
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {Children} children
 * @returns {Element}
 */
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  put(element, attributes, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Attributes} attributes
 * @param {Children} children
 */
function put(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== undefined));
}

// Outlines on a grid of 24. Each has a shape of its own: colour alone tells nothing.
const ICONS = Object.freeze({
  enforced: ["M12 2.5 4 5.5v6c0 5 3.4 8.6 8 10 4.6-1.4 8-5 8-10v-6z", "m8.5 12 2.5 2.5 4.5-5"],
  checked: ["M10.5 3.5a7 7 0 1 1 0 14 7 7 0 0 1 0-14z", "m15.6 15.6 5 5", "m7.8 10.6 2 2 3.6-4"],
  unpinned: ["M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z", "M9.4 9.4c.3-3.3 5.6-3 5.2.2-.2 1.8-2.6 1.9-2.6 4", "M12 16.8v.2"],
  refused: ["M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3z", "m8.7 8.7 6.6 6.6", "m15.3 8.7-6.6 6.6"],
  warning: ["M12 3.2 1.8 20.8h20.4z", "M12 9.5v5.2", "M12 17.6v.2"],
  waiting: ["M12 3a9 9 0 1 0 9 9"],
  updated: ["M20 12a8 8 0 1 1-2.4-5.7", "M20.5 3v4.5H16"],
  passed: ["m4.5 12.5 5 5 10-11"],
  failed: ["m5.5 5.5 13 13", "m18.5 5.5-13 13"],
  unknown: ["M8 8.6c.3-5 8.4-4.6 8 .2-.3 2.8-4 3-4 6.2", "M12 19.4v.2"],
  unavailable: ["M4.5 12h15"],
});

/**
 * @param {keyof typeof ICONS} name
 * @returns {Element} decoration: the text beside it says the same
 */
export function icon(name) {
  const paths = ICONS[name].map((d) => svg("path", { d }));
  return svg("svg", { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" }, ...paths);
}

/**
 * The picture of a measurement.
 *
 * @param {string} measurement
 * @param {string} label
 * @returns {Element}
 */
export function picture(measurement, label) {
  const { cells, hue, second } = pictureOf(measurement);
  const side = SIDE * CELL + 2 * MARGIN;
  const inks = { plain: `hsl(${hue} 60% 31%)`, arc: `hsl(${second} 62% 43%)` };
  const tile = svg("rect", { width: side, height: side, rx: 14, fill: `hsl(${hue} 42% 93%)` });
  const shapes = cells.flatMap(({ column, row, shape }) => {
    const outline = outlineOf(shape, MARGIN + column * CELL, MARGIN + row * CELL);
    return outline ? [svg("path", { d: outline, fill: shape.startsWith("arc") ? inks.arc : inks.plain })] : [];
  });
  return svg("svg", { class: "picture", viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": label }, tile, ...shapes);
}

/**
 * @param {string} shape
 * @param {number} x of the cell's corner
 * @param {number} y
 * @returns {string | undefined} path data; nothing for the empty cell
 */
function outlineOf(shape, x, y) {
  const half = CELL / 2;
  if (shape === "empty") return undefined;
  if (shape === "square") return `M${x} ${y}h${CELL}v${CELL}h${-CELL}z`;
  if (shape === "disc") return `M${x + half} ${y + 1}a4 4 0 1 1 0 8a4 4 0 1 1 0-8z`;
  if (shape === "diamond") return `M${x + half} ${y}l${half} ${half}l${-half} ${half}l${-half} ${-half}z`;
  const [, vertical, horizontal] = shape.split("-");
  const [right, bottom] = [horizontal === "right", vertical === "bottom"];
  const [cx, cy] = [x + (right ? CELL : 0), y + (bottom ? CELL : 0)];
  const [dx, dy] = [right ? -CELL : CELL, bottom ? -CELL : CELL];
  return `M${cx} ${cy}h${dx}A${CELL} ${CELL} 0 0 ${right === bottom ? 1 : 0} ${cx} ${cy + dy}z`;
}

/**
 * A measurement as a table with named rows and columns.
 *
 * @param {string} measurement
 * @param {{ caption: string, row: (name: string) => string, column: (name: string) => string }} names
 * @returns {HTMLTableElement}
 */
export function groupTable(measurement, names) {
  const rows = rowsOf(measurement);
  const heads = rows[0].groups.map((_, at) => h("th", { scope: "col", "aria-label": names.column(String(at + 1)) }, String(at + 1)));
  return h(
    "table",
    { class: "groups", "data-measurement": measurement },
    h("caption", { class: "sr" }, names.caption),
    h("thead", {}, h("tr", {}, h("td"), ...heads)),
    h("tbody", {}, ...rows.map(({ name, groups }) => h("tr", {}, h("th", { scope: "row", "aria-label": names.row(name) }, name), ...groups.map((group) => h("td", {}, group))))),
  );
}

/**
 * A button that copies a text; where the browser says no, it selects the text instead.
 *
 * @param {{ text: string, from: Node, label: string, words: { copy: string, copied: string, notCopied: string }, say: (text: string) => void }} options
 * @returns {HTMLButtonElement}
 */
export function copyButton({ text, from, label, words, say }) {
  const button = h("button", { type: "button", class: "small", "aria-label": label }, words.copy);
  button.addEventListener("click", async () => {
    const outcome = (await copy(text)) ? words.copied : words.notCopied;
    if (outcome === words.notCopied) getSelection()?.selectAllChildren(from);
    button.textContent = outcome;
    say(outcome);
    setTimeout(() => (button.textContent = words.copy), 2500);
  });
  return button;
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
