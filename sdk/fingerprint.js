// A measurement for people: groups to read aloud, and a picture to compare at a glance.
//
// Groups. The 96 hexadecimal digits are 24 groups of four, in six rows (A to F) of four (1 to 4),
// the same at every width of the screen, so that two people on the telephone can say "C2".
//
// Picture. A tile of eight by eight cells, the right half the mirror of the left. The measurement's
// 384 bits are folded to 96 by XOR of its four quarters; each of the 32 cells of the left half shows
// three of them, as one of eight shapes. All 96 bits are in the shapes. The two colours are taken
// from the first sixteen of the same bits: they help the eye and carry nothing that the shapes do not.
//
// Any change of one bit of the measurement changes a shape; two honest releases differ in about 28
// cells of 32. But nobody compares 32 cells at a glance: somebody who may try many builds can make
// one that looks alike from afar. The picture is a glance; the digits are the comparison.

/** Digits of a measurement, and how they are grouped. */
export const DIGITS = 96;
const GROUP = 4;
const COLUMNS = 4;

/** Cells of the picture's side. */
export const SIDE = 8;

/** The eight shapes, by the three bits of a cell. "arc-…": a quarter disc with its centre in that corner. */
export const SHAPES = Object.freeze(["empty", "square", "disc", "diamond", "arc-top-left", "arc-top-right", "arc-bottom-left", "arc-bottom-right"]);

/** @typedef {{ column: number, row: number, shape: string }} Cell column and row from 0 */

/** @typedef {{ cells: Cell[], hue: number, second: number }} Picture hues in degrees */

/**
 * Whether a value is a measurement: 96 lower-case hexadecimal digits.
 *
 * @param {unknown} value
 * @returns {value is string}
 */
export function isMeasurement(value) {
  return typeof value === "string" && value.length === DIGITS && /^[0-9a-f]+$/.test(value);
}

/**
 * The groups of a measurement.
 *
 * @param {string} measurement
 * @returns {string[]} 24 groups of four digits
 * @throws {TypeError} if it is not a measurement
 */
export function groupsOf(measurement) {
  demand(measurement);
  return Array.from({ length: DIGITS / GROUP }, (_, at) => measurement.slice(at * GROUP, (at + 1) * GROUP));
}

/**
 * The groups in rows, each with the letter to call it by.
 *
 * @param {string} measurement
 * @returns {{ name: string, groups: string[] }[]} six rows of four
 * @throws {TypeError} if it is not a measurement
 */
export function rowsOf(measurement) {
  const groups = groupsOf(measurement);
  return Array.from({ length: groups.length / COLUMNS }, (_, row) => ({
    name: String.fromCharCode(65 + row),
    groups: groups.slice(row * COLUMNS, (row + 1) * COLUMNS),
  }));
}

/**
 * The picture of a measurement: the same for the same digits, in every browser and release.
 *
 * @param {string} measurement
 * @returns {Picture} all 64 cells, row by row
 * @throws {TypeError} if it is not a measurement
 */
export function pictureOf(measurement) {
  demand(measurement);
  const bits = folded(measurement);
  const cells = Array.from({ length: SIDE * SIDE }, (_, at) => {
    const [column, row] = [at % SIDE, Math.floor(at / SIDE)];
    const left = Math.min(column, SIDE - 1 - column);
    const first = 3 * (row * (SIDE / 2) + left);
    const shape = SHAPES[4 * bits[first] + 2 * bits[first + 1] + bits[first + 2]];
    return { column, row, shape: column === left ? shape : mirrored(shape) };
  });
  const hue = Math.round((byteOf(bits, 0) * 360) / 256);
  return { cells, hue, second: (hue + 100 + Math.round((byteOf(bits, 8) * 160) / 256)) % 360 };
}

/**
 * XOR of the measurement's quarters, 96 bits.
 *
 * @param {string} measurement
 * @returns {number[]} of 0 and 1
 */
function folded(measurement) {
  const quarter = DIGITS / 4;
  return Array.from({ length: quarter }, (_, at) => {
    const nibble = [0, 1, 2, 3].reduce((sum, part) => sum ^ parseInt(measurement[part * quarter + at], 16), 0);
    return [8, 4, 2, 1].map((bit) => (nibble & bit ? 1 : 0));
  }).flat();
}

/**
 * @param {number[]} bits
 * @param {number} from
 */
function byteOf(bits, from) {
  return bits.slice(from, from + 8).reduce((sum, bit) => 2 * sum + bit, 0);
}

/** @param {string} shape */
function mirrored(shape) {
  if (shape.endsWith("-left")) return shape.replace("left", "right");
  return shape.replace("right", "left");
}

/** @param {unknown} measurement */
function demand(measurement) {
  if (!isMeasurement(measurement)) throw new TypeError("measurement: 96 lower-case hexadecimal digits wanted");
}
