// Numerically hostile input, generated from the definitions: what packages/tensor/docs/numerics.md promises.

import { loadBinding } from "@figment/native";
import {
  add,
  assertNoLeaks,
  clamp,
  type DataArray,
  div,
  FigmentError,
  full,
  max,
  maximum,
  minimum,
  OutOfMemoryError,
  relu,
  rem,
  ShapeError,
  scope,
  softmax,
  sum,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { runNode } from "#runtime/eager";
import { Draws } from "./support/draws.ts";
import { emptied, one, refusals, strangePoint } from "./support/hostile.ts";
import { expectedAt, kernelOf, runVariant } from "./support/parity.ts";
import { drawPoint, sizeOfSample, tensorsAt, titleOf } from "./support/points.ts";

const seed = 909;
const binding = loadBinding();
console.info(`hostile input: seed ${seed}`);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

const withSamples = definedOps().flatMap((def) => {
  const samples = def.samples?.() ?? [];
  return samples.length > 0 ? [{ name: def.name, def, samples }] : [];
});
const variantsOf = (def: OpDef, sample: Sample): (string | undefined)[] => {
  const kernel = kernelOf(def, sample);
  return kernel ? binding.variants(kernel).map(({ name }) => name) : [undefined];
};

/** Shapes and data of what `make` gives; undefined when an index, or what an input is derived from, is refused. */
function readAll(make: () => readonly Tensor[]): { shape: readonly number[]; data: DataArray }[] | undefined {
  try {
    return scope(() => make().map((x) => ({ shape: x.shape, data: x.dataSync() })));
  } catch (error) {
    if (!(error instanceof ShapeError)) expect(error).toMatchObject({ code: "ERR_FIGMENT_INDEX" });
    return undefined;
  }
}

describe("an empty tensor", () => {
  it.each(withSamples)("goes through $name, or is refused with a typed error", ({ def, samples }) => {
    for (const sample of samples) {
      for (const error of refusals(def, sample)) if (error !== undefined) expect(error).toBeInstanceOf(FigmentError);
      for (const { sample: empty, zeroed } of emptied(def, sample)) {
        const avals = empty.inputs.map(({ shape, dtype = "f32" }) => ({ shape, dtype }) as const);
        const expected = def.infer(avals, empty.attrs);
        const point = drawPoint(empty, new Draws(seed));
        for (const variant of variantsOf(def, empty)) {
          const about = `${titleOf(sample)} with ${zeroed} zero, ${variant ?? "no kernel"}`;
          const outputs = readAll(() =>
            runNode(def, tensorsAt(empty, point, "f32"), empty.attrs, variant ? { variant } : {}),
          );
          // An index into a table that has become empty.
          if (!outputs) continue;
          expect(
            outputs.map(({ shape }) => shape),
            about,
          ).toEqual(expected.map(({ shape }) => shape));
          // An empty sum is a number all the same; an element that nobody wrote would be a NaN.
          for (const { data } of outputs) expect(data.includes(Number.NaN as never), about).toBe(false);
        }
      }
    }
  });

  it("has a sum of 0, a product with a matrix of zeros, and no maximum", () => {
    scope(() => {
      const empty = zeros([0, 3]);
      expect(sum(empty).itemSync()).toBe(0);
      expect([...sum(empty, 0).dataSync()]).toEqual([0, 0, 0]);
      expect([...zeros([2, 0]).matmul(empty).dataSync()]).toEqual([0, 0, 0, 0, 0, 0]);
      expect(() => max(empty)).toThrow(ShapeError);
      expect(max(empty, 1).shape).toEqual([0]);
    });
  });

  it("has a derivative that is empty too", () => {
    scope(() => {
      const { grad } = valueAndGrad((x: Tensor) => sum(softmax(x.mul(2).add(1)).square()))(
        zeros([0, 3]),
      ) as unknown as {
        grad: Tensor;
      };
      expect(grad.shape).toEqual([0, 3]);
    });
  });
});

/**
 * Kernels that give NaN, ∞ and −∞ exactly where their specification does, as all elementwise ops and movements do. The others
 * sum products: where the result is not finite, they may give any number that is not; and what is not finite may spread
 * to results that it meets with weight zero (padding, masks), since 0·∞ is NaN.
 */
const exactKernels = new Set([
  "sum",
  "max",
  "softmax",
  "gather",
  "avgPool",
  "maxPool",
  "resizeNearest",
  "dynamicSlice",
  "dynamicUpdateSlice",
  "addNoise",
]);
const isExact = ({ name, lower }: OpDef): boolean => lower.kind !== "kernel" || exactKernels.has(name);

/** NaN, the infinities with their signs, or finite. */
const kindOf = (x: number): string => (Number.isFinite(x) ? "finite" : String(x));

describe("NaN, infinities, denormals and signed zeros", () => {
  it.each(withSamples)("go through $name on every kernel as through its specification", ({ def, samples }) => {
    if (def.effect === "check") return;
    // The quick SiLU of biasAct is 0 at −∞, where x·sigmoid(x) is NaN.
    const quick = def.name.startsWith("biasAct");
    const floats = samples.filter(
      ({ inputs, attrs }) =>
        !(quick && (attrs as { activation?: string }).activation === "silu") &&
        !inputs.some(({ derive }) => derive) &&
        inputs.some(({ dtype }) => !dtype),
    );
    for (const [i, sample] of floats.entries()) {
      if (sizeOfSample(sample) > 100_000) continue;
      const point = strangePoint(sample, new Draws(seed + i), 16);
      const expected = expectedAt(def, sample, point).map((values) => Array.from(values));
      for (const variant of variantsOf(def, sample)) {
        if (!variant) continue;
        runVariant(def, sample, point, variant).forEach(({ data, float }, k) => {
          const want = expected[k] as number[];
          const about = `output ${k} of ${variant} at ${titleOf(sample)}`;
          if (!float) {
            expect(Array.from(data), about).toEqual(want);
            return;
          }
          const got = data as Float32Array;
          if (!isExact(def)) {
            expect(
              want.every((x, at) => Number.isFinite(x) || !Number.isFinite(got[at] as number)),
              about,
            ).toBe(true);
          } else {
            expect(Array.from(got, kindOf), about).toEqual(want.map((x) => kindOf(Math.fround(x))));
          }
        });
      }
    }
  });
});

describe("denormals", () => {
  const unary = withSamples.filter(
    ({ def, samples }) =>
      def.lower.kind === "elementwise" && samples.some(({ inputs }) => inputs.length === 1 && !inputs[0]?.dtype),
  );
  const values = [1e-40, -1e-40, 2 ** -149, -(2 ** -149), 1.1e-38, -1.1e-38].map(Math.fround);

  it.each(unary)("are numbers like others to $name", ({ def, samples }) => {
    const sample = samples.find(({ inputs }) => inputs.length === 1 && !inputs[0]?.dtype) as Sample;
    const small = { ...sample, inputs: [{ shape: [values.length] }] };
    const point = [Float64Array.from(values)];
    const [expected] = expectedAt(def, small, point);
    for (const variant of variantsOf(def, small)) {
      const [output] = runVariant(def, small, point, variant as string);
      Array.from(output?.data ?? [], Number).forEach((got, i) => {
        const want = Math.fround((expected as ArrayLike<number>)[i] as number);
        const about = `${def.name}(${values[i]}) on ${variant}: ${got}, expected ${want}`;
        // A few units in the last place, which among denormals is the smallest of them.
        const error = Object.is(got, want) ? 0 : Math.abs(got - want) - 4 * 2 ** -149;
        expect(Number.isNaN(got) === Number.isNaN(want) && !(error > 1e-5 * Math.abs(want)), about).toBe(true);
      });
    }
  });
});

describe("the largest shapes", () => {
  it("beyond 2^53 elements are refused as shapes", () => {
    expect(() => zeros([2 ** 31])).toThrow(ShapeError);
    expect(() => zeros([2 ** 30, 2 ** 30])).toThrow(ShapeError);
    expect(() => zeros(new Array(8).fill(2 ** 30))).toThrow(ShapeError);
    scope(() => {
      const row = zeros([1, 1]);
      expect(() => row.broadcastTo([2 ** 30, 2 ** 30])).toThrow(ShapeError);
      expect(() => row.broadcastTo([2 ** 31, 1])).toThrow(ShapeError);
    });
  });

  it("that no machine holds throw an OutOfMemoryError, whichever op makes them", () => {
    scope(() => {
      const long = zeros([2 ** 20]);
      const [column, row] = [long.reshape([2 ** 20, 1]), long.reshape([1, 2 ** 20])];
      for (const huge of [
        () => column.add(row),
        () => column.matmul(row),
        () => column.broadcastTo([2 ** 20, 2 ** 20]),
        () => row.pad([2 ** 20, 0], [0, 0]),
        () => full([2 ** 25, 2 ** 20], 1),
      ])
        expect(huge).toThrow(OutOfMemoryError);
    });
  });
});

describe("arithmetic at the edges", () => {
  const floats = (op: (...xs: Tensor[]) => Tensor, ...data: number[][]): number[] =>
    scope(() => [...op(...data.map((values) => tensor(values))).dataSync()]);
  const integers = (op: (...xs: Tensor[]) => Tensor, ...data: number[][]): number[] =>
    scope(() => [...op(...data.map((values) => tensor(values, { dtype: "i32" }))).dataSync()]);

  it("NaN goes through maximum, minimum, relu, clamp and max, from either side", () => {
    const [a, b] = [
      [Number.NaN, 1, Number.NaN],
      [1, Number.NaN, Number.NaN],
    ] as const;
    for (const op of [maximum, minimum])
      expect(floats(op as (...xs: Tensor[]) => Tensor, [...a], [...b])).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(one(relu, Number.NaN)).toBeNaN();
    expect(one((x) => clamp(x, -1, 1), Number.NaN)).toBeNaN();
    for (const at of [0, 1, 20, 99]) {
      const values = Array.from({ length: 100 }, (_, i) => (i === at ? Number.NaN : i));
      expect(scope(() => max(tensor(values)).itemSync())).toBeNaN();
    }
  });

  it("softmax of a row with NaN or +Infinity is NaN throughout; -Infinity has no weight", () => {
    const rows = scope(() =>
      softmax(
        tensor([
          [1, Number.NaN],
          [Infinity, 1],
          [-Infinity, 1],
        ]),
      ).dataSync(),
    );
    expect([...rows]).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN, 0, 1]);
    expect([...scope(() => softmax(tensor([-Infinity, -Infinity])).dataSync())]).toEqual([Number.NaN, Number.NaN]);
  });

  it("integers wrap, and division and remainder by zero give 0", () => {
    const [lowest, highest] = [-(2 ** 31), 2 ** 31 - 1];
    expect(integers((a, b) => add(a as Tensor, b as Tensor), [highest, lowest], [1, -1])).toEqual([lowest, highest]);
    expect(integers((a, b) => div(a as Tensor, b as Tensor), [7, lowest, -7, 0], [0, -1, 2, 0])).toEqual([
      0,
      lowest,
      -3,
      0,
    ]);
    expect(integers((a, b) => rem(a as Tensor, b as Tensor), [7, lowest, -7], [0, -1, 2])).toEqual([0, 0, -1]);
  });

  it("floats become integers toward zero, held within i32, and NaN becomes 0; u8 takes the lowest byte", () => {
    const cast = (x: number, dtype: "i32" | "u8" | "bool"): number => one((t) => t.cast(dtype), x);
    expect([1.9, -1.9, 3e9, -3e9, Infinity, -Infinity, Number.NaN].map((x) => cast(x, "i32"))).toEqual([
      1,
      -1,
      2 ** 31 - 1,
      -(2 ** 31),
      2 ** 31 - 1,
      -(2 ** 31),
      0,
    ]);
    expect([255.9, 256, 300, -1, -2.5, Number.NaN, Infinity].map((x) => cast(x, "u8"))).toEqual([
      255, 0, 44, 255, 254, 0, 255,
    ]);
    expect([0, -0, 0.5, Number.NaN].map((x) => cast(x, "bool"))).toEqual([0, 0, 1, 1]);
  });
});
