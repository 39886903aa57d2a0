// The service worker's side of push, for a worker that is an ES module. In one that is not:
//
//   importScripts("/sdk/push-worker-classic.js");
//   kmsPush.handlePush({ show });

import "./push-worker-classic.js";

/** @type {typeof import("./push-worker.d.ts").handlePush} */
export const handlePush = /** @type {any} */ (self).kmsPush.handlePush;
