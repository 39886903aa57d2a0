// The service worker of relay.html, as an ES module.

import { handlePush } from "/sdk/push-worker.js";

addEventListener("install", () => skipWaiting());
handlePush({ show: (data) => data.json(), fallback: { title: "Something has arrived" }, open: "/relay.html" });
