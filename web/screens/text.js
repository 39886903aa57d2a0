// Words, and what is done to text that comes from somebody else.
//
// WORDS holds one object per language, from web/words. A text is a string with
// {placeholders}, or has the forms "one" and "other", of which the placeholder n
// chooses. Every key stands in these sources as a literal, whole or, where the
// rest of it is data, up to and with a dot; a test compares the two.

let tag; // of the language that is spoken; found at its first use

const baseOf = (tag) => tag.toLowerCase().split("-", 1)[0];

function languageTag() {
  tag ??= navigator.languages.find((each) => Object.hasOwn(WORDS, baseOf(each))) ?? "en";
  return tag;
}

function language() {
  return baseOf(languageTag());
}

// Whether there are words for what is not known beforehand, such as a method.
function speakable(key) {
  return Object.hasOwn(WORDS[language()], key);
}

function template(key, { n }) {
  const text = WORDS[language()][key];
  if (text === undefined) throw new Error("words: " + key);
  return typeof text === "string" ? text : text[new Intl.PluralRules(languageTag()).select(n)] ?? text.other;
}

// The text as a list of strings and of the nodes among the values.
function rich(key, values = {}) {
  const valueOf = (name) => (typeof values[name] === "number" ? new Intl.NumberFormat(languageTag()).format(values[name]) : values[name]);
  return template(key, values)
    .split(/\{([a-z]+)\}/)
    .map((piece, i) => (i % 2 === 1 ? valueOf(piece) : piece))
    .filter((piece) => piece !== "");
}

function say(key, values) {
  return rich(key, values).join("");
}

const formatted = (seconds, options) => new Intl.DateTimeFormat(languageTag(), options).format(new Date(seconds * 1000));
const moment = (seconds) => formatted(seconds, { dateStyle: "long", timeStyle: "short" });
const dayOf = (seconds) => formatted(seconds, { dateStyle: "full" });
const timeOf = (seconds) => formatted(seconds, { timeStyle: "short" });

// Text that somebody else chose, made safe to show: no control or formatting
// characters (which could reorder what is read), and bounded.
function printable(text, limit) {
  const clean = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
  return clean.length > limit ? clean.slice(0, limit) + "..." : clean;
}

// A passphrase in the one form that crosses to the worker, so that the same keys
// on another keyboard or system open the vault; undefined if it has none. After
// RFC 8265 section 4.2 (OpaqueString), with two differences: NFKC in place of NFC,
// because input methods differ in the width of letters, and no contextual rules.
//
//  1. Lone surrogates: refused.
//  2. Every space (Zs) becomes U+0020.
//  3. NFKC. Case, accents and emoji sequences stay as they are.
//  4. Control characters (Cc), private use (Co) and what this browser's Unicode does
//     not assign (Cn), whose normal form may change: refused.
//
// Nothing is trimmed. e2e/vectors/passphrases.json has examples for every rule.
function normalised(passphrase) {
  if (!passphrase.isWellFormed()) return undefined;
  const text = passphrase.replace(/\p{Zs}/gu, " ").normalize("NFKC");
  return /[\p{Cc}\p{Co}\p{Cn}]/u.test(text) ? undefined : text;
}

const codePoints = (text) => [...text].length;
const bytesIn = (text) => new TextEncoder().encode(text).length;

// The words of a phrase, whatever people put between them: line breaks, numbers, commas.
function wordsIn(text) {
  return text.normalize("NFKD").toLowerCase().split(/[^\p{L}\p{M}]+/u).filter(Boolean);
}
