// The frame of a Go test: the same situation as the enclave's. Third-party, sandboxed, no
// network; its worker comes from a blob, and the module is handed in.
"use strict";
(() => {
  const text = WORKER_TEXT;
  window.addEventListener("message", (event) => {
    if (event.source !== window.parent) return;
    const [port] = event.ports;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const policy = window.trustedTypes?.createPolicy("enclave", { createScriptURL: (s) => s });
    const worker = new Worker(policy ? policy.createScriptURL(url) : url);
    worker.onmessage = ({ data }) => port.postMessage(data);
    worker.onerror = (e) => port.postMessage({ output: "worker: " + (e.message ?? "did not start") + "\n", exit: -1 });
    worker.postMessage(event.data, [event.data.module]);
  }, { once: true });
  window.parent.postMessage("frame ready", "*");
})();
