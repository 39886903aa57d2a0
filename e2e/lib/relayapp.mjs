// An app that lets relays push (pages/relay.html), and the user in front of it.

import assert from "node:assert/strict";
import { newPassphrase, prove } from "./dialog.mjs";
import { eventually } from "./process.mjs";

export const PASSPHRASE = "eine Brücke über den Fluss";

export class RelayApp {
  /** An app's page with a vault that has a passphrase. */
  static async open(bench, account) {
    const app = new RelayApp();
    Object.assign(app, { bench, account });
    await app.visit();
    await app.page.evaluate(() => start(() => kms.vault.create({ persistence: "device", lock: "passphrase" })));
    await newPassphrase(await app.frame(), PASSPHRASE);
    await app.result();
    return app;
  }

  /** Opens its page: the vault, if there is one, is locked. */
  async visit() {
    this.page = await this.bench.browser.newPage();
    this.bench.pages.push(this.page);
    if (this.bench.engine === "chromium") await this.page.handle.browserContext().overridePermissions(this.bench.site.app.origin, ["notifications"]);
    await this.page.goto(`${this.bench.site.app.origin}/relay.html`);
    await eventually("the app", () => this.page.evaluate(() => globalThis.ready === true));
    await this.page.evaluate((account) => startKms({ account }), this.account);
  }

  async unlock() {
    await this.page.evaluate(() => start(() => kms.vault.unlock()));
    const frame = await this.frame();
    await frame.waitFor("#passphrase");
    await frame.fill({ "#passphrase": PASSPHRASE }, "#unlock");
    await this.result();
  }

  /** Closes its page; the browser stays open. */
  async leave() {
    this.bench.pages.splice(this.bench.pages.indexOf(this.page), 1);
    await this.page.close();
  }

  frame() {
    return this.bench.frame(this.page);
  }

  /** What became of what waits for the user: { result } or { code, message, details }. */
  async outcome() {
    return await eventually("the outcome", () => this.page.evaluate(() => window.outcome), { timeoutMs: 60_000 });
  }

  async result() {
    const { result, code, message, details } = await this.outcome();
    assert.equal(code, undefined, `${message} ${JSON.stringify(details)}`);
    return result;
  }

  /** The enclave's dialog, once it asks; fails with what the call failed with, if it did. */
  async #asked() {
    const frame = await this.frame();
    await eventually("the dialog", async () => {
      const early = await this.page.evaluate(() => window.outcome);
      if (early) throw new Error(JSON.stringify(early));
      return await frame.evaluate(() => document.querySelector("[role=alertdialog] #confirm") !== null);
    });
    return frame;
  }

  /** The user says yes in the enclave's dialog, with the passphrase; returns what the dialog said. */
  async yes() {
    const frame = await this.#asked();
    const text = await frame.evaluate(() => document.querySelector("main").textContent);
    // What cannot be undone wants a word, too.
    const word = await frame.evaluate(() => document.querySelector("#word") && document.querySelector("main strong[lang=en]").textContent);
    await prove(frame, { passphrase: PASSPHRASE, ...(word && { word }) });
    // The next dialog is another one: this one has gone, or says what is being done.
    await eventually("the dialog's end", () => frame.evaluate(() => document.querySelector("#confirm") === null), { timeoutMs: 30_000 });
    return text;
  }

  async no() {
    const frame = await this.#asked();
    await frame.click("#cancel");
  }

  /** Allows a relay; the user says yes. */
  async allow(relay, scope, options = {}) {
    await this.page.evaluate((options) => allow(options), { relay: relay.origin, scope, ...options });
    const asked = await this.yes();
    return { ...(await this.result()), asked };
  }

  /** A call of the relay of a scope that asks the user, who says yes, times times. */
  async call(scope, method, options, times = 1) {
    await this.page.evaluate((scope, method, options) => call(scope, method, options), scope, method, options ?? {});
    for (let i = 0; i < times; i += 1) await this.yes();
    return await this.result();
  }

  /** A call that asks nobody: what it gives, or its error. */
  ask(scope, method, options) {
    return this.page.evaluate((scope, method, options) => ask(scope, method, options), scope, method, options ?? {});
  }

  /** What a method of the enclave gives, or its error. */
  method(name, params = {}) {
    return this.page.evaluate((name, params) => method(name, params), name, params);
  }

  /** The status of the relay of a scope, once it is so. */
  async status(scope, what, is) {
    return await eventually(what, async () => {
      const said = await this.ask(scope, "status");
      if (!is(said)) throw new Error(JSON.stringify(said));
      return said;
    }, { timeoutMs: 20_000, everyMs: 200 });
  }

  browserHas(scope) {
    return this.page.evaluate((scope) => browserHas(scope), scope);
  }
}
