// The tables of docs/egress.md: made from what was seen, or compared with it.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "./gotool.mjs";

const path = join(root, "docs/egress.md");
const lines = (text) => text.split("\n").filter((line) => line.startsWith("|"));
const cells = (line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim());

function between(text, name) {
  const [begin, end] = [`<!-- ${name} begins -->\n`, `<!-- ${name} ends -->`];
  const from = text.indexOf(begin) + begin.length, to = text.indexOf(end);
  if (from < begin.length || to < from) throw new Error(`docs/egress.md: no table ${name}`);
  return { from, to, rows: lines(text.slice(from, to)) };
}

/**
 * Compares columns of a table with what was seen; with KMS_WRITE_DOCS=1 writes them instead.
 * columns: heading → Map of row → cell. Columns that were not measured stay as they are.
 */
export async function settle(name, first, columns) {
  const text = await readFile(path, "utf8");
  const { from, to, rows: [head, , ...rows] } = between(text, name);
  const headings = head ? cells(head).slice(1) : [];
  const table = new Map(rows.map((line) => [cells(line)[0], new Map(cells(line).slice(1).map((cell, i) => [headings[i], cell]))]));
  if (process.env.KMS_WRITE_DOCS !== "1") {
    const committed = {}, seen = {};
    for (const [heading, column] of Object.entries(columns)) {
      committed[heading] = Object.fromEntries([...table].map(([row, values]) => [row, values.get(heading)]));
      seen[heading] = Object.fromEntries(column);
    }
    return assert.deepEqual(seen, committed, "docs/egress.md says something else than was seen; KMS_WRITE_DOCS=1 writes what was");
  }
  const all = [...new Set([...headings, ...Object.keys(columns)])].sort();
  const names = [...new Set(Object.values(columns).flatMap((column) => [...column.keys()]))];
  const cell = (row, heading) => columns[heading]?.get(row) ?? table.get(row)?.get(heading) ?? "?";
  const out = [[first, ...all], ["---", ...all.map(() => "---")], ...names.map((row) => [row, ...all.map((heading) => cell(row, heading))])];
  await writeFile(path, text.slice(0, from) + out.map((row) => `| ${row.join(" | ")} |\n`).join("") + text.slice(to));
}
