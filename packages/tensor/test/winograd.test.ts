// Winograd's convolutions where generated samples don't reach: how exact they are beside a plain loop, at scales far from
// 1, what they do with numbers that are not finite, and when they are chosen.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, compile, conv2d, grad, scope, type Tensor, tensor, zeros } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOp, type OpDef, type Sample } from "#ops/definition";
import { Draws } from "./support/draws.ts";
import { bilinearUnits, distance, epsilon, expectedAt, runVariant, termsOf } from "./support/parity.ts";
import type { Point } from "./support/points.ts";
import { withoutTiles } from "./support/tiles.ts";

const seed = 717;
const binding = loadBinding();
console.info(`Winograd's convolutions: seed ${seed}`);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

const geometry = { stride: [1, 1], padLo: [1, 1], padHi: [1, 1], dilation: [1, 1], groups: 1 } as const;
const filterings = (op: string): string[] =>
  binding
    .variants(op)
    .map(({ name }) => name)
    .filter((name) => name.includes("winograd"));
const variants = filterings("conv2d");
const gradientVariants = filterings("conv2dWeightGrad");

/** A convolution of [n, h, w] images of `c` channels to `o`, or its gradients. */
interface Shape {
  readonly op: "conv2d" | "conv2dInputGrad" | "conv2dWeightGrad";
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly o: number;
}

function sampleOf({ op, n, h, w, c, o }: Shape): { def: OpDef; sample: Sample } {
  const [image, result, weights] = [
    [n, h, w, c],
    [n, h, w, o],
    [o, 3, 3, c],
  ].map((shape) => ({ shape }));
  const samples = {
    conv2d: { inputs: [image, weights], attrs: { ...geometry, activation: "none" } },
    conv2dInputGrad: { inputs: [result, weights], attrs: { ...geometry, inputSize: [h, w] } },
    conv2dWeightGrad: { inputs: [image, result], attrs: { ...geometry, kernelSize: [3, 3] } },
  };
  return { def: definedOp(op), sample: samples[op] as unknown as Sample };
}

/** Roughly normal values, as many as a shape has. */
const drawn = (shape: readonly number[], draws: Draws, scale: (i: number) => number = () => 1): Float64Array =>
  Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) =>
    Math.fround((draws.uniform(-1, 1) + draws.uniform(-1, 1) + draws.uniform(-1, 1)) * scale(i)),
  );

const drawnAt = (sample: Sample, draws: Draws): Point => sample.inputs.map(({ shape }) => drawn(shape, draws));

/** The convolution of images with padding 1 in one chain over taps and channels, of f32 multiply-adds or, not `fused`, of both. */
function plainLoop({ n, h, w, c, o }: Shape, [x, k]: Point, fused: boolean): Float64Array {
  const [image, weights] = [x as Float64Array, k as Float64Array];
  return Float64Array.from({ length: n * h * w * o }, (_, at) => {
    const [channel, column, row] = [at % o, Math.floor(at / o) % w, Math.floor(at / o / w) % h];
    const first = Math.floor(at / o / w / h) * h;
    let sum = 0;
    for (let tap = 0; tap < 9; tap++) {
      const [y, z] = [row + Math.floor(tap / 3) - 1, column + (tap % 3) - 1];
      if (y < 0 || y >= h || z < 0 || z >= w) continue;
      for (let i = 0; i < c; i++) {
        const pixel = image[((first + y) * w + z) * c + i] as number;
        const product = pixel * (weights[(channel * 9 + tap) * c + i] as number);
        sum = Math.fround(sum + (fused ? product : Math.fround(product)));
      }
    }
    return sum;
  });
}

