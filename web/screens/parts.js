// What the screens are made of. Text goes in as text: nothing here parses markup.

function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function paragraph(key, values) {
  return element("p", {}, ...rich(key, values));
}

function quiet(key, values) {
  return element("p", { className: "quiet" }, ...rich(key, values));
}

// What must not be missed.
function warning(key, values) {
  return element("p", { className: "problem" }, ...rich(key, values));
}

// Words of the app or of the user: apart from ours, whatever direction they are written in.
function theirs(text, limit = 100) {
  return element("bdi", {}, printable(text, limit));
}

// act is called for clicks that a person made; look is a class.
function button(id, key, act, look = "") {
  const onclick = (event) => event.isTrusted && act();
  return Object.assign(element("button", { id, type: "button", className: look, onclick }, say(key)), { act });
}

function buttons(...nodes) {
  return element("div", { className: "buttons" }, ...nodes);
}

// A list of facts: pairs of a key and a text. What is undefined is left out.
function facts(...pairs) {
  const known = pairs.filter(([, text]) => text !== undefined);
  return element("dl", {}, ...known.flatMap(([key, text]) => [element("dt", {}, say(key)), element("dd", {}, theirs(String(text), 300))]));
}

function appFacts({ origin, account }) {
  return [["fact.app", origin], ["fact.account", account || say("fact.nameless")]];
}

// What vaults of before named a device or a passphrase by themselves, in English: it says no more than the kind.
const STORED_NAMES = ["This browser", "Passphrase"];

// The name that somebody gave to a way in; empty if nobody did.
const nameOfWay = ({ label }) => (STORED_NAMES.includes(label) ? "" : label);

// What begins a key's id is enough to tell keys apart, four by four.
const shortKid = (kid) => (kid.slice(0, 12).match(/.{1,4}/g) ?? []).join(" ");

// A field with its label, and a place for what is said of it.
function field(id, label, properties = {}, ...below) {
  const input = element(properties.rows ? "textarea" : "input", {
    id, autocomplete: "off", autocapitalize: "none", spellcheck: false, "aria-describedby": "problem", ...properties,
  });
  const node = element("div", { className: "field" }, element("label", { htmlFor: id }, ...label), input, ...below);
  return { node, input };
}

// Fields for a secret, with one button that shows and hides what is in them.
function secretFields(stage, ...fields) {
  const toggle = button("show", "common.show", () => {
    const hidden = fields[0].input.type === "password";
    for (const { input } of fields) input.type = hidden ? "text" : "password";
    toggle.textContent = say(hidden ? "common.hide" : "common.show");
  }, "small");
  for (const { input } of fields) {
    input.type = "password";
    stage.secret(input);
  }
  return toggle;
}

// Enter in a field does what the button does, if that may be pressed.
function enterPresses(input, target) {
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.isTrusted) return;
    event.preventDefault();
    if (!target.disabled) target.act();
  });
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const base64Of = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
