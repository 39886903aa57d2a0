// The floor: a plain-JavaScript key service of the enclave's shape. A third-party frame starts a
// dedicated worker and hands it the app's port; the worker holds a non-extractable key, signs, and
// writes one record with strict durability before it answers. No policy, no log, no sealing.
"use strict";

addEventListener("message", (event) => {
  const worker = new Worker("worker.js");
  worker.postMessage(null, [event.ports[0]]);
}, { once: true });
parent.postMessage("ready", "*");
