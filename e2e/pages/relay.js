// An app that lets relays push, with the SDK; what it does is left to the test that drives it.
import { connect } from "/sdk/kms.js";
import { allowRelay, relays } from "/sdk/push.js";

const configuration = await (await fetch("/configuration.json")).json();
const told = ({ code, message, details = {} }) => ({ code, message, details: JSON.parse(JSON.stringify(details)) });

/** The relay of a scope, as a page finds it that has just been opened. */
async function at(scope) {
  const found = (await relays(kms)).find((each) => each.scope.endsWith(scope));
  if (!found) throw new Error(`no relay at ${scope}`);
  return found;
}

Object.assign(window, {
  async startKms(options = {}) {
    window.kms = await connect({ ...configuration, account: "alice", container: document.querySelector("#kms"), ...options });
  },

  at,
  relays,

  /** Begins what waits for a person. What becomes of it is { result } or { code, message, details } in window.outcome. */
  start(work) {
    window.outcome = undefined;
    work().then((result = null) => (window.outcome = { result }), (error) => (window.outcome = told(error)));
  },

  allow(options) {
    start(async () => {
      const { relay, scope, id, kid, lease } = await allowRelay(kms, { worker: "/relay-worker.js", contact: "mailto:push@kms-enclave.dev", ...options });
      return { relay, scope, id, kid, lease };
    });
  },

  call(scope, method, options) {
    start(async () => (await at(scope))[method](options));
  },

  /** What a call gives, or its error. */
  async ask(scope, method, options) {
    try {
      const result = (await (await at(scope))[method](options)) ?? null;
      return method === "status" ? { ...result, problem: result.problem && told(result.problem) } : result;
    } catch (error) {
      return told(error);
    }
  },

  async watch(scope) {
    window.watched = [];
    window.watching = (await at(scope)).watch((event) => window.watched.push({ ...event, ...(event.problem && { problem: told(event.problem) }) }));
  },

  /** What a method of the enclave gives, or its error. */
  async method(name, params) {
    try {
      return await kms.call(name, params);
    } catch (error) {
      return told(error);
    }
  },

  /** Registers a service worker, without the SDK. */
  async register(worker, type, scope) {
    const registration = await navigator.serviceWorker.register(worker, { type, scope });
    while (!registration.active) await new Promise((resolve) => setTimeout(resolve, 20));
  },

  /** What the service worker of a scope has counted. */
  async counted(scope) {
    const database = await new Promise((resolve, reject) => Object.assign(indexedDB.open("kms-enclave-push", 1), { onsuccess: ({ target }) => resolve(target.result), onerror: reject }));
    const request = database.transaction("arrivals").objectStore("arrivals").get(location.origin + scope);
    const counted = await new Promise((resolve) => (request.onsuccess = () => resolve(request.result ?? null)));
    database.close();
    return counted;
  },

  /** Ends a subscription as the browser might. */
  async lose(scope) {
    const registration = (await navigator.serviceWorker.getRegistrations()).find((each) => each.scope.endsWith(scope));
    return await (await registration.pushManager.getSubscription()).unsubscribe();
  },

  /** What the browser has at a scope: registrations, and the subscription's endpoint. */
  async browserHas(scope) {
    const registration = (await navigator.serviceWorker.getRegistrations()).find((each) => each.scope.endsWith(scope));
    return { registered: Boolean(registration), endpoint: (await registration?.pushManager?.getSubscription())?.endpoint ?? null };
  },
});

window.ready = true;
