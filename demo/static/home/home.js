// The first page: one vault, its keys, and what is to be done next. All that it says comes from the enclave.

import { byId } from "../dom.js";
import { act, say } from "./act.js";
import { Activity, summary } from "./activity.js";
import { drawCare, drawChecklist } from "./care.js";
import { Keys } from "./keys.js";
import { drawLevel } from "./level.js";
import { Notifications } from "./notifications.js";
import { drawVault, face } from "./vault.js";

const ofOpenVault = ["my-list", "my-keys", "my-activity", "my-care"];

export class Home {
  #session;
  #keys;
  #activity;
  #notifications;
  #state;

  constructor(session) {
    this.#session = session;
    this.#keys = new Keys(byId("my-keys-body"), session);
    this.#activity = new Activity(byId("my-activity-body"), session);
    this.#notifications = new Notifications(byId("my-push-body"), session);
    const destroy = byId("my-destroy");
    destroy.addEventListener("click", () => act(destroy, async () => {
      await session.ask((kms) => kms.vault.destroy());
      say(byId("my-vault").querySelector(":scope > .said"), "The vault and its keys are gone, here and in the enclave.", "good");
    }));
  }

  /** The enclave runs. */
  started(kms) {
    drawLevel(byId("my-level-body"), kms);
    byId("my-level").hidden = false;
  }

  /** Nothing can be used: says why, and hides the rest. */
  stopped(title, lead, ...more) {
    for (const id of [...ofOpenVault, "my-push", "my-danger", "my-level"]) byId(id).hidden = true;
    const body = byId("my-vault-body");
    delete body.dataset.shows;
    body.replaceChildren(face("alert", title, lead, "bad"), ...more);
  }

  draw() {
    const session = this.#session;
    const { status, open } = session;
    for (const id of ofOpenVault) byId(id).hidden = !open;
    byId("my-danger").hidden = status.state !== "unlocked" && status.state !== "locked";
    // What was said of another state holds no longer.
    if (this.#state !== status.state) for (const each of byId("home").querySelectorAll("section > .said")) say(each, null);
    drawVault(byId("my-vault-body"), session);
    if (this.#state !== undefined && this.#state !== status.state) greet();
    this.#state = status.state;
    this.#notifications.draw(); // they go on while the vault is locked
    if (!open) return;
    drawChecklist(byId("my-list-body"), session);
    this.#keys.draw();
    byId("my-activity-what").textContent = summary(session);
    this.#activity.draw();
    drawCare(byId("my-care-body"), session);
  }
}

/** Another state is what the reader should see first; also with the focus, if what had it is gone. */
function greet() {
  if (byId("home").hidden) return;
  scrollTo(0, 0);
  const { activeElement } = document;
  if (activeElement !== document.body && activeElement.checkVisibility()) return;
  byId("state").tabIndex = -1;
  byId("state").focus({ preventScroll: true });
}
