// Notifications: which relays may send them, what each did with that, and how to stop one.
//
// All of it is the SDK's push.js; here are the buttons and the words. Nothing that is shown is this page's own
// memory: the enclave, the relay and the service worker are asked.

import { byId, facts, h, time, when } from "../dom.js";
import { offered, without } from "../relays.js";
import { button, redraw, say } from "./act.js";
import { handOver, outcomeOf } from "./friend.js";
import { alertOf, endedWords, problemOf, unfinished, worded } from "./notification-words.js";
import { many } from "./words.js";

const HOURS = 12;
const CONTACT = "mailto:push@example.com";
const DELAY_SECONDS = 10; // enough to close the page
const SLOW_MS = 4000; // until it is said what is waited for
const LATER_MS = 300; // several events are one look

const supported = () => "serviceWorker" in navigator && "PushManager" in globalThis && "Notification" in globalThis;

/** Whether the user lets this app show notifications; asks, if nobody has yet. Call it from a click. */
async function permitted() {
  const answer = Notification.permission === "granted" ? "granted" : await Notification.requestPermission();
  if (answer === "granted") return;
  const words = answer === "denied"
    ? "Your browser does not let this app show notifications. Open the site settings beside the address, allow notifications there, and press the button again."
    : "The browser's question was not answered, so nothing was changed. Press the button to be asked again.";
  throw Object.assign(new Error(words), { code: "denied", inWords: words });
}

/** Where a relay's service worker is registered: its subscription is at home there, and no other. */
const scopeOf = (origin) => `/push/${new URL(origin).host.replace(/[^a-z0-9]+/gi, "-")}/`;

/** The section of the notifications. */
export class Notifications {
  #session;
  #body;
  #list = h("ul", { class: "pair", id: "relays" });
  #cards = new Map(); // by the relay's origin
  #looking;
  #again = false;
  #timer;
  #sdk;
  #kms; // whose stashes were looked after

