// An app that is pushed to, without the SDK: subscribes, and tells what came and what is shown.

/** The service worker of a scope, once it can be subscribed with. */
async function registered(scope) {
  const registration = await navigator.serviceWorker.register("/push-worker.js", { scope });
  const worker = registration.installing ?? registration.waiting;
  if (!registration.active) await new Promise((resolve) => worker.addEventListener("statechange", () => registration.active && resolve()));
  return registration;
}

const registration = await registered("/");

Object.assign(globalThis, {
  /** Subscribes with a VAPID public key (base64url); what toJSON gives. */
  async subscribe(key, scope) {
    const subscription = await (await registered(scope)).pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    return subscription.toJSON();
  },

  async subscription() {
    return (await registration.pushManager.getSubscription())?.toJSON() ?? null;
  },

  async unsubscribe() {
    return await (await registration.pushManager.getSubscription()).unsubscribe();
  },

  /** Bodies of the notifications that are shown. */
  async shown() {
    return (await registration.getNotifications()).map(({ body }) => body);
  },

  /** What push events brought, also while no page was open (push-worker.js). */
  async arrived() {
    const cache = await caches.open("arrived");
    const answers = await Promise.all((await cache.keys()).map((request) => cache.match(request)));
    return await Promise.all(answers.map((answer) => answer.json()));
  },
});

globalThis.ready = true;
