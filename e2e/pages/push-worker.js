// The service worker of push.html: keeps what a push brings, and shows it.

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("push", (event) => event.waitUntil(show(event.data?.text() ?? "")));

async function show(body) {
  const pages = (await clients.matchAll({ includeUncontrolled: true })).length;
  const kept = { body, scope: new URL(registration.scope).pathname, pages };
  const url = `/arrived/${crypto.randomUUID()}`;
  const keep = async () => (await caches.open("arrived")).put(url, Response.json(kept));
  await keep();
  try {
    await registration.showNotification("A message", { body });
  } catch (error) {
    kept.error = `${error.name}: ${error.message}`;
    await keep();
    throw error;
  }
}
