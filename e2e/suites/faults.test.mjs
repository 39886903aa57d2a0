// What breaks while the enclave works: its worker dies in the middle of calls, its storage is full,
// or is taken away. Nothing that was answered is lost, and what is left of it is said in words.

import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { temporaryProfile } from "../lib/browser.mjs";
import { begin, result } from "../lib/call.mjs";
import { newPassphrase, prove } from "../lib/dialog.mjs";
import { chosenEngines } from "../lib/engines.mjs";
import { Bench, Site, eachEngine } from "../lib/harness.mjs";
import { eventually } from "../lib/process.mjs";
import { verifyJWT } from "../lib/verify.mjs";

const PASSPHRASE = "five tall ships come home";

/**
 * Gets hold of the enclave's worker, which is the loader's private matter: the loader posts to it
 * when the SDK pings, and the SDK pings while a call is pending.
 */
async function holdWorker(page, origin) {
  const frame = await page.frame(origin);
  await frame.evaluate(() => {
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (...args) {
      globalThis.theWorker = this;
      return post.apply(this, args);
    };
  });
  await page.evaluate(async () => {
    const ending = new AbortController();
    const call = kms.vault.destroy({}, { signal: ending.signal }).catch(() => {});
    setTimeout(() => ending.abort(), 1500);
    await call;
  });
  assert.equal(await frame.evaluate(() => globalThis.theWorker !== undefined), true);
  return frame;
}

/** Starts calls, and remembers in window.outcomes how each one ended. */
const startCalls = (kid, signatures, keys) => {
  window.outcomes = { signed: [], made: [], failed: [], pending: 0 };
  const track = (promise, done) => {
    window.outcomes.pending++;
    promise.then(done, (e) => window.outcomes.failed.push(e.code)).finally(() => window.outcomes.pending--);
  };
  for (let i = 0; i < signatures; i++) track(kms.jwt.sign({ kid, audience: `n${i}`, ttlSeconds: 60 }), ({ token }) => window.outcomes.signed.push(token));
  for (let i = 0; i < keys; i++) track(kms.keys.create({ purpose: "vapid" }), ({ key }) => window.outcomes.made.push(key.kid));
};

