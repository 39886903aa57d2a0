// A picture of a thumbprint: for people who would rather look than read. Equal
// pictures do not prove equal keys (a picture shows 76 of 256 bits at most); different
// pictures prove different ones.

import { svg } from "./dom.js";
import { decode } from "./verify.js";

const cell = 10;
const cells = 5;

/**
 * Draws a thumbprint as a pattern of five by five, mirrored like a face. Bytes
 * 0 and 1 choose the colours, each half of the bytes from 2 on one shape.
 *
 * @param {string} kid base64url of at least 10 bytes
 */
export function picture(kid) {
  const bytes = decode(kid);
  const hue = Math.round((bytes[0] / 256) * 360);
  const other = (hue + 70 + Math.round((bytes[1] / 256) * 120)) % 360;
  const side = cell * cells;
  const image = svg("svg", { class: "picture", viewBox: `-6 -6 ${side + 12} ${side + 12}`, role: "img", "aria-label": `Picture of the thumbprint that begins with ${spell(kid)}` });
  image.append(svg("rect", { x: -6, y: -6, width: side + 12, height: side + 12, rx: 14, fill: `hsl(${hue} 45% 93%)` }));
  for (let i = 0; i < 15; i++) {
    const nibble = (bytes[2 + (i >> 1)] >> (4 * (i & 1))) & 15;
    const [column, row] = [i % 3, Math.floor(i / 3)];
    const fill = nibble & 8 ? `hsl(${hue} 62% 38%)` : `hsl(${other} 60% 52%)`;
    image.append(...shape(nibble & 7, column, row, fill, false));
    if (column < 2) image.append(...shape(nibble & 7, cells - 1 - column, row, fill, true));
  }
  return image;
}

/** One cell: empty, a square, a dot, or a quarter circle with its centre in one of the corners. */
function shape(kind, column, row, fill, mirrored) {
  const [x, y] = [column * cell, row * cell];
  switch (kind) {
    case 0: case 1: return [];
    case 2: return [svg("rect", { x, y, width: cell, height: cell, fill })];
    case 3: return [svg("circle", { cx: x + cell / 2, cy: y + cell / 2, r: cell * 0.36, fill })];
  }
  const right = Boolean(kind & 1) !== mirrored;
  const bottom = Boolean(kind & 2);
  const [cx, cy] = [x + (right ? cell : 0), y + (bottom ? cell : 0)];
  const [dx, dy] = [right ? -cell : cell, bottom ? -cell : cell];
  const sweep = right === bottom ? 1 : 0;
  return [svg("path", { d: `M${cx} ${cy}h${dx}A${cell} ${cell} 0 0 ${sweep} ${cx} ${cy + dy}Z`, fill })];
}

const spell = (kid) => [...kid.slice(0, 4)].join(" ");
