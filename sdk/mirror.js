// The mirror: the vault's sealed records, kept by the app, which cannot read them.
//
// Some browsers forget a third-party frame's storage (WebKit at every restart), and any browser may
// clear it. What is kept here brings the vault back by a passphrase, a passkey or the recovery phrase:
// the enclave opens and checks it (mirror.restore). A vault that only the device opens has no mirror.
//
//   database "kms-enclave-mirror", version 1; all keys begin with [origin of the enclave, account]
//   "mirrors"  [origin, account]                     { vault, commit, generation, revision, at, size, reading? }
//   "records"  [origin, account, generation, name]   base64url text
//   "changes"  [origin, account, from, to]           { vault, to, put: [name, text][], removed: name[] }
//
// The enclave tells what its commits wrote, each tab's worker its own. They are put into "changes" and
// taken from there in order, whichever tab they came from: a change from commit f to commit t brings records
// that are at f or later, and not yet at t, to t. If one is missing (a tab was killed), everything is read once
// more, page by page, as another generation of records, which takes the place of the one before when it is complete.
// So what is kept is always one state of the vault, whole, if not the newest.
//
// The share is in another database (share.js): nothing that happens here can lose it.

import { answer, transact } from "./database.js";
import { KmsError, asKmsError } from "./errors.js";
import { MIRROR } from "./methods.js";

const DATABASE = "kms-enclave-mirror";
const STORES = Object.freeze(["mirrors", "records", "changes"]);

/** How much is kept of one vault, in bytes as the enclave counts them when it takes a mirror back (sizeOf). A little less than it takes. */
const MAX_SIZE = MIRROR.bytes - (1 << 20);

/** So many changes wait for one that is missing; then everything is read. */
const MAX_WAITING = 64;

/** How much goes into one mirror.offer, in characters: well below the enclave's limit of a message. */
const OFFER_LENGTH = 512 << 10;

/** @typedef {import("./types.d.ts").MirrorChanges} Changes */
/** @typedef {import("./types.d.ts").MirrorRecord} MirrorRecord */

/** A generation of records that is being read. @typedef {{ vault: string, commit: number, generation: number, size: number, goal?: number }} Reading */

/**
 * @typedef {object} Mirrored
 * @property {string} vault which vault the enclave said it is
 * @property {number} commit that the records are at
 * @property {number} generation of the records
 * @property {number} revision of the share's record when it was read: a vault made since is another one
 * @property {number} at milliseconds since 1970
 * @property {number} size of all records, see sizeOf
 * @property {Reading} [reading]
 */

/** What became of changes: see `take`. @typedef {"current" | "behind" | "none" | "older" | "other"} Outcome */

/** The mirror of one account at one enclave. Every method but `offers` is one transaction. */
export class MirrorStore {
  /** @type {readonly [string, string]} */ #key;

  /**
   * @param {string} origin of the enclave
   * @param {string} account
   */
  constructor(origin, account) {
    this.#key = [origin, account];
  }

  /** The name of the lock under which one tab reads everything. */
  get lock() {
    return `kms-enclave-sdk/mirror ${JSON.stringify(this.#key)}`;
  }

  /**
   * What is kept, if anything is complete.
   *
   * @returns {Promise<Mirrored | undefined>}
   */
  async state() {
    const found = await this.#run("readonly", (t) => t.mirror());
    return found?.generation ? found : undefined;
  }

