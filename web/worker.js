// The worker's glue. It stands behind wasm_exec.js, which defines Go, in the
// text that the loader starts. This is the only place that compiles WebAssembly:
// the bytes come from the app, and run only if they are those that the measured
// loader names.

(() => {
  const MAX_MESSAGE = 1 << 20; // bytes of UTF-8 in a request or reply
  const BUSY = 8; // so many unanswered requests, and further ones go into Go together
  const MAX_BATCH = 256; // requests in one crossing

  // What a message can be instead of a text, in place of its length; package host has the words.
  const NOT_TEXT = -1, TOO_LONG = -2, NOT_WELL_FORMED = -3;

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
        onAnswer(data.id, JSON.stringify(data.answer), data.file && new Uint8Array(data.file));
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
      ...wire(appPort),
      ask: (id, request, file) => postMessage({ type: "dialog", id, request: JSON.parse(request), file: file?.buffer }, file ? [file.buffer] : []),
      progress: (progress) => postMessage({ type: "progress", progress: JSON.parse(progress) }),
      dismiss: () => postMessage({ type: "dismiss" }),
      answered: (answer) => (onAnswer = answer),
      fail: (code, reason) => postMessage({ type: "failed", code, message: reason }),
      timings: () => JSON.stringify({ ...timings, startMs: performance.now() - begin }),
      memory: () => instance.exports.mem.buffer.byteLength,
    };
    await go.run(instance);
    postMessage({ type: "exited" });
  }

  // The app's port as Go sees it: texts are UTF-8 in two buffers, and what crosses is their lengths. Requests
  // that come faster than they are answered are gathered for one turn of the event loop and cross together.
  function wire(port) {
    const inbox = new Uint8Array(MAX_MESSAGE), outbox = new Uint8Array(MAX_MESSAGE);
    const encoder = new TextEncoder(), decoder = new TextDecoder();
    const turn = new MessageChannel();
    let receive;
    let lengths = [], filled = 0, unanswered = 0, gathering = false;

    function flush() {
      if (lengths.length === 0) return;
      const all = lengths;
      lengths = [];
      filled = 0;
      receive(...all);
    }

    function lengthOf(data) {
      if (typeof data !== "string") return NOT_TEXT;
      if (data.length > MAX_MESSAGE) return TOO_LONG;
      if (!data.isWellFormed()) return NOT_WELL_FORMED; // it would change on its way into UTF-8
      const { read, written } = encoder.encodeInto(data, inbox.subarray(filled));
      if (read === data.length) return written;
      if (filled === 0) return TOO_LONG;
      flush();
      return lengthOf(data);
    }

    function take(data) {
      const length = lengthOf(data);
      lengths.push(length);
      filled += Math.max(0, length);
      unanswered++;
      if (unanswered < BUSY || lengths.length === MAX_BATCH) flush();
      else if (!gathering) turn.port1.postMessage((gathering = true));
    }

    turn.port2.onmessage = () => {
      gathering = false;
      flush();
    };
    return {
      inbox,
      outbox,
      serve: (go) => {
        receive = go;
        port.onmessage = ({ data }) => take(data);
        port.onmessageerror = () => take(undefined);
      },
      send: (length) => {
        unanswered = Math.max(0, unanswered - 1);
        port.postMessage(decoder.decode(outbox.subarray(0, length)));
      },
    };
  }
})();
