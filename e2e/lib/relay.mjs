// The real relay, `enclave relay`, for suites; it sends to a push service of the tests.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "./harness.mjs";
import { freePort, start, waitForLine } from "./process.mjs";

export class Relay {
  /** service is a PushService. */
  static async start(service) {
    const relay = new Relay();
    const port = await freePort();
    const directory = await mkdtemp(join(tmpdir(), "kms-relay-"));
    Object.assign(relay, { service, port, directory, origin: `http://localhost:${port}`, binary: await command() });
    try {
      await relay.run();
      return relay;
    } catch (error) {
      await relay.stop();
      throw error;
    }
  }

  /** Runs, on the data that it has. */
  async run() {
    const { service, port, origin, directory } = this;
    this.child = start(this.binary.path, [
      "relay", "--origin", origin, "--addr", `localhost:${port}`, "--data", join(directory, "data"),
      "--services", `private:${new URL(service.origin).host}`, "--ca", service.caFile, "--json",
    ], { env: { ...process.env } });
    await waitForLine(this.child, (line) => line.startsWith("{"), 30_000);
  }

  /** Ends the process, and leaves the data: at once, or as an operator does. */
  async end({ kill = false } = {}) {
    if (kill) this.child.kill();
    await this.child.stop();
  }

  async stop() {
    await this.child?.stop();
    await this.binary.remove();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Sends a message as whoever may: with what sendToken gives. Resolves with { status, headers, body }. */
  async post({ url, token }, message, headers = {}) {
    const body = typeof message === "string" ? message : JSON.stringify(message);
    return await answered(await fetch(url, { method: "POST", headers: { authorization: `Bearer ${token}`, ttl: "600", ...headers }, body, signal: AbortSignal.timeout(10_000) }));
  }

  /** Any other request to the API. */
  async ask(method, path, token, body) {
    const headers = { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) };
    return await answered(await fetch(`${this.origin}/v1${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }), signal: AbortSignal.timeout(10_000) }));
  }
}

async function answered(response) {
  const text = await response.text();
  return { status: response.status, headers: Object.fromEntries(response.headers), body: text === "" ? undefined : JSON.parse(text) };
}
