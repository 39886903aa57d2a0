// A seeded generator of numbers, so that a run that found something can be repeated as far as
// processes and their timing allow. Not for secrets.

/** A new seed, to be printed. */
export const newSeed = () => Math.floor(Math.random() * 2 ** 32);

/** mulberry32 (T. Ettinger): 32 bits of state, good enough to choose test steps. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A number in [low, high). */
  between(low, high) {
    return low + this.next() * (high - low);
  }

  /** A whole number below n. */
  below(n) {
    return Math.floor(this.next() * n);
  }

  /** One of a list that is not empty. */
  of(list) {
    return list[this.below(list.length)];
  }

  /** A key of weights, as often as its weight says. */
  weighted(weights) {
    let left = this.next() * Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    for (const [key, weight] of Object.entries(weights)) if ((left -= weight) < 0) return key;
    return Object.keys(weights).at(-1);
  }
}