  /**
   * Takes in what the enclave told.
   *
   * "current": what is kept is the vault's newest state. "behind": changes are missing, or have yet to come from
   * another tab. "none": nothing is kept of this vault yet. What nobody could open is forgotten, which is "current", too. "older": the enclave's storage is at an earlier commit than what is kept, which stays. "other": the
   * enclave shows another vault than the one that is kept, and nobody made it with this SDK, so what is kept stays.
   *
   * @param {Changes} told
   * @param {number} revision of the share's record
   * @returns {Promise<Outcome>}
   */
  take(told, revision) {
    return this.#run("readwrite", async (t) => {
      const kept = await t.mirror();
      if (!kept) return told.opens ? "none" : "current";
      const same = kept.vault === told.vault;
      if (kept.generation && !same && kept.revision >= revision) return "other";
      if (same && kept.generation && kept.commit > told.commit && kept.revision >= revision) return "older";
      if (!told.opens) {
        t.clear();
        return "current";
      }
      const waiting = await t.changes();
      for (const { from, to, put, removed } of told.changes) {
        const change = { vault: told.vault, from, to, put: put.map(({ name, value }) => /** @type {[string, string]} */ ([name, value])), removed };
        waiting.push(change);
        t.putChange(change);
      }
      if (same) kept.revision = Math.max(kept.revision, revision);
      if (kept.reading?.goal !== undefined) await catchUp(t, kept, waiting);
      else if (same) await advance(t, kept, kept, waiting);
      await t.settle(kept, waiting);
      if (kept.vault !== told.vault || !kept.generation) return "none";
      return kept.commit >= told.commit ? "current" : "behind";
    });
  }

  /**
   * Begins to read everything.
   *
   * @param {string} vault
   * @param {number} commit at which the first page was read, or later
   * @returns {Promise<void>}
   */
  begin(vault, commit) {
    return this.#run("readwrite", async (t) => {
      const kept = (await t.mirror()) ?? { vault, commit: 0, generation: 0, revision: 0, at: 0, size: 0 };
      const generation = (kept.reading?.generation ?? kept.generation) + 1;
      if (kept.reading) t.dropRecords(kept.reading.generation);
      t.putMirror({ ...kept, reading: { vault, commit, generation, size: 0 } });
    });
  }

  /**
   * @param {readonly MirrorRecord[]} records in order of name
   * @returns {Promise<boolean>} whether there is still something to read for
   */
  page(records) {
    return this.#run("readwrite", async (t) => {
      const kept = await t.mirror();
      if (!kept?.reading) return false;
      const { reading } = kept;
      await Promise.all(records.map(({ name, value }) => t.addRecord(reading.generation, name, value)));
      for (const { name, value } of records) reading.size += sizeOf(name, value);
      await t.trim(reading);
      t.putMirror(kept);
      return true;
    });
  }

  /**
   * All pages were read. What is kept is replaced when changes have brought the new records to a state at which
   * they are whole.
   *
   * @param {number} goal the newest commit after the last page was read
   * @param {number} revision of the share's record
   * @returns {Promise<void>}
   */
  finish(goal, revision) {
    return this.#run("readwrite", async (t) => {
      const kept = await t.mirror();
      if (!kept?.reading) return;
      kept.reading.goal = goal;
      kept.revision = revision;
      const waiting = await t.changes();
      await catchUp(t, kept, waiting);
      await t.settle(kept, waiting);
    });
  }

  /**
   * Forgets everything: the vault was destroyed, or nothing that a person has opens it any more.
   *
   * @returns {Promise<void>}
   */
  forget() {
    return this.#run("readwrite", async (t) => t.clear());
  }

  /**
   * What is kept, in portions for mirror.offer.
   *
   * @throws {KmsError} `conflict` if it is changed meanwhile
   * @returns {AsyncGenerator<MirrorRecord[], void>}
   */
  async *offers() {
    const kept = await this.state();
    let after = "";
    while (kept) {
      const { records, now } = await this.#run("readonly", async (t) => ({ records: await t.records(kept.generation, after), now: await t.mirror() }));
      if (now?.generation !== kept.generation || now.commit !== kept.commit) throw new KmsError("conflict", "mirror: another tab changed it meanwhile; try again", { retryable: true });
      if (records.length === 0) return;
      after = /** @type {MirrorRecord} */ (records.at(-1)).name;
      yield records;
    }
  }

  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(transaction: Transaction) => Promise<T>} work that waits for nothing but the transaction's own requests
   * @returns {Promise<T>} when the transaction is over
   * @throws {KmsError} `storage_unavailable`, also if it does not answer within ten seconds, or `storage_full`
   */
  async #run(mode, work) {
    try {
      return await transact(DATABASE, STORES, mode, (transaction) => new Transaction(transaction, this.#key).run(work));
    } catch (error) {
      if (error instanceof DOMException && error.name === "QuotaExceededError") throw asKmsError(error, "storage_full", "mirror: the app's storage is full");
      throw asKmsError(error, "storage_unavailable", "mirror: the app's IndexedDB cannot be used; allow storage for this site");
    }
  }
}

/** @typedef {{ vault: string, from: number, to: number, put: [string, string][], removed: string[] }} Change */

/**
 * Takes changes in for as long as one fits.
 *
 * @param {Transaction} t
 * @param {Mirrored} kept
 * @param {Mirrored | Reading} state whose records they change
 * @param {Change[]} waiting
 */
async function advance(t, kept, state, waiting) {
  for (let change; (change = waiting.find(({ vault, from, to }) => vault === state.vault && from <= state.commit && to > state.commit)); ) {
    for (const name of change.removed) state.size -= await t.dropRecord(state.generation, name);
    for (const [name, text] of change.put) state.size += sizeOf(name, text) - (await t.putRecord(state.generation, name, text));
    state.commit = change.to;
    kept.at = Date.now();
  }
}

