// What makes a vault safe to rely on: a second way in, the recovery phrase, a backup that is up to date.

import { byId, h, time, when } from "../dom.js";
import { capital } from "../words.js";
import { button, redraw } from "./act.js";
import { manage } from "./vault.js";
import { many, way } from "./words.js";

/** Draws the list of what is still to be done; short once all of it is. */
export function drawChecklist(place, session) {
  const { status } = session;
  const backup = backupOf(session);
  const items = [
    ["Vault set up", true],
    ["A first key", status.counts.keys > 0, "Nothing to sign with yet.", () => button("first-key", "Create a key", async () => byId("new-label").focus())],
    ["A second way in", status.slots.length > 1, "If the only one is lost, so are the keys.", () => button("second-way", "Add a way in", () => manage(session), { label: "Add a way in: opens the enclave's dialog" })],
    ["Recovery phrase", status.recovery.enabled, "Twelve words on paper open the vault when all else fails.", () => button("phrase", "Set up the phrase", () => enable(session))],
    ["Backup file, up to date", backup.fresh, backup.text, () => (status.recovery.enabled
      ? button("first-backup", "Save a backup", () => save(session))
      : h("p", { class: "fine" }, "Needs the recovery phrase first."))],
  ];
  const done = items.filter(([, fulfilled]) => fulfilled).length;
  redraw(place, items.map(([, fulfilled, text]) => [fulfilled, text]), () => (done === items.length
    ? h("p", { class: "all-done" }, "All five steps are done: if this vault is lost, the file and the phrase bring it back.")
    : [
      h("p", { class: "fine" }, `${done} of ${items.length} done. Each takes about a minute.`),
      h("ol", { class: "todo" }, items.map(([title, fulfilled, text, next]) => h("li", { "data-done": fulfilled ? "yes" : "no" },
        h("p", {}, h("strong", {}, title), h("span", { class: "sr" }, fulfilled ? ": done" : ": to do")),
        fulfilled ? null : [h("p", { class: "fine" }, text), next()]))),
    ]));
}

/** Draws the ways in, recovery and backups, with all that can be done to them. */
export function drawCare(place, session) {
  const { status } = session;
  const backup = backupOf(session);
  const { enabled, createdAt } = status.recovery;
  redraw(place, [status.slots, status.recovery, backup.text], () => [
    h("div", { class: "care" },
      h("h3", {}, "Ways in"),
      h("ul", { class: "ways" }, status.slots.map((slot) => h("li", {},
        h("strong", {}, capital(way(slot))), h("span", { class: "fine" }, " since ", time(slot.createdAt))))),
      h("p", { class: "actions" }, button("ways", "Change the ways in…", () => manage(session)))),
    h("div", { class: "care" },
      h("h3", {}, "Recovery phrase"),
      h("p", {}, enabled ? ["Set up ", time(createdAt), ". It opens this vault, and on any device the backups made since."] : "There is none. Without it, a lost passphrase or device means lost keys, and there can be no backup."),
      h("p", { class: "actions" }, enabled
        ? [button("check", "Check that I still have it", () => check(session)), button("renew", "Replace it…", () => enable(session))]
        : button("enable", "Set up the phrase", () => enable(session), { look: "primary" }))),
    h("div", { class: "care" },
      h("h3", {}, "Backup"),
      h("p", {}, backup.text),
      h("p", { class: "actions" }, enabled ? button("backup", "Save a backup…", () => save(session)) : null),
      h("p", { class: "fine" }, enabled
        ? "The file opens with the recovery phrase only. To restore it here, this vault must be deleted first, or lost: this page then offers it."
        : "A backup is sealed with the recovery phrase, so that comes first.")),
  ]);
}

async function enable(session) {
  await session.ask((kms) => kms.recovery.enable());
  return "The recovery phrase is set up. Save a backup next: only with a file can the keys move to another device.";
}

async function check(session) {
  await session.ask((kms) => kms.recovery.check());
  return "That is the phrase. Keep it where you found it.";
}

async function save(session) {
  const { keys } = await session.ask((kms) => kms.backup.save());
  return `You said that you have the file: a backup of ${many(keys, "key")}. Keep it apart from the recovery phrase, which opens it.`;
}

// What makes the files of before ones of an older state, which is not accepted any more: see
// docs/embedding.md, "Nothing is lost".
const renews = new Set(["keys.rotate", "keys.revoke", "slots.remove", "slots.change", "recovery.enable"]);

/** The newest backup that is known to be kept, as the enclave's log tells: the user said so, or this vault came from it. */
function backupOf({ log }) {
  const done = log.entries.filter(({ outcome }) => outcome === "ok");
  const kept = done.findLast(({ method }) => method === "backup.kept" || method === "backup.restore");
  if (!kept) return { fresh: false, text: noneKept(log, done) };
  // A file holds what there was when it was made, not when it was kept.
  const made = kept.method === "backup.restore" ? kept : done.findLast(({ seq, method }) => seq < kept.seq && method === "backup.save") ?? kept;
  const later = done.filter(({ seq }) => seq > made.seq);
  const from = `The newest one is from ${when(Number(made.details?.saved ?? made.time))}`;
  if (later.some(({ method }) => renews.has(method))) return { fresh: false, text: `${from}. Keys, ways in or the phrase were changed since, so this app does not accept it any more. Save a new one.` };
  const missing = later.filter(({ method }) => method === "keys.create").length;
  if (missing > 0) return { fresh: false, text: `${from}. ${many(missing, "key")} made since ${missing === 1 ? "is" : "are"} not in it.` };
  return { fresh: true, text: `${from} and has every key.` };
}

function noneKept(log, done) {
  if (done.some(({ method }) => method === "backup.save")) return "A file was made, but nobody said that it was kept. Save one again.";
  return log.complete ? "None was saved yet. If this site's data is cleared, the keys are gone." : "None was saved lately.";
}
