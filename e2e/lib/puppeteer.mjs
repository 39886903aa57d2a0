// Chromium and Firefox through puppeteer-core: the DevTools protocol for Chromium,
// WebDriver BiDi for Firefox.

import { mkdir } from "node:fs/promises";
import puppeteer from "puppeteer-core";
import { programs } from "./engines.mjs";
import { adopt, eventually, signalGroup } from "./process.mjs";
import { expression, outcome, within } from "./script.mjs";

const scriptLimit = 60_000; // of one evaluate, in milliseconds

const root = process.getuid?.() === 0;

const chromiumArgs = [
  "--disable-gpu",
  "--disable-sync",
  "--disable-component-update",
  "--disable-background-networking",
  "--no-first-run",
  // Chromium's sandbox cannot start as root; the pages of these tests are our own.
  ...(root ? ["--no-sandbox"] : []),
];

// Puppeteer's profile switches Firefox's storage partitioning off. These are the values
// Firefox ships with, which is what users have.
const firefoxPreferences = {
  "network.cookie.cookieBehavior": 5,
  "browser.contentblocking.features.standard":
    "tp,tpPrivate,cookieBehavior5,cookieBehaviorPBM5,cryptoTP,fp,stp,emailTP,emailTPPrivate,-consentmanagerSkip,-consentmanagerSkipPrivate",
  "browser.contentblocking.category": "standard",
  "network.cookie.sameSite.laxByDefault": false,
  "app.update.auto": false,
  "dom.push.connection.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

function options(engine, profileDir, { preferences, args = [], desktop }) {
  const common = {
    headless: !desktop,
    userDataDir: profileDir,
    timeout: 60_000,
    protocolTimeout: 180_000,
    networkEnabled: false, // nothing here listens to requests, and Firefox tells of each at length
    defaultViewport: { width: 1000, height: 800 },
  };
  if (engine === "chromium") {
    return { ...common, browser: "chrome", executablePath: programs(engine).chromium, pipe: true, args: [...chromiumArgs, ...args], env: { ...process.env, ...desktop?.env } };
  }
  return {
    ...common,
    browser: "firefox",
    protocol: "webDriverBiDi",
    executablePath: programs(engine).firefox,
    extraPrefsFirefox: { ...firefoxPreferences, ...preferences },
    // HOME of root is often not writable for Firefox under sudo; the profile is all it needs.
    env: { ...process.env, MOZ_CRASHREPORTER_DISABLE: "1", ...desktop?.env },
  };
}

// In the document of an element: takes note of the next click, if that is on the element.
function expectClick(element) {
  window.clickArrived = false;
  addEventListener("click", (event) => (window.clickArrived = event.composedPath().includes(element)), { capture: true, once: true });
}

// Whether the click on the element has. One that has taken its document away did.
function arrived(element) {
  const look = () => element.evaluate(() => window.clickArrived).catch(() => true);
  return eventually("the click", look, { timeoutMs: 500, everyMs: 10 }).catch(() => false);
}

/** A document: a page's main frame, or a frame in it at any depth. */
class Frame {
  constructor(page, locate) {
    this.page = page;
    this.locate = locate;
  }

  /** Runs fn(...args) in the document, awaits it, and returns its JSON value. */
  async evaluate(fn, ...args) {
    return outcome(await within("evaluate", scriptLimit, this.locate().evaluate(expression(fn, args))));
  }

  /**
   * Clicks the element with a real mouse event at its centre, again until it has arrived there. A dialog may put another
   * screen in the place of the one that the element was found in, and a frame that has just been shown, or moved, may miss
   * a click.
   */
  async click(selector) {
    await eventually(`a click on ${selector}`, async () => {
      try {
        const element = await this.#element(selector);
        await element.scrollIntoView();
        await element.evaluate(expectClick);
        await element.click();
        return await arrived(element);
      } catch (error) {
        if (!/detached|not clickable/.test(error.message)) throw error;
        return false;
      }
    });
  }

  /**
   * Clicks into the field and types text with real key events. A frame that has just been shown may get the focus a
   * moment later than the click; what is typed before that goes to the page around it. Not every browser says that
   * a document has the focus, so that is not waited for for long.
   */
  async type(selector, text) {
    const focused = () => this.evaluate((selector) => document.hasFocus() && document.activeElement?.matches(selector), selector);
    const end = Date.now() + 1500;
    do await this.click(selector);
    while (!(await focused()) && Date.now() < end);
    await this.page.tab.keyboard.type(text);
  }

  /** Types into fields, by selector, and clicks the button once it may be. */
  async fill(fields, button) {
    for (const [selector, text] of Object.entries(fields)) await this.type(selector, text);
    await this.click(`${button}:enabled`);
  }

  /** Picks a file in a file field, as the user does in the browser's own dialog. */
  async pick(selector, path) {
    await (await this.#element(selector)).uploadFile(path);
  }

  /** Presses a named key ("Enter", "Tab", "Escape") wherever the focus is. */
  async press(key) {
    await this.page.tab.keyboard.press(key);
  }

  /** Waits until selector matches a visible element. */
  async waitFor(selector, timeoutMs = 15_000) {
    await this.#element(selector, timeoutMs);
  }

  async #element(selector, timeoutMs = 15_000) {
    return await this.locate().waitForSelector(selector, { visible: true, timeout: timeoutMs });
  }

  /** The child frame whose URL starts with prefix, once it is there. */
  async frame(prefix, timeoutMs = 15_000) {
    const find = () => this.locate().childFrames().find((frame) => !frame.detached && frame.url().startsWith(prefix));
    await eventually(`frame ${prefix}`, find, { timeoutMs });
    return new Frame(this.page, () => {
      const frame = find();
      if (!frame) throw new Error(`frame ${prefix}: gone`);
      return frame;
    });
  }
}

class Page extends Frame {
  /** Console messages and uncaught errors since the page was made, or put away: { type, text }. */
  console = [];
  /** Whether another test may have it. */
  reusable = false;

  constructor(handle) {
    super(undefined, () => handle.mainFrame());
    this.page = this;
    this.tab = handle;
    handle.on("console", (message) => this.console.push({ type: message.type(), text: message.text() }));
    handle.on("pageerror", (error) => this.console.push({ type: "pageerror", text: String(error?.message ?? error) }));
  }

  /** Puppeteer's page. Who takes it may change what a navigation leaves, so that the page serves no other test. */
  get handle() {
    this.reusable = false;
    return this.tab;
  }

  /** Whether it shows something of url's origin. */
  at(url) {
    return URL.canParse(this.tab.url()) && new URL(this.tab.url()).origin === new URL(url).origin;
  }

  async goto(url) {
    await this.tab.goto(url, { waitUntil: "load", timeout: 30_000 });
  }

  async reload() {
    await this.tab.reload({ waitUntil: "load", timeout: 30_000 });
  }

  /** Saves what the page downloads in this directory. Chromium only. */
  async saveDownloads(directory) {
    const session = await this.handle.createCDPSession();
    await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: directory });
  }

  async bringToFront() {
    await this.tab.bringToFront();
  }

  async screenshot(path) {
    await this.tab.screenshot({ path });
  }

  async close() {
    await this.tab.close();
  }
}

