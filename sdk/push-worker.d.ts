// Types of push-worker.js, for the app's service worker.

/** What an app shows: a title, and the options of `showNotification`. */
export interface Shown extends NotificationOptions {
  title: string;
}

/** What a push brought, as in the Push API. */
export interface PushData {
  arrayBuffer(): ArrayBuffer;
  json(): any;
  text(): string;
}

export interface PushOptions {
  /** Makes a notification of a message. If it throws, takes more than five seconds, or gives none, `fallback` is shown, and an alert kept. */
  show(data: PushData | null): Shown | Promise<Shown>;
  /** Default: a title "New message". */
  fallback?: Shown;
  /**
   * The page that a click on a notification opens, if none of this app's is open: of the worker's own origin. Default: its scope.
   * An open page is brought to the front as it is; it can listen to "message" of `navigator.serviceWorker`, for `{ kmsPush: "click", data }`.
   */
  open?: string;
}

/** Takes the events `push`, `notificationclick` and `pushsubscriptionchange`. Call it when the worker's script is run, once. */
export declare function handlePush(options: PushOptions): void;
