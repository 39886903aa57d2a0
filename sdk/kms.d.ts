// Types of the SDK for apps. The methods' own types are generated, in types.d.ts.

import type { ErrorCode, Methods } from "./types.d.ts";

export type * from "./types.d.ts";

/** How sure it is that what runs is the pinned release; see "Connect" in docs/embedding.md. */
export type Level = "enforced" | "checked" | "unpinned";

/** A release, as `enclave build` printed it. */
export interface Pin {
  /** The Content Security Policy that the enclave's frame must obey; contains the loader's hash. One line, unchanged. */
  policy: string;
  /** Hash of the module, "sha384-…". */
  wasm: string;
}

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** One release at one host: https://HOST/r/HEX/kms.html. */
  url: string;
  /** Without a pin whatever the host serves is run, and is handed the share. */
  pin?: Pin;
  /** Refuse to start below this level. Default: "checked" with a pin, "unpinned" without. */
  minimum?: Level;
  /** One vault per app origin and account. At most 128 bytes of UTF-8; shown to the user. */
  account: string;
  /** Where the enclave's own dialog may appear; must stay in the document. Several connections may share one. Default: the body. */
  container?: Element;
  /** Milliseconds for all of `connect`; and for the machine time of each call, see CallOptions. Default: 10,000. */
  timeoutMs?: number;
  /** 32 bytes, if the app keeps the share elsewhere than in its IndexedDB. Always the same for one vault; keep it until the vault is destroyed. */
  share?: Uint8Array;
}

/** Which release the app asked for: what it gave to {@link connect}, checked. */
export interface Release {
  /** Of kms.html. */
  readonly url: string;
  /** Of the enclave's host. */
  readonly origin: string;
  readonly account: string;
  /** Nothing if the app pinned no release. */
  readonly pin: Readonly<Pin> | undefined;
  /** The measurement that the pin demands, 96 hexadecimal digits; nothing without a pin. */
  readonly measurement: string | undefined;
}

/** How the enclave was launched. */
export interface Launch {
  readonly level: Level;
  /** Why this level and not a higher one: a sentence. */
  readonly why: string;
  /**
   * What around the enclave's frame weakens any level, in sentences for the app's developers: the page is in a frame, or was
   * opened by a window that still reaches it; it lacks `Cross-Origin-Opener-Policy: same-origin`; other frames are not sandboxed.
   * As it was at the launch. Empty when all is well; what could not be found out is left out.
   */
  readonly warnings: readonly string[];
  readonly version: string;
  readonly commit: string;
  /** SHA-384 of the loader, 96 hexadecimal digits. With a pin: compared with it. */
  readonly measurement: string;
  readonly timings: Timings;
  /** Bytes of WebAssembly memory that the worker had when it was ready; 0 if it did not say. */
  readonly memory: number;
}

/** Milliseconds from the start of the launch to the end of each step. */
export interface Timings {
  readonly frame?: number;
  readonly level?: number;
  readonly wasm?: number;
  readonly share?: number;
  readonly worker?: number;
  readonly total: number;
  /** As the enclave itself measured its start. */
  readonly enclave: Readonly<Record<string, number>>;
}

/** Options of a call. */
export interface CallOptions {
  /** Calls it off. What the enclave has already begun ends as the enclave says: `cancelled`, or done. */
  signal?: AbortSignal;
  /**
   * One budget of machine time in milliseconds, including what the SDK does before and after the enclave's work. Time in the
   * queue and time in a dialog do not count. Default: that of `connect`.
   */
  timeoutMs?: number;
}

/** Everything that `connect` and calls reject with. */
export declare class KmsError extends Error {
  constructor(code: ErrorCode, message: string, more?: { retryable?: boolean; details?: Readonly<Record<string, unknown>>; cause?: unknown });
  /** Branch on this, never on the message. */
  readonly code: ErrorCode;
  /** Trying again later can help; what is harmless to repeat was repeated already. */
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
}

/** Events of a connection and what their listeners are given. */
export interface Events {
  /**
   * The vault is not open any more, or was found locked at the start. What the app shows of it should go, and
   * methods that need it reject with `locked` until `vault.unlock`. Reasons: the app asked, nobody used it for the idle time, a
   * vault with a lock was found when the worker started, the vault was destroyed (then state is "absent"). A newer
   * release may have more of them.
   */
  locked: { state: "locked" | "absent"; reason: "asked" | "idle" | "start" | "destroyed" };
  /** The vault is open: it was unlocked, made or restored, or has no lock and was found at the start. There is no data. */
  unlocked: undefined;
  /**
   * Something the user should know: what an error of a call looks like. With code "integrity" and these in details.reason
   * it is the SDK's own, each at most once per connection, and what the SDK remembers stays as it was:
   *
   * - "rolled-back": an unlocked vault showed a lower `lineage.epoch` (details.found) than was seen of it before
   *   (details.seen), so all that the enclave stores was put back.
   * - "another-vault": an unlocked vault showed another `lineage.vault` (details.found) than the one that was seen here
   *   (details.seen), which nobody had this SDK destroy, so what the enclave stores was replaced.
   * - "log-taken-back": the audit log has details.found entries, and details.seen were seen of it before.
   * - "log-replaced": the first details.seen entries of the audit log, which has details.found, are not those that were seen.
   */
  alert: { code: ErrorCode; message: string; retryable: boolean; details?: Record<string, string> };
  /** The connection is over and every further call rejects. */
  closed: { code: ErrorCode; reason: string };
}

