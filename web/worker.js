// The worker's glue. It stands behind wasm_exec.js, which defines Go, in the
// text that the loader starts. This is the only place that compiles WebAssembly:
// the bytes come from the app, and run only if they are those that the measured
// loader names.

(() => {
  const MAX_MESSAGE = 1 << 20; // bytes in a request, at least one per UTF-16 code unit

  // What Go told us to call; see package host.
  let onAnswer = () => {};

  self.onmessage = ({ data }) => {
    switch (data.type) {
      case "start":
        start(data);
        break;
      case "ping":
        postMessage({ type: "pong", id: data.id });
        break;
      case "answer":
        onAnswer(data.id, data.confirmed);
        break;
    }
  };

  class Failure extends Error {
    constructor(code, message) {
      super(message);
      this.code = code;
    }
  }

  const elapsed = async (work) => {
    const begin = performance.now();
    return [await work(), performance.now() - begin];
  };

  async function hashOf(bytes) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-384", bytes));
    return "sha384-" + btoa(String.fromCharCode(...digest));
  }

  async function start(message) {
    try {
      const { wasm, release } = message;
      const [hash, hashMs] = await elapsed(() => hashOf(wasm));
      if (hash !== release.wasm) {
        throw new Failure("integrity", `The module is not the one this release names: got ${hash}, wanted ${release.wasm}.`);
      }
      const [module, compileMs] = await elapsed(() => WebAssembly.compile(wasm));
      await run(module, message, { checksMs: message.checksMs, hashMs, compileMs });
    } catch (error) {
      const code = error instanceof Failure ? error.code : "internal";
      postMessage({ type: "failed", code, message: error instanceof Failure ? error.message : "The module did not start: " + error });
    }
  }

  // Starts Go, which takes what it needs from one object, at once, and removes it.
  async function run(module, message, timings) {
    const go = new Go();
    const instance = await WebAssembly.instantiate(module, go.importObject);
    const { appPort, account, share, marker, origin, release } = message;
    const begin = performance.now();
    globalThis.kmsEnclaveBoot = {
      account, share, marker, origin, release,
      send: (text) => appPort.postMessage(text),
      serve: (receive) => serve(appPort, receive),
      ask: (id, request) => postMessage({ type: "dialog", id, request: JSON.parse(request) }),
      dismiss: (id) => postMessage({ type: "dismiss", id }),
      answered: (answer) => (onAnswer = answer),
      fail: (code, reason) => postMessage({ type: "failed", code, message: reason }),
      timings: () => JSON.stringify({ ...timings, startMs: performance.now() - begin }),
      memory: () => instance.exports.mem.buffer.byteLength,
    };
    await go.run(instance);
    postMessage({ type: "exited" });
  }

  // Go gets the text of a request, or "" and what is wrong with it. Text that is
  // not well-formed would change on its way into UTF-8 and is stopped here.
  function serve(port, receive) {
    port.onmessage = ({ data }) => {
      if (typeof data !== "string") receive("", "a string wanted");
      else if (data.length > MAX_MESSAGE) receive("", "at most 1048576 bytes wanted");
      else if (!data.isWellFormed()) receive("", "well-formed text wanted (no lone surrogates)");
      else receive(data);
    };
    port.onmessageerror = () => receive("", "a string wanted");
  }
})();