/**
 * @param {Transaction} t
 * @param {Mirrored} kept
 * @param {Change[]} waiting
 */
async function catchUp(t, kept, waiting) {
  const reading = /** @type {Reading} */ (kept.reading);
  await advance(t, kept, reading, waiting);
  if (reading.commit < Number(reading.goal)) return;
  if (kept.generation) t.dropRecords(kept.generation);
  const { vault, commit, generation, size } = reading;
  Object.assign(kept, { vault, commit, generation, size, at: Date.now() });
  delete kept.reading;
}

/** One transaction over the three stores, and what is in them of one account. */
class Transaction {
  #transaction;
  #key;

  /**
   * @param {IDBTransaction} transaction
   * @param {readonly [string, string]} key
   */
  constructor(transaction, key) {
    this.#transaction = transaction;
    this.#key = key;
  }

  /**
   * @template T
   * @param {(transaction: Transaction) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async run(work) {
    const transaction = this.#transaction;
    const over = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error ?? new Error("transaction aborted"));
    });
    over.catch(() => {});
    try {
      const result = await work(this);
      await over;
      return result;
    } catch (error) {
      try {
        transaction.abort();
      } catch {
        await over; // it was over before: then its own error counts
      }
      throw error;
    }
  }

  /** @returns {Promise<Mirrored | undefined>} */
  mirror() {
    return answer(this.#store("mirrors").get([...this.#key]));
  }

  /** @param {Mirrored} mirror */
  putMirror(mirror) {
    this.#store("mirrors").put(mirror, [...this.#key]);
  }

  /** @returns {Promise<Change[]>} in order of commit */
  changes() {
    return answer(this.#store("changes").getAll(this.#all()));
  }

  /** @param {Change} change */
  putChange(change) {
    this.#store("changes").put(change, [...this.#key, change.from, change.to]);
  }

  /**
   * Writes what is kept, within its bounds, and drops the changes that are of no further use.
   *
   * @param {Mirrored} kept
   * @param {Change[]} waiting
   */
  async settle(kept, waiting) {
    await this.trim(kept);
    this.putMirror(kept);
    const oldest = kept.reading?.commit ?? kept.commit;
    const vault = kept.reading?.vault ?? kept.vault;
    const left = waiting.filter((change) => change.vault === vault && change.to > oldest);
    if (left.length === waiting.length && left.length <= MAX_WAITING) return;
    this.#store("changes").delete(this.#all());
    if (left.length <= MAX_WAITING) for (const change of left) this.putChange(change);
  }

  /**
   * @param {number} generation
   * @param {string} name
   * @param {string} text
   * @returns {Promise<number>} size of what was there before
   */
  async putRecord(generation, name, text) {
    const key = [...this.#key, generation, name];
    const before = await answer(this.#store("records").get(key));
    this.#store("records").put(text, key);
    return before === undefined ? 0 : sizeOf(name, before);
  }

  /**
   * @param {number} generation
   * @param {string} name of a record that is not there
   * @param {string} text
   * @returns {Promise<unknown>}
   */
  addRecord(generation, name, text) {
    return answer(this.#store("records").put(text, [...this.#key, generation, name]));
  }

  /**
   * @param {number} generation
   * @param {string} name
   * @returns {Promise<number>} its size
   */
  async dropRecord(generation, name) {
    const key = [...this.#key, generation, name];
    const before = await answer(this.#store("records").get(key));
    this.#store("records").delete(key);
    return before === undefined ? 0 : sizeOf(name, before);
  }

  /** @param {number} generation */
  dropRecords(generation) {
    this.#store("records").delete(this.#named(generation, "", "~"));
  }

  /**
   * Records after a name, as many as one offer has room for.
   *
   * @param {number} generation
   * @param {string} after
   * @returns {Promise<MirrorRecord[]>}
   */
  records(generation, after) {
    return new Promise((resolve, reject) => {
      /** @type {MirrorRecord[]} */ const found = [];
      let length = 0;
      const request = this.#store("records").openCursor(this.#named(generation, after, "~"));
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || (length > 0 && length + cursor.value.length > OFFER_LENGTH)) return resolve(found);
        const name = /** @type {string[]} */ (cursor.key)[3];
        if (name > after) {
          found.push({ name, value: cursor.value });
          length += cursor.value.length + name.length + 30;
        }
        cursor.continue();
      };
    });
  }

  /** Drops everything of this account. */
  clear() {
    for (const name of STORES) this.#store(name).delete(this.#all());
  }

  /**
   * Drops the oldest part of the log where there is more than may be kept: keys come first.
   *
   * @param {Mirrored | Reading} state
   */
  async trim(state) {
    if (state.size <= MAX_SIZE) return;
    const names = await answer(this.#store("records").getAllKeys(this.#named(state.generation, "log/", "log/~")));
    for (const key of names) {
      if (state.size <= MAX_SIZE * 0.9) return;
      state.size -= await this.dropRecord(state.generation, /** @type {string[]} */ (key)[3]);
    }
  }

  /** @param {string} name */
  #store(name) {
    return this.#transaction.objectStore(name);
  }

  #all() {
    return IDBKeyRange.bound([...this.#key], [...this.#key, []]); // an array comes after every number and text
  }

  /**
   * @param {number} generation
   * @param {string} first
   * @param {string} last
   */
  #named(generation, first, last) {
    return IDBKeyRange.bound([...this.#key, generation, first], [...this.#key, generation, last]);
  }
}

/**
 * What a record adds to a mirror, in bytes: its value's, its name's, and what a record costs beside them.
 *
 * @param {string} name
 * @param {string} text base64url
 */
function sizeOf(name, text) {
  return Math.ceil((text.length * 3) / 4) + name.length + MIRROR.perRecord;
}

/**
 * Keeps a mirror for one connection.
 */
export class Mirror {
  #store;
  #call;
  #doomed = false; // this enclave has no mirror

  /**
   * @param {MirrorStore} store
   * @param {(method: string, params: unknown) => Promise<unknown>} call
   */
  constructor(store, call) {
    this.#store = store;
    this.#call = call;
  }

  /**
   * Brings what is kept up to date, as far as it goes now. Reads everything if nothing is kept yet.
   *
   * @param {number} revision of the share's record that the vault is of
   * @returns {Promise<boolean>} whether there is nothing left to do; if not, changes are missing that another tab may have
   */
  async follow(revision) {
    if (this.#doomed) return true;
    let outcome = await this.#take(revision);
    if (outcome === "none") {
      await this.read(revision);
      outcome = await this.#take(revision);
    }
    return outcome !== "behind" && outcome !== "none";
  }

  /**
   * Reads everything, unless another tab does.
   *
   * @param {number} revision
   * @returns {Promise<void>}
   */
  async read(revision) {
    await navigator.locks.request(this.#store.lock, { ifAvailable: true }, async (lock) => {
      if (!lock) return;
      /** @type {{ vault: string, commit: number } | undefined} */ let before;
      for (let after = "", more = true; more; ) {
        const page = /** @type {import("./types.d.ts").MirrorRecords} */ (await this.#call("mirror.records", after ? { after } : {}));
        if (!before) await this.#store.begin(page.vault, page.commit);
        else if (page.vault !== before.vault || page.commit < before.commit) return; // it was made anew, or put back, meanwhile
        before = page;
        if (!(await this.#store.page(page.records))) return; // it was forgotten meanwhile
        after = page.records.at(-1)?.name ?? after;
        more = page.more && page.records.length > 0;
      }
      const told = await this.#changes();
      if (!before || told.vault !== before.vault || told.commit < before.commit) return;
      await this.#store.take(told, revision);
      await this.#store.finish(told.commit, revision);
    });
  }

  /**
   * Takes in everything that this worker has to tell.
   *
   * @param {number} revision
   * @returns {Promise<Outcome>}
   */
  async #take(revision) {
    for (;;) {
      const told = await this.#changes();
      const outcome = await this.#store.take(told, revision);
      if (!told.more) return outcome;
    }
  }

  /**
   * Hands in what is kept.
   *
   * @throws {KmsError} `not_found` if nothing is
   */
  async offer() {
    let first = true;
    for await (const records of this.#store.offers()) {
      await this.#call("mirror.offer", { first, records });
      first = false;
    }
    if (first) throw new KmsError("not_found", "this app keeps no mirror of the vault; backup.restore brings it back from a file", { details: { reason: "no-mirror" } });
  }

  /** @returns {Promise<Changes>} */
  async #changes() {
    try {
      return /** @type {Changes} */ (await this.#call("mirror.changes", {}));
    } catch (error) {
      if (error instanceof KmsError && error.code === "unknown_method") this.#doomed = true;
      throw error;
    }
  }

  /** @returns {Promise<import("./kms.d.ts").MirrorStatus>} */
  async status() {
    const kept = await this.#store.state();
    return Object.freeze(kept ? { kept: true, at: Math.floor(kept.at / 1000), bytes: kept.size } : { kept: false });
  }
}
