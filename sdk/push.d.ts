// Types of push.js: relays that may send push messages while the app is closed. docs/embedding.md, "Push", has a whole example.

import type { CallOptions, Kms, KmsError, Lease } from "./kms.d.ts";

/** What an app asks for. Times are seconds. The user sees relay, push service, life and limits in the enclave's dialog. */
export interface RelayOptions {
  /** Origin of the relay: https, or http on this device. The app's Content-Security-Policy needs it in `connect-src`. */
  relay: string;
  /** URL of the app's service worker, which calls `handlePush` of push-worker.js. */
  worker: string | URL;
  /** Scope of its registration. Each relay has one of its own, and with it its own push subscription and key. */
  scope: string | URL;
  /** Whether the worker is an ES module, which not every browser takes (docs/embedding.md). Default: false. */
  module?: boolean;
  /** `mailto:` or `https:`, of a public domain; the push service may write there when something is wrong. */
  contact: string;
  /** How long the lease lasts. Default 43,200, twelve hours; at most 2,592,000, thirty days. */
  lifeSeconds?: number;
  /** How long a push token lasts, and so how long the relay can go without the app. Default: as long as the lease, but at most 86,400. */
  tokenSeconds?: number;
  /** As for `lease.grant`: tokens within an hour of all leases of the vault. A stash takes {@link RelayOptions.stash} of them. */
  perHour?: number;
  /** As for `lease.grant`. */
  perDay?: number;
  /** Tokens in a stash, 2 to 16. Default 4. All of them end at the same time; the others are for when the push service refuses one. */
  stash?: number;
  /** More pushes than these within an hour are an alert. Default 60, at most 10,000. */
  pushesPerHour?: number;
}

/** Something to show to the user, as often as it happened since it was noted. */
export interface PushAlert {
  /**
   * - `after-lease`: a push came after the lease's end, or where no relay is allowed. One that was sent before and kept by the push service until then looks alike.
   * - `rate`: more pushes within an hour than `pushesPerHour`.
   * - `unexplained`: more pushes arrived than the relay says to have sent; somebody else has a token. A push service or relay that delivers one twice looks alike.
   * - `unreadable`: the app's `show` could not make anything of it; a message was shown all the same.
   */
  readonly kind: "after-lease" | "rate" | "unexplained" | "unreadable";
  /** Milliseconds since 1970, both. */
  readonly first: number;
  readonly last: number;
  /** How often; for `unexplained`, how many pushes. */
  readonly times: number;
}

/** What the service worker of a scope has counted since it was registered at the relay under this `id`. A relay that has lost its data counts from zero; `resubscribe` takes that into account. */
export interface Arrivals {
  readonly arrived: number;
  /** Of these, what could not be shown at all: the browser did not let it. */
  readonly unshown: number;
  /** Milliseconds since 1970. */
  readonly last?: number;
  readonly alerts: readonly PushAlert[];
}

/** What a relay answers about a subscription. */
export interface RelayState {
  readonly id: string;
  readonly sent: number;
  readonly failed: number;
  readonly queued: number;
  /** How many it can use, and until when the last of them lasts: seconds since 1970, 0 for none. */
  readonly tokens: { readonly left: number; readonly until: number };
  /** `gone`: the push service has ended the subscription; `resubscribe` makes another. */
  readonly state: "active" | "gone";
}

export interface PushStatus {
  /** What the enclave says; nothing while the vault is locked, or if it knows no such lease (any more). */
  readonly lease?: Lease;
  readonly locked: boolean;
  /** When the lease ends or ended, as far as the app has seen: seconds since 1970. */
  readonly leaseUntil: number;
  /** What the relay says; nothing if it could not be asked, and then `problem` says why. */
  readonly relay?: RelayState;
  readonly problem?: KmsError;
  /** `missing`: there is none; `changed`: another than the relay has. `resubscribe` mends both. */
  readonly subscription: "live" | "missing" | "changed";
  readonly arrivals: Arrivals;
  /** How many more have arrived than the relay has sent. Nothing if it could not be asked. */
  readonly unexplained?: number;
  /** How many were sent and have not arrived: they expired, or wait for the browser. Nothing if the relay could not be asked. */
  readonly outstanding?: number;
  /** What the app should do: `renew` (fresh tokens, no dialog), `renew-lease` (`renew({ lease: true })`), `resubscribe`. In this order. */
  readonly advice: readonly ("renew" | "renew-lease" | "resubscribe")[];
  /** Steps of an earlier `revoke` or `resubscribe` that have not succeeded yet. */
  readonly left: readonly Step[];
}

/** A step after the user's yes that can be repeated, and why it has not succeeded. */
export interface Step {
  /** `unsubscribe`: give up the push subscription; `forget`: have the relay delete its record; `unregister`: the service worker. */
  readonly step: "unsubscribe" | "forget" | "unregister";
  readonly problem?: KmsError;
}

