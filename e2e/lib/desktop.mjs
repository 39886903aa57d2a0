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

// A session bus on which nothing starts by itself: on the usual one whatever daemon is installed would take the name first.
const bus = (directory) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir=${directory}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
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
    const write = async (name, text) => {
      await writeFile(join(this.directory, name), text);
      return join(this.directory, name);
    };
    const { display, name } = await startDisplay(which("Xvfb"));
    this.#processes.push(display);
    /** What a browser's environment needs. */
    this.env = { DISPLAY: name, XDG_RUNTIME_DIR: runtime, MOZ_ENABLE_WAYLAND: "0", GDK_BACKEND: "x11", NO_AT_BRIDGE: "1" };
    const session = this.#run("dbus-daemon", [`--config-file=${await write("bus.conf", bus(runtime))}`, "--nofork", "--nosyslog", "--print-address=1"]);
    this.env.DBUS_SESSION_BUS_ADDRESS = await waitForLine(session, (line) => line.startsWith("unix:"), 10_000);
    const daemon = this.#run("dunst", ["-config", await write("dunstrc", DUNST)]);
    try {
      await eventually("dunst", () => this.#ask(["count"]));
    } catch (error) {
      throw new Error(`${error.message}\n${daemon.output}`, { cause: error });
    }
  }

  #run(command, args) {
    const child = start(command, args, { env: { ...process.env, ...this.env } });
    this.#processes.push(child);
    return child;
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
