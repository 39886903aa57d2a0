// What the browser has to do with push: a service worker for each scope, and its subscription.

import { decodeBytes } from "./bytes.js";
import { KmsError } from "./errors.js";

const WORKER_MS = 20_000; // until a service worker is active
const SUBSCRIBE_MS = 60_000; // the browser may ask the user; some wait for ever for a push service that is not there

/**
 * @returns {void}
 * @throws {KmsError} `unsupported`
 */
export function demandPush() {
  if (globalThis.navigator?.serviceWorker && "PushManager" in globalThis && navigator.locks) return;
  throw new KmsError("unsupported", "this browser has no push messages for this page: service workers, PushManager and Web Locks are wanted");
}

/**
 * One at a time in all tabs.
 *
 * @template T
 * @param {string} scope
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 * @throws {KmsError} `busy` if another is at it
 */
export function alone(scope, work) {
  return navigator.locks.request(`kms-enclave-sdk/push ${scope}`, { ifAvailable: true }, async (lock) => {
    if (!lock) throw new KmsError("busy", `another tab or call changes what is allowed at ${scope}`, { retryable: true });
    return await work();
  });
}

/** The registration of exactly this scope. @param {string} scope */
export async function registrationOf(scope) {
  return (await navigator.serviceWorker.getRegistrations()).find((each) => each.scope === scope);
}

/**
 * Registers a worker, and waits until it is active.
 *
 * @param {{ worker: string, scope: string, module: boolean }} of
 * @returns {Promise<ServiceWorkerRegistration>}
 * @throws {KmsError} `unsupported` if the worker is not one that this browser starts for this scope
 */
export async function activeWorker({ worker, scope, module }) {
  try {
    const registration = await navigator.serviceWorker.register(worker, { scope, type: module ? "module" : "classic" });
    await within(WORKER_MS, activated(registration), "the service worker is not active");
    return registration;
  } catch (error) {
    throw new KmsError("unsupported", `the service worker ${worker} did not start for ${scope}: ${message(error)}`, { cause: error });
  }
}

/** @param {ServiceWorkerRegistration} registration */
async function activated(registration) {
  const coming = registration.installing ?? registration.waiting;
  if (registration.active || !coming) return;
  await new Promise((resolve, reject) => {
    const look = () => {
      if (registration.active) resolve(undefined);
      else if (coming.state === "redundant") reject(new Error("its installation failed"));
    };
    coming.addEventListener("statechange", look);
    look();
  });
}

/**
 * Subscribes with a VAPID public key. One that was made already with the same key is given again.
 *
 * @param {ServiceWorkerRegistration} registration
 * @param {string} publicKey raw, base64url
 * @returns {Promise<PushSubscription>}
 * @throws {KmsError} `denied` with reason "notifications"; `exists` with reason "scope" if there is one with another key; `timeout`; `unsupported`
 */
export async function subscribe(registration, publicKey) {
  const subscribing = registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: decodeBytes(publicKey) });
  try {
    return await within(SUBSCRIBE_MS, subscribing, "the browser's push service has not answered");
  } catch (error) {
    subscribing.then((late) => late.unsubscribe()).catch(() => {}); // one that comes after all is nobody's
    throw subscribeError(error, registration.scope);
  }
}

/**
 * @param {any} error
 * @param {string} scope
 */
function subscribeError(error, scope) {
  if (error instanceof KmsError) return error;
  if (error?.name === "NotAllowedError") return new KmsError("denied", "notifications are not allowed for this app; the user allows them in the browser's settings", { details: { reason: "notifications" }, cause: error });
  if (error?.name === "InvalidStateError") return new KmsError("exists", `${scope} has a push subscription of another key`, { details: { reason: "scope" }, cause: error });
  return new KmsError("unsupported", `the browser gives no push subscription: ${message(error)}`, { retryable: error?.name === "AbortError", cause: error });
}

/**
 * Gives up a scope's subscription, if it has one.
 *
 * @param {string} scope
 * @returns {Promise<void>}
 * @throws {KmsError} `interrupted` if the browser does not
 */
export async function unsubscribe(scope) {
  await must(`the push subscription of ${scope} could not be given up`, async () => {
    const subscription = await (await registrationOf(scope))?.pushManager.getSubscription();
    return !subscription || (await subscription.unsubscribe());
  });
}

/**
 * @param {string} scope
 * @throws {KmsError} `interrupted` if the browser does not
 */
export async function unregister(scope) {
  await must(`the service worker of ${scope} could not be unregistered`, async () => {
    const registration = await registrationOf(scope);
    return !registration || (await registration.unregister());
  });
}

/**
 * @param {string} what did not work
 * @param {() => Promise<boolean>} work
 */
async function must(what, work) {
  /** @type {unknown} */ let cause;
  const done = await within(WORKER_MS, work(), what).catch((error) => void (cause = error));
  if (!done) throw new KmsError("interrupted", `${what}${cause ? `: ${message(cause)}` : ""}`, { retryable: true, cause });
}

/** @param {unknown} error */
const message = (error) => (error instanceof Error ? error.message : String(error));

/**
 * @template T
 * @param {number} milliseconds
 * @param {Promise<T>} promise
 * @param {string} what
 * @returns {Promise<T>}
 */
function within(milliseconds, promise, what) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new KmsError("timeout", `${what} within ${milliseconds} ms`, { retryable: true })), milliseconds);
  });
  return Promise.race([promise, /** @type {Promise<never>} */ (limit)]).finally(() => clearTimeout(timer));
}
