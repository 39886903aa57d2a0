import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { View } from "../dialog.js";
import { install } from "./dom.js";
import { turns } from "./standins.js";

let view, button;

beforeEach(() => {
  install();
  view = new View({ page: "https://kms.example/r/0/kms.html" }, document.body);
  button = document.createElement("button");
  document.body.append(button);
  button.focus();
});

test("the focus goes to the frame, and back to what had it", () => {
  view.show(true);
  assert.equal(view.dialog.open, true);
  assert.equal(document.activeElement, view.iframe);
  view.show(false);
  assert.equal(document.activeElement, button);
});

test("a dialog that the browser closes by force is shown again, and the focus still finds its way back", async () => {
  view.show(true);
  for (let i = 0; i < 2; i += 1) {
    view.dialog.close(); // the browser's doing
    await turns(2);
    assert.equal(view.dialog.open, true);
    assert.equal(document.activeElement, view.iframe);
  }
  view.show(false);
  await turns(2);
  assert.equal(view.dialog.open, false);
  assert.equal(document.activeElement, button);
});

test("what had the focus may be gone by then", () => {
  view.show(true);
  button.remove();
  view.show(false);
  assert.equal(document.activeElement, document.body);
});

test("Escape is the enclave's to answer; removing takes the frame with it", () => {
  const cancel = new Event("cancel", { cancelable: true });
  view.dialog.dispatchEvent(cancel);
  assert.equal(cancel.defaultPrevented, true);
  view.show(true);
  view.remove();
  assert.equal(view.iframe.isConnected, false);
  assert.equal(document.activeElement, button);
});

test("a dialog of many screens is shown once and hidden once", () => {
  let shown = 0;
  const showModal = view.dialog.showModal;
  view.dialog.showModal = function () {
    shown += 1;
    showModal.call(this);
  };
  for (let i = 0; i < 3; i += 1) view.show(true);
  view.show(false);
  view.show(false);
  assert.equal(shown, 1);
  assert.equal(document.activeElement, button);
});
