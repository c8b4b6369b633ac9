// Draws, updates of many tensors, sampler steps, checks, indexing and sorting on the GPU beyond the samples of their
// definitions: the CPU's very bits where they are promised, and its very messages where numbers make work impossible.

import { loadBinding } from "@figment/native";
import {
  adamUpdate,
  assertNoLeaks,
  Cell,
  checkFinite,
  type DType,
  rng,
  scope,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomCategoricalDef } from "#ops/categorical";
import { checkFiniteDef } from "#ops/checkFinite";
import type { OpDef } from "#ops/definition";
import { dynamicSliceDef, dynamicUpdateSliceDef } from "#ops/dynamicSlice";
import { gatherDef, scatterAddDef } from "#ops/indexing";
import { adamDef, emaUpdateDef, sumSquaresDef } from "#ops/optimizer";
import { randomNormalDef, randomUniformDef } from "#ops/random";
import { randomIntegerDef } from "#ops/randomInteger";
import { rmspropDef } from "#ops/rmsprop";
import { addNoiseDef, samplerStepDef } from "#ops/sampler";
import { sgdDef } from "#ops/sgd";
import { sortDef } from "#ops/sort";
import { scatterAddAlongDef, takeAlongDef } from "#ops/takeAlong";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import type { Shape } from "#shape";
import { cudaDevice } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";

const seed = 90211;
const binding = loadBinding();
const device = cudaDevice();
const index = device.index ?? 0;
console.info(`CUDA draws and updates: seed ${seed}`);

beforeAll(() => {
  if (device.index !== undefined) binding.setPoison(true, index);
});
afterAll(() => {
  if (device.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});

interface Given {
  readonly data: ArrayLike<number>;
  readonly shape: Shape;
  readonly dtype: DType;
}
type Attrs = Parameters<typeof runNode>[2];
type TypedArray = ReturnType<Tensor["dataSync"]>;

const floats = (draws: Draws, shape: Shape, lo = -2, hi = 2): Given => ({
  data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, () => draws.uniform(lo, hi)),
  shape,
  dtype: "f32",
});
const integers = (draws: Draws, shape: Shape, lo: number, hi: number): Given => ({
  data: Int32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, () => draws.integer(lo, hi)),
  shape,
  dtype: "i32",
});
const words = (...data: number[]): Given => ({ data: Int32Array.from(data), shape: [data.length], dtype: "i32" });
const number = (x: number): Given => ({ data: [x], shape: [], dtype: "f32" });

const run = (def: OpDef, given: readonly Given[], attrs: Attrs, variant?: string): TypedArray[] =>
  scope(() =>
    runNode(
      def,
      given.map(({ data, shape, dtype }): Tensor => tensor(data as TypedArray, { shape, dtype })),
      attrs,
      variant === undefined ? {} : { variant },
    ).map((x) => x.dataSync()),
  );
const onGpu = (def: OpDef, given: readonly Given[], attrs: Attrs, variant?: string): TypedArray[] =>
  onDevice(index, () => run(def, given, attrs, variant));

const bytesOf = (x: TypedArray): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength);

/** Every kernel of the GPU gives what the CPU gives, bit for bit. */
function expectBits(kernel: string, def: OpDef, given: readonly Given[], attrs: Attrs): void {
  const expected = run(def, given, attrs);
  for (const { name } of binding.variants(kernel, index)) {
    onGpu(def, given, attrs, name).forEach((x, i) => {
      expect(bytesOf(x).equals(bytesOf(expected[i] as TypedArray)), `output ${i} of ${name}`).toBe(true);
    });
  }
}

/** Every kernel of the GPU gives what the CPU gives, to some units in the last place of the largest number, or of 1. */
function expectClose(kernel: string, def: OpDef, given: readonly Given[], attrs: Attrs, units = 8): void {
  const expected = run(def, given, attrs);
  for (const { name } of binding.variants(kernel, index)) {
    onGpu(def, given, attrs, name).forEach((x, i) => {
      const want = expected[i] as TypedArray;
      let worst = 0;
      let largest = 1;
      for (let k = 0; k < want.length; k++) {
        worst = Math.max(worst, Math.abs(Number(x[k]) - Number(want[k])));
        if (Number.isNaN(x[k])) worst = Number.POSITIVE_INFINITY;
        largest = Math.max(largest, Math.abs(Number(want[k])));
      }
      expect(x.length).toBe(want.length);
      expect(worst, `output ${i} of ${name}`).toBeLessThanOrEqual(units * 2 ** -24 * largest);
    });
  }
}

