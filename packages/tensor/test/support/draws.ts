// Random test data from a printed seed: a small counter-based generator (SplitMix32).

/** A stream of test values. */
export class Draws {
  private state: number;
  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
    this.state = seed >>> 0;
  }

  /** Uniform on [0, 1). */
  next(): number {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  }

  /** Uniform on [lo, hi). */
  uniform(lo: number, hi: number): number {
    return lo + (hi - lo) * this.next();
  }

  /** An integer in [lo, hi). */
  integer(lo: number, hi: number): number {
    return Math.floor(this.uniform(lo, hi));
  }

  /** Numbers in [lo, hi). */
  array(length: number, lo = -2, hi = 2): number[] {
    return Array.from({ length }, () => this.uniform(lo, hi));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length)] as T;
  }
}