  constructor(place, session) {
    this.#session = session;
    this.#body = place;
    const why = this.#whyNot();
    if (why) place.append(h("p", { class: "empty", id: "push-none" }, why));
    else place.append(this.#list);
    if (why) return;
    this.#sdk = import("../sdk/push.js");
    this.#sdk.catch(() => place.replaceChildren(h("p", { class: "empty", id: "push-none" }, "The SDK that this demo was started with has no part for push messages.")));
    navigator.serviceWorker.addEventListener("message", ({ data }) => {
      if (data?.kmsPush === "click") byId("my-push").scrollIntoView();
    });
    session.addEventListener("closed", () => this.#forget());
  }

  /** Why there are none here, in words. */
  #whyNot() {
    if (offered.length === 0) return `There is no relay to choose: ${without}. Everything else works without.`;
    if (!supported()) return "This browser has no push messages for web apps, so nothing can reach you here while the app is closed. Chrome, Edge and Firefox have them, and Safari once the app is on the home screen or in the Dock. Everything else works without.";
    return undefined;
  }

  draw() {
    const { open } = this.#session;
    byId("my-push").hidden = !open && ![...this.#cards.values()].some(({ relay }) => relay);
    if (this.#sdk) this.look();
  }

  /** Asks everybody anew; once, however often it is called meanwhile. */
  look() {
    if (this.#looking) this.#again = true;
    else this.#looking = this.#look().catch((error) => this.#failed(error)).finally(() => {
      this.#looking = undefined;
      if (this.#again) this.look();
      this.#again = false;
    });
  }

  async #look() {
    const { kms, status } = this.#session;
    if (!kms || (status?.state !== "unlocked" && status?.state !== "locked")) return this.#forget();
    const { relays } = await this.#sdk;
    const allowed = new Map((await relays(kms)).map((relay) => [relay.relay, relay]));
    const offers = [...offered, ...[...allowed.keys()].filter((origin) => !offered.some((each) => each.origin === origin)).map((origin) => ({ name: "A relay from before", origin }))];
    for (const [i, offer] of offers.entries()) {
      if (!this.#cards.has(offer.origin)) this.#cards.set(offer.origin, new Card(this, offer, i + 1));
      await this.#cards.get(offer.origin).takes(allowed.get(offer.origin));
    }
    const nodes = offers.map(({ origin }) => this.#cards.get(origin).node);
    if (nodes.some((node, i) => this.#list.children[i] !== node) || this.#list.children.length !== nodes.length) this.#list.replaceChildren(...nodes);
    byId("my-push").hidden = !this.#session.open && allowed.size === 0;
    await Promise.all(offers.map(({ origin }) => this.#cards.get(origin).asks(kms)));
    if (this.#kms !== kms) await this.#opened(kms);
  }

  /** The app was opened: whoever runs low gets a fresh stash. */
  async #opened(kms) {
    this.#kms = kms;
    await Promise.all([...this.#cards.values()].map((card) => card.renews()));
  }

  /** Looks in a moment. */
  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), LATER_MS);
  }

  #forget() {
    for (const card of this.#cards.values()) card.ends();
    this.#cards.clear();
    this.#list.replaceChildren();
  }

  #failed(error) {
    console.error(error);
    say(this.#body.closest("[data-says]").querySelector(":scope > .said"), worded(error).inWords ?? "What the relays may do could not be read.", "bad");
  }

  get open() {
    return this.#session.open;
  }

  /** Has the user allow a relay, in the enclave's dialog. */
  async allow({ origin, name }, place) {
    await permitted();
    const { allowRelay } = await this.#sdk;
    const slow = setTimeout(() => {
      if (!document.querySelector("dialog:modal")) say(place, "Still at it: your browser's push service is asked for an address at which you can be reached, and the relay is told.");
    }, SLOW_MS);
    try {
      await this.#ask((kms) => allowRelay(kms, { relay: origin, worker: "/push-worker.js", scope: scopeOf(origin), contact: CONTACT, lifeSeconds: HOURS * 3600 }));
    } finally {
      clearTimeout(slow);
    }
    return `${name} may notify you for ${HOURS} hours. It was given tokens, and no key. Try it with a test message.`;
  }

  async stop(relay, name) {
    const { left, forgotten } = await this.#ask(() => relay.revoke());
    const rest = left.length > 0 ? ` Not done yet: ${unfinished(left)}. It is tried again when you open this app.` : "";
    return `${name} is stopped. Its key and its subscription are gone, so every token that is still about is worthless. No other relay was touched.${forgotten ? "" : " It could not be told to forget you, and can do nothing with what it remembers."}${rest}`;
  }

  async resubscribe(relay, name) {
    await permitted();
    await this.#ask(() => relay.resubscribe());
    return `${name} can reach you again.`;
  }

  async extend(relay, name) {
    await this.#ask(() => relay.renew({ lease: true }));
    return `${name} may notify you for another ${HOURS} hours.`;
  }

  /** Work that may ask the user; the session draws everything anew after it. */
  async #ask(work) {
    return await this.#session.ask(work).catch((error) => { throw worded(error); });
  }
}

/** One relay. Its card stays the same element, so that what it said stays. */
class Card {
  node;
  relay; // the SDK's, while it is allowed
  #status;
  #section;
  #offer;
  #n;
  #body = h("div", { class: "relay" });
  #said = h("div", { class: "said", role: "status" });
  #watch;
  #awaited = false; // a test message was asked for, and has not come yet

  constructor(section, offer, n) {
    this.#section = section;
    this.#offer = offer;
    this.#n = n;
    this.node = h("li", { class: "key", id: `relay-${n}`, "data-says": "", "aria-labelledby": `relay-name-${n}` }, this.#body, this.#said);
  }

  /** Whether it is allowed is known; nobody was asked more yet. */
  takes(relay) {
    if (this.relay?.id !== relay?.id) {
      this.#status = undefined;
      this.relay = relay;
      this.#watches();
    }
    this.relay = relay;
    if (!relay || !this.#status) this.#draw();
  }

  /** Asks the enclave, the relay and the service worker. */
  async asks() {
    if (!this.relay) return;
    const relay = this.relay;
    const status = await relay.status();
    if (this.relay !== relay) return;
    this.#status = status;
    this.#draw();
  }

  async renews() {
    if (!this.#status?.advice.includes("renew")) return;
    await this.relay.renew().catch((error) => console.warn("the stash was not renewed:", error));
    this.#section.soon();
  }

  /** Hears what happens, from now on. What was watched before has ended where the relay had forgotten it. */
  #watches() {
    this.ends();
    this.#watch = this.relay?.watch((event) => this.#heard(event));
  }

  async #connectsAgain() {
    const said = await this.#section.resubscribe(this.relay, this.#offer.name);
    this.#watches();
    return said;
  }

  ends() {
    this.#watch?.stop();
    this.#watch = undefined;
  }

  #heard({ type }) {
    if (type === "arrived" && this.#awaited) {
      this.#awaited = false;
      say(this.#said, "The message has arrived: your browser shows it.", "good");
    }
    if (type !== "problem") this.#section.soon();
  }

  #draw() {
    const status = this.relay && this.#status;
    const { sent } = status?.relay ?? {};
    const { arrived } = status?.arrivals ?? {};
    Object.assign(this.node.dataset, { state: this.#state(), sent: sent ?? "", arrived: arrived ?? "", alerts: status?.arrivals.alerts.length ?? 0 });
    redraw(this.#body, [this.node.dataset.state, this.#section.open, status], () => [
      h("div", { class: "relay-head" }, h("h3", { id: `relay-name-${this.#n}` }, this.#offer.name), this.#tag(), h("p", { class: "fine mono" }, new URL(this.#offer.origin).host)),
      this.relay ? this.#allowed(status) : this.#notAllowed(),
    ]);
  }

  #state() {
    if (!this.relay) return "none";
    if (!this.#status) return "asking";
    if (this.#status.leaseUntil * 1000 <= Date.now()) return "ended";
    return endedWords(this.#status) ? "broken" : "allowed";
  }

  #tag() {
    const [tone, text] = {
      none: ["plain", "Not allowed"], asking: ["plain", "Allowed"], ended: ["warn", "Time is over"], broken: ["warn", "Interrupted"], allowed: ["good", "Allowed"],
    }[this.#state()];
    return h("span", { class: "tag", "data-tone": tone }, text);
  }

  #notAllowed() {
    return [
      h("p", { class: "fine" }, "It can send you nothing. If you allow it, it gets tokens that end by themselves, and no key; you can stop it at any time."),
      h("p", { class: "actions" }, this.#button("allow", `Allow for ${HOURS} hours…`, () => this.#section.allow(this.#offer, this.#said), "primary")),
    ];
  }

  #allowed(status) {
    if (!status) return h("p", { class: "progress" }, h("span", { class: "spinner", "aria-hidden": "true" }), "Asking the relay…");
    const { lease, leaseUntil, relay, problem, arrivals, advice, outstanding } = status;
    const { name } = this.#offer;
    const broken = endedWords(status);
    const over = this.#state() === "ended";
    return [
      facts([
        [over ? "Ended" : "Until", time(leaseUntil)],
        ["Tokens", tokensOf(lease, relay, leaseUntil)],
        ["Messages", relay && h("span", {}, h("strong", {}, `${relay.sent} sent, ${arrivals.arrived} arrived`), [relay.queued > 0 && `, ${relay.queued} waiting`, relay.failed > 0 && `, ${relay.failed} failed`, outstanding > 0 && `. ${many(outstanding, "message")} on the way, or expired`].filter(Boolean).join(""))],
        ["Last one", arrivals.last ? time(arrivals.last / 1000) : "None yet"],
      ]),
      problem && !broken ? h("p", { class: "notice", "data-tone": "warn" }, problemOf(problem)) : null,
      broken ? h("p", { class: "notice", "data-tone": "warn" }, broken) : null,
      arrivals.alerts.length > 0 ? this.#alerts(arrivals.alerts) : null,
      h("p", { class: "actions" },
        over || broken ? this.#button("again", over ? `Allow for ${HOURS} more hours…` : "Connect again", () => this.#connectsAgain(), "primary") : this.#button("test", "Send a test message", () => this.#test(), "primary"),
        advice.includes("renew-lease") ? this.#button("extend", `Allow for ${HOURS} more hours…`, () => this.#section.extend(this.relay, name)) : null,
        this.#button("stop", "Stop…", () => this.#section.stop(this.relay, name), "danger")),
    ];
  }

  #alerts(alerts) {
    return h("div", { class: "notice", "data-tone": "bad" },
      h("ul", {}, alerts.map((alert) => h("li", {}, alertOf(alert), " ", h("span", { class: "fine" }, "Last ", time(alert.last / 1000), ".")))),
      h("p", { class: "fine" }, "If you do not know why, stop this relay."),
      h("p", { class: "actions" }, this.#button("seen", "I have seen it", async () => {
        await this.relay.noteAlerts();
        this.#section.soon();
      })));
  }

  /** Has a friend's server send a message later, so that the app can be closed before it comes. */
  async #test() {
    const { name } = this.#offer;
    const { url, token } = await this.relay.sendToken({ ttlSeconds: 600 }).catch((error) => { throw worded(error); });
    const message = JSON.stringify({ title: name, body: `A test message, asked for at ${when(Date.now() / 1000)}.` });
    const id = await handOver({ url, token, message, delaySeconds: DELAY_SECONDS });
    this.#awaited = true;
    void outcomeOf(id, DELAY_SECONDS).then((wrong) => wrong && say(this.#said, wrong, "bad"));
    return "In ten seconds, so that you can close this page. A friend's server, which this demo plays, has the message, and a token to send you messages for ten minutes.";
  }

  #button(what, text, work, look) {
    return button(`${what}-${this.#n}`, text, work, { look, label: `${text.replace(/…$/, "")}: ${this.#offer.name}` });
  }
}

const CLOSE_SECONDS = 60; // times that are one to a person

function tokensOf(lease, relay, leaseUntil) {
  const { left, until } = relay?.tokens ?? {};
  const earlier = left > 0 && leaseUntil - until > CLOSE_SECONDS ? `, until ${when(until)}` : "";
  return [
    lease && `${lease.pushTokens} given so far`,
    relay && (left > 0 ? `${left} can still be used${earlier}` : "none can be used"),
    lease?.refused > 0 && `${many(lease.refused, "request")} refused`,
  ].filter(Boolean).join("; ");
}
