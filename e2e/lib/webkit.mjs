// WebKitGTK's MiniBrowser through WebKitWebDriver and selenium-webdriver.
//
// A WebDriver session is one thread: a script that waits for the user would keep the test
// from being that user. So scripts are started, and then asked for their outcome in turns;
// and every command that depends on the current window and frame runs under one lock.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Builder, By, Capabilities, Key } from "selenium-webdriver";
import { startDisplay } from "./display.mjs";
import { programs } from "./engines.mjs";
import { eventually, freePort, start } from "./process.mjs";
import { expression, outcome, within } from "./script.mjs";

const scriptLimit = 60_000; // of one evaluate, in milliseconds
const commandLimit = 90_000; // of what runs under the lock, in milliseconds
const turn = 40; // how long one question for an outcome may wait in the page, in milliseconds

// Runs in the page: starts the expression, and keeps its outcome where only these scripts look.
const startScript = (id, text) => `
  const key = Symbol.for("kms-enclave-e2e");
  const table = (window[key] ??= new Map());
  table.set(${id}, null);
  ${text}.then((result) => table.set(${id}, result), (e) => table.set(${id}, JSON.stringify({ error: { message: String(e) } })));`;

const pollScript = (id) => `
  const done = arguments[arguments.length - 1];
  const table = window[Symbol.for("kms-enclave-e2e")];
  if (!table?.has(${id})) return done("gone");
  const end = performance.now() + ${turn};
  const look = () => {
    const result = table.get(${id});
    if (result === null && performance.now() < end) return setTimeout(look, 2);
    if (result !== null) table.delete(${id});
    done(result);
  };
  look();`;

/** Selenium's characters for the names of keys (UI Events KeyboardEvent key Values). */
const keys = { Enter: Key.ENTER, Tab: Key.TAB, Escape: Key.ESCAPE, Backspace: Key.BACK_SPACE };

let scripts = 0;

/** A document: a page's top document, or a frame in it, named by the URL prefixes on the way. */
class Frame {
  constructor(page, path) {
    this.page = page;
    this.path = path;
  }

  /** Runs fn(...args) in the document, awaits it, and returns its JSON value. */
  async evaluate(fn, ...args) {
    const id = ++scripts;
    const driver = this.page.browser.driver;
    await this.here(() => driver.executeScript(startScript(id, expression(fn, args))));
    const end = Date.now() + scriptLimit;
    for (;;) {
      const text = await this.here(() => driver.executeAsyncScript(pollScript(id)));
      if (text === "gone") throw new Error("evaluate: the document was replaced before the script ended");
      if (text !== null) return outcome(text);
      if (Date.now() > end) throw new Error(`evaluate: not within ${scriptLimit} ms`);
      await sleep(5);
    }
  }

  /** Clicks the element with a real mouse event at its centre. */
  async click(selector) {
    await this.waitFor(selector);
    await this.here((driver) => clickOn(driver, selector));
  }

  /**
   * Types into fields, by selector, and clicks the button. All of it without a look at any other
   * document: that would take the focus, which the enclave's fields do not survive.
   */
  async fill(fields, button) {
    await this.waitFor(button);
    await this.here(async (driver) => {
      for (const [selector, text] of Object.entries(fields)) {
        await clickOn(driver, selector);
        await driver.actions().sendKeys(text).perform();
      }
      const end = Date.now() + 10_000;
      while (!(await driver.findElement(By.css(button)).isEnabled())) {
        if (Date.now() > end) throw new Error(`fill: ${button} stays disabled`);
        await sleep(50);
      }
      await clickOn(driver, button);
    });
  }

  /** Picks a file in a file field. */
  async pick(selector, path) {
    await this.here(async (driver) => driver.findElement(By.css(selector)).sendKeys(path));
  }

  /** Clicks into the field and types text with real key events. */
  async type(selector, text) {
    await this.click(selector);
    await this.here((driver) => driver.actions().sendKeys(text).perform());
  }

