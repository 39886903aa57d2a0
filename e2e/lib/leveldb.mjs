// Chromium keeps IndexedDB in LevelDB, and LevelDB's log has a fault that kills bring to light
// (google/leveldb#1287, open): a log that ends in an incomplete record, because its writer was killed
// between the record's header and its data, is written on behind that record at the next start. The
// start after that one finds the log corrupt, and Chromium deletes the whole database.
//
// No page can prevent that. So that the kill suite tells it from a fault of ours it looks at the logs
// after each kill. It must never excuse a loss without having seen an incomplete record.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const BLOCK = 32_768, HEADER = 7; // doc/log_format.md of LevelDB
const FIRST = 2, MIDDLE = 3;

/** Whether a log ends in an incomplete record. */
export function endsIncomplete(log) {
  let open = false; // a record of several parts has begun
  for (let at = 0; at < log.length; ) {
    const left = BLOCK - (at % BLOCK);
    if (left < HEADER) {
      at += left;
      continue;
    }
    if (at + HEADER > log.length) return true;
    const length = log.readUInt16LE(at + 4), type = log[at + 6];
    if (type === 0 && length === 0) { // the rest of the block was only reserved
      at += left;
      continue;
    }
    at += HEADER + length;
    if (at > log.length) return true;
    open = type === FIRST || type === MIDDLE;
  }
  return open;
}

/** The logs of a Chromium profile's IndexedDB, of all sites: which there are, and which end in an incomplete record. */
export function lookAtLogs(profile) {
  const present = new Set(), incomplete = new Set();
  for (const part of ["IndexedDB", "WebStorage"]) {
    const directory = join(profile, "Default", part);
    for (const name of readdirSync(directory, { recursive: true })) {
      if (!/\.leveldb\/\d+\.log$/.test(name)) continue;
      present.add(name);
      if (endsIncomplete(readFileSync(join(directory, name)))) incomplete.add(name);
    }
  }
  return { present, incomplete };
}
