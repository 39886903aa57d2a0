// What stands in for everything around push.js: the browser's service workers and subscriptions, the enclave with its
// user, and the relay behind fetch. Each can be made to fail at any one thing it does.

import { createRequire } from "node:module";
import { KmsError } from "../errors.js";

const { IDBFactory, IDBKeyRange } = createRequire(new URL("../../e2e/package.json", import.meta.url))("fake-indexeddb");

export const APP = "https://app.example";
export const RELAY = "https://relay.example";
export const SERVICE = "https://push.example";

/** What fails, by name: an error, or a function that gives one or nothing; each time, until it is taken away. */
class Failures extends Map {
  check(name) {
    const failure = this.get(name);
    const error = typeof failure === "function" ? failure() : failure;
    if (error) throw error;
  }
}

export class World {
  fails = new Failures();
  /** Everything that was asked of anybody, in order. */
  calls = [];
  registrations = new Map(); // by scope
  keys = [];
  leases = [];
  relay = new Map(); // id → registration
  requests = []; // of fetch
  tokens = []; // that the enclave gave
  heldLocks = new Set();
  locked = false;
  listeners = new Map(); // of the connection's events
  #next = 1;

  constructor() {
    Object.assign(globalThis, { indexedDB: new IDBFactory(), IDBKeyRange, PushManager: class {}, location: new URL(`${APP}/`), fetch: (url, init) => this.#fetch(url, init) });
    const target = new EventTarget();
    const serviceWorker = {
      register: async (url, { scope }) => (this.#did("register"), this.#registration(scope)),
      getRegistrations: async () => [...this.registrations.values()],
      addEventListener: (...args) => target.addEventListener(...args),
      removeEventListener: (...args) => target.removeEventListener(...args),
      startMessages() {},
    };
    this.hear = (data) => target.dispatchEvent(Object.assign(new Event("message"), { data }));
    const locks = {
      request: async (name, options, work) => {
        if (this.heldLocks.has(name)) return await work(null);
        this.heldLocks.add(name);
        try {
          return await work({ name });
        } finally {
          this.heldLocks.delete(name);
        }
      },
    };
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: { serviceWorker, locks } });
    this.kms = this.#enclave();
  }

  #did(name) {
    this.calls.push(name);
    this.fails.check(name);
  }

  #registration(scope) {
    const world = this;
    const known = this.registrations.get(scope);
    if (known) return known;
    const made = {
      scope, active: {}, subscription: null,
      pushManager: {
        getSubscription: async () => made.subscription,
        subscribe: async ({ applicationServerKey }) => {
          world.#did("subscribe");
          return (made.subscription ??= world.#subscription(made, applicationServerKey));
        },
      },
      unregister: async () => (world.#did("unregister"), world.registrations.delete(scope)),
    };
    this.registrations.set(scope, made);
    return made;
  }

  #subscription(registration, applicationServerKey) {
    const endpoint = `${SERVICE}/${this.#next++}`;
    return {
      endpoint,
      options: { applicationServerKey },
      unsubscribe: async () => {
        this.#did("unsubscribe");
        registration.subscription = null;
        return true;
      },
      toJSON: () => ({ endpoint, expirationTime: null, keys: { p256dh: "p", auth: "a" } }),
    };
  }

  now = () => Math.floor(Date.now() / 1000);

