// How far the vector functions are from the truth, over all of f32: bit patterns at even distances, and the
// special values. Every kernel gives the same bits.

import { loadBinding } from "@figment/native";
import { type DataArray, scope, tensor } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { definedOp } from "#ops/definition";
import { runNode } from "#runtime/eager";

const specials = [0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, 2, -2, 3, -3, 1e-45, -1e-45, 1e-38, 3e38, -3e38];
const edges = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];

/** Floats whose bit patterns lie `stride` apart; odd strides reach all mantissas. */
function sweep(stride: number): Float32Array {
  const bits = Uint32Array.from({ length: Math.floor(2 ** 32 / stride) }, (_, i) => i * stride);
  return Float32Array.from([...new Float32Array(bits.buffer), ...specials, ...edges]);
}

/** Distance in units in the last place of the f32 result; NaN and infinity must be met exactly. */
function distance(actual: number, expected: number): number {
  const rounded = Math.fround(expected);
  if (Number.isNaN(rounded)) return Number.isNaN(actual) ? 0 : Number.POSITIVE_INFINITY;
  if (rounded === actual) return Object.is(rounded, actual) || rounded !== 0 ? 0 : Number.POSITIVE_INFINITY;
  if (!Number.isFinite(rounded) || !Number.isFinite(actual)) return Number.POSITIVE_INFINITY;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(expected))), -126) - 23);
  return Math.abs(actual - expected) / unit;
}

function measure(name: string, inputs: readonly Float32Array[]): number {
  return scope(() => {
    const def = definedOp(name);
    const run = (variant: string, dtype: "f32" | "f64"): DataArray =>
      (
        runNode(
          def,
          inputs.map((data) => tensor(data, { dtype })),
          {},
          { variant },
        )[0] as { dataSync(): DataArray }
      ).dataSync();
    const expected = run("reference", "f64");
    const fast = loadBinding()
      .variants("elementwise")
      .filter((variant) => variant.name !== "reference")
      .map((variant) => run(variant.name, "f32"));
    const [first] = fast as [DataArray];
    for (const other of fast) expect(other).toEqual(first);
    let worst = 0;
    for (let i = 0; i < first.length; i++) worst = Math.max(worst, distance(first[i] as number, expected[i] as number));
    return worst;
  });
}

const xs = sweep(40_009);
const most: Partial<Record<string, number>> = { expm1: 2, log1p: 2, erf: 2, softplus: 2 };

describe("functions of one number", () => {
  for (const name of ["abs", "sign", "floor", "ceil", "round", "expm1", "log1p", "erf", "softplus"] as const)
    it(`${name} is within ${most[name] ?? 0} units in the last place across the range of f32`, () => {
      expect(measure(name, [xs])).toBeLessThanOrEqual(most[name] ?? 0);
    });
});

/** Every special value against every other, and two sweeps side by side. */
function pairs(): [Float32Array, Float32Array] {
  const values = [...specials, ...edges];
  const a = sweep(80_021);
  const b = sweep(80_021).map((_, i) => a[(i * 7919) % a.length] as number);
  return [
    Float32Array.from([...a, ...values.flatMap((x) => values.map(() => x))]),
    Float32Array.from([...b, ...values.flatMap(() => values)]),
  ];
}

describe("functions of two numbers", () => {
  it("rem is exact across the range of f32", () => {
    expect(measure("rem", pairs())).toBe(0);
  });

  it("pow has the special cases of IEEE 754 and is within 2 units in the last place", () => {
    expect(measure("pow", pairs())).toBeLessThanOrEqual(2);
  });

  it("pow is within 2 units in the last place where results are neither 0 nor infinite", () => {
    const base = sweep(80_021).map(Math.abs);
    const exponent = base.map((x, i) => (((i * 7919) % 2003) / 1001.5 - 1) * Math.abs(88 / (Math.log(x) || 1)));
    expect(measure("pow", [base, exponent])).toBeLessThanOrEqual(2);
  });
});
