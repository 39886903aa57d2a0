import assert from "node:assert/strict";
import { test } from "node:test";
import { integrityOf, hexOf, integrityFromHex } from "../bytes.js";
import { auditCommand, isCommit, printable } from "../command.js";
import { SHAPES, SIDE, groupsOf, isMeasurement, pictureOf, rowsOf } from "../fingerprint.js";
import { parseRelease, pinOf } from "../pin.js";
import { lastSeen, noteSeen } from "../seen.js";
import { english, defineWords, fill, wordsFor } from "../status-words.js";
import { verdictOf } from "../verify.js";

const of = async (text) => hexOf(await integrityOf(new TextEncoder().encode(text)));
const measurement = await of("release 1");
const shapesOf = (text) => pictureOf(text).cells.map(({ shape }) => shape);

test("a measurement in groups and rows, nothing lost", () => {
  assert.equal(groupsOf(measurement).length, 24);
  assert.equal(groupsOf(measurement).join(""), measurement);
  assert.ok(groupsOf(measurement).every((group) => group.length === 4));
  assert.deepEqual(rowsOf(measurement).map(({ name }) => name), ["A", "B", "C", "D", "E", "F"]);
  assert.equal(rowsOf(measurement).flatMap(({ groups }) => groups).join(""), measurement);
  for (const bad of ["", measurement.slice(1), `${measurement}0`, measurement.toUpperCase(), `${measurement.slice(1)}\n`, `${measurement.slice(1)}g`, undefined, 7]) {
    assert.equal(isMeasurement(bad), false);
    assert.throws(() => groupsOf(bad), TypeError);
    assert.throws(() => pictureOf(bad), TypeError);
  }
});

test("the picture of a measurement is the same everywhere and for ever", () => {
  assert.deepEqual(pictureOf(measurement), pictureOf(`${measurement}`));
  const digits = "0123456789abcdef".repeat(6);
  const letter = { empty: ".", square: "#", disc: "o", diamond: "v", "arc-top-left": "1", "arc-top-right": "2", "arc-bottom-left": "3", "arc-bottom-right": "4" };
  const rows = shapesOf(`0f${digits.slice(2)}`).map((shape) => letter[shape]).join("").match(/.{8}/g);
  // Quarters one and three, and two and four, differ in the second digit only, by 1 ^ f. What is left
  // of the fold is 0000 1110 and zeros: the cells 000, 011, 100.
  assert.deepEqual(rows, [".v1..2v.", ...Array(7).fill("........")]);
});

test("the picture is symmetric, and every bit of the measurement is in its shapes", () => {
  const { cells } = pictureOf(measurement);
  assert.equal(cells.length, SIDE * SIDE);
  for (const { row, column, shape } of cells) {
    const other = cells[row * SIDE + SIDE - 1 - column].shape;
    assert.ok(SHAPES.includes(shape));
    assert.equal(other, shape.endsWith("left") ? shape.replace("left", "right") : shape.replace("right", "left"));
  }
  const before = shapesOf(measurement).join();
  for (let digit = 0; digit < 96; digit++) {
    for (const bit of [1, 2, 4, 8]) {
      const changed = (parseInt(measurement[digit], 16) ^ bit).toString(16);
      assert.notEqual(shapesOf(measurement.slice(0, digit) + changed + measurement.slice(digit + 1)).join(), before, `digit ${digit}, bit ${bit}`);
    }
  }
});

test("pictures of different releases differ in most of their cells", async () => {
  const first = shapesOf(measurement);
  for (let i = 2; i < 200; i++) {
    const other = shapesOf(await of(`release ${i}`));
    const different = first.filter((shape, at) => at % SIDE < SIDE / 2 && shape !== other[at]).length;
    assert.ok(different >= 16, `release ${i}: only ${different} of 32 cells differ`);
  }
});

