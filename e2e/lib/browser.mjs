// One small interface over three engines.
//
//   browser  engine, version(), newPage(url), putAway(page, blank), close(), kill(), restart({ kill, … })
//   page     a frame, with goto, reload, screenshot, console, bringToFront, close
//   frame    evaluate(fn, ...args), frame(prefix), click, type, press, waitFor
//
// evaluate carries JSON both ways, awaits promises, and works in the enclave's cross-origin
// frame under its policy. click, type and press are real input events.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chosenEngines } from "./engines.mjs";
import * as chromiumAndFirefox from "./puppeteer.mjs";
import * as webkit from "./webkit.mjs";

/** A new empty directory for a profile; remove() deletes it. */
export async function temporaryProfile(engine) {
  const path = await mkdtemp(join(tmpdir(), `kms-e2e-${engine}-`));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }) };
}

/**
 * Starts an engine. Without profileDir the profile is temporary, and gone after close().
 * preferences are Firefox's, on top of those that it ships with; args are Chromium's. With a desktop
 * (desktop.mjs) these two have a window there, and are headless otherwise. A restart forgets all of it.
 */
export async function launch(engine, { profileDir, preferences, args, desktop } = {}) {
  if (!chosenEngines().includes(engine)) throw new Error(`engine: ${engine} is not among the chosen ones`);
  const profile = profileDir ? undefined : await temporaryProfile(engine);
  const path = profileDir ?? profile.path;
  const browser = await (engine === "webkit" ? webkit.launch(path) : chromiumAndFirefox.launch(engine, path, { preferences, args, desktop }));
  if (profile) {
    const close = browser.close.bind(browser);
    browser.close = async () => {
      try {
        await close();
      } finally {
        await profile.remove();
      }
    };
  }
  return browser;
}
