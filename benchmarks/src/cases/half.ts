// Products of f16 operands, kept in memory as such; sums are f32. (Those of bf16 are among the cases of their families.) The
// peers' CPU kernels have no such form.

import { attention, conv2d, matmul, type Tensor } from "@figment/tensor";
import { type KernelCase, ourContestant, product, randomTensor } from "../case.js";

const bytesPerHalf = 2;

function halfCase(
  op: string,
  label: string,
  shapes: readonly (readonly number[])[],
  result: readonly number[],
  flops: number,
  f: (...inputs: Tensor[]) => Tensor,
): KernelCase {
  const count = [...shapes, result].reduce((sum, shape) => sum + product(shape), 0);
  return {
    name: `${op} f16 ${label}`,
    op,
    flops,
    bytes: bytesPerHalf * count,
    bound: "fma",
    ours() {
      const inputs = shapes.map((shape, i) => randomTensor(shape, i + 1, "f16"));
      return ourContestant(inputs, () => f(...inputs));
    },
  };
}

const size = 1024;
const square = [size, size] as const;
const image = [16, 32, 32, 64] as const;
const weights = [64, 3, 3, 64] as const;
const heads = [16, 256, 4, 32] as const;

export const halfCases: readonly KernelCase[] = [
  halfCase("matmul", `${size}³`, [square, square], square, 2 * size ** 3, (a, b) => matmul(a!, b!)),
  halfCase("conv2d", "3×3 N16 64→64 32²", [image, weights], image, 2 * product(image) * 9 * 64, (x, w) =>
    conv2d(x!, w!, { padding: 1 }),
  ),
  halfCase("attention", "B16 H4 S256 D32", [heads, heads, heads], heads, 4 * product(heads) * heads[1], (q, k, v) =>
    attention(q!, k!, v!),
  ),
];
