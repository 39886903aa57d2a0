// Types of <kms-status>, the element that shows a person what runs.

import type { Kms, KmsError, Level, Pin } from "./kms.d.ts";

/** One thing that was looked at. */
export interface Check {
  /** `selfTest` and `running`: the enclave's own account. `page`, `loader`, `wasm`: what the host serves now. `enforcement`: whether the browser enforces the pin. */
  readonly name: "selfTest" | "running" | "page" | "loader" | "wasm" | "enforcement";
  /** Who vouches for it. What the enclave says of itself proves nothing about which code it is. */
  readonly by: "enclave" | "app" | "browser";
  /** `unknown`: there was no answer. `unavailable`: this browser has no such thing. */
  readonly outcome: "passed" | "failed" | "unknown" | "unavailable";
  /** What was found, in English; empty where there is nothing to add. */
  readonly detail: string;
}

/** What came of pressing Verify. */
export interface Verification {
  /** `mismatch`: something is not what it should be. `incomplete`: nothing is wrong, but something could not be looked at. */
  readonly verdict: "matched" | "mismatch" | "incomplete";
  /** Without a pin everything was compared with the release's own words, which shows only that they agree. */
  readonly pinned: boolean;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly checks: readonly Check[];
}

/** Every text of the element. In a text, {name} stands for a value. */
export type Words = Readonly<Record<keyof typeof import("./status-words.js").english, string>>;

/**
 * `<kms-status>`: launch level, measurement, the *Verify* button and every warning.
 *
 * Attribute `compact`: one line, with the rest behind a disclosure. Warnings are shown in either form.
 * Event `kms-verified` (bubbles, composed): its detail is the {@link Verification}.
 * Event `kms-noted` (bubbles, composed): the person has taken note of an update.
 */
export declare class KmsStatus extends HTMLElement {
  /** The connection to show. Setting it clears `error`. */
  kms: Kms | undefined;
  /** Why there is no connection: what `connect` rejected with. Setting it clears `kms`. */
  error: KmsError | undefined;
  /** What the app asked for, so that more than the error can be shown when nothing started. With `kms` it is not needed. */
  release: { url: string; pin?: Pin } | undefined;
  /** Texts instead of those of the element's language; those that are missing stay as they are. */
  words: Partial<Words>;
  compact: boolean;
  /** What the button does. Rejects with `invalid_request` if there is neither `kms` nor `release`. */
  verify(): Promise<Verification>;
}

/** Texts for a language, by its primary subtag: "de" serves `lang="de-AT"` as well. The element takes the `lang` that it stands in. */
export declare function defineWords(language: string, words: Partial<Words>): void;

declare global {
  interface HTMLElementTagNameMap {
    "kms-status": KmsStatus;
  }
  interface HTMLElementEventMap {
    "kms-verified": CustomEvent<Verification>;
  }
}

export type { Level };