test("the auditor's command holds nothing that a shell would take for more than a word", () => {
  const url = `https://kms.example/r/${measurement.slice(0, 32)}/kms.html`;
  const commit = "0123456789abcdef0123456789abcdef01234567";
  assert.deepEqual(auditCommand(url, commit), [`git checkout ${commit}`, "make enclave", `bin/enclave verify ${url} --rebuild .`]);
  for (const strange of ["unknown", "", undefined, "HEAD; rm -rf ~", `${commit}\n`, `$(${commit})`, commit.toUpperCase(), `--${commit.slice(2)}`]) {
    assert.equal(isCommit(strange), false);
    assert.deepEqual(auditCommand(url, strange), ["make enclave", `bin/enclave verify ${url} --rebuild .`]);
  }
  assert.deepEqual(auditCommand(url.replace("kms.example", "[::1]:8443")), ["make enclave", `bin/enclave verify '${url.replace("kms.example", "[::1]:8443")}' --rebuild .`]);
  for (const host of ["$(id).example", "a;b", "a&b", "a`b`", "a'b", "a b", "a!b", "a*b"]) {
    assert.deepEqual(auditCommand(url.replace("kms.example", host)), [], host);
    // Where the URL parser lets such a host pass, the grammar of the command does not.
  }
});

test("text that a host chose stays printable and short", () => {
  assert.equal(printable("v1.2.3"), "v1.2.3");
  assert.equal(printable("\u202e1\u0000\n<b>"), "?1??<b>");
  assert.equal(printable("x".repeat(100)).length, 64);
});

test("the release seen last, per enclave and account, in storage that may fail", () => {
  const items = new Map();
  const storage = { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => void items.set(key, value) };
  const origin = "https://kms.example";
  assert.equal(lastSeen(origin, "alice", storage), undefined);
  assert.equal(noteSeen(origin, "alice", { measurement, version: "1" }, storage), true);
  assert.equal(lastSeen(origin, "alice", storage).measurement, measurement);
  assert.equal(lastSeen(origin, "bob", storage), undefined);
  assert.equal(lastSeen("https://other.example", "alice", storage), undefined);
  for (const [key] of items) {
    for (const spoiled of ["", "null", "{", "7", JSON.stringify({ measurement: "x", version: "1", at: 1 }), JSON.stringify({ measurement, version: 1, at: 1 })]) {
      items.set(key, spoiled);
      assert.equal(lastSeen(origin, "alice", storage), undefined, spoiled);
    }
  }
  const refusing = { getItem() { throw new Error("SecurityError"); }, setItem() { throw new Error("QuotaExceededError"); } };
  assert.equal(lastSeen(origin, "alice", refusing), undefined);
  assert.equal(noteSeen(origin, "alice", { measurement, version: "1" }, refusing), false);
  assert.equal(noteSeen(origin, "alice", { measurement, version: "1" }, { setItem() {}, getItem: () => null }), false);
});

test("the pin of two hashes, and hexadecimal both ways", async () => {
  const wasm = await integrityOf(new TextEncoder().encode("wasm"));
  const pin = pinOf(measurement, wasm);
  assert.equal(pin.measurement, measurement);
  const url = `https://kms.example/r/${measurement.slice(0, 32)}/kms.html`;
  assert.deepEqual(parseRelease(url, { policy: pin.policy, wasm }).pinned, pin);
  assert.equal(hexOf(integrityFromHex(measurement)), measurement);
});

test("a verdict over nothing is not a match", () => {
  const checks = (changes = {}) => ["selfTest", "running", "page", "loader", "wasm", "enforcement"].map((name) => ({ name, by: "app", detail: "", outcome: changes[name] ?? "passed" }));
  assert.equal(verdictOf([]), "incomplete");
  assert.equal(verdictOf(checks()), "matched");
  assert.equal(verdictOf(checks({ enforcement: "unavailable" })), "matched");
  for (const { name } of checks()) {
    assert.equal(verdictOf(checks({ [name]: "failed" })), "mismatch", name);
    assert.equal(verdictOf(checks({ [name]: "unknown" })), "incomplete", name);
  }
  for (const name of ["page", "loader", "wasm"]) assert.equal(verdictOf(checks().filter((check) => check.name !== name)), "incomplete", `without ${name}`);
});

test("texts: an element's own before the language's before English", () => {
  defineWords("de", { verify: "Prüfen", copy: "Kopieren" });
  assert.deepEqual(wordsFor("en", {}), { texts: { ...english }, language: "en" });
  assert.equal(wordsFor("fr", {}).language, "en");
  assert.equal(wordsFor("de-AT", {}).texts.verify, "Prüfen");
  assert.equal(wordsFor("de-AT", {}).language, "de-AT");
  assert.equal(wordsFor("de", { verify: "Los" }).texts.verify, "Los");
  assert.equal(wordsFor("de", {}).texts.unpinned, english.unpinned);
  assert.equal(fill("{a} of {b}", { a: "{b}", b: 2 }), "{b} of 2");
  assert.equal(fill("{toString}", {}), "{toString}");
});
