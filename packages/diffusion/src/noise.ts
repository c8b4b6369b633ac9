// PyTorch's normal noise on the CPU for a seed, so that images made there can be made here: the Mersenne Twister (Matsumoto &
// Nishimura 1998), and Box and Muller's transform as torch.randn applies it, in blocks of 16 where there are as many.

import { checkCounts } from "@figment/nn";
import { sizeOf, type Tensor, tensor, UsageError } from "@figment/tensor";
import { log32, sincos32 } from "./float32.js";

/** Where a sampler's noise comes from when it is not a stream of ours. */
export interface NoiseSource {
  /** Standard normal numbers of a shape [N,...,C], channels last; the caller's own. */
  normal(shape: readonly number[]): Tensor;
}

const words = 624;
const middle = 397;
const upperBit = 0x80000000;
const twist = 0x9908b0df;
const round = Math.fround;
const fullTurn = round(2 * Math.PI);
/** PyTorch draws in blocks of this many where there are as many. */
const block = 16;

/** MT19937. */
class MersenneTwister {
  private readonly state = new Uint32Array(words);
  private next = words;

  constructor(seed: number) {
    const { state } = this;
    state[0] = seed;
    for (let i = 1; i < words; i++) {
      const before = state[i - 1] as number;
      state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
  }

  /** 32 random bits. */
  bits(): number {
    if (this.next === words) this.refill();
    let y = this.state[this.next++] as number;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** A number in [0, 1) from 53 of 64 bits, the high word first. */
  double(): number {
    const high = this.bits();
    const low = this.bits();
    return ((high & 0x1fffff) * 2 ** 32 + low) * 2 ** -53;
  }

  /** A number in [0, 1) from 24 of 32 bits. */
  float(): number {
    return (this.bits() & 0xffffff) * 2 ** -24;
  }

  private refill(): void {
    const { state } = this;
    for (let i = 0; i < words; i++) {
      const y = ((state[i] as number) & upperBit) | ((state[(i + 1) % words] as number) & ~upperBit);
      state[i] = (state[(i + middle) % words] as number) ^ (y >>> 1) ^ (y & 1 ? twist : 0);
    }
    this.next = 0;
  }
}

/**
 * What `torch.randn(shape, generator=torch.Generator().manual_seed(seed))` gives on the CPU, call after call.
 *
 * The same bits as PyTorch 2 on x86 processors with AVX2.
 *
 * @throws UsageError unless the seed is an integer.
 * @example
 * const noise = torchNoise(0);
 * noise.normal([1, 4, 4, 3]); // [1, 4, 4, 3]
 */
export function torchNoise(seed: number): TorchNoise {
  return new TorchNoise(seed);
}

/**
 * See {@link torchNoise}.
 *
 * @example
 * new TorchNoise(0).draw(1)[0]; // 1.5410
 */
export class TorchNoise implements NoiseSource {
  private readonly twister: MersenneTwister;
  /** The second number of a pair, where fewer than a block are drawn one by one. */
  private spare: number | undefined;

  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) throw new UsageError(`torchNoise: the seed must be an integer, got ${seed}`);
    this.twister = new MersenneTwister(seed >>> 0);
  }

  /** The numbers in PyTorch's order. */
  draw(count: number): Float32Array {
    checkCounts("torchNoise", { count }, 0);
    const out = new Float32Array(count);
    if (count < block) {
      for (let i = 0; i < count; i++) out[i] = this.one();
      return out;
    }
    for (let i = 0; i < count; i++) out[i] = this.twister.float();
    const whole = count - (count % block);
    for (let i = 0; i < whole; i += block) boxMuller(out, i);
    if (whole < count) {
      // The last block is drawn anew, over the end of the one before.
      for (let i = count - block; i < count; i++) out[i] = this.twister.float();
      boxMuller(out, count - block);
    }
    return out;
  }

  /** Channels last: the numbers fill [N,C,...] in PyTorch's order and are laid out as [N,...,C]. */
  normal(shape: readonly number[]): Tensor {
    const data = this.draw(sizeOf(shape));
    if (shape.length < 3) return tensor(data, { shape: [...shape] });
    const [n, c] = [shape[0] as number, shape.at(-1) as number];
    const pixels = sizeOf(shape.slice(1, -1));
    const out = new Float32Array(data.length);
    for (let i = 0; i < n; i++)
      for (let k = 0; k < c; k++)
        for (let p = 0; p < pixels; p++) out[(i * pixels + p) * c + k] = data[(i * c + k) * pixels + p] as number;
    return tensor(out, { shape: [...shape] });
  }

  private one(): number {
    if (this.spare !== undefined) {
      const { spare } = this;
      this.spare = undefined;
      return spare;
    }
    const u1 = this.twister.double();
    const u2 = this.twister.double();
    const radius = Math.sqrt(-2 * Math.log1p(-u2));
    this.spare = radius * Math.sin(2 * Math.PI * u1);
    return radius * Math.cos(2 * Math.PI * u1);
  }
}

/** Replaces 16 uniform numbers by normal ones: the first eight give the radii, the others the angles. */
function boxMuller(numbers: Float32Array, from: number): void {
  for (let j = from; j < from + block / 2; j++) {
    const radius = round(Math.sqrt(round(-2 * log32(round(1 - (numbers[j] as number))))));
    const [sine, cosine] = sincos32(round(fullTurn * (numbers[j + block / 2] as number)));
    numbers[j] = radius * cosine;
    numbers[j + block / 2] = radius * sine;
  }
}
