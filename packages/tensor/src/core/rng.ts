// Random streams: a key and a counter in device memory. Philox4x32-10 (Salmon et al. 2011) turns
// (key, counter) into numbers, so a stream's draws depend on nothing else, on any device.

import { UsageError } from "../errors.js";
import { randomNormal, randomUniform } from "../ops/random.js";
import { type Shape, show } from "../shape.js";
import { Cell, type CellTree } from "./cell.js";
import { scope } from "./scope.js";
import type { SavedState, Stateful, StateToRestore } from "./stateful.js";
import { restoreCells } from "./stateful.js";
import { tapeDepth } from "./tape.js";
import type { Tensor } from "./tensor.js";
import { isTracing } from "./trace.js";

const mask64 = 0xffffffffffffffffn;

/** A bijective mix of 64 bits (SplitMix64's finaliser, Steele et al. 2014). */
function mix(x: bigint): bigint {
  let z = (x + 0x9e3779b97f4a7c15n) & mask64;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask64;
  return z ^ (z >> 31n);
}

/**
 * A stream of random numbers. Every draw advances it, inside compiled functions and outside.
 *
 * @example
 * const random = rng(7);
 * random.uniform([4]); // [4]
 */
export class Rng implements CellTree, Stateful {
  readonly structure = "rng";
  /** Holds key and counter: i32 [4]. */
  readonly cell: Cell;
  private readonly seeded: bigint | null;

  /** @internal Use {@link rng}. Null makes a stream that has no key until {@link reseed}. */
  constructor(key: bigint | null, name = "rng") {
    this.seeded = key;
    const initial = key === null ? undefined : () => [...this.key.map((word) => word | 0), 0, 0];
    this.cell = new Cell({ shape: [4], dtype: "i32", name, initial });
  }

  /**
   * The key that draws and forks depend on: two 32-bit words, low first.
   *
   * @throws UsageError for a stream that was made without a seed and takes its key from another.
   */
  get key(): readonly [number, number] {
    const { key64 } = this;
    return [Number(key64 & 0xffffffffn), Number(key64 >> 32n)];
  }

  private get key64(): bigint {
    if (this.seeded === null)
      throw new UsageError(`${this.cell.name}: this stream has no key of its own; fork the one that seeds it`);
    return this.seeded;
  }

  /** Takes over another stream's key and counter, as they are now. */
  reseed(from: Rng): void {
    const state = from.cell.value;
    this.cell.set(state);
    state.dispose();
  }

  cells(): readonly Cell[] {
    return [this.cell];
  }

  /** Independent draws from the standard normal distribution N(0, 1), f32. */
  normal(shape: Shape): Tensor {
    return this.draw((state) => randomNormal(state, shape));
  }

  /** Independent draws from the uniform distribution on [0, 1), f32, multiples of 2⁻²⁴. */
  uniform(shape: Shape): Tensor {
    return this.draw((state) => randomUniform(state, shape));
  }

  /** Runs an op that takes the stream's state and gives its result with the advanced state. */
  draw(op: (state: Tensor) => readonly [Tensor, Tensor]): Tensor {
    const run = (): Tensor => {
      const state = this.cell.value;
      const [sample, next] = op(state);
      // Given back before the cell is overwritten, so that nothing needs to be copied away; a tape may need it again.
      if (tapeDepth() === 0) state.dispose();
      this.cell.set(next);
      return sample;
    };
    return isTracing() ? run() : scope(run);
  }

  /**
   * A stream of its own, determined by this one's key, a name and an index alone: forking neither
   * advances this stream nor depends on how far it has advanced.
   */
  fork(name: string, index = 0): Rng {
    if (typeof name !== "string" || !Number.isSafeInteger(index))
      throw new UsageError(`fork: expected a name and an integer, got ${show(name)} and ${show(index)}`);
    let key = mix(this.key64);
    for (const byte of new TextEncoder().encode(name)) key = mix(key ^ BigInt(byte));
    return new Rng(
      mix(key ^ (BigInt(index) & mask64) ^ 0x5bd1e995n),
      `${this.cell.name}/${name}${index ? `#${index}` : ""}`,
    );
  }

  captureState(): SavedState {
    return { cells: { state: this.cell }, json: null };
  }

  restoreState(state: StateToRestore): void {
    restoreCells("rng", { state: this.cell }, state.tensors);
  }

  dispose(): void {
    this.cell.dispose();
  }
}

/**
 * A random stream that is determined by its seed: a safe integer or a bigint of up to 64 bits.
 *
 * @example
 * rng(7).normal([2, 3]); // [2, 3]
 */
export function rng(seed: number | bigint): Rng {
  if (typeof seed !== "bigint" && !Number.isSafeInteger(seed))
    throw new UsageError(`rng: the seed must be an integer, got ${show(seed)}`);
  return new Rng(mix(BigInt(seed) & mask64));
}