/** The derivative by the weights in one chain over positions. */
function plainGradient({ n, h, w, c, o }: Shape, [x, k]: Point, fused: boolean): Float64Array {
  const [image, dy] = [x as Float64Array, k as Float64Array];
  return Float64Array.from({ length: o * 9 * c }, (_, at) => {
    const [channel, tap, out] = [at % c, Math.floor(at / c) % 9, Math.floor(at / c / 9)];
    const [down, right] = [Math.floor(tap / 3) - 1, (tap % 3) - 1];
    let sum = 0;
    for (let i = 0; i < n * h * w; i++) {
      const [y, z] = [(Math.floor(i / w) % h) + down, (i % w) + right];
      if (y < 0 || y >= h || z < 0 || z >= w) continue;
      const product = (image[(i + down * w + right) * c + channel] as number) * (dy[i * o + out] as number);
      sum = Math.fround(sum + (fused ? product : Math.fround(product)));
    }
    return sum;
  });
}

/** The side of an image with the positions from which on a variant is preferred for the derivative by the weights. */
function leastSide(variant: string): number {
  const fused = !variant.startsWith("generic");
  if (variant.endsWith("4x4")) return fused ? 40 : 48;
  if (variant.endsWith("2x4")) return fused ? 23 : 28;
  return fused ? 16 : 20;
}

/** The channels from which on a variant is preferred. */
function leastChannels(variant: string): number {
  if (variant.includes("-split-")) return variant.startsWith("emulated") ? 96 : 64;
  const fused = !variant.startsWith("generic");
  if (variant.endsWith("4x4")) return fused ? 128 : 192;
  if (variant.endsWith("2x4")) return fused ? 64 : 96;
  return fused ? 16 : 32;
}

const strange = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e38] as const;

/** Relative errors of a variant and of a plain loop. */
function errorsOf(
  shape: Shape,
  variant: string,
  plainly: (shape: Shape, point: Point, fused: boolean) => Float64Array,
): { ours: number; plain: number } {
  const { def, sample } = sampleOf(shape);
  const point = drawnAt(sample, new Draws(seed));
  const expected = expectedAt(def, sample, point)[0] as ArrayLike<number>;
  const [own] = runVariant(def, sample, point, variant);
  return {
    ours: distance(own?.data as Float32Array, expected, () => 1).relative,
    plain: distance(plainly(shape, point, !variant.startsWith("generic")), expected, () => 1).relative,
  };
}

describe.each(gradientVariants)("%s of gradients of weights", (variant) => {
  it("errs no more than a plain loop, with the positions from which on it is preferred", () => {
    const side = leastSide(variant);
    const { ours, plain } = errorsOf(
      { op: "conv2dWeightGrad", n: 1, h: side, w: side, c: 12, o: 10 },
      variant,
      plainGradient,
    );
    expect(ours).toBeLessThanOrEqual(plain);
  });

  it("is as exact at scales far from 1", () => {
    const { def, sample } = sampleOf({ op: "conv2dWeightGrad", n: 2, h: 7, w: 10, c: 40, o: 36 });
    for (const [image, gradient] of [
      [2 ** 90, 2 ** -70],
      [2 ** -60, 2 ** 100],
      [2 ** 40, 2 ** 40],
    ] as const) {
      const draws = new Draws(seed + 1);
      // Pairs of channels don't meet: sizes of each need not be alike.
      const point = [
        drawn(sample.inputs[0]?.shape ?? [], draws, (i) => image * 2 ** (((i % 40) * 7) % 21)),
        drawn(sample.inputs[1]?.shape ?? [], draws, (i) => gradient * 2 ** -(((i % 36) * 5) % 21)),
      ];
      const expected = expectedAt(def, sample, point)[0] as ArrayLike<number>;
      const terms = termsOf(def, sample, point)(variant)[0] as ArrayLike<number>;
      const off = distance(
        runVariant(def, sample, point, variant)[0]?.data as Float32Array,
        expected,
        (i) => bilinearUnits(variant) * epsilon * (terms[i] as number),
      );
      expect(off.notFinite).toBe(0);
      expect(off.worst).toBeLessThanOrEqual(1);
    }
  });

  it.each(strange.flatMap((value) => ([0, 1] as const).map((input) => [value, input] as const)))(
    "is left to plain sums where %d is in operand %i",
    (value, input) => {
      const { def, sample } = sampleOf({ op: "conv2dWeightGrad", n: 2, h: 9, w: 11, c: 19, o: 21 });
      const point = drawnAt(sample, new Draws(seed + 2));
      const data = point[input] as Float64Array;
      for (const at of [5, 700, data.length - 3]) data[at] = Math.fround(value);
      const plain = runVariant(def, sample, point, variant.replace(/winograd.*/, "outer"))[0];
      expect(runVariant(def, sample, point, variant)[0]?.data).toEqual(plain?.data);
    },
  );
});