const settled = async () => {
  const end = Date.now() + 50_000;
  while (window.outcomes.pending > 0) {
    if (Date.now() > end) throw new Error(`${window.outcomes.pending} calls hang`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return window.outcomes;
};

const withKey = async (account, persistence) => {
  await startKms({ account, timeoutMs: 30_000 });
  await kms.vault.create({ persistence, lock: "none" });
  return (await kms.keys.create({ purpose: "signing" })).key;
};

const books = async (kid) => ({
  uses: (await kms.keys.get({ kid })).key.uses,
  keys: (await kms.keys.list({ limit: 500 })).keys.map((key) => key.kid),
  verdict: await kms.audit.verify(),
});

eachEngine("faults", (bench, engine) => {
  const enclave = () => new URL(bench.site.release.url).origin;

  it("a worker that dies in mid-call is replaced; what was answered was done", async () => {
    const page = await bench.open();
    const key = await page.evaluate(withKey, "killed", "device");
    const frame = await holdWorker(page, enclave());
    await page.evaluate(startCalls, key.kid, 600, 20);
    await page.evaluate(async () => {
      while (window.outcomes.signed.length < 30) await new Promise((resolve) => setTimeout(resolve, 1));
    });
    await frame.evaluate(() => theWorker.terminate());
    const { signed, made, failed } = await page.evaluate(settled);

    // Signing may be repeated and is; making a key is not, and says that it does not know.
    assert.equal(signed.length, 600);
    assert.equal(made.length + failed.length, 20);
    assert.deepEqual(failed.filter((code) => code !== "interrupted"), []);
    for (const token of [signed[0], signed.at(-1)]) await verifyJWT(token, key);
    const { uses, keys, verdict } = await page.evaluate(books, key.kid);
    assert.ok(verdict.valid, verdict.reason);
    assert.ok(uses >= 600, `${uses} uses for 600 signatures`);
    for (const kid of made) assert.ok(keys.includes(kid), "a key that was reported as made is not there");
    assert.equal(verdict.size, 1 + keys.length + uses + (await refusalsIn(page)));

    // A second death ends the connection: something is wrong that restarting does not mend.
    const again = await holdWorker(page, enclave());
    await page.evaluate(startCalls, key.kid, 300, 0);
    await again.evaluate(() => theWorker.terminate());
    const after = await page.evaluate(settled);
    assert.ok(after.failed.length > 0 && after.failed.every((code) => code === "interrupted"), JSON.stringify(after.failed));
    assert.deepEqual(await page.evaluate(() => window.events.filter(({ name }) => name === "closed").map(({ data }) => data.code)), ["interrupted"]);
    await assert.rejects(page.evaluate(() => kms.vault.status()), { code: "interrupted" });

    await page.evaluate(() => startKms({ account: "killed" }));
    assert.ok((await page.evaluate(books, key.kid)).verdict.valid);
  });

  it("a session vault ends with its worker, and is then absent", async () => {
    const page = await bench.open();
    const key = await page.evaluate(withKey, "killed-session", "session");
    const frame = await holdWorker(page, enclave());
    await page.evaluate(startCalls, key.kid, 1, 0);
    await frame.evaluate(() => theWorker.terminate());
    await page.evaluate(settled);
    assert.equal(await page.evaluate(async () => (await kms.vault.status()).state), "absent");
    await assert.rejects(page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 }), key.kid), { code: "not_found" });
  });

  it("a page that is left and shown again has another worker, twice, and its vault is locked", async () => {
    const page = await bench.open();
    await page.evaluate(() => startKms({ account: "left" }));
    await begin(page, "vault.create", { persistence: "device", lock: "passphrase" });
    await newPassphrase(await page.frame(enclave()), PASSPHRASE);
    assert.equal((await result(page)).state, "unlocked");
    await page.evaluate(() => {
      window.persisted = [];
      addEventListener("pageshow", ({ persisted }) => window.persisted.push(persisted));
    });
    // Of the three, as their drivers run them, only WebKitGTK keeps a page that is left. The others load it anew, with nothing of before.
    const kept = engine === "webkit";
    for (const trips of [1, 2]) {
      await page.goto(bench.blank);
      await page.evaluate(() => void setTimeout(() => history.back(), 500));
      if (engine === "webkit") await new Promise((resolve) => setTimeout(resolve, 2500)); // its driver never answers what it is asked in between
      await eventually("the page again", () => page.evaluate(() => typeof startKms === "function"));
      assert.deepEqual(await page.evaluate(() => window.persisted ?? null), kept ? Array(trips).fill(true) : null);
      if (!kept) await page.evaluate(() => startKms({ account: "left" }));
      assert.equal(await page.evaluate(async () => (await kms.vault.status()).state), "locked");
      await begin(page, "vault.unlock");
      await (await page.frame(enclave())).fill({ "#passphrase": PASSPHRASE }, "#unlock");
      assert.equal((await result(page)).state, "unlocked");
    }
    // A second death would have ended the connection.
    assert.deepEqual(await page.evaluate(() => window.events.filter(({ name }) => name === "closed")), []);
    await page.evaluate(async () => kms.jwt.sign({ kid: (await kms.keys.create({ purpose: "signing" })).key.kid, audience: "a", ttlSeconds: 5 }));
  });

  it("a page that is left in the middle of its work keeps no other tab from its own", async () => {
    const work = (page, account) => page.evaluate(async (account) => {
      await startKms({ account, timeoutMs: 20_000 });
      if ((await kms.vault.status()).state === "absent") await kms.vault.create({ persistence: "device", lock: "none" });
      const more = () => kms.keys.create({ purpose: "signing" }).then(more, () => {});
      for (let i = 0; i < 4; i++) more();
      const { ShareStore } = await import("/sdk/share.js"); // the app's own database
      const store = new ShareStore("https://another.example", account);
      const { share } = await store.obtain();
      const again = () => store.mark(share).then(again, () => {});
      for (let i = 0; i < 4; i++) again();
    }, account);
    for (const round of [1, 2, 3]) {
      const left = await bench.open();
      await work(left, `left ${round}`);
      await left.goto(bench.blank); // WebKit keeps the page, and whatever is in it
      const page = await bench.open();
      await work(page, `beside ${round}`);
      await work(page, `left ${round}`); // another worker of the same page, on the vault of the page that was left
      await page.evaluate(() => kms.keys.create({ purpose: "signing" }));
      await bench.closePages();
    }
  });

  it("storage that is deleted underneath is said to be, and the vault is lost, not absent", async () => {
    const { app, host } = bench.site;
    const page = await bench.open();
    await page.evaluate((url) => startKms({ account: "deleted", url }), host.release.url);
    const kid = await page.evaluate(async () => {
      await kms.vault.create({ persistence: "device", lock: "none" });
      return (await kms.keys.create({ purpose: "signing" })).key.kid;
    });
    host.intercept = ({ pathname }) => (pathname === "/delete.html" ? { headers: { "content-type": "text/html" }, body: "delete" } : undefined);
    app.extra.set("/delete.html", { headers: { "content-type": "text/html" }, body: `<script>startKms = () => {}</script><iframe src="${host.origin}/delete.html"></iframe>` });
    const frame = await (await bench.open(`${app.origin}/delete.html`)).frame(`${host.origin}/delete.html`);
    const deleted = await frame.evaluate(() => new Promise((resolve) => {
      const request = indexedDB.deleteDatabase("kms-enclave");
      request.onsuccess = ({ oldVersion }) => resolve(oldVersion);
      request.onerror = () => resolve("error");
      setTimeout(() => resolve("blocked for ever"), 5000);
    }));
    assert.equal(deleted, 3); // the schema's version
    await assert.rejects(page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 }), kid), { code: "storage_unavailable" });
    await page.evaluate(() => kms.close());
    await page.evaluate((url) => startKms({ account: "deleted", url }), host.release.url);
    const status = await page.evaluate(() => kms.vault.status());
    assert.deepEqual([status.state, status.reason], ["lost", "marker-without-vault"]);
  });

  /** A page of the enclave's host in the frame's partition, beside it: what else of its origin could do to its storage. */
  async function beside(host) {
    const { app } = bench.site;
    host.intercept = ({ pathname }) => (pathname === "/beside.html" ? { headers: { "content-type": "text/html" }, body: "beside" } : undefined);
    app.extra.set("/beside.html", { headers: { "content-type": "text/html" }, body: `<script>startKms = () => {}</script><iframe src="${host.origin}/beside.html"></iframe>` });
    return await (await bench.open(`${app.origin}/beside.html`)).frame(`${host.origin}/beside.html`);
  }

  it("a newer release that takes the database over while it is in use: unsupported, and not a byte is lost", async () => {
    const host = await bench.site.newHost();
    const page = await bench.open();
    await page.evaluate((url) => startKms({ account: "taken", url }), host.release.url);
    const kid = await page.evaluate(async () => {
      await kms.vault.create({ persistence: "device", lock: "none" });
      return (await kms.keys.create({ purpose: "signing" })).key.kid;
    });
    const other = await beside(host);
    const stored = () => other.evaluate(async () => {
      const answer = (request) => new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      window.database ??= await answer(indexedDB.open("kms-enclave", 4));
      return (await answer(window.database.transaction("records").objectStore("records").getAll())).map((value) => Array.from(value).join());
    });
    const before = await stored(); // which has waited for the enclave to let go
    assert.ok(before.length > 5);
    const sign = () => page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 5 }), kid);
    await assert.rejects(sign(), { code: "unsupported", message: /newer release/ });
    await page.evaluate(() => kms.close());
    await page.evaluate((url) => startKms({ account: "taken", url }), host.release.url);
    await assert.rejects(page.evaluate(() => kms.vault.status()), { code: "unsupported", message: /newer release/ });
    await assert.rejects(sign(), { code: "unsupported" });
    assert.deepEqual(await stored(), before);
  });

  it("an old connection that does not close: storage_unavailable instead of waiting, and all is well when it is gone", async () => {
    const host = await bench.site.newHost();
    const other = await beside(host);
    await other.evaluate(() => new Promise((resolve, reject) => {
      const opening = indexedDB.open("kms-enclave", 1); // the schema's first version, which a later release migrates
      opening.onupgradeneeded = () => ["records", "handles"].forEach((name) => opening.result.createObjectStore(name));
      opening.onerror = () => reject(opening.error);
      opening.onsuccess = () => resolve(void (window.held = opening.result));
    }));
    const page = await bench.open();
    const start = () => page.evaluate((url) => startKms({ account: "blocked", url }), host.release.url);
    await start();
    await assert.rejects(page.evaluate(() => kms.vault.status()), { code: "storage_unavailable" });
    assert.equal((await page.evaluate(() => kms.enclave.info())).version !== undefined, true);
    await page.evaluate(() => kms.close());
    await other.evaluate(() => held.close());
    await start();
    assert.equal((await page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" }))).state, "unlocked");
  });

  it("a handle that reads back as null: storage_unavailable, not lost or absent; with the handle the vault is there again", async () => {
    const host = await bench.site.newHost();
    const page = await bench.open();
    const start = () => page.evaluate((url) => startKms({ account: "null", url }), host.release.url);
    await start();
    const key = await page.evaluate(async () => {
      await kms.vault.create({ persistence: "device", lock: "none" });
      return (await kms.keys.create({ purpose: "signing" })).key;
    });
    await page.evaluate(() => kms.close());
    const other = await beside(host);
    const exchange = (back) => other.evaluate((back) => new Promise((resolve, reject) => {
      const opening = indexedDB.open("kms-enclave");
      opening.onerror = () => reject(opening.error);
      opening.onsuccess = () => {
        const writing = opening.result.transaction("handles", "readwrite");
        const cursor = writing.objectStore("handles").openCursor();
        cursor.onsuccess = () => {
          window.handle ??= cursor.result.value;
          cursor.result.update(back ? window.handle : null);
        };
        writing.oncomplete = () => (opening.result.close(), resolve());
        writing.onabort = () => reject(writing.error);
      };
    }), back);
    await exchange(false);
    await start();
    for (const method of ["vault.status", "keys.list"]) {
      await assert.rejects(page.evaluate((method) => kms.call(method, {}), method), { code: "storage_unavailable", message: /does not keep key handles/ });
    }
    await assert.rejects(page.evaluate(() => kms.vault.create({ persistence: "device", lock: "none" })), { code: "storage_unavailable" });
    await page.evaluate(() => kms.close());
    await exchange(true);
    await start();
    await verifyJWT((await page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 }), key.kid)).token, key);
  });
});

