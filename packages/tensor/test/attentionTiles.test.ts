// Attention on matrix tiles. Of bf16, its weights are not searched for the largest score where a bound on the scores says
// that they need not be: what it gives does not show which way was taken. Of f32, it is as exact as by multiply-adds.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, attention, compile, grad, rng, scope, sum, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { drawOperands, errorOf as errorOfNumbers, type Format, list } from "./support/attentionExtremes.ts";
import { variantsDuring } from "./support/parity.ts";

const binding = loadBinding();
const random = rng(2323);
beforeAll(() => binding.setEmulatedTiles(true));
afterAll(() => {
  binding.setEmulatedTiles(false);
  random.dispose();
  assertNoLeaks();
});

type Inputs = readonly [q: Tensor, k: Tensor, v: Tensor];
const as = (inputs: Inputs, format: Format): Inputs => inputs.map((x) => x.cast(format)) as unknown as Inputs;
const draw = (
  format: Format,
  sizes: readonly number[],
  heads: number,
  d: number,
  [sq, sk]: readonly [number, number] = [70, 150],
): Inputs => drawOperands(random, format, [sq, sk, heads, d], sizes.slice(0, 3)) as unknown as Inputs;
const errorOf = (given: Tensor, expected: Tensor): number => errorOfNumbers(list(given), list(expected));

/** The derivatives of a weighted sum of attention, weights drawn alike for every format. */
function derivatives(inputs: Inputs, weight: Tensor, causal: boolean, scale: number): Tensor[] {
  return [0, 1, 2].map((i) =>
    grad((x: Tensor) => {
      const [q, k, v] = inputs.map((y, j) => (i === j ? x : y)) as unknown as Inputs;
      return sum(attention(q, k, v, { causal, scale }).mul(weight.cast(q.dtype as "f32")));
    })(inputs[i] as Tensor),
  );
}

function withoutTiles<T>(body: () => T): T {
  binding.setEmulatedTiles(false);
  try {
    return body();
  } finally {
    binding.setEmulatedTiles(true);
  }
}

describe("attention of bf16 on matrix tiles", () => {
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
        const inputs = draw("bf16", [size, size, 1], 2, 24);
        const ran = variantsDuring(() => {
          const expected = attention(...as(inputs, "f64"), { causal, scale });
          expect(errorOf(attention(...inputs, { causal, scale }), expected)).toBeLessThan(0.01);
        });
        expect(ran).toContain("emulated-bf16");
      }
    }),
  );

  it.each(["bf16", "f32"] as const)("weighs large scores of keys that are small: %s", (format) =>
    scope(() => {
      for (const [q, k, scale] of [
        [1000, 0.1, 1],
        [1, 0.12, 1000],
      ] as const) {
        const inputs = draw(format, [q, k, 1], 2, 64);
        const expected = attention(...as(inputs, "f64"), { scale });
        expect(errorOf(attention(...inputs, { scale }), expected)).toBeLessThan(0.02);
      }
    }),
  );

  it("has the derivatives of attention of f64, whatever the size of scores", () =>
    scope(() => {
      for (const size of [1, 3]) {
        const inputs = draw("bf16", [size, size, 1], 2, 40);
        const weight = random.normal([1, 70, 2, 40]).cast("bf16");
        const expected = derivatives(as(inputs, "f64"), weight, true, 0.2);
        derivatives(inputs, weight, true, 0.2).forEach((x, i) => {
          expect(errorOf(x, expected[i] as Tensor)).toBeLessThan(0.02);
        });
      }
    }));

  it("gives NaN to the queries that have one and to no other, and to all of a head whose keys have one", () =>
    scope(() => {
      const [s, d] = [40, 16];
      const [q, k, v] = draw("bf16", [1, 1, 1], 2, d, [s, s]);
      const spoil = (x: Tensor, position: number, head: number, value: number): Tensor => {
        const data = list(x);
        data[(position * 2 + head) * d + 3] = value;
        return tensor(data, { shape: x.shape }).cast("bf16");
      };
      const nanRows = (out: Tensor): number[] =>
        list(out).flatMap((x, i) => (Number.isNaN(x) && i % d === 0 ? [i / d] : []));
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
        expect(nanRows(attention(spoil(q, 7, 1, bad), k, v))).toEqual([7 * 2 + 1]);
      const all = Array.from({ length: s }, (_, i) => i * 2 + 1);
      expect(nanRows(attention(q, spoil(k, 7, 1, Number.NaN), v))).toEqual(all);
    }));
});