export interface Revoked {
  /** Empty if all is done. What is not is tried again by `relays` and `status`. */
  readonly left: readonly Step[];
  /** False if the relay keeps a record that nobody has a token to delete. It cannot send with it. */
  readonly forgotten: boolean;
}

/** For whoever may send: POST the message to `url` with `Authorization: Bearer` and the token. */
export interface SendToken {
  readonly url: string;
  readonly token: string;
  /** Seconds since 1970. */
  readonly exp: number;
}

/** What {@link Relay.watch} tells. */
export type PushEvent =
  | { readonly type: "receipt"; readonly message: string; readonly outcome: "sent" | "expired" | "gone" | "refused" | "too-large" | "unauthorized"; readonly status: number; readonly sent: number; readonly at: number }
  /** The relay says that its stash runs low. `renewed` if it was given a fresh one, `problem` if that failed; neither if it has enough, or was given one shortly before. */
  | { readonly type: "tokens"; readonly left: number; readonly until: number; readonly renewed?: RelayState; readonly problem?: KmsError }
  /** The service worker has counted a push, or noticed something. */
  | { readonly type: "arrived" }
  | { readonly type: "alert"; readonly kind: Exclude<PushAlert["kind"], "unexplained"> }
  /** The browser has ended or replaced the subscription: `resubscribe`. */
  | { readonly type: "subscription" }
  /** The relay could not be reached; it is tried again. */
  | { readonly type: "problem"; readonly problem: KmsError }
  /** Watching is over: the lease or the relay's record is gone, or the relay refuses. */
  | { readonly type: "ended"; readonly problem: KmsError };

/** One relay that the user has allowed. */
export interface Relay {
  readonly relay: string;
  /** URL of the scope. */
  readonly scope: string;
  /** Of the subscription at the relay. */
  readonly id: string;
  readonly kid: string;
  /** Id of the lease. */
  readonly lease: string;

  /**
   * Gives the relay a fresh stash. Works while the vault is locked. With `lease` the user is asked first, in the enclave's
   * dialog, to let the lease go on: for another `lifeSeconds` from now.
   */
  renew(options?: { lease?: boolean } & CallOptions): Promise<RelayState>;

  /**
   * Makes another push subscription, and registers it. The key and the lease stay, and nobody is asked, if they still serve.
   * If not, the user is asked for another lease; the key is a new one if it was replaced or revoked, or with `rotate`, which asks to replace it first.
   */
  resubscribe(options?: { rotate?: boolean } & CallOptions): Promise<void>;

  /** A token for whoever may send. Works while the vault is locked. ttlSeconds: at most the tokenSeconds of the relay, and not beyond the lease's end. */
  sendToken(options: { ttlSeconds: number } & CallOptions): Promise<SendToken>;

  /** Asks everybody and compares. It rejects if the app's own storage fails, or if the enclave does not answer where a page ended in the middle of `revoke`. */
  status(options?: CallOptions): Promise<PushStatus>;

  /** The user has seen the alerts: they begin anew. */
  noteAlerts(): Promise<void>;

  /**
   * Listens to the relay and the service worker, and renews the stash when it runs low, until `stop`, the signal, or an event
   * `ended`. One is enough for all tabs. Nothing is told twice, unless the page is closed meanwhile.
   */
  watch(listener: (event: PushEvent) => void, options?: { signal?: AbortSignal }): { stop(): void };

  /**
   * Ends it all: the user is asked once, in the enclave's dialog. If the answer is no, nothing has happened. After the yes the relay
   * gets no token any more, whatever else fails.
   */
  revoke(options?: CallOptions): Promise<Revoked>;
}

/**
 * Lets a relay send push messages to this app. Call it from a click: the browser may ask for notifications, and the enclave asks the user.
 *
 * Rejects with a {@link KmsError}, and has undone what it could. `details.step` says how far it came ("relay", "key", "worker",
 * "subscription", "contact", "lease", "tokens", "register", "record"), and `details.left` what only a dialog could undo: "key", an unused key that the next attempt
 * takes, and "lease", a lease that it takes as well, without asking again. Beside what `keys.create` and `lease.grant` reject with:
 *
 * - `invalid_request`: an option, in `details.member`.
 * - `exists`: the scope serves a relay already, or another subscription (`details.reason` "scope"); the relay is allowed at another scope ("relay"); or it
 *   has a lease with other terms or another push service ("lease", its id in `details.lease`): `kms.lease.revoke` ends that.
 * - `busy`: another tab is at it.
 * - `denied` with `details.reason` "notifications": the user or the browser does not allow notifications.
 * - `unsupported`: no push in this browser, or the worker did not start.
 * - Of the relay, with `details.relay`: see docs/embedding.md.
 */
export declare function allowRelay(kms: Kms, options: RelayOptions, call?: CallOptions): Promise<Relay>;

/**
 * The relays that were allowed to this account, from the app's own storage. Tries what an earlier `revoke` has left.
 * Rejects with `storage_unavailable` only.
 */
export declare function relays(kms: Kms): Promise<Relay[]>;