/** How many leaves of the log are refusals. */
const refusalsIn = (page) => page.evaluate(async () => {
  let n = 0;
  for (let from = 0; ; ) {
    const { entries, next } = await kms.audit.entries({ from, limit: 500 });
    n += entries.filter(({ outcome }) => outcome !== "ok").length;
    if (!next) return n;
    from = next;
  }
});

/** Signs until storage refuses, and says how that was put and how many signatures there were. */
const signUntilRefused = async (kid, atOnce = 200) => {
  let signed = 0;
  const context = "x".repeat(128);
  for (let round = 0; round < 400; round++) {
    const outcomes = await Promise.allSettled(Array.from({ length: atOnce }, () => kms.challenge.sign({ kid, context, data: "" })));
    signed += outcomes.filter(({ status }) => status === "fulfilled").length;
    const failed = outcomes.find(({ status }) => status === "rejected");
    if (failed) return { signed, code: failed.reason.code, message: failed.reason.message };
  }
  return { signed, code: "never refused" };
};

/** Uses up the quota of the partition this runs in, to the last few hundred bytes. */
const fill = async () => {
  const answer = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const connect = () => {
    const opening = indexedDB.open("junk");
    opening.onupgradeneeded = () => opening.result.createObjectStore("junk");
    return answer(opening);
  };
  let database = await connect();
  const put = (size) => new Promise((resolve) => {
    const junk = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(junk.subarray(at, at + 65536));
    try {
      const writing = database.transaction("junk", "readwrite");
      writing.oncomplete = () => resolve(true);
      writing.onabort = () => resolve(false);
      writing.objectStore("junk").put(junk, crypto.randomUUID());
    } catch {
      connect().then((opened) => (database = opened)).finally(() => resolve(false)); // Firefox closes what is full
    }
  });
  for (const size of [262144, 65536, 8192, 1024, 300]) while (await put(size));
  database.close();
};

