// Attention of bf16 on matrix tiles, whose weights are not searched for the largest score where a bound on the scores
// says that they need not be: what it gives does not show which way was taken.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, attention, grad, rng, scope, sum, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { variantsDuring } from "./support/parity.ts";

const binding = loadBinding();
const random = rng(2323);
beforeAll(() => binding.setEmulatedTiles(true));
afterAll(() => {
  binding.setEmulatedTiles(false);
  random.dispose();
  assertNoLeaks();
});

const list = (x: Tensor): number[] => [...x.cast("f32").dataSync()];
const draw = (size: number, ...shape: number[]): Tensor => random.normal(shape).mul(size).cast("bf16");
const attend = (q: Tensor, k: Tensor, v: Tensor, causal: boolean, scale: number): Tensor =>
  attention(q, k, v, { causal, scale });
const onTiles = (f: () => void): string[] => variantsDuring(f).filter((name) => name.endsWith("-bf16"));

/** The error relative to the norm of what is expected. */
function expectClose(given: Tensor, expected: Tensor, tolerance: number): void {
  const [a, b] = [list(given), list(expected)];
  const norm = (xs: number[]): number => Math.hypot(...xs);
  expect(norm(a.map((x, i) => x - (b[i] as number))) / norm(b)).toBeLessThan(tolerance);
}

describe("attention on matrix tiles", () => {
  it.each([
    [0.01, 0.2],
    [1, 0.2],
    [1, -0.2],
    [8, 0.2],
    [8, -0.2],
    [100, 0.2],
    [1e8, 1e-3],
  ])("weighs scores of any size: numbers of size %d, scale %d", (size, scale) =>
    scope(() => {
      for (const causal of [false, true]) {
        const [q, k, v] = [draw(size, 1, 70, 2, 24), draw(size, 1, 150, 2, 24), draw(1, 1, 150, 2, 24)];
        const wide = [q, k, v].map((x) => x.cast("f32")) as [Tensor, Tensor, Tensor];
        const ran = onTiles(() => {
          expectClose(attend(q, k, v, causal, scale), attend(...wide, causal, scale), 0.01);
        });
        expect(ran).toEqual(["emulated-bf16"]);
      }
    }),
  );

  it("has the derivatives of attention of f32, whatever the size of scores", () =>
    scope(() => {
      for (const size of [1, 3]) {
        const [q, k, v] = [draw(size, 1, 70, 2, 40), draw(size, 1, 150, 2, 40), draw(1, 1, 150, 2, 40)];
        const weight = draw(1, 1, 70, 2, 40);
        const of = (inputs: Tensor[], i: number): Tensor =>
          grad((x: Tensor) => {
            const [a, b, c] = inputs.map((y, j) => (i === j ? x : y)) as [Tensor, Tensor, Tensor];
            return sum(attend(a, b, c, true, 0.2).mul(weight.cast(a.dtype as "f32")));
          })(inputs[i] as Tensor);
        const wide = [q, k, v].map((x) => x.cast("f32"));
        for (const i of [0, 1, 2]) expectClose(of([q, k, v], i), of(wide, i), 0.02);
      }
    }));

  it("gives NaN to the queries that have one and to no other, and to all of a head whose keys have one", () =>
    scope(() => {
      const [s, d] = [40, 16];
      const [q, k, v] = [random.normal([1, s, 2, d]), random.normal([1, s, 2, d]), draw(1, 1, s, 2, d)];
      const spoil = (x: Tensor, i: number, value: number): Tensor => {
        const data = Float32Array.from(list(x));
        data[i] = value;
        return tensor(data, { shape: x.shape });
      };
      const at = (position: number, head: number): number => (position * 2 + head) * d + 3;
      const nanRows = (out: Tensor): number[] =>
        list(out).flatMap((x, i) => (Number.isNaN(x) && i % d === 0 ? [i / d] : []));
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const query = spoil(q, at(7, 1), bad).cast("bf16");
        expect(nanRows(attention(query, k.cast("bf16"), v))).toEqual([7 * 2 + 1]);
      }
      const keys = spoil(k, at(7, 1), Number.NaN).cast("bf16");
      expect(nanRows(attention(q.cast("bf16"), keys, v))).toEqual(Array.from({ length: s }, (_, i) => i * 2 + 1));
    }));
});