describe("attention of f32 on matrix tiles", () => {
  it.each([
    [1, 0.2],
    [8, -0.2],
    [40, 0.2],
  ])("is as exact as by multiply-adds, forward and backward: numbers of size %d, scale %d", (size, scale) =>
    scope(() => {
      const inputs = draw("f32", [size, 1, 1], 1, 64, [40, 70]);
      const weight = random.normal([1, 40, 1, 64]);
      const errors = (): number[] => {
        const exact = as(inputs, "f64");
        const given = [attention(...inputs, { scale }), ...derivatives(inputs, weight, true, scale)];
        const expected = [attention(...exact, { scale }), ...derivatives(exact, weight, true, scale)];
        return given.map((x, i) => errorOf(x, expected[i] as Tensor));
      };
      let onTiles: number[] = [];
      expect(
        variantsDuring(() => {
          onTiles = errors();
        }),
      ).toContain("emulated-split");
      const plain = withoutTiles(errors);
      for (const [i, error] of onTiles.entries()) expect(error).toBeLessThan(2 * (plain[i] as number) + 1e-7);
    }),
  );

  it.each([
    ["queries of 1e25", [1e25, 1e-25, 1], 1],
    ["values of 1e25", [1, 1, 1e25], 1],
    ["values of 1e-25", [1, 1, 1e-25], 1],
    ["queries of 1e-25 and keys of 1e15", [1e-25, 1e15, 1], 0],
  ])("leaves numbers that tiles cannot hold to other kernels: %s", (_what, sizes, fallbacks) =>
    scope(() => {
      const inputs = draw("f32", sizes, 1, 64);
      const f = compile((q: Tensor, k: Tensor, v: Tensor) => attention(q, k, v));
      const out = f(...inputs);
      expect(errorOf(out, attention(...as(inputs, "f64")))).toBeLessThan(1e-6);
      expect(f.explain().includes("emulated-split (1 fallbacks)")).toBe(fallbacks > 0);
      f.dispose();
    }),
  );

  it("keeps to tiles where few values or cotangents are far smaller than the others of a head", () =>
    scope(() => {
      const [q, k, v] = draw("f32", [1, 1, 1], 1, 64);
      const withTiny = (x: Tensor): Tensor =>
        tensor(
          list(x).map((y, i) => (i % 7 === 3 ? y * 1e-25 : y)),
          { shape: x.shape },
        ).cast("f32");
      const inputs: Inputs = [q, k, withTiny(v)];
      const weight = withTiny(random.normal([1, 70, 1, 64]));
      const f = compile((q: Tensor, k: Tensor, v: Tensor) => attention(q, k, v));
      expect(errorOf(f(...inputs), attention(...as(inputs, "f64")))).toBeLessThan(1e-6);
      expect(f.explain()).toContain("emulated-split");
      expect(f.explain()).not.toContain("fallback");
      const expected = derivatives(as(inputs, "f64"), weight, false, 0.2);
      derivatives(inputs, weight, false, 0.2).forEach((x, i) => {
        expect(errorOf(x, expected[i] as Tensor)).toBeLessThan(2e-6);
      });
      f.dispose();
    }));

  it.each([
    [1e-34, 1, 1, 1],
    [1, 1e-36, 1e10, 1],
    [1, 1, 1e-36, 1e10],
    [1, 1, 1e-17, 1e-17],
  ])(
    "has exact derivatives where a head's numbers are all tiny: queries %d, keys %d, values %d, cotangents %d",
    (...sizes) =>
      scope(() => {
        const inputs = draw("f32", sizes, 1, 64, [40, 70]);
        const weight = random.normal([1, 40, 1, 64]).mul(sizes[3] as number);
        const expected = derivatives(as(inputs, "f64"), weight, false, 1);
        derivatives(inputs, weight, false, 1).forEach((x, i) => {
          expect(errorOf(x, expected[i] as Tensor)).toBeLessThan(1e-5);
        });
      }),
  );

  it("gives infinities and NaN as other kernels do", () =>
    scope(() => {
      const [q, k, v] = draw("f32", [1, 1, 1], 1, 64, [40, 40]);
      const spoil = (x: Tensor, i: number, value: number): Tensor => {
        const data = Float32Array.from(list(x));
        data[i] = value;
        return tensor(data, { shape: x.shape });
      };
      const signs = (x: Tensor): number[] => list(x).map((y) => (Number.isFinite(y) ? 0 : y));
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        for (const i of [0, 1, 2]) {
          const inputs = [q, k, v].map((x, j) => (i === j ? spoil(x, 100, bad) : x)) as unknown as Inputs;
          expect(signs(attention(...inputs))).toEqual(withoutTiles(() => signs(attention(...inputs))));
        }
      }
    }));
});