  /** Presses a named key ("Enter", "Tab", "Escape") wherever the focus is in this document. */
  async press(key) {
    await this.here((driver) => driver.actions().sendKeys(keys[key] ?? key).perform());
  }

  /** Waits until selector matches a visible element. */
  async waitFor(selector, timeoutMs = 15_000) {
    const visible = () =>
      this.here(async (driver) => {
        const [element] = await driver.findElements(By.css(selector));
        return element !== undefined && (await element.isDisplayed());
      });
    await eventually(`element ${selector}`, visible, { timeoutMs });
  }

  /** The child frame whose URL starts with prefix, once it is there. */
  async frame(prefix, timeoutMs = 15_000) {
    const frame = new Frame(this.page, [...this.path, prefix]);
    await eventually(`frame ${prefix}`, () => frame.here(() => true), { timeoutMs });
    return frame;
  }

  /** Calls fn with the driver looking at this document, and with nobody else using it. */
  async here(fn) {
    const { browser, window } = this.page;
    return await browser.exclusive(async (driver) => {
      await browser.look(window);
      await driver.switchTo().defaultContent();
      for (const prefix of this.path) await enter(driver, prefix);
      return await fn(driver);
    });
  }
}

// A page that has just scrolled, by this or by itself, still takes a click for what was there before.
const scrollTo = `
  const [element, done] = arguments;
  element.scrollIntoView({ block: "center" });
  setTimeout(done, 60);`;

async function clickOn(driver, selector) {
  const element = await driver.findElement(By.css(selector));
  await driver.executeAsyncScript(scrollTo, element);
  await driver.actions().move({ origin: element }).click().perform();
}

// The enclave's frame is in a shadow tree, into which no selector looks.
const findFrame = `
  const [prefix] = arguments;
  const look = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.localName === "iframe" && element.src.startsWith(prefix)) return element;
      const inside = element.shadowRoot && look(element.shadowRoot);
      if (inside) return inside;
    }
    return null;
  };
  return look(document);`;

async function enter(driver, prefix) {
  const element = await driver.executeScript(findFrame, prefix);
  if (!element) throw new Error(`frame ${prefix}: not there`);
  await driver.switchTo().frame(element);
}

class Page extends Frame {
  constructor(browser, window) {
    super(undefined, []);
    this.page = this;
    this.browser = browser;
    this.window = window;
  }

  /** Always empty: WebKitWebDriver does not tell what a page wrote to its console. */
  console = [];

  async goto(url) {
    await this.here((driver) => driver.get(url));
  }

  async reload() {
    await this.here((driver) => driver.navigate().refresh());
  }

  async bringToFront() {
    await this.here(() => {});
  }

  async screenshot(path) {
    await writeFile(path, await this.here((driver) => driver.takeScreenshot()), "base64");
  }

  /** Closes the tab. The last one stays, empty, for the next newPage: WebKit ends with its last tab. */
  async close() {
    await this.here(async (driver) => {
      if ((await driver.getAllWindowHandles()).length > 1) {
        this.browser.lookAway();
        return await driver.close();
      }
      await driver.get("about:blank");
      this.browser.spare = this.window;
    });
  }
}

class Browser {
  engine = "webkit";
  #queue = Promise.resolve();
  #current; // window's handle

  constructor({ profileDir, display, service, driver, spare }) {
    Object.assign(this, { profileDir, display, service, driver, spare });
  }

