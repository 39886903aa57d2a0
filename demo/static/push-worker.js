// Shows what relays send, also while no page of the app is open. It is registered once for each relay, at a
// scope of its own, so that each has a push subscription of its own; the app's shell is service-worker.js's.

importScripts("/sdk/push-worker-classic.js");

addEventListener("install", () => skipWaiting());

kmsPush.handlePush({
  show(data) {
    const { title, body } = data.json();
    return { title, body, icon: "/icons/icon-192.png" };
  },
  fallback: { title: "A message for you", body: "It could not be read. Open the app to see who may send." },
  open: "/",
});
