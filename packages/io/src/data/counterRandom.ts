// Random numbers for data: a hash of (seed, stream, item, draw), so that any item can be made on its own, in any order
// and on any thread. Tensors draw from Philox streams instead (Rng in @figment/tensor).
// The mixer is the 32-bit finaliser with low bias found by C. Wellons ("Prospecting for Hash Functions", 2018).

/** A bijection of 32-bit integers whose output bits depend on all input bits. */
export function mix32(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

/** Steps between counters; odd, so that every counter is reached (2^32 divided by the golden ratio). */
const stride = 0x9e3779b9;

/** A stream of random numbers that is a pure function of its key words. */
export class CounterRandom {
  private a = 0;
  private b = 0;
  private counter = 0;

  constructor(...key: readonly number[]) {
    this.rekey(...key);
  }

  /** Starts over with other key words (32-bit integers). */
  rekey(...key: readonly number[]): void {
    let a = 0x243f6a88; // digits of pi
    let b = 0x85a308d3;
    for (const word of key) {
      a = mix32(a ^ word);
      b = mix32(b + Math.imul(word, stride) + a);
    }
    this.a = a;
    this.b = b;
    this.counter = 0;
  }

  /** Uniform in 0 … 2^32 - 1. */
  word(): number {
    this.counter = (this.counter + stride) | 0;
    return mix32(mix32(this.a + this.counter) ^ this.b);
  }

  /** Uniform in [low, high), on 2^32 values. */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.word() / 0x100000000);
  }

  /** Uniform in 0 … n - 1, for n up to 2^32. */
  below(n: number): number {
    return Math.floor((this.word() / 0x100000000) * n);
  }

  /** Bell-shaped (the sum of four uniforms) with the given deviation; never beyond 3.5 deviations. */
  bell(deviation: number): number {
    const sum = (this.word() + this.word() + this.word() + this.word()) / 0x100000000;
    return (sum - 2) * Math.sqrt(3) * deviation;
  }
}

/** Splits a seed (an integer) into two 32-bit words. */
export function seedWords(seed: number): readonly [number, number] {
  return [seed >>> 0, Math.floor(seed / 0x100000000) >>> 0];
}

/** A random order of 0 … length - 1 (Fisher–Yates), a pure function of the key words. */
export function permutation(length: number, ...key: readonly number[]): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  const random = new CounterRandom(...key);
  for (let i = length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
  return order;
}
