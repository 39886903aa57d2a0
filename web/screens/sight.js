// Whether a dialog can be seen, as far as the browser tells. Chromium tells
// whether anything covers the frame, makes it transparent, clips or distorts it
// (Intersection Observer v2; a CSS mask escapes it). The others tell only which
// part of it is in the viewport, and WebKit not at first. In Firefox the dialog
// must have the focus, too, which a frame that is not drawn does not have there;
// in WebKit the focus comes and goes, and says nothing.
// visibilityState is about the tab: in a hidden frame it is "visible".
class Sight {
  #last; // of the observer's entries
  #observer = new IntersectionObserver((entries) => (this.#last = entries.at(-1)), {
    trackVisibility: true, delay: 100, threshold: Array.from({ length: 21 }, (_, i) => i / 20),
  });

  constructor(target) {
    this.#observer.observe(target);
  }

  static #tellsAll = "isVisible" in IntersectionObserverEntry.prototype;
  static #focusTells = CSS.supports("-moz-appearance", "none");

  get clear() {
    if (document.visibilityState !== "visible" || (this.#last && !this.#readable)) return false;
    return !Sight.#tellsAll || this.#last?.isVisible === true;
  }

  get attended() {
    return this.clear && !Sight.unfocused;
  }

  // Whether keys go elsewhere, where the browser tells: Firefox sends no event to a
  // frame that loses the focus because it is not drawn any more.
  static get unfocused() {
    return Sight.#focusTells && !document.hasFocus();
  }

  // Enough of it is in the viewport to read, in CSS pixels: no less than a phone at
  // a high zoom shows.
  get #readable() {
    const { width, height } = this.#last.intersectionRect;
    return width >= 240 && height >= 120;
  }

  end() {
    this.#observer.disconnect();
  }
}

const LOST_MS = 3000; // out of sight for longer, and the wait begins anew
const SETTLE_MS = 500; // in sight for shorter, and nothing can be confirmed: a click may have been meant for what was here before
const HIDDEN_MS = 1000; // out of sight for longer, and the user is told why nothing can be confirmed

// When a screen may be confirmed: it has been in sight for a moment, and the time to
// think is over.
class Gate {
  #sight;
  #waitMs;
  #remaining; // milliseconds of the time to think
  #unseen = 0; // milliseconds in a row
  #clear = 0; // milliseconds in a row
  #covered = 0; // milliseconds in a row
  #last = performance.now();

  constructor(target, waitMs) {
    this.#sight = new Sight(target);
    this.#waitMs = this.#remaining = waitMs;
  }

  get remaining() {
    return this.#remaining;
  }

  // Sight is asked again here: it may have been lost since the last turn.
  get open() {
    return this.#remaining === 0 && this.#clear >= SETTLE_MS && this.#sight.clear;
  }

  // Out of sight for longer than a glance.
  get hidden() {
    return this.#covered > HIDDEN_MS;
  }

  // A timer that comes late counts as one turn, so that time in which the page
  // could not draw is not time in which it was read.
  turn() {
    const now = performance.now();
    const passed = Math.min(now - this.#last, 400);
    const clear = this.#sight.clear;
    this.#clear = clear ? this.#clear + passed : 0;
    this.#covered = clear ? 0 : this.#covered + passed;
    const seen = this.#sight.attended;
    this.#unseen = seen ? 0 : this.#unseen + now - this.#last;
    if (seen) this.#remaining = Math.max(0, this.#remaining - passed);
    else if (this.#unseen > LOST_MS) this.#remaining = this.#waitMs;
    this.#last = now;
  }

  end() {
    this.#sight.end();
  }
}