class Browser {
  #spare;

  constructor(engine, profileDir, handle) {
    this.engine = engine;
    this.profileDir = profileDir;
    this.handle = handle;
    this.pid = handle.process().pid;
    this.release = adopt(this.pid);
  }

  async version() {
    return await this.handle.version();
  }

  /** A page that has been put away, if that was at url's origin, or else a new one. */
  async newPage(url) {
    const page = url && this.#spare?.at(url) ? this.#spare : new Page(await this.handle.newPage());
    if (page === this.#spare) this.#spare = undefined;
    page.reusable = this.engine === "chromium"; // Firefox now and then takes half a minute to leave one
    return page;
  }

  /** Ends what is in a page, and keeps it for another test: at blank, an empty page of the same origin. A new one costs twice as much. */
  async putAway(page, blank) {
    if (!page.reusable || this.#spare || !page.at(blank)) return await page.close();
    try {
      await page.goto(blank);
    } catch {
      return await page.close();
    }
    page.console = [];
    this.#spare = page;
  }

  /** Ends the browser as a user would. */
  async close() {
    try {
      await within(`closing ${this.engine}`, 10_000, this.handle.close());
    } finally {
      await this.kill();
    }
  }

  /** SIGKILL for the whole browser, all of its processes at once. */
  async kill() {
    const exited = new Promise((resolve) => {
      const child = this.handle.process();
      if (child.exitCode !== null || child.signalCode !== null) resolve();
      else child.once("exit", resolve);
    });
    signalGroup(this.pid, "SIGKILL");
    await within(`killing ${this.engine}`, 10_000, exited);
    this.release();
  }

  /**
   * Ends the browser, with SIGKILL if kill is set, and starts it again on the same profile, with these options (see launch)
   * and none of those that it had. between() runs while it is not there.
   */
  async restart({ kill = false, between, ...more } = {}) {
    await (kill ? this.kill() : this.close());
    await between?.();
    return await launch(this.engine, this.profileDir, more);
  }
}

/** Starts Chromium or Firefox on a profile directory. */
export async function launch(engine, profileDir, more = {}) {
  await mkdir(profileDir, { recursive: true });
  return new Browser(engine, profileDir, await puppeteer.launch(options(engine, profileDir, more)));
}
