// What a kernel benchmark is: the work, its least FLOPs and bytes, ours through the public API, and the same work in the form
// that the peers take. One file per family in cases/ lists them.

import { settled, type Tensor, tensor } from "@figment/tensor";
import type { OnnxGraph } from "./onnx.js";
import type { Contestant } from "./race.js";
import type { Format, Work } from "./work.js";

export type Data = Readonly<Record<string, Float32Array | Int32Array>>;

/** A graph for onnxruntime, and what it is fed. */
export interface OnnxWork {
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
  /** What operands and results are kept as. Default f32. */
  readonly format?: Format;
  ours(): Contestant;
  /** The work that peers know; absent where they are not asked. */
  readonly work?: Work;
  /** Its form for onnxruntime; absent where there is none. */
  readonly onnx?: () => OnnxWork;
}

export const bytesPerFloat = 4;

export const bytesPer: Readonly<Record<Format, number>> = { f32: bytesPerFloat, bf16: 2 };

/** A case's name, with its format where that is not the usual one. */
export const nameIn = (format: Format, name: string): string => (format === "f32" ? name : `${name}, ${format}`);

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

/** A tensor of them, rounded to the format. */
export function randomTensor(shape: readonly number[], seed = 1, format: Format | "f16" = "f32"): Tensor {
  const wide = tensor(randomValues(product(shape), seed), { shape });
  if (format === "f32") return wide;
  using exact = wide;
  return exact.cast(format);
}

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
