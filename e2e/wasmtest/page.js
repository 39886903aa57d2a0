// The app's side of a Go test: embeds the frame, fetches the module, hands it in, and keeps
// the output until the driver asks for it.
"use strict";
const state = { output: "", exit: null };

async function start({ frame, module, args, env }) {
  const bytes = await (await fetch(module)).arrayBuffer();
  const iframe = document.createElement("iframe");
  iframe.setAttribute("sandbox", "allow-scripts allow-same-origin allow-downloads");
  const ready = new Promise((resolve) => addEventListener("message", (e) => {
    if (e.source === iframe.contentWindow) resolve();
  }));
  iframe.src = frame;
  document.body.append(iframe);
  await ready;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    state.output += data.output ?? "";
    if (data.exit !== undefined) state.exit = data.exit;
  };
  iframe.contentWindow.postMessage({ module: bytes, args, env }, new URL(frame).origin, [port2, bytes]);
}

function drain() {
  const { output, exit } = state;
  state.output = "";
  return { output, exit };
}
