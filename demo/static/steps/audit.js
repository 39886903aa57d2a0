// Step: the log of what happened, checked here and taken away as a file.

import { checks, copyable, groups, h, time } from "../dom.js";
import { exportLog } from "../log.js";
import { picture } from "../picture.js";
import { needsVault } from "../step.js";

const shown = 50; // newest entries on the page; the file has them all

export const audit = {
  id: "audit",

  needs: needsVault,

  async run(session, form, action) {
    return action === "download" ? { extra: await download(session), done: false } : { show: await log(session) };
  },
};

async function log({ kms }) {
  const head = await kms.audit.head();
  const from = Math.max(0, head.size - shown);
  const { entries, size } = await kms.audit.entries({ from, limit: shown });
  const verdict = await kms.audit.verify();
  return [
    checks([[verdict.valid, verdict.valid
      ? `${verdict.size === 1 ? "The one entry is" : `All ${verdict.size} entries are`} in place, in order, and ${verdict.size === 1 ? "makes" : "make"} up the head below.`
      : `The log is broken at entry ${verdict.firstBad ?? "?"}: ${verdict.reason ?? "no reason given"}`]]),
    h("p", { class: "label" }, "Head of the log"),
    h("p", { class: "mono kid" }, groups(standard(verdict.root), 4)),
    table(entries.toReversed()),
    h("p", { class: "fine" }, size > entries.length ? `The newest ${entries.length} of ${size}. The file has them all.` : "Newest first.",
      " This is the log as it was at ", clock(), "; read it again after the next signature."),
  ];
}

/** Base64 as RFC 4648 section 4 has it: the head as checkpoints and the command show it, to compare by eye. */
const standard = (root) => root.replaceAll("-", "+").replaceAll("_", "/").padEnd(Math.ceil(root.length / 4) * 4, "=");

const clock = () => new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }).format(new Date());

function table(entries) {
  const columns = ["No.", "When", "What", "Key", "Outcome"];
  // The roles are said, because on narrow screens the style takes the table apart.
  return h("div", { class: "scroll log", tabindex: "0", role: "region", "aria-label": "Log entries" }, h("table", { role: "table" },
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", { role: "rowgroup" }, entries.map((entry) => h("tr", { role: "row" }, cells(entry).map((cell, i) =>
      h("td", { role: "cell", class: i === 0 ? "number" : null, "data-column": columns[i] }, cell)))))));
}

const cells = ({ seq, time: seconds, method, kid, outcome }) => [
  seq,
  time(seconds),
  h("code", {}, method),
  kid ? keyName(kid) : "–",
  h("span", { class: "tag", "data-tone": outcome === "ok" ? "good" : "warn" }, outcome),
];

/** A key as one row has room for it: its picture and the beginning of its thumbprint. */
function keyName(kid) {
  const image = picture(kid);
  image.setAttribute("aria-hidden", "true");
  return h("span", { class: "key-name", title: kid }, image, h("code", {}, `${kid.slice(0, 8)}…`));
}

async function download({ kms }) {
  const { name, command } = await exportLog(kms);
  return [
    h("p", {}, "Handed to your browser as ", h("code", {}, name), ". In the project's directory, with the path your browser saved it under:"),
    copyable("Command", command),
    h("p", { class: "fine" }, h("code", {}, "make enclave"), " builds the command. It shows the same root as the head above, if you read the log after your last signature."),
  ];
}
