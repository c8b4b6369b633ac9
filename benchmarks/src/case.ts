// What a kernel benchmark is: the work, its least FLOPs and bytes, ours through the public API, and the same work as a
// graph for the peer. One file per family in cases/ lists them.

import { settled, type Tensor, tensor } from "@figment/tensor";
import type { OnnxGraph } from "./onnx.js";
import type { Contestant } from "./race.js";

export type Data = Readonly<Record<string, Float32Array | Int32Array>>;

export interface PeerWork {
  readonly graph: OnnxGraph;
  readonly data: Data;
}

export interface KernelCase {
  /** Family and shape, as `--filter` sees them: "conv a: 3×3 N1 320→320 64²". */
  readonly name: string;
  /** The native operation that it is about; the case may run others beside it. */
  readonly op: string;
  /** Floating-point operations of the plain algorithm; left out where bytes bound the work. */
  readonly flops?: number;
  /** Bytes that must be read and written at least, everything in memory once. */
  readonly bytes: number;
  /** What bounds it at best, hence which ceiling it is held against. */
  readonly bound: "fma" | "copy" | "none";
  ours(): Contestant;
  /** The peer's form of it; absent where the peer has none. */
  readonly peer?: () => PeerWork;
}

export const bytesPerFloat = 4;

export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Uniform numbers in [−1, 1), the same for every run (mulberry32). */
export function randomValues(count: number, seed = 1): Float32Array {
  const values = new Float32Array(count);
  let state = seed >>> 0;
  for (let i = 0; i < count; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    values[i] = ((z ^ (z >>> 14)) >>> 0) / 2 ** 31 - 1;
  }
  return values;
}

export const randomTensor = (shape: readonly number[], seed = 1): Tensor =>
  tensor(randomValues(product(shape), seed), { shape });

/** A contestant that calls an operation, waits for the queue and frees the results. */
export function ourContestant(
  inputs: readonly { dispose(): void }[],
  operation: () => Tensor | readonly Tensor[],
): Contestant {
  return {
    name: "figment",
    async run(repeats) {
      for (let i = 0; i < repeats; i++) {
        const result = operation();
        for (const value of Array.isArray(result) ? result : [result]) value.dispose();
      }
      await settled();
    },
    dispose() {
      for (const input of inputs) input.dispose();
    },
  };
}