describe.each(variants)("%s", (variant) => {
  it("errs no more than a plain loop, with the channels from which on it is preferred", () => {
    const { ours, plain } = errorsOf(
      { op: "conv2d", n: 1, h: 13, w: 16, c: leastChannels(variant), o: 24 },
      variant,
      plainLoop,
    );
    expect(ours).toBeLessThanOrEqual(plain);
  });

  it.each(["conv2d", "conv2dInputGrad"] as const)("is as exact at scales far from 1 in %s", (op) => {
    const { def, sample } = sampleOf({ op, n: 2, h: 7, w: 10, c: 40, o: 36 });
    const inner = op === "conv2d" ? 40 : 36;
    for (const [image, weights] of [
      [2 ** 90, 2 ** -70],
      [2 ** -60, 2 ** 100],
      [2 ** 40, 2 ** 40],
    ] as const) {
      const draws = new Draws(seed + 1);
      // Channels of very different sizes whose products are alike.
      const size = (channel: number): number => 2 ** ((channel * 7) % 21);
      const channelOf = (i: number): number => (op === "conv2d" ? i % 40 : Math.floor(i / (9 * 40)));
      const point = [
        drawn(sample.inputs[0]?.shape ?? [], draws, (i) => image * size(i % inner)),
        drawn(sample.inputs[1]?.shape ?? [], draws, (i) => weights / size(channelOf(i))),
      ];
      const expected = expectedAt(def, sample, point)[0] as ArrayLike<number>;
      const terms = termsOf(def, sample, point)(variant)[0] as ArrayLike<number>;
      const [own] = runVariant(def, sample, point, variant);
      const off = distance(
        own?.data as Float32Array,
        expected,
        (i) => bilinearUnits(variant) * epsilon * (terms[i] as number),
      );
      expect(off.notFinite).toBe(0);
      expect(off.worst).toBeLessThanOrEqual(1);
    }
  });

  const cases = (["conv2d", "conv2dInputGrad"] as const).flatMap((op) =>
    strange.flatMap((value) => ([0, 1] as const).map((input) => [value, input, op] as const)),
  );
  it.each(cases)(
    "takes %d in operand %i of %s to the results that it belongs to, and to no others",
    (value, input, op) => {
      const { def, sample } = sampleOf({ op, n: 2, h: 9, w: 11, c: 19, o: 21 });
      const point = drawnAt(sample, new Draws(seed + 2));
      const data = point[input] as Float64Array;
      // Large factors of both signs overflow inside transforms while the sums that they belong to are finite.
      for (const at of [5, 700, data.length - 3]) data[at] = Math.fround(value);
      const expected = expectedAt(def, sample, point)[0] as ArrayLike<number>;
      const data32 = runVariant(def, sample, point, variant)[0]?.data as Float32Array;
      const terms = termsOf(def, sample, point)(variant)[0] as ArrayLike<number>;
      for (let i = 0; i < expected.length; i++) {
        const want = Math.fround(expected[i] as number);
        if (Number.isFinite(want)) {
          const bound = bilinearUnits(variant) * epsilon * (terms[i] as number);
          const within = Math.abs((data32[i] as number) - want) <= bound || !Number.isFinite(bound);
          expect(Number.isFinite(data32[i]) && within, `result ${i}: ${data32[i]} for ${want}`).toBe(true);
        } else expect(data32[i], `result ${i}`).toBe(want);
      }
    },
  );
});

