// What makes this page an app: a service worker for its shell, and a button to install it.

/** Registers the service worker and shows the button while the browser offers to install. */
export function installable(button) {
  navigator.serviceWorker?.register("/service-worker.js").catch(() => {
    // Without it the app works the same, but only while its server runs.
  });
  let offer = null;
  window.addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    offer = event;
    button.hidden = false;
  });
  window.addEventListener("appinstalled", () => { button.hidden = true; });
  button.addEventListener("click", async () => {
    await offer?.prompt();
    offer = null; // an offer is good once
    button.hidden = true;
  });
}
