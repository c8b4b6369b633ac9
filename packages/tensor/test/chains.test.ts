// Chains of arithmetic in one compiled kernel have the bits of the same operations one by one.

import { compile, type Tensor, tensor } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { Draws } from "./support/draws.ts";

const seed = 97;

/** What may follow in a chain: with a number, with another tensor on either side, or alone. */
const steps: readonly ((t: Tensor, other: Tensor, scalar: Tensor) => Tensor)[] = [
  (t) => t.add(0.25),
  (t, other) => t.mul(other),
  (t, other) => other.sub(t),
  (t, _, scalar) => t.sub(scalar),
  (t) => t.maximum(-0.5),
  (t, other) => t.minimum(other),
  (t) => t.neg(),
  (t) => t.abs(),
  (t, other) => t.div(other),
  (t) => t.square(),
  (t, _, scalar) => scalar.div(t),
  (t) => t.abs().sqrt(),
];

function bits(x: Tensor): number[] {
  const { buffer, byteOffset, length } = x.dataSync() as Float32Array;
  return [...new Int32Array(buffer, byteOffset, length)];
}

describe("a chain of arithmetic", () => {
  for (const size of [1, 15, 16, 100, 256, 300, 513, 5000]) {
    for (const length of [2, 3, 7, 40]) {
      it(`of ${length} operations on ${size} elements has the bits of separate ones`, () => {
        const draws = new Draws(seed + size * length);
        const numbers = (): Tensor => tensor(draws.array(size));
        const x = numbers();
        const other = numbers();
        const scalar = tensor(0.75);
        const chosen = Array.from({ length }, () => draws.pick(steps));
        const f = (a: Tensor, b: Tensor, c: Tensor): Tensor => chosen.reduce((t, step) => step(t, b, c), a);
        const compiled = compile(f);
        expect(bits(compiled(x, other, scalar))).toEqual(bits(f(x, other, scalar)));
      });
    }
  }
});
