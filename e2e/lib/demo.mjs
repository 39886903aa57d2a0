// `enclave demo`, and somebody in front of its app.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { go, root } from "./gotool.mjs";
import { eventually, start, waitForLine } from "./process.mjs";

/** `enclave demo` on free ports: { url, directory, stop }, with a directory for whatever a suite keeps meanwhile. */
export async function serveDemo(...args) {
  const directory = await mkdtemp(join(tmpdir(), "kms-e2e-demo-"));
  const path = process.env.KMS_ENCLAVE ?? join(directory, "enclave");
  if (!process.env.KMS_ENCLAVE) await go(["build", "-o", path, "./cmd/enclave"]);
  const free = ["--addr", "127.0.0.1:0", "--enclave-addr", "localhost:0", "--relay-addrs", "localhost:0,localhost:0"];
  const child = start(path, ["demo", ...free, ...args], { cwd: root, env: { ...process.env } });
  const stop = async () => {
    await child.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const line = await waitForLine(child, (text) => text.startsWith("Open "), 300_000);
    return { url: /http:\S+/.exec(line)[0], directory, child, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Somebody in front of the demo. */
export class Person {
  constructor(page) {
    this.page = page;
  }

  static async at(browser, url) {
    const person = new this(await browser.newPage());
    await person.visit(url);
    return person;
  }

  async visit(url) {
    await this.page.goto(url);
    await eventually("a state", () => this.page.evaluate(() => document.body.dataset.vault !== undefined), { timeoutMs: 30_000 });
    this.frame = await this.page.frame("http://localhost");
  }

  /** Waits for the vault to be in this state, as the page shows it. */
  async sees(state, timeoutMs = 20_000) {
    await eventually(`a vault that is ${state}`, () => this.page.evaluate((state) => document.body.dataset.vault === state && document.querySelector("dialog.kms-enclave-dialog:modal") === null, state), { timeoutMs });
  }

  /** What the page says at last, in the section of an element; it has to be of this tone. */
  async said(selector, tone = "good", timeoutMs = 20_000) {
    const what = (selector) => {
      const notice = document.querySelector(selector).closest("[data-says]").querySelector(":scope > .said > .notice");
      return notice && { tone: notice.dataset.tone, text: notice.textContent };
    };
    await eventually(`${selector} has its say`, () => this.page.evaluate(what, selector), { timeoutMs });
    const said = await this.page.evaluate(what, selector);
    assert.equal(said.tone, tone, said.text);
    return said.text;
  }

  /** Clicks what opens the dialog. The focus takes a moment to get there; what is typed before it goes to the page. */
  async opens(selector) {
    await this.page.click(selector);
    await eventually("a dialog", () => this.page.evaluate(() => document.querySelector("dialog.kms-enclave-dialog:modal") !== null), { timeoutMs: 20_000 });
    await sleep(300);
  }
}