  #enclave() {
    const call = (name, work) => async (params = {}, options = {}) => {
      this.#did(name);
      if (this.locked && !name.startsWith("token.")) throw new KmsError("locked", "locked");
      const result = structuredClone(work(params));
      this.fails.check(`after ${name}`);
      options.signal?.throwIfAborted();
      return result;
    };
    const found = (list, is) => list.find(is) ?? this.#refuse("not_found");
    const running = (id) => {
      const lease = found(this.leases, (each) => each.id === id);
      return lease.state === "running" ? lease : this.#refuse("denied");
    };
    const make = (members) => {
      const kid = `key ${this.#next++}`;
      const key = { kid, purpose: "vapid", state: "active", label: "", publicKey: { raw: Buffer.alloc(65, this.#next).toString("base64url") }, ...members };
      this.keys.push(key);
      return key;
    };
    const end = (kid, reason) => this.leases.filter((each) => each.kid === kid && each.state === "running").forEach((each) => Object.assign(each, { state: "ended", reason, endedAt: this.now() }));
    const token = (text) => {
      this.tokens.push(text);
      return text;
    };
    return {
      on: (name, listener) => this.listeners.set(name, listener),
      off: (name) => this.listeners.delete(name),
      release: { origin: "https://kms.example", account: "alice" },
      keys: {
        list: call("keys.list", () => ({ keys: this.keys })),
        get: call("keys.get", ({ kid }) => ({ key: found(this.keys, (each) => each.kid === kid) })),
        create: call("keys.create", ({ label }) => ({ key: make({ label }) })),
        rotate: call("keys.rotate", ({ kid }) => {
          const retired = found(this.keys, (each) => each.kid === kid);
          const key = make({ predecessor: kid, label: retired.label });
          Object.assign(retired, { state: "retired", successor: key.kid });
          end(kid, "key-retired");
          return { key, retired };
        }),
      },
      lease: {
        list: call("lease.list", () => ({ leases: this.leases })),
        grant: call("lease.grant", ({ kid, relay, endpoint, lifeSeconds, tokenSeconds, perHour = 60, perDay = 500 }) => {
          const at = this.now();
          const lease = { id: `lease ${this.#next++}`, kid, relay, service: new URL(endpoint).origin, state: "running", grantedAt: at, expiresAt: at + lifeSeconds, until: at + 2_592_000, tokenSeconds, perHour, perDay };
          this.leases.push(lease);
          return { lease };
        }),
        renew: call("lease.renew", ({ lease, lifeSeconds }) => ({ lease: Object.assign(running(lease), { expiresAt: this.now() + lifeSeconds }) })),
        revoke: call("lease.revoke", ({ lease: id }) => {
          const lease = found(this.leases, (each) => each.id === id);
          end(lease.kid, "revoked");
          found(this.keys, (each) => each.kid === lease.kid).state = "revoked";
          return { lease };
        }),
      },
      token: {
        vapid: call("token.vapid", ({ kid, lease, ttlSeconds, count = 1 }) => {
          if (!kid) running(lease);
          const made = Array.from({ length: count }, () => ({ token: token(`secret-push-${this.#next++}`), exp: this.now() + ttlSeconds }));
          return { ...made[0], more: made.slice(1) };
        }),
        relay: call("token.relay", ({ lease, scope, ttlSeconds }) => (running(lease), { token: token(`secret-${scope}-${this.#next++}`), exp: this.now() + ttlSeconds })),
      },
    };
  }

  #refuse(code) {
    throw new KmsError(code, code);
  }

  // The relay. What fails under "PUT /…" is a status, { status, problem, headers }, or an error of the network.
  async #fetch(url, init) {
    const { pathname, origin } = new URL(url);
    const name = `${init.method} ${pathname.replace(/^\/v1\/subscriptions\/[^/]+/, "")}`.trim();
    this.requests.push({ url, origin, name, ...init });
    this.calls.push(name);
    const failure = this.fails.get(name);
    const wrong = typeof failure === "function" ? await failure(init) : failure;
    if (wrong instanceof Error) throw wrong;
    if (wrong instanceof Response) return wrong;
    if (wrong) return problem(wrong.status, wrong.problem, wrong.headers);
    const id = pathname.split("/")[3];
    if (!init.headers.authorization) return problem(401, "unauthorized");
    const created = name === "PUT" && !this.relay.has(id);
    if (name === "PUT") this.relay.set(id, { ...JSON.parse(init.body), sent: this.relay.get(id)?.sent ?? 0 });
    const known = this.relay.get(id);
    if (!known) return problem(404, "unknown-subscription");
    if (name === "PUT /tokens") known.tokens = JSON.parse(init.body).tokens;
    if (name === "DELETE") this.relay.delete(id);
    if (name === "DELETE") return new Response(null, { status: 204 });
    return Response.json({ id, sent: known.sent, failed: 0, queued: 0, tokens: { left: known.tokens.length, until: this.now() + 3600 }, state: "active" }, { status: created ? 201 : 200 });
  }
}

export const problem = (status, code, headers = {}) =>
  new Response(JSON.stringify({ type: `urn:kms-relay:${code}`, title: `title of ${code}`, status }), { status, headers: { "content-type": "application/problem+json", ...headers } });
