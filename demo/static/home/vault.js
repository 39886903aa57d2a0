// The state of the vault in one sentence, with what to do next.

import { facts, h, svg, time } from "../dom.js";
import { durabilities, reasons } from "../words.js";
import { button, redraw } from "./act.js";
import { duration, lockedBecause, locks, many } from "./words.js";

/** Draws the section that greets. */
export function drawVault(place, session) {
  const { status, why } = session;
  const shown = status.state === "unlocked" ? status : { state: status.state, reason: status.reason, persistence: status.persistence, why };
  redraw(place, { ...shown, counts: { keys: status.counts?.keys } }, () => (faces[status.state] ?? faces.locked)(session));
}

const faces = {
  absent: (session) => [
    face("key", "Set up your vault", "A vault keeps your keys for this app. The app can ask for signatures; it never sees a private key, or what you type to open the vault."),
    form(session, "setup", [
      ["setup-go", "Set up your vault", "primary", async (choice) => {
        await session.ask((kms) => kms.vault.create(choice));
        return "Your vault is ready. “Safe to rely on?” lists what is left to do.";
      }],
      ["restore-go", "Restore from a backup", "", (choice) => restore(session, choice)],
    ]),
    h("p", { class: "fine" }, "The enclave asks for the rest in a dialog of its own. This page cannot see or press anything in it."),
  ],

  locked: (session) => [
    face("lock", "Your vault is locked", lockedBecause[session.why] ?? lockedBecause.start),
    h("p", { class: "actions" }, button("unlock", "Unlock", async () => {
      await session.ask((kms) => kms.vault.unlock());
    }, { look: "primary big" })),
    h("p", { class: "fine" }, "Forgot the passphrase? The enclave's dialog also takes your recovery phrase, if you have one."),
  ],

  lost: (session) => {
    const { reason } = session.status;
    const gone = reason === "marker-without-vault";
    const { kept, at } = session.mirror;
    const copy = gone && kept;
    return [
      face("alert", copy ? "Your vault can come back" : "Your vault is lost", reasons[reason] ?? "The enclave cannot open what this app remembers.", "bad"),
      copy ? h("p", {}, "This app has kept a sealed copy, which it cannot read itself. It is of ", time(at), ". A passphrase or passkey of the vault opens it, or the recovery phrase.") : null,
      copy ? h("p", { class: "actions" }, button("return", "Bring it back", () => comeBack(session), { look: "primary big" })) : null,
      h("p", {}, copy
        ? "If that does not work, a backup file and the recovery phrase bring it back, too:"
        : gone
        ? "A backup file and your recovery phrase bring the keys back. Without them the keys are gone for good: tell whoever relies on them. This is not the same as never having had a vault, so nothing new is set up here by itself."
        : "A backup cannot be restored beside it. Clear what is left first; then this page offers to restore."),
      gone ? form(session, "restore", [["restore-go", "Restore from a backup", copy ? "" : "primary", (choice) => restore(session, choice)]]) : null,
      h("p", { class: "actions" }, button("clear", copy ? "Delete it, and the copy…" : "Clear what is left…", async () => {
        await session.ask((kms) => kms.vault.destroy());
        return "What was left is gone. You can set up a new vault, or restore any backup.";
      }, { look: "danger" })),
      gone ? h("p", { class: "fine" }, "The backup has to be as new as the vault was when this app last saw it, so that nobody passes off an old one. If you have an older one only, clear what is left first; then it is accepted.") : null,
    ];
  },

  unlocked: (session) => {
    const { status } = session;
    const others = status.slots.length - 1;
    const [lasts, meaning] = durabilities[status.durability] ?? [status.durability, ""];
    return [
      face("open", "Your vault is open", [`It holds ${many(status.counts.keys, "key")}.`, locks[status.lock], others > 0 && status.lock !== "none" ? `There ${others === 1 ? "is" : "are"} ${many(others, "other way", "other ways")} in.` : null].filter(Boolean).join(" "), "good"),
      facts([
        ["Locks itself", status.lock === "none" ? "Never: it has no lock." : status.idleSeconds ? `After ${duration(status.idleSeconds)} without use, and when you leave` : "When you leave"],
        ["Lasts", h("span", {}, h("strong", {}, lasts), `. ${meaning}`)],
        ["If it is cleared", status.persistence === "session" ? null : returns(status)],
        ["Set up", status.createdAt ? time(status.createdAt) : null],
      ]),
      h("p", { class: "actions" },
        status.lock === "none"
          ? button("protect", "Protect it with a lock", () => manage(session), { look: "primary" })
          : button("lock", "Lock now", async () => {
            await session.ask((kms) => kms.vault.lock());
          })),
    ];
  },
};