const failureOf = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message };
  }
  return undefined;
};

/** Every kernel of the GPU fails with the CPU's code and words. */
function expectFailure(kernel: string, def: OpDef, given: readonly Given[], attrs: Attrs, words: RegExp): void {
  const expected = failureOf(() => run(def, given, attrs));
  expect(expected).toMatchObject({ message: expect.stringMatching(words) });
  for (const { name } of binding.variants(kernel, index))
    expect(
      failureOf(() => onGpu(def, given, attrs, name)),
      name,
    ).toEqual(expected);
}

describe.skipIf(device.index === undefined)("on the GPU", () => {
  const states = {
    "from zero": [0, 0, 0, 0],
    "across 2^32 blocks": [5, 6, -3, 7],
    "across 2^64 blocks": [-1, -2, -2, -1],
  };
  const counts = [0, 1, 2, 3, 5, 4099, 300_001];
  const cases = Object.entries(states).flatMap(([title, state]) =>
    counts.map((count) => [title, count, words(...state)] as const),
  );

  it.each(cases)("uniforms have the CPU's bits %s, %d of them", (_title, count, state) =>
    expectBits("randomUniform", randomUniformDef, [state], { shape: [count] }),
  );
  it.each(cases)("normals have the CPU's bits %s, %d of them", (_title, count, state) =>
    expectBits("randomNormal", randomNormalDef, [state], { shape: [count] }),
  );
  it.each(cases)("integers have the CPU's bits %s, %d of them", (_title, count, state) =>
    expectBits("randomInteger", randomIntegerDef, [state], { shape: [count], lo: -7, hi: 2 ** 31 }),
  );

  it.each([
    [1, 1, 3],
    [3, 255, 100],
    [2, 257, 1000],
    [7, 1000, 33],
  ])("categories are the CPU's: %d rows of %d, %d draws each", (rows, cols, draws) => {
    const logits = floats(new Draws(seed + cols), [rows, cols], -8, 8);
    expectBits("randomCategorical", randomCategoricalDef, [logits, words(1, 2, -1, 4)], { shape: [draws] });
  });

  it("a stream on the GPU goes on where the CPU's does", () => {
    const draw = (): number[][] =>
      scope(() => {
        const stream = rng(7);
        const drawn = [stream.normal([4099]), stream.uniform([3]), stream.normal([5])].map((x) => [...x.dataSync()]);
        stream.dispose();
        return drawn;
      });
    expect(onDevice(index, draw)).toEqual(draw());
  });

  const shapes: Shape[] = [
    [1],
    [0],
    [3],
    [4],
    [4097],
    [33, 65],
    ...Array.from({ length: 200 }, (_, i) => [1 + (i % 37)]),
  ];
  const groups = (draws: Draws, count: number): Given[] =>
    Array.from({ length: count }, (_, g) =>
      shapes.map((shape) => (g < 2 ? floats(draws, shape) : floats(draws, shape, g === 2 ? 1 : 0, g === 2 ? 2 : 0.9))),
    ).flat();

  it.each([true, false])("adam moves 206 tensors as the CPU does (decoupled: %s)", (decoupled) => {
    const draws = new Draws(seed);
    const given = [number(1e-3), number(3), number(0.7), ...groups(draws, 4)];
    const attrs = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, decoupled, averaged: false };
    expectClose("adam", adamDef, given, attrs);
    const averaged = [...given.slice(0, 3), number(0.99), ...given.slice(3), ...groups(draws, 1)];
    expectClose("adam", adamDef, averaged, { ...attrs, averaged: true });
    expectClose("adam", adamDef, given, { ...attrs, beta1: 0 });
  });
  it("emaUpdate, sgd and rmsprop move 206 tensors as the CPU does", () => {
    const draws = new Draws(seed + 1);
    expectClose("emaUpdate", emaUpdateDef, [number(0.99), ...groups(draws, 2)], {});
    for (const buffered of [false, true]) {
      const scalars = [number(0.1), number(0.5)];
      const given = [...scalars, ...groups(draws, buffered ? 3 : 2)];
      expectClose("sgd", sgdDef, given, { momentum: 0.9, buffered, nesterov: buffered, weightDecay: 0.01 });
      for (const centered of [false, true]) {
        const operands = [...scalars, ...groups(draws, 3 + Number(buffered) + Number(centered))];
        const attrs = { alpha: 0.99, eps: 1e-8, momentum: 0.9, weightDecay: 0.01, centered, buffered };
        expectClose("rmsprop", rmspropDef, operands, attrs);
      }
    }
  });
  it("sumSquares sums over 206 tensors", () =>
    expectClose("sumSquares", sumSquaresDef, groups(new Draws(seed + 2), 1), {}));
  it("adam in place gives what it gives elsewhere", () => {
    const update = (): number[] =>
      scope(() => {
        const cells = [1, 0, 0].map((start) => {
          const cell = new Cell({ shape: [1001] });
          cell.setData(Array.from({ length: 1001 }, (_, i) => start * Math.sin(i)));
          return cell;
        }) as [Cell, Cell, Cell];
        const [weight, m, v] = cells;
        const grad = tensor(Array.from({ length: 1001 }, (_, i) => Math.cos(i)));
        for (let step = 1; step <= 3; step++)
          adamUpdate({ cells: [weight], grads: [grad], m: [m], v: [v], lr: 0.01, step });
        const moved = [...weight.value.dataSync()];
        for (const cell of cells) cell.dispose();
        return moved;
      });
    const expected = update();
    for (const [i, x] of onDevice(index, update).entries()) expect(x).toBeCloseTo(expected[i] as number, 6);
  });

  it.each([
    [1, true, null],
    [2, true, [-1, 1]],
    [3, false, [0, 1]],
    [6, true, null],
  ] as const)("samplerStep over %d tensors (noise: %s, clamp: %s)", (count, noise, clamp) => {
    for (const size of [1, 7, 4096, 4099]) {
      const draws = new Draws(seed + size);
      const tensors = Array.from({ length: count }, () => floats(draws, [size]));
      const given = [floats(draws, [12]), ...tensors, ...(noise ? [words(3, 4, -2, 5)] : [])];
      expectClose("samplerStep", samplerStepDef, given, { noise, clamp });
    }
  });
  it.each([
    [1, 1],
    [5, 7],
    [3, 3072],
    [301, 12],
  ])("addNoise to %d samples of %d", (n, inner) => {
    const draws = new Draws(seed + n);
    const [x, noise, t] = [floats(draws, [n, inner]), floats(draws, [n, inner]), integers(draws, [n], 0, 100)];
    expectClose("addNoise", addNoiseDef, [x, noise, t, floats(draws, [100]), floats(draws, [100])], {});
  });
  it("addNoise tells the first timestep out of range", () => {
    const draws = new Draws(seed);
    const t = words(0, 1, 100, -1);
    const given = [floats(draws, [4, 8]), floats(draws, [4, 8]), t, floats(draws, [100]), floats(draws, [100])];
    expectFailure("addNoise", addNoiseDef, given, {}, /timestep 100 of sample 2/);
  });

  it.each([
    ["f32", Number.NaN],
    ["f32", Number.NEGATIVE_INFINITY],
    ["bf16", Number.POSITIVE_INFINITY],
    ["f16", Number.NaN],
    ["f64", Number.NEGATIVE_INFINITY],
  ] as const)("checkFinite names the first %s that is %d", (dtype, bad) => {
    const data = Float64Array.from({ length: 70_003 }, (_, i) => i / 70_003);
    const given: Given[] = [
      { data: data.slice(), shape: [70_003], dtype },
      { data: data.slice(), shape: [70_003], dtype },
    ];
    expect(failureOf(() => onGpu(checkFiniteDef, given, { names: ["a", "b"] }))).toBeUndefined();
    for (const i of [20_001, 70_002]) (given[1]?.data as Float64Array)[i] = bad;
    const expected = failureOf(() =>
      scope(() => {
        checkFinite({
          a: tensor(given[0]?.data as Float64Array, { dtype }),
          b: tensor(given[1]?.data as Float64Array, { dtype }),
        });
        return tensor([1]).add(1).dataSync();
      }),
    );
    expect(expected).toMatchObject({ message: expect.stringMatching(/b is not finite: element 20001 of 70003/) });
    const found = failureOf(() =>
      onDevice(index, () =>
        scope(() => {
          checkFinite({
            a: tensor(given[0]?.data as Float64Array, { dtype }),
            b: tensor(given[1]?.data as Float64Array, { dtype }),
          });
          return tensor([1]).add(1).dataSync();
        }),
      ),
    );
    expect(found).toEqual(expected);
  });

  it.each([
    [[7, 5], [3], 1],
    [[300, 64], [1000], 0],
    [[2, 1000, 3], [5003], 1],
    [[4, 9, 16], [129], 1],
    [[10, 8], [1000], 0],
    [[3, 8], [5003], 1],
  ] as const)("gather and scatterAdd: %j by %j along %d", (shape, picked, axis) => {
    const draws = new Draws(seed + shape[0]);
    const size = shape[axis] as number;
    const indices = integers(draws, picked, 0, size);
    const from = floats(draws, shape);
    expectBits("gather", gatherDef, [from, indices], { axis });
    const updates = [...shape.slice(0, axis), ...picked, ...shape.slice(axis + 1)];
    expectClose("scatterAdd", scatterAddDef, [floats(draws, updates), indices], { axis, size }, 64);
    expectFailure("gather", gatherDef, [from, words(0, size, -1)], { axis }, /index \d+ at position 1/);
    const few = [...shape.slice(0, axis), 3, ...shape.slice(axis + 1)];
    const bad = [floats(draws, few), words(0, 1, -1)];
    expectFailure("scatterAdd", scatterAddDef, bad, { axis, size }, /index -1 at position 2/);
  });
  it.each([
    [[7, 5], [7, 3], 1],
    [[3, 500, 2], [3, 4099, 2], 1],
    [[50, 33], [1000, 33], 0],
  ] as const)("takeAlong and scatterAddAlong: %j by %j along %d", (shape, picked, axis) => {
    const draws = new Draws(seed + shape[0]);
    const size = shape[axis] as number;
    const indices = integers(draws, picked, 0, size);
    expectBits("takeAlong", takeAlongDef, [floats(draws, shape), indices], { axis });
    expectClose("scatterAddAlong", scatterAddAlongDef, [floats(draws, picked), indices], { axis, size }, 64);
    (indices.data as Int32Array)[11] = -5;
    expectFailure("takeAlong", takeAlongDef, [floats(draws, shape), indices], { axis }, /index -5 at position 11/);
    const bad = [floats(draws, picked), indices];
    expectFailure("scatterAddAlong", scatterAddAlongDef, bad, { axis, size }, /index -5 at position 11/);
  });
  it("randomCategorical tells the first row without a distribution", () => {
    const logits = floats(new Draws(seed), [5, 300]);
    (logits.data as Float32Array)[2 * 300 + 299] = Number.NaN;
    (logits.data as Float32Array)[4 * 300] = Number.POSITIVE_INFINITY;
    expectFailure(
      "randomCategorical",
      randomCategoricalDef,
      [logits, words(0, 0, 0, 0)],
      { shape: [2] },
      /row 2 of the/,
    );
  });

  it.each(["f32", "bf16", "u8", "f64"] as const)(
    "dynamicSlice and dynamicUpdateSlice of %s, starts clamped",
    (dtype) => {
      const draws = new Draws(seed);
      const of = (shape: Shape): Given => ({ ...integers(draws, shape, 0, 100), dtype });
      for (const [whole, part, ...starts] of [
        [[9, 8, 16], [3, 8, 16], 5, 0, 0],
        [[9, 8, 16], [3, 5, 4], 100, -7, 3],
        [[4099], [33], 17],
        [[2, 64, 32], [2, 1, 32], 0, 63, 0],
      ] as [Shape, Shape, ...number[]][]) {
        expectBits("dynamicSlice", dynamicSliceDef, [of(whole), words(...starts)], { sizes: part });
        expectBits("dynamicUpdateSlice", dynamicUpdateSliceDef, [of(whole), of(part), words(...starts)], {});
      }
    },
  );

  it.each([
    [1, 1, 1],
    [3, 33, 33],
    [5, 1000, 7],
    [2, 4096, 4096],
    [2, 5003, 5003],
    [1, 20_011, 20_011],
  ])("sort orders as the CPU does, ties and NaN too: %d rows of %d, the first %d", (rows, cols, count) => {
    const draws = new Draws(seed + cols);
    const given = integers(draws, [rows, cols], -40, 40);
    const x: Given = { ...given, data: Float32Array.from(given.data), dtype: "f32" };
    const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0];
    special.forEach((value, i) => {
      if (cols > 4) (x.data as Float32Array)[3 * i + 1] = value;
    });
    for (const descending of [false, true]) {
      expectBits("sort", sortDef, [x], { count, descending });
      expectBits("sort", sortDef, [given], { count, descending });
    }
  });
});