  /**
   * Makes window the current one. Choosing a window takes the focus from it and gives it back, which its
   * pages notice, so that is done only where it is another.
   */
  async look(window) {
    if (this.#current === window) return;
    this.#current = undefined;
    await this.driver.switchTo().window(window);
    this.#current = window;
  }

  /** To be called when the current window was closed. */
  lookAway() {
    this.#current = undefined;
  }

  /** Runs fn(driver) when everything before it is done. A browser that hangs fails what asked it, and nothing waits for ever. */
  exclusive(fn) {
    const result = this.#queue.then(() => within("webkit command", commandLimit, Promise.resolve(fn(this.driver))));
    this.#queue = result.catch(() => {});
    return result;
  }

  async version() {
    const capabilities = await this.driver.getCapabilities();
    return `${capabilities.getBrowserName()}/${capabilities.getBrowserVersion()}`;
  }

  async newPage() {
    if (this.spare) {
      const window = this.spare;
      this.spare = undefined;
      return new Page(this, window);
    }
    const window = await this.exclusive(async (driver) => {
      this.lookAway();
      await driver.switchTo().newWindow("tab");
      return await driver.getWindowHandle();
    });
    return new Page(this, window);
  }

  /** Closes it: WebKit keeps what is in a page that is left, its worker and all. */
  async putAway(page) {
    await page.close();
  }

  /** Ends the browser as a user would. */
  async close() {
    try {
      await within("closing webkit", 10_000, this.driver.quit());
    } finally {
      await this.#stop();
    }
  }

  /** SIGKILL for the driver and the browser that it started, all of their processes at once. */
  async kill() {
    this.service.kill();
    await this.service.exited;
    await this.#stop();
  }

  async #stop() {
    await this.service.stop();
    await this.display.stop();
  }

  /** Ends the browser, with SIGKILL if kill is set, and starts it again on the same profile. */
  async restart({ kill = false } = {}) {
    await (kill ? this.kill() : this.close());
    return await launch(this.profileDir);
  }
}

function environment(profileDir, displayName) {
  return {
    ...process.env,
    DISPLAY: displayName,
    GDK_BACKEND: "x11",
    NO_AT_BRIDGE: "1",
    HOME: profileDir,
    XDG_DATA_HOME: join(profileDir, "data"),
    XDG_CACHE_HOME: join(profileDir, "cache"),
    XDG_CONFIG_HOME: join(profileDir, "config"),
    XDG_RUNTIME_DIR: join(profileDir, "run"),
    GTK_USE_PORTAL: "0",
    LIBGL_ALWAYS_SOFTWARE: "1",
    // bubblewrap needs user namespaces, which containers and root lack; the pages of these tests are our own.
    WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
  };
}

function capabilities({ MiniBrowser }) {
  return new Capabilities({
    browserName: "MiniBrowser",
    "webkitgtk:browserOptions": {
      binary: MiniBrowser,
      args: ["--automation"],
    },
    timeouts: { script: 30_000, pageLoad: 30_000, implicit: 0 },
  });
}

/** Starts WebKitGTK's MiniBrowser with its own display, bus and driver. */
export async function launch(profileDir) {
  const found = programs("webkit");
  for (const name of ["data", "cache", "config"]) await mkdir(join(profileDir, name), { recursive: true });
  await mkdir(join(profileDir, "run"), { recursive: true, mode: 0o700 });
  const { display, name } = await startDisplay(found.Xvfb);
  const port = await freePort();
  const service = start(
    found["dbus-run-session"],
    ["--", found.WebKitWebDriver, `--port=${port}`, "--host=local"],
    { env: environment(profileDir, name) },
  );
  try {
    const url = `http://127.0.0.1:${port}`;
    await eventually("WebKitWebDriver", async () => service.ended || (await fetch(`${url}/status`)).ok, { timeoutMs: 20_000 });
    if (service.ended) throw new Error("WebKitWebDriver: ended at start");
    const driver = await within("MiniBrowser", 60_000, connect(url, found));
    const spare = await driver.getWindowHandle();
    return new Browser({ profileDir, display, service, driver, spare });
  } catch (error) {
    await service.stop();
    await display.stop();
    throw new Error(`webkit did not start: ${error.message}\n${service.output}`, { cause: error });
  }
}

async function connect(url, found) {
  const driver = await new Builder().usingServer(url).withCapabilities(capabilities(found)).build();
  await driver.manage().setTimeouts({ script: 30_000, pageLoad: 30_000, implicit: 0 });
  return driver;
}
