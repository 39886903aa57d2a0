// A desktop that nobody sees, for browsers with a window: an X display, a D-Bus session, and a
// notification daemon (dunst), which knows what it was asked to show and what is on the screen.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDisplay } from "./display.mjs";
import { which } from "./engines.mjs";
import { eventually, run, start, waitForLine } from "./process.mjs";

// The programs that are needed, each with its Debian package. dunstctl asks by dbus-send and busctl.
const needed = { Xvfb: "xvfb", "dbus-daemon": "dbus", "dbus-send": "dbus", busctl: "systemd", dunst: "dunst" };

// Any number of notifications at once, for as long as they are not closed.
const DUNST = `[global]
notification_limit = 0
history_length = 1000
idle_threshold = 0
[urgency_low]
timeout = 0
[urgency_normal]
timeout = 0
[urgency_critical]
timeout = 0
`;

export class Desktop {
  #processes = [];
  #taken = new Set(); // ids

  static async start() {
    const lacking = Object.keys(needed).filter((name) => !which(name));
    if (lacking.length > 0) throw new Error(`desktop: ${lacking.join(", ")} not found; install the Debian packages ${lacking.map((name) => needed[name]).join(", ")} (e2e/install.sh does)`);
    const desktop = new Desktop();
    desktop.directory = await mkdtemp(join(tmpdir(), "kms-desktop-"));
    try {
      await desktop.#start();
      return desktop;
    } catch (error) {
      await desktop.stop();
      throw error;
    }
  }

  async #start() {
    const runtime = join(this.directory, "run");
    await mkdir(runtime, { mode: 0o700 });
    const configuration = join(this.directory, "dunstrc");
    await writeFile(configuration, DUNST);
    const { display, name } = await startDisplay(which("Xvfb"));
    this.#processes.push(display);
    /** What a browser's environment needs. */
    this.env = { DISPLAY: name, XDG_RUNTIME_DIR: runtime, MOZ_ENABLE_WAYLAND: "0", GDK_BACKEND: "x11", NO_AT_BRIDGE: "1" };
    const bus = start("dbus-daemon", ["--session", "--nofork", "--nosyslog", "--print-address=1"], { env: { ...process.env, ...this.env } });
    this.#processes.push(bus);
    this.env.DBUS_SESSION_BUS_ADDRESS = await waitForLine(bus, (line) => line.startsWith("unix:"), 10_000);
    const daemon = start("dunst", ["-config", configuration], { env: { ...process.env, ...this.env } });
    this.#processes.push(daemon);
    try {
      await eventually("dunst", () => this.#ask(["count"]));
    } catch (error) {
      throw new Error(`${error.message}\n${daemon.output}`, { cause: error });
    }
  }

  async #ask(args) {
    return await run("dunstctl", args, { env: { ...process.env, ...this.env }, timeoutMs: 5000 });
  }

  /** How many notifications are on the screen at this moment. */
  async displayed() {
    return Number(await this.#ask(["count", "displayed"]));
  }

  /** Takes what is on the screen away, as a user does, and returns what was there since the last time, oldest first: { app, summary, body }. */
  async take() {
    await this.#ask(["close-all"]);
    const { data } = JSON.parse(await this.#ask(["history"]));
    const fresh = data.flat().filter(({ id }) => !this.#taken.has(id.data)).reverse();
    for (const { id } of fresh) this.#taken.add(id.data);
    return fresh.map(({ appname, summary, body }) => ({ app: appname.data, summary: summary.data, body: body.data }));
  }

  async stop() {
    for (const each of this.#processes.reverse()) await each.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}
