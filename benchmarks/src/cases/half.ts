// Products of 16-bit operands, kept in memory as such; sums are f32. What an instruction set does with them differs:
// AMX tiles where they are, f32 arithmetic on widened packs elsewhere. The peer's CPU kernels have no such form.

import { attention, conv2d, type HalfType, matmul, type Tensor } from "@figment/tensor";
import { type KernelCase, ourContestant, product, randomTensor } from "../case.js";

const bytesPerHalf = 2;

/** Random numbers rounded to a 16-bit format. */
function halfTensor(shape: readonly number[], dtype: HalfType, seed: number): Tensor {
  const wide = randomTensor(shape, seed);
  const narrow = wide.cast(dtype);
  wide.dispose();
  return narrow;
}

function halfCase(
  op: string,
  label: string,
  dtype: HalfType,
  shapes: readonly (readonly number[])[],
  result: readonly number[],
  flops: number,
  f: (...inputs: Tensor[]) => Tensor,
): KernelCase {
  const count = [...shapes, result].reduce((sum, shape) => sum + product(shape), 0);
  return {
    name: `${op} ${dtype} ${label}`,
    op,
    flops,
    bytes: bytesPerHalf * count,
    bound: "fma",
    ours() {
      const inputs = shapes.map((shape, i) => halfTensor(shape, dtype, i + 1));
      return ourContestant(inputs, () => f(...inputs));
    },
  };
}

const size = 1024;
const square = [size, size] as const;
const image = [16, 32, 32, 64] as const;
const weights = [64, 3, 3, 64] as const;
const heads = [16, 256, 4, 32] as const;

const casesOf = (dtype: HalfType): KernelCase[] => [
  halfCase("matmul", `${size}³`, dtype, [square, square], square, 2 * size ** 3, (a, b) => matmul(a!, b!)),
  halfCase("conv2d", "3×3 N16 64→64 32²", dtype, [image, weights], image, 2 * product(image) * 9 * 64, (x, w) =>
    conv2d(x!, w!, { padding: 1 }),
  ),
  halfCase(
    "attention",
    "B16 H4 S256 D32",
    dtype,
    [heads, heads, heads],
    heads,
    4 * product(heads) * heads[1],
    (q, k, v) => attention(q!, k!, v!),
  ),
];

export const halfCases: readonly KernelCase[] = [...casesOf("bf16"), ...casesOf("f16")];
