// Elementwise code on the GPU beyond the samples of definitions: fused chains over transposed, broadcast and sliced operands,
// in every float format and at numbers that upset careless arithmetic, on every kernel that runs them; twice, so that the
// second run is a recording. What is expected is what the CPU gives.

import { loadBinding } from "@figment/native";
import {
  abs,
  add,
  assertNoLeaks,
  cast,
  compile,
  cos,
  type DType,
  div,
  erf,
  exp,
  gt,
  maximum,
  minimum,
  mul,
  scope,
  select,
  sigmoid,
  sin,
  softplus,
  sqrt,
  sub,
  type Tensor,
  tanh,
  tensor,
  transpose,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { onDevice } from "#runtime/device";
import { cudaDevice } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";
import { strangeFloats } from "./support/hostile.ts";

const seed = 70043;
const chains = 40;
const binding = loadBinding();
const device = cudaDevice();
const index = device.index ?? 0;
console.info(`CUDA elementwise: seed ${seed}`);

beforeAll(() => {
  if (device.index !== undefined) binding.setPoison(true, index);
});
afterAll(() => {
  if (device.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});

const shapes: readonly (readonly number[])[] = [[1], [7], [64, 33], [3, 5, 8], [2, 3, 4, 9], [4096], [1, 17, 1, 6]];
// Divisors and what functions are asked of are held where a last bit that differs stays one.
const ratio = (a: Tensor, b: Tensor): Tensor => div(a, abs(b).add(1));
const held = (x: Tensor): Tensor => maximum(minimum(x, 8), -8);
const pairs = [add, sub, mul, ratio, maximum, minimum] as const;
const functions = [exp, tanh, sigmoid, softplus, erf, sin, cos, abs, (x: Tensor) => sqrt(abs(x))] as const;

/** A few instructions over x, a broadcast row of it, and x transposed twice around an addition. */
function chain(draws: Draws, x: Tensor, row: Tensor): Tensor[] {
  const values = [x, row.reshape([...x.shape.slice(0, -1).map(() => 1), x.shape.at(-1) as number])];
  for (let i = 0; i < 4; i++) {
    const [a, b] = [draws.pick(values), draws.pick(values)];
    values.push(i % 2 ? draws.pick(functions)(held(a)) : draws.pick(pairs)(a, b));
  }
  const last = values.at(-1) as Tensor;
  const axes = x.shape.map((_, axis) => x.shape.length - 1 - axis);
  const sum = add(transpose(x, axes).add(1), transpose(add(last, x), axes));
  return [add(x, last), sum, select(gt(x, 0), last, x), cast(maximum(minimum(add(last, x), 100), -100), "i32")];
}

const inFormat = (draws: Draws, size: number): Float32Array =>
  Float32Array.from({ length: size }, () => (draws.next() < 0.1 ? draws.pick(strangeFloats) : draws.uniform(-3, 3)));

function run(at: number, dtype: DType, x: Float32Array, shape: readonly number[], row: Float32Array): number[][] {
  return scope(() => {
    const make = (data: Float32Array, dims: readonly number[]): Tensor =>
      cast(tensor(data, { shape: [...dims] }), dtype);
    const [a, b] = [make(x, shape), make(row, [row.length])];
    const program = compile((p: Tensor, q: Tensor) => chain(new Draws(at), p, q));
    program(a, b);
    const numbers = (program(a, b) as Tensor[]).map((y) =>
      Array.from(cast(y, y.dtype === "i32" ? "i32" : "f32").dataSync()),
    );
    program.dispose();
    return numbers as number[][];
  });
}

describe.skipIf(device.index === undefined)("chains on the GPU", () => {
  const tolerance = { f32: 2e-5, bf16: 2e-2, f16: 4e-3 } as const;
  it.each(["f32", "bf16", "f16"] as const)(`give what the CPU gives in %s, ${chains} of them`, (dtype) => {
    for (let i = 0; i < chains; i++) {
      const draws = new Draws(seed + i);
      const shape = draws.pick(shapes);
      const x = inFormat(
        draws,
        shape.reduce((n, d) => n * d, 1),
      );
      const row = inFormat(draws, shape.at(-1) as number);
      const want = run(seed + i, dtype, x, shape, row);
      const got = onDevice(index, () => run(seed + i, dtype, x, shape, row));
      want.forEach((numbers, k) => {
        const off = numbers.findIndex((w, j) => {
          const g = got[k]?.[j] as number;
          // A function's last bit may carry a float over to the next integer.
          const slack = k === 3 ? 1 : tolerance[dtype] * Math.max(1, Math.abs(w));
          return !(Object.is(w, g) || w === g || Math.abs(w - g) <= slack);
        });
        expect(off, `chain ${i} of ${shape}, output ${k}: ${got[k]?.[off]}, expected ${numbers[off]}`).toBe(-1);
        expect(got[k]?.length).toBe(numbers.length);
      });
    }
  });
});