async function restore(session, choice) {
  const { counts } = await session.ask((kms) => kms.backup.restore(choice));
  return `Welcome back: ${many(counts.keys, "key")} restored. If keys were replaced or revoked after that backup, this vault does not know it.`;
}

async function comeBack(session) {
  const { counts } = await session.ask((kms) => kms.mirror.restore());
  return `Welcome back: your vault is open again, with ${many(counts.keys, "key")}.`;
}

/** Has the user change the ways in, in the enclave's dialog. */
export async function manage(session) {
  const shown = ({ slots, recovery }) => JSON.stringify([slots, recovery]);
  const before = shown(session.status);
  const after = shown(await session.ask((kms) => kms.slots.manage()));
  return after === before ? undefined : "The ways into your vault were changed.";
}

/** What becomes of the vault if the browser clears its storage. */
function returns({ lock, recovery }) {
  if (lock === "none" && !recovery.enabled) return "It is gone: only this device opens it. Protect it, or set up a recovery phrase, and this app keeps a sealed copy.";
  return "It comes back from a sealed copy in this app, which a passphrase or passkey of the vault opens, or the recovery phrase.";
}

const passkeys = () => typeof PublicKeyCredential === "function";

const choices = [
  ["passphrase", "With a passphrase", "You type it each time. Six random words, which the dialog suggests, are strong."],
  ["passkey", "With a passkey", "Your fingerprint, face, PIN or security key. Nothing to remember, nothing to type."],
  ["none", "By itself, on this device", "No question asked. Fine to try things out: whoever uses this browser can use the keys, and if it clears its storage they are gone."],
];

/**
 * The choices for a vault that is to be made.
 *
 * @param {[id: string, text: string, look: string, work: (choice) => Promise<any>][]} buttons
 */
function form(session, name, buttons) {
  const radios = choices.map(([value, title, note], i) => {
    const missing = value === "passkey" && !passkeys();
    return h("label", { class: "choice" }, h("input", { type: "radio", name: "lock", value, checked: i === 0, disabled: missing }),
      h("span", {}, h("strong", {}, title), h("small", {}, missing ? "This browser has no passkeys for embedded pages." : note)));
  });
  const node = h("form", { id: `${name}-form`, class: "setup" },
    h("fieldset", { class: "choices three" }, h("legend", {}, "How do you want to open it?"), radios),
    h("div", { class: "fields" },
      h("label", {}, "Kept", h("select", { name: "persistence", id: `${name}-persistence` },
        h("option", { value: "device" }, "On this device"), h("option", { value: "session" }, "Only in memory"))),
      h("label", {}, "Locks itself after", h("select", { name: "idle", id: `${name}-idle` },
        [[300, "5 minutes"], [900, "15 minutes"], [3600, "1 hour"], [28800, "8 hours"]].map(([seconds, text]) => h("option", { value: seconds, selected: seconds === 900 }, text, " without use"))))),
    h("p", { class: "actions" }, buttons.map(([id, text, look, work]) => button(id, text, () => work(choiceOf(node)), { look }))));
  const idle = node.querySelector("[name=idle]");
  node.addEventListener("change", () => { idle.disabled = node.querySelector("[name=lock]:checked").value === "none"; });
  node.addEventListener("submit", (event) => {
    event.preventDefault(); // Enter in a form: what its first button does
    node.querySelector("button").click();
  });
  return node;
}

function choiceOf(node) {
  const lock = node.querySelector("[name=lock]:checked").value;
  const idleSeconds = Number(node.querySelector("[name=idle]").value);
  return { persistence: node.querySelector("[name=persistence]").value, lock, ...(lock === "none" ? {} : { idleSeconds }) };
}

/** The state in one sentence. */
export function face(icon, title, sentence, tone = "plain") {
  return h("div", { class: "face", "data-tone": tone }, badge(icon),
    h("div", {}, h("h1", { id: "state" }, title), h("p", { class: "lead" }, sentence)));
}

const paths = {
  key: ["M15.5 4a4.5 4.5 0 1 1-1.9 8.6L12 14.2h-2v2H8v2H6V20H3v-3l7.4-7.4A4.5 4.5 0 0 1 15.5 4z", "M16.5 7.5h.01"],
  lock: ["M6 11h12v9H6z", "M9 11V8a3 3 0 0 1 6 0v3"],
  open: ["M6 11h12v9H6z", "M9 11V7a3 3 0 0 1 5.8-1"],
  alert: ["M12 4 3 20h18z", "M12 10v4", "M12 17h.01"],
};

function badge(icon) {
  return h("span", { class: "face-icon" }, svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, paths[icon].map((d) => svg("path", { d }))));
}