/** Has a browser's new pages be private ones. A profile of WebKitGTK's under WebDriver is a private one in every test. */
const secluded = {
  chromium: async ({ browser }) => {
    const context = await browser.handle.createBrowserContext();
    const { constructor: Page } = await browser.newPage();
    browser.newPage = async () => new Page(await context.newPage());
  },
  firefox: () => {}, // it was started so
};

for (const engine of chosenEngines().filter((each) => each in secluded)) {
  describe(`${engine}: private`, () => {
    it("in a private window a vault works, and lives as long as the window", async () => {
      const site = await Site.start();
      const bench = new Bench(engine, site);
      try {
        await bench.start({ preferences: { "browser.privatebrowsing.autostart": true } });
        const { newPage } = bench.browser;
        await secluded[engine](bench);
        const page = await bench.open();
        const key = await page.evaluate(withKey, "private", "device");
        await bench.reload(page);
        await page.evaluate(() => startKms({ account: "private" }));
        await verifyJWT((await page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 }), key.kid)).token, key);
        if (engine === "firefox") return; // every window of it is the same private one
        bench.browser.newPage = newPage;
        const outside = await bench.open();
        await outside.evaluate(() => startKms({ account: "private" }));
        assert.equal(await outside.evaluate(async () => (await kms.vault.status()).state), "absent");
      } finally {
        await bench.stop();
        await site.stop();
      }
    });
  });
}

