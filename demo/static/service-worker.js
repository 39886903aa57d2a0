// Keeps the app's shell for when its server cannot be reached. The network
// always comes first, so that a new version is never hidden by an old one, and
// only files of this origin are kept: the enclave is another origin's, is
// checked by its hash at every start, and never passes through here.

const cacheName = "shell";

// What the first visit keeps; the SDK and the pin follow when they are used.
const shell = [
  "/",
  "/app.js",
  "/dom.js",
  "/home/act.js",
  "/home/activity.js",
  "/home/care.js",
  "/home/friend.js",
  "/home/home.css",
  "/home/home.js",
  "/home/keys.js",
  "/home/level.js",
  "/home/notification-words.js",
  "/home/notifications.js",
  "/home/vault.js",
  "/home/words.js",
  "/icons/icon.svg",
  "/install.js",
  "/log.js",
  "/manifest.webmanifest",
  "/picture.js",
  "/session.js",
  "/step.js",
  "/steps/audit.js",
  "/steps/challenge.js",
  "/steps/keys.js",
  "/steps/launch.js",
  "/steps/reach.js",
  "/steps/tokens.js",
  "/steps/vault.js",
  "/style.css",
  "/tokens.css",
  "/verify.js",
  "/views.js",
  "/words.js",
];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(shell)));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== self.location.origin) return; // the browser's own business
  event.respondWith(networkFirst(request));
});

async function networkFirst(request) {
  const cache = await caches.open(cacheName);
  const name = request.mode === "navigate" ? "/" : new URL(request.url).pathname;
  try {
    const response = await fetch(request);
    if (response.ok && response.type === "basic") await cache.put(name, response.clone());
    return response;
  } catch (unreachable) {
    const kept = await cache.match(name);
    if (kept) return kept;
    throw unreachable;
  }
}
