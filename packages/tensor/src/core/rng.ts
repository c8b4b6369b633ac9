// Random streams: a key and a counter in device memory. Philox4x32-10 (Salmon et al. 2011) turns
// (key, counter) into numbers, so a stream's draws depend on nothing else, on any device.

import { UsageError } from "../errors.js";
import { randomCategorical } from "../ops/categorical.js";
import { lt } from "../ops/comparison.js";
import type { TensorLike } from "../ops/elementwise.js";
import { gather } from "../ops/indexing.js";
import { broadcastTo } from "../ops/movement.js";
import { randomNormal, randomUniform } from "../ops/random.js";
import { randomInteger } from "../ops/randomInteger.js";
import { argsort } from "../ops/sort.js";
import type { Device } from "../runtime/devices.js";
import { checkShape, type Shape, show } from "../shape.js";
import { Cell, type CellTree } from "./cell.js";
import { composed, scope } from "./scope.js";
import type { SavedState, Stateful, StateToRestore } from "./stateful.js";
import { restoreCells } from "./stateful.js";
import { tapeDepth } from "./tape.js";
import { Tensor } from "./tensor.js";
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
  private seeded: bigint | null;

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

  /** Where the stream's state lies, and its draws are made; before the first, where they would be made now. */
  get device(): Device {
    return this.cell.device;
  }

  /**
   * Moves the stream to another device, where it goes on with the same numbers.
   *
   * @throws UsageError for what names no device; DeviceError, with the reason, for one that cannot be used.
   * @example
   * rng(7).to("cpu").normal([2]).device; // "cpu"
   */
  to(device: Device): this {
    this.cell.to(device);
    return this;
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

  /** A stream has one cell for ever. */
  identity(): object {
    return this;
  }

  /** Independent draws from the standard normal distribution N(0, 1), f32. */
  normal(shape: Shape): Tensor {
    checkShape("normal", shape);
    return this.draw((state) => randomNormal(state, shape));
  }

  /** Independent draws from the uniform distribution on [0, 1), f32, multiples of 2⁻²⁴. */
  uniform(shape: Shape): Tensor {
    checkShape("uniform", shape);
    return this.draw((state) => randomUniform(state, shape));
  }

  /**
   * Independent whole numbers in [lo, hi), i32. Each takes 64 random bits, so that none is more likely than another by
   * more than a part in 2³² (D. Lemire, TOMACS 29, 2019).
   *
   * @throws ShapeError unless −2³¹ ≤ lo < hi ≤ 2³¹.
   * @example
   * rng(7).randint([4], 0, 10); // [4]
   */
  randint(shape: Shape, lo: number, hi: number): Tensor {
    return this.draw((state) => randomInteger(state, shape, lo, hi));
  }

  /**
   * True with probability p, independently: bool. Probabilities are taken in steps of 2⁻²⁴.
   *
   * @param p a number in [0, 1], or a float tensor that broadcasts to `shape`.
   * @throws UsageError for a number outside [0, 1]; ShapeError when p does not broadcast to the shape.
   * @example
   * rng(7).bernoulli([4], 1).all().cast("i32"); // 1
   */
  bernoulli(shape: Shape, p: TensorLike): Tensor {
    if (typeof p === "number" && !(p >= 0 && p <= 1))
      throw new UsageError(`bernoulli: p must be within [0, 1], got ${show(p)}`);
    checkShape("bernoulli", shape);
    return composed(() => lt(this.uniform(shape), p instanceof Tensor ? broadcastTo(p, shape) : p));
  }

  /**
   * Categories drawn with probabilities softmax(logits), by inversion with 53 random bits a draw: the same on every
   * machine. −∞ is never drawn.
   *
   * @param logits [..., C] of a float type; computed in f32.
   * @param shape of the independent draws for each row. Default one.
   * @returns i32 [...shape, ...], each in [0, C).
   * @throws ShapeError when there are no categories; DTypeError for logits that are no floats. A row that holds NaN or
   * +∞, or only −∞, makes reading the result fail with code ERR_FIGMENT_VALUE.
   * @example
   * rng(7).categorical(zeros([2, 10]), [5]); // [5, 2]
   */
  categorical(logits: Tensor, shape: Shape = []): Tensor {
    return this.draw((state) => randomCategorical(logits, state, shape));
  }

  /**
   * The integers 0 … n − 1 in random order, i32: the order of 64 random bits each.
   *
   * @throws ShapeError unless n is an integer from 0 to 2³¹ − 1.
   * @example
   * rng(7).permutation(5).sum(); // 10
   */
  permutation(n: number): Tensor {
    checkShape("permutation", [n]);
    const [least, past] = [-(2 ** 31), 2 ** 31];
    return composed(() => {
      // Two stable sorts by 32 bits are one by 64.
      const first = argsort(this.randint([n], least, past));
      return gather(first, argsort(this.randint([n], least, past)));
    });
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
    if (this.seeded === null) return;
    const [low, high] = (state.tensors.state as Tensor).dataSync();
    this.seeded = (BigInt((high as number) >>> 0) << 32n) | BigInt((low as number) >>> 0);
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
    throw new UsageError(`rng: the seed must be a safe integer (below 2⁵³) or a bigint, got ${show(seed)}`);
  return new Rng(mix(BigInt(seed) & mask64));
}
