// The demo app: starts the enclave, wires both of its pages, and keeps them true to
// what the enclave has.

import { byId, h } from "./dom.js";
import { Home } from "./home/home.js";
import { url } from "./pin.js";
import { Session } from "./session.js";
import { failure, Step } from "./step.js";
import { audit } from "./steps/audit.js";
import { challenge, fresh } from "./steps/challenge.js";
import { keys, pair } from "./steps/keys.js";
import { launch, launched, refused } from "./steps/launch.js";
import { reach } from "./steps/reach.js";
import * as tokens from "./steps/tokens.js";
import { describe, destroy, vault } from "./steps/vault.js";
import { installable } from "./install.js";
import { views } from "./views.js";
import { alerts, levels, reasons, sentence } from "./words.js";

const session = new Session();
const home = new Home(session);
const steps = [launch, vault, keys, tokens.jwt, tokens.vapid, challenge, reach, audit, destroy].map((each) => new Step(each, session));
const [launchStep, vaultStep, keysStep] = steps;
const destroyStep = steps.at(-1);
const tour = steps.slice(1, -1); // what "run every step" runs: all but the start and the end

const welcome = byId("run-all-note").textContent;
let touring = false;

byId("map-app").textContent = location.host;
byId("map-enclave").textContent = new URL(url).host;
byId("challenge").querySelector('[name="data"]').value = fresh();
contents();
views();
installable(byId("install"));
session.addEventListener("change", update);
session.addEventListener("alert", ({ detail }) => alerted(detail));
session.addEventListener("closed", ({ detail }) => ended(detail));
byId("run-all").addEventListener("click", runAll);
document.addEventListener("visibilitychange", lookAgain);
start();

async function start() {
  pill("busy", "Starting the enclave…");
  const slow = setTimeout(() => { byId("launch-progress").textContent = "Still starting: fetching and compiling the enclave…"; }, 1500);
  try {
    await session.connect(byId("kms"));
  } catch (error) {
    pill("bad", "The enclave did not start");
    launchStep.fail(refused(error, reload));
    home.stopped("The enclave did not start", "So nothing of yours was opened, and nothing was changed.", ...refused(error, reload));
    return;
  } finally {
    clearTimeout(slow);
  }
  running(session.kms);
  try {
    await session.refresh();
  } catch (error) {
    if (session.kms) home.stopped("Your vault could not be read", "Nothing was changed. Reload the page to try again.", failure(error));
  }
}

const reload = () => location.reload();

/** The enclave runs; nothing is known of the vault yet. */
function running(kms) {
  home.started(kms);
  launchStep.settle(launched(kms));
  const level = levels[kms.launch.level] ?? levels.unpinned;
  const warned = kms.launch.warnings?.length > 0;
  pill(warned ? "warn" : level.tone, `Running · ${level.name.toLowerCase()}${warned ? ", with warnings" : ""}`);
  updateSteps();
}

let basis; // what the results on the page were made with: the key, "" for a vault without one, null without a vault

/** Brings every card up to date with the session. */
async function update() {
  const { status, signing, vapid } = session;
  document.body.dataset.vault = status.state;
  home.draw();
  const now = session.open ? signing?.kid ?? "" : null;
  if (now !== basis) {
    for (const step of steps.slice(2, -1)) step.clear();
    if (!touring) note(welcome); // what it said of the results holds no longer
  }
  basis = now;
  if (session.open) vaultStep.settle(describe(status));
  else if (vaultStep.state !== "failed" || status.state === "lost") {
    vaultStep.clear();
    vaultStep.show(describe(status));
  }
  if (signing && vapid && keysStep.state !== "done" && !keysStep.busy) {
    keysStep.settle([await pair(session), h("p", { class: "fine" }, "They were here already: made earlier, and used again without ever leaving.")]);
  }
  if (session.open && destroyStep.state === "done") destroyStep.clear();
  updateSteps();
}

/** What can be run now. */
function updateSteps() {
  for (const step of steps) step.update();
  byId("run-all").disabled = touring || !session.kms || !["absent", "unlocked"].includes(session.status?.state);
}

/** What was said of the tour holds no longer once a step was run by itself. */
function ran() {
  if (!touring && byId("run-all-note").dataset.stopped) note(welcome);
}

/** Another tab may have changed the vault while nobody looked at this one. */
function lookAgain() {
  if (document.visibilityState !== "visible" || !session.kms || steps.some(({ busy }) => busy)) return;
  session.refresh().catch(() => {
    // Nobody asked for anything just now; the next step that somebody runs says what is wrong.
  });
}

/** Runs the tour, stopping at the first step that does not work. */
async function runAll() {
  touring = true;
  updateSteps();
  const stopped = await firstToStop();
  touring = false;
  updateSteps();
  if (!stopped) {
    note("Done: every step below has its result. ", h("a", { href: "#launch" }, "Look at them"), ".");
    return;
  }
  note(`It stopped at “${stopped.title}”.`);
  byId("run-all-note").dataset.stopped = "true";
  stopped.card.scrollIntoView();
}

async function firstToStop() {
  for (const step of tour) {
    if (step.state === "done" && (step === vaultStep || step === keysStep)) continue;
    note(`${step.title}…`);
    if (!(await step.run())) return step;
  }
  return null;
}

/** What is said below the button that runs every step. */
function note(...content) {
  delete byId("run-all-note").dataset.stopped;
  byId("run-all-note").replaceChildren(...content);
}

/** The list of steps beside the cards, with each one's state. */
function contents() {
  byId("toc").append(...steps.map((step) => {
    const state = h("span", { class: "sr" });
    const item = h("li", {}, h("a", { href: `#${step.definition.id}` }, step.title, state));
    const show = () => {
      item.dataset.state = step.state;
      state.textContent = { done: " (done)", failed: " (failed)", waiting: " (not yet)" }[step.state] ?? "";
    };
    step.addEventListener("state", show);
    step.addEventListener("busy", () => byId("pulse").classList.toggle("running", steps.some(({ busy }) => busy)));
    step.addEventListener("ran", ran);
    show();
    return item;
  }));
}

function ended({ reason }) {
  updateSteps();
  pill("bad", "The enclave has stopped");
  const kept = session.status?.persistence === "session" ? "The vault was in memory only, and is gone." : "Your vault is where it was.";
  home.stopped("The enclave has stopped", `Reload the page to start it again. ${kept}`);
  banner("bad", `The enclave has stopped: ${reason}. Reload the page to start it again.`);
}

/** What the user should know. That the vault is lost its own section says. */
function alerted({ message, details }) {
  const reason = details?.reason;
  if (!reasons[reason]) banner("warn", alerts[reason] ?? sentence(message));
}

function pill(tone, text) {
  byId("pill").dataset.tone = tone;
  byId("pill-text").textContent = text;
}

function banner(tone, text) {
  byId("banners").append(h("p", { class: "banner", "data-tone": tone }, text));
}
