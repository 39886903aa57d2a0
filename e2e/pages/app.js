// The smallest app: it vendors the SDK, and leaves the rest to the test that drives it.
import { connect, KmsError } from "/sdk/kms.js";

const configuration = await (await fetch("/configuration.json")).json();

/** Connects with what the release printed; options override it. */
async function start(options = {}) {
  const container = document.querySelector("#kms");
  window.events = [];
  window.kms = await connect({ ...configuration, account: "alice", container, ...options });
  for (const name of ["locked", "unlocked", "alert", "closed"]) {
    window.kms.on(name, (data) => window.events.push({ name, data: data ?? null }));
  }
  return window.kms.launch;
}

/** The enclave's frame: in a shadow tree, where only this page finds it. */
const enclaveFrame = () => document.querySelector("dialog.kms-enclave-dialog > div").shadowRoot.querySelector("iframe");

Object.assign(window, { connect, KmsError, configuration, enclaveFrame, startKms: start });
