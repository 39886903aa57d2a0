// Runs a Go test binary in a dedicated worker. It is appended to Go's wasm_exec.js.
"use strict";
let ended = false;
// Timers and requests that the program left behind call back into what is no more.
self.addEventListener("error", (event) => ended && event.preventDefault());
self.onmessage = async ({ data: { module, args, env } }) => {
  const utf8 = new TextDecoder();
  globalThis.fs.writeSync = (_, bytes) => {
    postMessage({ output: utf8.decode(bytes, { stream: true }) });
    return bytes.length;
  };
  try {
    const go = new Go();
    let code = 0;
    go.argv = ["test", ...args];
    go.env = env;
    go.exit = (n) => { code = n; ended = true; };
    const { instance } = await WebAssembly.instantiate(module, go.importObject);
    await go.run(instance);
    postMessage({ exit: code });
  } catch (e) {
    postMessage({ output: "trap: " + (e?.stack ?? e) + "\n", exit: -1 });
  }
};
