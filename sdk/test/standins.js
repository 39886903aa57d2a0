// What stands in for a browser in these tests: time, IndexedDB, and the enclave behind a session.

/** Time that passes when the test says so. */
export class TestClock {
  time = 0;
  timers = new Map();
  #next = 1;
  now = () => this.time;
  random = () => 1;
  setTimeout = (run, milliseconds) => (this.timers.set(this.#next, { run, at: this.time + milliseconds }), this.#next++);
  clearTimeout = (timer) => this.timers.delete(timer);

  pass(milliseconds) {
    const end = this.time + milliseconds;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = due[1].at;
      due[1].run();
    }
    this.time = end;
  }
}

/** Whether a promise has settled by the time everything that was due has run. */
export const settled = (promise) => Promise.race([promise.then(() => true, () => true), new Promise((resolve) => setImmediate(resolve, false))]);

/** Lets everything that is due run. */
export const turns = async (n = 30) => {
  for (let i = 0; i < n; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

/**
 * IndexedDB, as far as share.js uses it: one object store a database, transactions one after the other,
 * their writes there all or not at all, values cloned.
 */
export class IndexedDBStandIn {
  /** Records by database name and then by key. */
  databases = new Map();
  /** Thrown by `put`, if set. */
  full = undefined;
  #last = Promise.resolve();

  open(name) {
    const request = { result: new Connection(this, name) };
    queueMicrotask(() => {
      if (!this.databases.has(name)) request.onupgradeneeded?.();
      this.databases.set(name, this.databases.get(name) ?? new Map());
      request.onsuccess();
    });
    return request;
  }

  record(name, key) {
    return this.databases.get(name)?.get(JSON.stringify(key));
  }

  /** Runs a transaction when all earlier ones are over. */
  begin(run) {
    this.#last = this.#last.then(run);
  }
}

class Connection {
  #of;
  #name;

  constructor(of, name) {
    this.#of = of;
    this.#name = name;
  }

  createObjectStore() {}
  close() {}

  transaction() {
    const transaction = new Transaction(this.#of);
    this.#of.begin(async () => {
      const records = await transaction.run(new Map(this.#of.databases.get(this.#name)));
      if (records) this.#of.databases.set(this.#name, records);
      transaction.end(records ? "complete" : "abort");
    });
    return transaction;
  }
}

class Transaction {
  error = null;
  #of;
  #requests = [];
  #aborted = false;
  #listeners = [];

  constructor(of) {
    this.#of = of;
  }

  abort() {
    this.#aborted = true;
  }

  addEventListener(type, listener) {
    this.#listeners.push({ type, listener });
  }

  end(type) {
    this[`on${type}`]();
    for (const each of this.#listeners) if (each.type === type) each.listener();
  }

  objectStore() {
    const request = (work) => {
      const made = { work };
      this.#requests.push(made);
      return made;
    };
    return {
      get: (key) => request((records) => structuredClone(records.get(JSON.stringify(key)))),
      put: (value, key) => {
        const clone = structuredClone(value);
        return request((records) => {
          if (this.#of.full) this.error = this.#of.full;
          if (this.#of.full) return this.abort();
          records.set(JSON.stringify(key), clone);
        });
      },
    };
  }

  /** The records afterwards; undefined if it was aborted. */
  async run(records) {
    for (let request; !this.#aborted && (request = this.#requests.shift()); ) {
      await undefined;
      request.result = request.work(records);
      request.onsuccess?.();
    }
    return this.#aborted ? undefined : records;
  }
}

/** The enclave's storage, which every worker of one app and account shares. */
export class EnclaveStandIn {
  /** @type {{ share: string, lineage?: { vault: string, epoch: number } } | null} */ vault = null;
  /** What a backup file holds: vault.create makes the first of these, backup.restore brings back the second. */
  lineages = [];
  /** The audit log of the vault that is there: a letter an entry. */
  log = "a";
  /** Sessions that were launched, newest last. */
  sessions = [];
  /** Methods that are not answered until `release`. */
  held = new Set();

  /** What launch.js gives, with a worker of ours behind it. */
  launch = async ({ held }, listener) => {
    const given = await held();
    const session = new SessionStandIn(this, { share: String(given.share), marker: given.marker }, listener);
    this.sessions.push(session);
    return { session, held: given, report: {} };
  };
}

class SessionStandIn {
  posted = [];
  open = true;
  shown = false;
  #enclave;
  #launched;
  #listener;

  constructor(enclave, launched, listener) {
    this.#enclave = enclave;
    this.#launched = launched;
    this.#listener = listener;
  }

  post(text) {
    const request = JSON.parse(text);
    this.posted.push(request);
    if (!this.#enclave.held.has(request.method)) this.answer(request);
  }

  /** Does what was asked for, and replies in a later turn. */
  answer({ id, method, params }) {
    const reply = this.#run(method, params);
    setImmediate(() => this.reply({ id, ...reply }));
  }

  reply(message) {
    if (this.open) this.#listener.message(JSON.stringify(message));
  }

  ping(id) {
    this.#listener.pong(id);
  }

  show(open) {
    this.shown = open;
  }

  dialog(open) {
    this.#listener.dialog(open);
  }

  /** The page was left. */
  leave() {
    this.#listener.left();
  }

  die(message = "the worker ended") {
    this.#listener.died(message);
  }

  dispose() {
    this.open = false;
  }

  #run(method, params) {
    const { persistence = "device" } = params;
    const enclave = this.#enclave;
    const { share, marker } = this.#launched;
    const lost = enclave.vault ? enclave.vault.share !== share && "share-missing" : marker && "marker-without-vault";
    const open = () => ({ state: "unlocked", persistence, ...(enclave.vault?.lineage && { lineage: enclave.vault.lineage }) });
    const status = lost ? { state: "lost", reason: lost } : enclave.vault ? open() : { state: "absent" };
    if (method === "vault.status") return { result: status };
    if (method === "audit.consistent") return enclave.vault ? { result: consistent(enclave.log, params.since ?? "") } : failed("not_found");
    if (method === "vault.unlock" || method === "slots.manage") return { result: status };
    if (method === "vault.create" && lost) return failed("not_found");
    if ((method === "vault.create" || method === "backup.restore") && enclave.vault) return failed("exists");
    if (method === "vault.create") enclave.vault = { share, lineage: enclave.lineages[0] };
    if (method === "backup.restore") enclave.vault = { share, lineage: enclave.lineages[1] };
    if (method === "vault.create" || method === "backup.restore") return { result: open() };
    if (method === "vault.destroy" && status.state === "absent") return failed("not_found");
    if (method === "vault.destroy") enclave.vault = null;
    if (method === "vault.destroy") this.#launched.marker = false;
    return { result: {} };
  }
}

const consistent = (log, since) => ({ consistent: log.startsWith(since), size: log.length, since: log });

const failed = (code) => ({ error: { code, message: code, retryable: false } });
