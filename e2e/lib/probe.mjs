// A release that can be looked into: a copy of the checkout whose worker counts its callbacks and tells
// its goroutines and heap when DevTools ask. The releases that people get have none of it: what is
// measured stays what it is. Chromium only, whose DevTools reach into workers.
//
// It changes nothing but counting: js.FuncOf and Func.Release of our own packages go through two
// functions that count, and the worker's Go object, which knows what Go holds of JavaScript, has a name.

import { changedTree } from "./tree.mjs";

const counted = (text) => text.replaceAll("js.FuncOf(", "jsbridge.FuncOf(").replace(/([\w.]+)\.Release\(\)/g, "jsbridge.Release($1)");

const changes = {
  "internal/jsbridge/jsbridge.go": (text) => `${text}
// Live is how many callbacks exist.
var Live int

// FuncOf is js.FuncOf, counted.
func FuncOf(fn func(js.Value, []js.Value) any) js.Func { Live++; return js.FuncOf(fn) }

// Release is Func.Release, counted.
func Release(f js.Func) { Live--; f.Release() }
`,
  "internal/jsbridge/await.go": (text) => counted(text).replaceAll("jsbridge.", ""),
  "store/indexeddb/transaction.go": counted,
  "store/indexeddb/lock.go": counted,
  "store/indexeddb/indexeddb.go": counted,
  "store/indexeddb/open.go": counted,
  "internal/host/screen.go": counted,
  "internal/host/host.go": counted,
  "web/worker.js": (text) => text.replace("const go = new Go();", "const go = (globalThis.kmsGo = new Go());"),
  "cmd/enclave-wasm/main.go": (text) => text
    .replace('import (\n\t"context"', 'import (\n\t"context"\n\t"fmt"')
    .replace('"os"\n', '"os"\n\t"runtime"\n\t"syscall/js"\n')
    .replace('internal/host"\n', 'internal/host"\n\t"github.com/kms-enclave/kms-enclave/internal/jsbridge"\n')
    .replace("func main() {\n", `func main() {
	js.Global().Set("kmsProbe", js.FuncOf(func(js.Value, []js.Value) any {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return fmt.Sprintf(\`{"goroutines":%d,"callbacks":%d,"heap":%d}\`, runtime.NumGoroutine(), jsbridge.Live, m.HeapAlloc)
	}))
`),
};

/** The changed checkout: { path, remove }. More changes, if there are any, are made first. */
export const probedTree = (more = {}) => {
  const both = (name) => (text) => (changes[name] ?? ((same) => same))((more[name] ?? ((same) => same))(text));
  return changedTree(Object.fromEntries([...new Set([...Object.keys(changes), ...Object.keys(more)])].map((name) => [name, both(name)])));
};

/** DevTools sessions with all targets of a type, as they are now. */
async function sessions(browser, type) {
  const whole = await browser.handle.target().createCDPSession();
  const { targetInfos } = await whole.send("Target.getTargets", { filter: [{ type }] });
  const found = [];
  for (const { targetId } of targetInfos.sort((a, b) => (a.targetId < b.targetId ? -1 : 1))) {
    const { sessionId } = await whole.send("Target.attachToTarget", { targetId, flatten: true });
    found.push({ targetId, session: whole.connection().session(sessionId) });
  }
  return { found, end: () => whole.detach() };
}

const inWorker = "JSON.stringify({ ...JSON.parse(kmsProbe()), references: kmsGo._ids.size, memory: kmsGo._inst.exports.mem.buffer.byteLength })";

/**
 * What every worker of the browser has, after collecting garbage: goroutines, callbacks, references
 * from Go to JavaScript, bytes of Go's heap, of WebAssembly memory and of JavaScript's heap.
 */
export async function lookIntoWorkers(browser) {
  const { found, end } = await sessions(browser, "worker");
  try {
    return await Promise.all(found.map(async ({ targetId, session }) => {
      const evaluate = async (expression) => {
        const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, awaitPromise: true });
        if (exceptionDetails) throw new Error(`worker: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
        return result.value;
      };
      // Go's garbage is collected twice: what the first round finds unreachable, finalizers give back to JavaScript.
      for (let i = 0; i < 2; i++) await evaluate("kmsProbe(); new Promise((resolve) => setTimeout(resolve, 100))");
      await session.send("HeapProfiler.collectGarbage");
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      return { worker: targetId, ...JSON.parse(await evaluate(inWorker)), script: usedSize };
    }));
  } finally {
    await end();
  }
}

/** Nodes, listeners and bytes of JavaScript's heap of all pages and frames together, after collecting garbage. */
export async function lookIntoDocuments(browser) {
  const sums = { nodes: 0, listeners: 0, script: 0 };
  for (const type of ["page", "iframe"]) {
    const { found, end } = await sessions(browser, type);
    try {
      for (const { session } of found) {
        await session.send("HeapProfiler.collectGarbage");
        const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
        sums.nodes += nodes;
        sums.listeners += jsEventListeners;
        sums.script += (await session.send("Runtime.getHeapUsage")).usedSize;
      }
    } finally {
      await end();
    }
  }
  return sums;
}
