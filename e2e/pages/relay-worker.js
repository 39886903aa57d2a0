// The service worker of relay.html, as a script.

importScripts("/sdk/push-worker-classic.js");

addEventListener("install", () => skipWaiting());
kmsPush.handlePush({ show: (data) => data.json(), fallback: { title: "Something has arrived" }, open: "/relay.html" });
