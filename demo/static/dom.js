// Small helpers to build and change the page. Text is always text: nothing here
// takes HTML, so nothing that a key, a token or an error says can become markup.

/**
 * Makes an element. Attributes with the value false, null or undefined are left
 * out; children may be nodes, strings or nested arrays of them.
 *
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string | null | undefined | any[])} children
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an element of SVG; like {@link h}. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A list of facts, name beside value. Facts without a value are left out. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/**
 * A list of checks: passed, failed, or (null) not made. The outcome is also in
 * words, for those who do not see the mark.
 */
export function checks(items) {
  return h("ul", { class: "checks" }, items.map(([passed, ...text]) => {
    const [mark, word] = passed === null ? ["none", "Not checked: "] : passed ? ["yes", "Passed: "] : ["no", "Failed: "];
    return h("li", { "data-passed": mark }, h("span", {}, h("span", { class: "sr" }, word), text));
  }));
}

/**
 * A block of text that is there to be copied.
 *
 * @param {string} label what it is, as a noun
 * @param {string} text what is copied
 * @param {string | Node} [shown] what is seen
 */
export function copyable(label, text, shown = text) {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy: ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return h("div", { class: "copyable" },
    h("p", { class: "copy-head" }, h("span", {}, label), button),
    h("pre", { tabindex: "0", role: "group", "aria-label": label }, h("code", {}, shown)));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // the browser or the user said no
  }
}

/** Something to open when one wants to see more. */
export function more(summary, ...children) {
  return h("details", {}, h("summary", {}, summary), children);
}

/** Hexadecimal or base64url in short groups, so that eyes can hold on to them; copied as one word. */
export function groups(text, size) {
  const parts = text.match(new RegExp(`.{1,${size}}`, "g")) ?? [];
  return h("span", { class: "groups" }, parts.map((part) => h("span", {}, part)));
}

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Seconds since 1970, as this reader writes times. */
export const when = (seconds) => moments.format(new Date(seconds * 1000));

/** The same as an element. */
export const time = (seconds) => h("time", { datetime: new Date(seconds * 1000).toISOString() }, when(seconds));

/** Keeps a field from taking more than this many bytes of UTF-8, which is how the enclave counts; maxlength counts UTF-16. */
export function limitBytes(field, most) {
  field.addEventListener("input", () => {
    const over = new TextEncoder().encode(field.value).length - most;
    field.setCustomValidity(over > 0 ? `Too long by ${over} ${over === 1 ? "byte" : "bytes"}: ${most} are allowed.` : "");
  });
  return field;
}