/** A call by name. Params may be left out where no member is required. */
type Call<M extends keyof Methods> = {} extends Methods[M]["params"]
  ? (params?: Methods[M]["params"], options?: CallOptions) => Promise<Methods[M]["result"]>
  : (params: Methods[M]["params"], options?: CallOptions) => Promise<Methods[M]["result"]>;

type Namespace<M> = M extends `${infer N}.${string}` ? N : never;

type Named = {
  readonly [N in Namespace<keyof Methods>]: {
    readonly [M in keyof Methods as M extends `${N}.${infer Name}` ? Name : never]: Call<M>;
  };
};

/** What the app keeps of the vault, in its own storage, sealed. */
export interface MirrorStatus {
  /** Whether there is a whole one. If so, and the vault is lost with reason "marker-without-vault", `mirror.restore` brings it back. */
  readonly kept: boolean;
  /** When it was last brought up to date, in seconds since 1970. */
  readonly at?: number;
  /** How large it is. */
  readonly bytes?: number;
}

/**
 * The mirror. The SDK keeps it up to date by itself, about half a second behind what is done, for every vault on the device that a
 * passphrase, a passkey or a recovery phrase opens. `changes`, `records` and `offer` are what it does that with; an app needs
 * `status` and `restore`.
 */
export interface Mirror extends Readonly<Named["mirror"]> {
  /** Rejects with `storage_unavailable` only. */
  status(): Promise<MirrorStatus>;
}

/**
 * A connection. Every method rejects with a {@link KmsError} only. Beside what docs/protocol.md says of each method:
 *
 * - What needs an open vault: `locked`, until `vault.unlock`; `not_found` if there is none, or it is lost.
 * - What opens a dialog (vault.create with a lock, vault.unlock, vault.destroy, slots.*, recovery.*, backup.*, mirror.restore, keys.rotate,
 *   keys.revoke, audit.show): `cancelled` if the user said no or your signal fired, `expired` after ten minutes, `denied` if
 *   another dialog is open (details.reason "dialog-open") or the user was asked too often ("asked-too-soon"). Nothing was done then, unless your signal fired after the
 *   user's yes: what is being written is not called back.
 * - `backup.restore`: `exists` if there is a vault, locked or not; it takes the place of one whose storage was emptied. Unless you give
 *   `seen`, the SDK gives what it saw last of the vault that was here, and the enclave takes no older file.
 * - `mirror.restore`: `exists` if there is a vault; `not_found` if this app keeps no mirror (details.reason "no-mirror"), or one of another share ("share-missing"); `conflict` if another tab
 *   changed it meanwhile; `integrity` if what
 *   it keeps is not what the enclave gave it, or is of another vault than was seen. The SDK hands in what it keeps and what it saw last: an older
 *   mirror is shown as that, and taken only from a user who types that it shall be.
 * - `backup.save`, `recovery.check`: `not_found` without a recovery phrase.
 * - `backup.save`: `cancelled` only before the download was begun. After that the user can save again, or say that the file is
 *   there, and Escape says so, too: the result tells what the file holds, and not that anybody has it.
 * - `vault.lock`, `vault.unlock`: `unsupported` if the vault has no lock.
 */
export interface Kms extends Omit<Named, "mirror"> {
  readonly mirror: Mirror;
  /** What was asked for; `launch` is what came of it. */
  readonly release: Release;
  /** How the present worker was launched; a restart replaces it. */
  readonly launch: Launch;
  /** Every method, by name. */
  call<M extends keyof Methods>(method: M, ...rest: Parameters<Call<M>>): Promise<Methods[M]["result"]>;
  on<E extends keyof Events>(event: E, listener: (data: Events[E]) => void): void;
  off<E extends keyof Events>(event: E, listener: (data: Events[E]) => void): void;
  /** Ends the worker. Pending calls reject with `interrupted`; a vault with persistence "session" is gone. */
  close(): void;
}

/**
 * Launches the enclave and connects to it.
 *
 * Rejects with a {@link KmsError}: `invalid_request` for bad options; `launch_refused`, `unsupported`, `timeout`,
 * `integrity`, `storage_unavailable` or `storage_full` if it could not be started.
 */
export declare function connect(options: ConnectOptions): Promise<Kms>;

/** Base64url without padding, which is how methods carry bytes. */
export declare function encodeBytes(data: ArrayBuffer | ArrayBufferView): string;

/** The bytes of base64url text without padding; throws TypeError if it is not canonical. */
export declare function decodeBytes(text: string): Uint8Array<ArrayBuffer>;
