// Which engines to test, and where they are.
//
// The default is all three. KMS_ENGINES=chromium,firefox,webkit narrows it explicitly;
// an engine that was asked for and is not installed is an error, never a skip.

import { accessSync, constants, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Every engine, in the order in which they are tested. */
export const allEngines = ["chromium", "firefox", "webkit"];

/** The Debian packages that bring an engine. */
export const debianPackages = {
  chromium: ["chromium"],
  firefox: ["firefox-esr"],
  webkit: ["webkit2gtk-driver", "xvfb", "dbus"],
};

function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}

/** The path of the first of these programs on PATH. */
export function which(...names) {
  const directories = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  return names.flatMap((name) => directories.map((dir) => join(dir, name))).find(executable);
}

function miniBrowser() {
  if (process.env.KMS_MINIBROWSER) return executable(process.env.KMS_MINIBROWSER);
  const roots = ["/usr/lib", "/usr/libexec", "/usr/lib64", `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`];
  const directories = roots.flatMap((root) => {
    try {
      return readdirSync(root).filter((name) => name.startsWith("webkit2gtk-4.")).sort().reverse().map((name) => join(root, name));
    } catch {
      return [];
    }
  });
  return directories.map((dir) => join(dir, "MiniBrowser")).find(executable);
}

/** The programs an engine needs, by name; undefined where one is missing. */
export function programs(engine) {
  switch (engine) {
    case "chromium":
      return { chromium: process.env.KMS_CHROMIUM || which("chromium", "chromium-browser", "google-chrome") };
    case "firefox":
      return { firefox: process.env.KMS_FIREFOX || which("firefox-esr", "firefox") };
    case "webkit":
      return {
        WebKitWebDriver: which("WebKitWebDriver"),
        MiniBrowser: miniBrowser(),
        Xvfb: which("Xvfb"),
        "dbus-run-session": which("dbus-run-session"),
      };
  }
  throw new Error(`engine: got ${JSON.stringify(engine)}, wanted one of ${allEngines.join(", ")}`);
}

/** The names of the programs an engine needs and does not find. */
export function missing(engine) {
  return Object.entries(programs(engine)).filter(([, path]) => !path).map(([name]) => name);
}

/** The engines to test, from KMS_ENGINES; throws when one of them is not installed. */
export function chosenEngines() {
  const wanted = (process.env.KMS_ENGINES ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  const engines = wanted.length > 0 ? [...new Set(wanted)] : allEngines;
  for (const engine of engines) {
    const lacking = missing(engine);
    if (lacking.length > 0) {
      throw new Error(
        `${engine}: ${lacking.join(", ")} not found; ` +
          `install the Debian packages ${debianPackages[engine].join(", ")} (e2e/install.sh does), ` +
          `or narrow the run explicitly with KMS_ENGINES`,
      );
    }
  }
  return engines;
}
