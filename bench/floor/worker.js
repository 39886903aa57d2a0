"use strict";

const ALGORITHMS = {
  ES256: [{ name: "ECDSA", namedCurve: "P-256" }, { name: "ECDSA", hash: "SHA-256" }],
  EdDSA: [{ name: "Ed25519" }, { name: "Ed25519" }],
};

let database, port;
const keys = {};
let next = 0;

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("floor", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("records");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function commit(records) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction("records", "readwrite", { durability: "strict" });
    const store = transaction.objectStore("records");
    for (const [key, value] of records) store.put(value, key);
    transaction.oncomplete = resolve;
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

// Waiting records go into one transaction, as in the enclave.
let waiting = [], committing = false;

async function durable(record) {
  const done = new Promise((resolve, reject) => waiting.push({ record, resolve, reject }));
  if (!committing) {
    committing = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        await commit(batch.map((w) => w.record));
        for (const w of batch) w.resolve();
      } catch (error) {
        for (const w of batch) w.reject(error);
      }
    }
    committing = false;
  }
  return done;
}

const methods = {
  async create({ alg }) {
    keys[alg] = await crypto.subtle.generateKey(ALGORITHMS[alg][0], false, ["sign", "verify"]);
    await durable([`key-${next++}`, keys[alg].privateKey]);
    return {};
  },
  async sign({ alg, data }) {
    const signature = await crypto.subtle.sign(ALGORITHMS[alg][1], keys[alg].privateKey, new TextEncoder().encode(data));
    await durable([`sign-${next++}`, new Uint8Array(signature)]);
    return { signature: btoa(String.fromCharCode(...new Uint8Array(signature))) };
  },
};

onmessage = async (event) => {
  port = event.ports[0];
  database = await open();
  port.onmessage = async ({ data }) => {
    const { id, method, params } = JSON.parse(data);
    port.postMessage(JSON.stringify({ id, result: await methods[method](params) }));
  };
};