// What a browser cannot make a directory of, because it is a file: even root cannot write there.
const unwritable = { chromium: "Default/IndexedDB", firefox: "storage" };

for (const engine of chosenEngines().filter((each) => each in unwritable)) {
  describe(`${engine}: read-only`, () => {
    it("in a profile that cannot be written connect says so, and stores nothing", async () => {
      const site = await Site.start();
      const bench = new Bench(engine, site);
      try {
        bench.profile = await temporaryProfile(engine);
        const path = join(bench.profile.path, unwritable[engine]);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, "");
        await bench.relaunch();
        const page = await bench.open();
        for (let i = 0; i < 2; i++) {
          await assert.rejects(page.evaluate(() => startKms({ account: "read-only" })), { code: "storage_unavailable", message: /the app's IndexedDB cannot be used; allow storage for this site/ });
        }
        assert.equal(await page.evaluate(() => document.querySelectorAll("dialog").length), 0);
      } finally {
        await bench.stop();
        await site.stop();
      }
    });
  });
}

// How to start an engine with a quota of some MB. WebKitGTK has no such switch, and keeps third-party
// storage in memory; there the behaviour suite's store that refuses stands in (StorageRefuses).
const quotas = {
  chromium: { args: ["--enable-features=StorageQuotaSettings:PoolSizeBytes/4000000", "--disable-features=StaticStorageQuota"] },
  firefox: { preferences: { "dom.quotaManager.temporaryStorage.fixedLimit": 4096 } },
};

for (const engine of chosenEngines().filter((each) => each in quotas)) {
  describe(`${engine}: quota`, () => {
    it("a full quota is storage_full, and loses nothing that was answered", async () => {
      const site = await Site.start();
      const bench = new Bench(engine, site);
      try {
        await bench.start(quotas[engine]);
        const page = await bench.open();
        const key = await page.evaluate(withKey, "quota", "device");
        const { signed, code, message } = await page.evaluate(signUntilRefused, key.kid);
        assert.equal(code, "storage_full", message);
        assert.match(message, /nothing was done/);
        assert.ok(signed >= 200, `${signed} signatures before`);

        // What can be read still can.
        const { uses, verdict } = await page.evaluate(books, key.kid);
        assert.ok(verdict.valid, verdict.reason);
        assert.ok(uses >= signed, `${uses} uses for ${signed} signatures`);
        // Firefox makes room by evicting other origins, at the next turn the app's own. With room, all is as it was.
        if (engine === "firefox") return;
        await bench.restart();
        const again = await bench.open();
        await again.evaluate(() => startKms({ account: "quota" }));
        const { token } = await again.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 }), key.kid);
        await verifyJWT(token, key);
        const after = await again.evaluate(books, key.kid);
        assert.ok(after.verdict.valid && after.uses === uses + 1, JSON.stringify([after, uses]));
      } finally {
        await bench.stop();
        await site.stop();
      }
    });

    it("what its user confirms gets through a full quota, and nothing else takes the space kept for it", async () => {
      const site = await Site.start();
      const bench = new Bench(engine, site);
      try {
        await bench.start(quotas[engine]);
        const page = await bench.open();
        const stays = await page.evaluate(withKey, "full", "device");
        const ended = await page.evaluate(async () => (await kms.keys.create({ purpose: "signing" })).key);
        const frame = await bench.frame(page);
        const reserved = () => frame.evaluate(async () => (await indexedDB.databases()).some(({ name }) => name === "kms-enclave-reserve"));
        await eventually("the reserve", reserved);
        const refused = () => page.evaluate(signUntilRefused, stays.kid, 1);
        await frame.evaluate(fill);
        const { code, message } = await refused();
        assert.equal(code, "storage_full", message);

        await begin(page, "keys.revoke", { kid: ended.kid, reason: "stolen" });
        await prove(frame, { word: "DELETE" });
        const { key } = await result(page);
        assert.deepEqual([key.state, key.reason], ["revoked", "stolen"]);
        // Firefox gives some room back whenever it closes a database that is full, so there it may not come to that.
        if (engine === "chromium") {
          assert.equal(await reserved(), false, "there was room without the reserve: nothing is shown");
          assert.equal((await refused()).signed, 0, "an app used the space that was made for its user");
        }
        await begin(page, "keys.revoke", { kid: stays.kid });
        await prove(frame, { word: "DELETE" });
        assert.equal((await result(page)).key.state, "revoked");

        // With room again, all goes on, and the reserve is back.
        await frame.evaluate(() => new Promise((resolve) => (indexedDB.deleteDatabase("junk").onsuccess = resolve)));
        const fresh = await eventually("room", () => page.evaluate(() => kms.keys.create({ purpose: "signing" }).then(({ key }) => key, () => false)));
        await verifyJWT((await page.evaluate((kid) => kms.jwt.sign({ kid, audience: "a", ttlSeconds: 60 }), fresh.kid)).token, fresh);
        assert.equal(await reserved(), true);
        const { keys, verdict } = await page.evaluate(books, fresh.kid);
        assert.ok(verdict.valid && keys.length === 3, verdict.reason);
      } finally {
        await bench.stop();
        await site.stop();
      }
    });
  });
}