describe("the derivative by the weights", () => {
  it.each([
    ["many rounds of tiles", { n: 9, h: 61, w: 50, c: 5, o: 6 }, 1],
    ["groups that fill no vector", { n: 2, h: 13, w: 9, c: 33, o: 30 }, 3],
  ] as const)("of %s is that of the reference, whatever the number of threads", (_, shape, groups) => {
    const { def, sample } = sampleOf({ op: "conv2dWeightGrad", ...shape });
    const grouped = { ...sample, attrs: { ...sample.attrs, groups } } as Sample;
    const point = drawnAt(grouped, new Draws(seed + 3));
    const expected = expectedAt(def, grouped, point)[0] as ArrayLike<number>;
    const before = binding.threads();
    for (const variant of gradientVariants) {
      const terms = termsOf(def, grouped, point)(variant)[0] as ArrayLike<number>;
      const results = [1, 3].map((threads) => {
        binding.setThreads(threads);
        return runVariant(def, grouped, point, variant)[0]?.data as Float32Array;
      });
      const [one, three] = results as [Float32Array, Float32Array];
      const off = distance(one, expected, (i) => bilinearUnits(variant) * epsilon * (terms[i] as number));
      expect([variant, off.worst <= 1, off.notFinite]).toEqual([variant, true, 0]);
      expect(three).toEqual(one);
    }
    binding.setThreads(before);
  });

  it("is chosen in training, and explain() counts when numbers that are not finite led back to plain sums", () => {
    const f = compile((x: Tensor, w: Tensor) => grad((v: Tensor) => conv2d(x, v, { padding: 1 }).sum())(w));
    const countWith = (value: number): number => {
      const data = new Float32Array(2 * 24 * 24 * 48).fill(1);
      data[99] = value;
      scope(() => void f(tensor(data, { shape: [2, 24, 24, 48] }), zeros([48, 3, 3, 48])).dataSync());
      const text = f.explain();
      expect(text).toMatch(/conv2dWeightGrad.*-winograd/);
      return Number(/\((\d+) fallbacks\)/.exec(text)?.[1] ?? 0);
    };
    expect(countWith(1)).toBe(0);
    expect(countWith(Number.NaN)).toBe(1);
    f.dispose();
  });
});

describe("explain()", () => {
  it("counts what was summed without transforms, a vector of channels of a tile at a time", () => {
    const weights = tensor(new Float32Array(64 * 9 * 96).fill(1), { shape: [64, 3, 3, 96] });
    const f = compile((x: Tensor) => conv2d(x, weights, { padding: 1 }));
    const countWith = (value: number): number => {
      const data = new Float32Array(24 * 24 * 96);
      data[(9 * 24 + 9) * 96] = value;
      scope(() => void f(tensor(data, { shape: [1, 24, 24, 96] })).dataSync());
      const text = f.explain();
      expect(text).toMatch(/-winograd2x4/);
      return Number(/\((\d+) fallbacks\)/.exec(text)?.[1] ?? 0);
    };
    expect(countWith(1)).toBe(0);
    const met = countWith(Number.NaN);
    expect(met).toBeGreaterThan(0);
    expect(countWith(Number.POSITIVE_INFINITY)).toBe(2 * met);
    for (const part of [f, weights]) part.dispose();
  });
});

describe("the choice of a convolution without matrix tiles", () => {
  withoutTiles();
  const chosen = (c: number, o: number, side: number): string => {
    const weights = tensor(new Float32Array(o * 9 * c), { shape: [o, 3, 3, c] });
    const image = tensor(new Float32Array(side * side * c), { shape: [1, side, side, c] });
    const f = compile((x: typeof image) => conv2d(x, weights, { padding: 1 }));
    f(image).dispose();
    const text = f.explain();
    for (const part of [f, weights, image]) part.dispose();
    return text;
  };

  it.each([
    [192, "-winograd4x4"],
    [96, "-winograd2x4"],
    [48, "-winograd2x2"],
  ])("for %i channels is the largest tile that errs no more than a plain loop, and explain() says so", (c, name) => {
    expect(chosen(c, 64, 24)).toContain(name);
  });

  it("is no transform for images of one tile", () => {
    expect(chosen(192, 64, 3)).not.toContain("winograd");
  });
});
