// What makes a vault safe to rely on: a second way in, the recovery phrase, a backup that is up to date.

import { h, time } from "../dom.js";
import { button, redraw } from "./act.js";
import { manage } from "./vault.js";
import { kinds, many, ownLabel } from "./words.js";

/** Draws the list of what is still to be done; short once all of it is. */
export function drawChecklist(place, session) {
  const { status, log } = session;
  const backup = backupOf(session);
  const items = [
    ["Vault set up", true],
    ["A first key", status.counts.keys > 0, "Nothing to sign with yet.", () => button("first-key", "Create a key", async () => document.getElementById("new-label").focus())],
    ["A second way in", status.slots.length > 1, "If the only one is lost, so are the keys.", () => button("second-way", "Add a way in", () => manage(session), { label: "Add a way in: opens the enclave's dialog" })],
    ["Recovery phrase", status.recovery.enabled, "Twelve words on paper open the vault when all else fails.", () => button("phrase", "Set up the phrase", () => enable(session))],
    ["Backup file, up to date", backup.fresh, backup.text, () => (status.recovery.enabled
      ? button("first-backup", "Save a backup", () => save(session))
      : h("p", { class: "fine" }, "Needs the recovery phrase first."))],
  ];
  const done = items.filter(([, fulfilled]) => fulfilled).length;
  redraw(place, [items.map(([, fulfilled, text]) => [fulfilled, text]), status.recovery.enabled, log.complete], () => (done === items.length
    ? h("p", { class: "all-done" }, "All five steps are done: your vault is open to you, and you can get it back.")
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
  redraw(place, [status.slots, status.lock, status.recovery, backup.text], () => [
    h("div", { class: "care" },
      h("h3", {}, "Ways in"),
      h("ul", { class: "ways" }, status.slots.map((slot) => h("li", {},
        h("strong", {}, capital(kinds[slot.kind] ?? slot.kind)), ownLabel(slot) ? ` “${slot.label}”` : "", h("span", { class: "fine" }, " since ", time(slot.createdAt))))),
      h("p", { class: "actions" }, button("ways", "Change the ways in…", () => manage(session)))),
    h("div", { class: "care" },
      h("h3", {}, "Recovery phrase"),
      h("p", {}, enabled ? ["Set up ", time(createdAt), ". It opens this vault, and its backups on any device."] : "There is none. Without it, a lost passphrase or device means lost keys, and there can be no backup."),
      h("p", { class: "actions" }, enabled
        ? [button("check", "Check that I still have it", () => check(session)), button("renew", "Replace it…", () => enable(session))]
        : button("enable", "Set up the phrase", () => enable(session), { look: "primary" }))),
    h("div", { class: "care" },
      h("h3", {}, "Backup"),
      h("p", {}, backup.text),
      h("p", { class: "actions" }, enabled ? button("backup", "Save a backup…", () => save(session)) : null),
      h("p", { class: "fine" }, enabled
        ? "The file opens with the recovery phrase only. To restore it, this vault must be lost or deleted first: the first page then offers it."
        : "A backup is sealed with the recovery phrase, so that comes first.")),
  ]);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

async function enable(session) {
  await session.kms.recovery.enable();
  await session.refresh();
  return "The recovery phrase is set up. Save a backup next: only then can the keys move to another device.";
}

async function check(session) {
  await session.kms.recovery.check();
  await session.refresh();
  return "That is the phrase. Keep it where you found it.";
}

async function save(session) {
  const { keys } = await session.kms.backup.save();
  await session.refresh();
  return `A backup of ${many(keys, "key")} was handed to your browser. No page learns where it went: see that the file is where you want it.`;
}

/** The newest backup, as the enclave's log tells: a file that was saved, or one that this vault came from. */
function backupOf({ log, status }) {
  const last = log.entries.findLast(({ method, outcome }) => outcome === "ok" && (method === "backup.save" || method === "backup.restore"));
  if (!last) return { fresh: false, text: log.complete ? "None was saved yet. If this browser's storage goes, the keys are gone." : "None was saved lately." };
  const later = log.entries.filter(({ seq, method, outcome }) => seq > last.seq && outcome === "ok" && /^(keys\.|recovery\.enable|slots\.(add|remove|change))/.test(method));
  const keys = later.filter(({ method }) => method.startsWith("keys.")).length;
  if (later.length === 0) return { fresh: true, text: `The newest one is from ${when(last)} and has everything.` };
  return {
    fresh: false,
    text: keys > 0
      ? `The newest one is from ${when(last)}. Since then ${many(keys, "change")} to your keys ${keys === 1 ? "is" : "are"} not in it.`
      : `The newest one is from ${when(last)}, before the vault was secured anew. A new one is better.`,
  };
}

const when = ({ time: seconds }) => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(seconds * 1000));
