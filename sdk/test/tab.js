// What the tests of a connection share: a tab of an app, the enclave behind it, and time.

import { beforeEach } from "node:test";
import { KmsError } from "../errors.js";
import { Connection } from "../lifecycle.js";
import { ShareStore } from "../share.js";
import { EnclaveStandIn, IndexedDBStandIn, TestClock } from "./standins.js";

export const ORIGIN = "https://kms.example";
export const DEVICE = { persistence: "device", lock: "none" };
export const BUSY = { code: "busy", message: "busy", retryable: true };

/** New for every test. */
export let enclave, clock;

beforeEach(() => {
  globalThis.indexedDB = new IndexedDBStandIn();
  enclave = new EnclaveStandIn();
  clock = new TestClock();
});

/** What the SDK has stored. */
export const record = () => indexedDB.record("kms-enclave-sdk", [ORIGIN, "alice"]);

export const newStore = () => new ShareStore(ORIGIN, "alice");

/** A tab with a connection. */
export async function tab({ store = newStore(), launch = enclave.launch } = {}) {
  const connection = new Connection({ store, timeoutMs: 1000 }, { launch, clock });
  connection.events.release();
  const closed = [];
  connection.events.on("closed", (data) => closed.push(data.code));
  await connection.open();
  return Object.assign(connection, { closed });
}

export const session = () => enclave.sessions.at(-1);
export const methods = (of = session()) => of.posted.map(({ method }) => method);

/** Has the worker answer what it was posted first and has kept. */
export const answer = (method, of = session()) => of.answer(of.posted.find((request) => request.method === method));

/** A store that does not answer from now on. */
export function silence(store) {
  for (const name of ["obtain", "begin", "read", "mark", "forget", "heal"]) store[name] = () => new Promise(() => {});
  return store;
}

/** What a call came to, as one word. */
export const outcome = (promise) => promise.then(() => "done", (error) => (error instanceof KmsError ? error.code : Promise.reject(error)));
