// Products of f32 on bf16 matrix tiles, by splitting: as exact as fused multiply-adds one after another, at any scale; with
// numbers that cannot be split, by fused multiply-adds; and what a machine with tiles would choose.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, compile, conv2d, matmul, ones, rng, scope, Tensor, tensor, zeros } from "@figment/tensor";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { withPrecision } from "#core/precision";
import { type Attrs, GraphBuilder } from "#ir/graph";
import { definedOp, type OpDef } from "#ops/definition";
import { explainRecords } from "#runtime/explain";
import { loadGraph, releaseProgram, runProgram } from "#runtime/program";
import { epsilon } from "./support/parity.ts";

const binding = loadBinding();
const split = "emulated-split";
/** Error of each sum in units of ε·(|A||B|): the bound that every kernel of f32 factors is held to. */
const units = 4;
const random = rng(61);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** What a kernel gives, and how many pieces of the work were not done on tiles. */
function run(
  def: OpDef,
  inputs: readonly Tensor[],
  attrs: Attrs,
  variant: string,
): { readonly data: Float32Array; readonly fallbacks: number } {
  const builder = new GraphBuilder();
  const values = inputs.map((x) => builder.arg(x));
  const outputs = def.infer(values, attrs);
  const program = loadGraph(builder.finish(builder.node(def, values, attrs, outputs, "").outputs), def.name, variant);
  try {
    const [storage] = runProgram(
      program,
      0,
      inputs.map((x) => x.storage(def.name)),
    );
    const { shape, dtype } = outputs[0] as { shape: readonly number[]; dtype: "f32" };
    const data = scope(() => new Tensor(shape, dtype, { storage: storage as NonNullable<typeof storage> }).dataSync());
    const [record] = explainRecords(program);
    expect(record?.variant).toBe(variant);
    return { data: data as Float32Array, fallbacks: record?.fallbacks ?? Number.NaN };
  } finally {
    releaseProgram(program);
  }
}

const matmulDef = definedOp("matmul");
const matmulAttrs = { transposeA: false, transposeB: false, activation: "none" } as const;
const multiply = (a: Tensor, b: Tensor, variant = split) => run(matmulDef, [a, b], matmulAttrs, variant);

/** Calls add(i, j, k) for each product of numbers i and j of the factors that result k is the sum of, in order. */
type Terms = (add: (i: number, j: number, k: number) => void) => void;

/** Sums in f64, the sums of the terms' sizes, and sums by f32 fused multiply-adds one after another. */
function sums(terms: Terms, a: ArrayLike<number>, b: ArrayLike<number>, count: number) {
  const [exact, sizes, fused] = [new Float64Array(count), new Float64Array(count), new Float32Array(count)];
  terms((i, j, k) => {
    const product = (a[i] as number) * (b[j] as number); // 48 bits at most: exact
    exact[k] = (exact[k] as number) + product;
    sizes[k] = (sizes[k] as number) + Math.abs(product);
    fused[k] = (fused[k] as number) + product;
  });
  return { exact, sizes, fused };
}

/** ‖error‖ / ‖expected‖. */
function error(data: Float32Array, exact: Float64Array): number {
  let [off, norm] = [0, 0];
  exact.forEach((y, i) => {
    off += ((data[i] as number) - y) ** 2;
    norm += y ** 2;
  });
  return Math.sqrt(off / norm);
}

/** The largest error of an element in units of ε and the size of its terms, with room for rounding among denormals. */
function worst(data: Float32Array, { exact, sizes }: { exact: Float64Array; sizes: Float64Array }): number {
  let most = 0;
  exact.forEach((y, i) => {
    const room = units * epsilon * (sizes[i] as number) + 2 * 2 ** -149;
    const off = Math.abs((data[i] as number) - Math.fround(y));
    most = Math.max(most, data[i] === Math.fround(y) ? 0 : Number.isNaN(off) ? Number.POSITIVE_INFINITY : off / room);
  });
  return most;
}

const productTerms =
  (m: number, k: number, n: number): Terms =>
  (add) => {
    for (let row = 0; row < m; row++)
      for (let i = 0; i < k; i++)
        for (let column = 0; column < n; column++) add(row * k + i, i * n + column, row * n + column);
  };

interface Geometry {
  readonly n: number;
  readonly size: number;
  readonly channels: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly groups: number;
}

/** Extent of the result of a convolution with padding 1. */
const extentOf = ({ size, kernel, stride }: Geometry): number => Math.floor((size + 2 - kernel) / stride) + 1;

/** Calls visit(x, w, y) with the places of an image, of weights and of a result that meet. */
function meetings(g: Geometry, visit: (x: number, w: number, y: number) => void): void {
  const { n, size, channels, out, kernel, stride, groups } = g;
  const extent = extentOf(g);
  const [groupIn, groupOut] = [channels / groups, out / groups];
  for (let image = 0; image < n; image++)
    for (let p = 0; p < extent * extent; p++)
      for (let tap = 0; tap < kernel * kernel; tap++) {
        const row = Math.floor(p / extent) * stride + Math.floor(tap / kernel) - 1;
        const column = (p % extent) * stride + (tap % kernel) - 1;
        if (row < 0 || row >= size || column < 0 || column >= size) continue;
        for (let o = 0; o < out; o++)
          for (let c = 0; c < groupIn; c++)
            visit(
              ((image * size + row) * size + column) * channels + Math.floor(o / groupOut) * groupIn + c,
              (o * kernel * kernel + tap) * groupIn + c,
              (image * extent * extent + p) * out + o,
            );
      }
}

const shapesOf = (g: Geometry) => ({
  x: [g.n, g.size, g.size, g.channels],
  w: [g.out, g.kernel, g.kernel, g.channels / g.groups],
  y: [g.n, extentOf(g), extentOf(g), g.out],
});

const attrsOf = ({ stride, groups }: Geometry) => ({
  stride: [stride, stride],
  padLo: [1, 1],
  padHi: [1, 1],
  dilation: [1, 1],
  groups,
});

const geometries: readonly Geometry[] = [
  { n: 2, size: 9, channels: 24, out: 40, kernel: 3, stride: 1, groups: 1 },
  { n: 3, size: 8, channels: 33, out: 17, kernel: 3, stride: 2, groups: 1 },
  { n: 1, size: 7, channels: 64, out: 64, kernel: 4, stride: 2, groups: 1 },
  { n: 2, size: 6, channels: 40, out: 24, kernel: 3, stride: 1, groups: 2 },
  { n: 33, size: 4, channels: 3, out: 20, kernel: 3, stride: 1, groups: 1 },
  { n: 1, size: 19, channels: 20, out: 16, kernel: 3, stride: 2, groups: 1 },
];

describe("f32 products split into bf16 parts", () => {
  const sizes: readonly (readonly [number, number, number])[] = [
    [1, 1, 1],
    [3, 7, 5],
    [16, 32, 16],
    [32, 33, 32],
    [33, 64, 31],
    [17, 129, 40],
    [64, 200, 48],
    [31, 320, 65],
    [40, 257, 33],
    [129, 300, 20],
    [20, 512, 530],
    [35, 1000, 35],
    [32, 2880, 32],
    [16, 4608, 24],
  ];
  it.each(sizes)("are nearer to the exact product of %d×%d×%d than an f32 FMA loop", (m, k, n) =>
    scope(() => {
      const [a, b] = [random.normal([m, k]), random.normal([k, n])];
      const want = sums(productTerms(m, k, n), a.dataSync(), b.dataSync(), m * n);
      const { data, fallbacks } = multiply(a, b);
      expect(fallbacks).toBe(0);
      expect(error(data, want.exact)).toBeLessThanOrEqual(Math.max(error(want.fused, want.exact), epsilon / 2));
      expect(worst(data, want)).toBeLessThanOrEqual(1);
    }),
  );

  it.each(geometries)("are nearer to the exact convolutions and gradients of $n×$size² than an f32 FMA loop", (g) =>
    scope(() => {
      const shapes = shapesOf(g);
      const [x, w, y] = [random.normal(shapes.x), random.normal(shapes.w), random.normal(shapes.y)];
      const cases: readonly (readonly [string, Tensor, Tensor, readonly number[], Attrs, Terms])[] = [
        ["conv2d", x, w, shapes.y, { activation: "none" }, (add) => meetings(g, add)],
        [
          "conv2dInputGrad",
          y,
          w,
          shapes.x,
          { inputSize: [g.size, g.size] },
          (add) => meetings(g, (i, j, k) => add(k, j, i)),
        ],
        [
          "conv2dWeightGrad",
          x,
          y,
          shapes.w,
          { kernelSize: [g.kernel, g.kernel] },
          (add) => meetings(g, (i, j, k) => add(i, k, j)),
        ],
      ];
      for (const [name, a, b, shape, attrs, terms] of cases) {
        const count = shape.reduce((product, extent) => product * extent, 1);
        const want = sums(terms, a.dataSync(), b.dataSync(), count);
        const { data, fallbacks } = run(definedOp(name), [a, b], { ...attrsOf(g), ...attrs }, split);
        expect(fallbacks, name).toBe(0);
        expect(error(data, want.exact), name).toBeLessThanOrEqual(error(want.fused, want.exact));
        expect(worst(data, want), name).toBeLessThanOrEqual(1);
      }
    }),
  );

  it("take numbers that are bf16 already, and one among them that is not, for what they are", () =>
    scope(() => {
      const short = random.normal([40, 300]).cast("bf16").cast("f32");
      const b = random.normal([300, 36]);
      for (const low of [0, 2 ** -20]) {
        const data = short.dataSync().slice();
        data[41] = 1 + low;
        const a = tensor(data, { shape: [40, 300] });
        for (const [x, y, sizes] of [
          [a, b, [40, 300, 36]],
          [b.transpose(), a.transpose(), [36, 300, 40]],
        ] as const) {
          const [m, k, n] = sizes;
          const want = sums(productTerms(m, k, n), x.dataSync(), y.dataSync(), m * n);
          const { data: got, fallbacks } = multiply(x, y);
          expect(fallbacks).toBe(0);
          expect(error(got, want.exact)).toBeLessThan(error(want.fused, want.exact));
        }
      }
      // A single low part counts: every other product is a multiple of 2⁻⁷.
      const ones40 = ones([40, 300]).dataSync().slice();
      ones40[41] = 1 + 2 ** -14;
      const { data } = multiply(tensor(ones40, { shape: [40, 300] }), ones([300, 4]));
      expect([...data.slice(0, 8)]).toEqual([...Array(4).fill(300 + 2 ** -14), ...Array(4).fill(300)]);
    }));

  it("take numbers of one sign, whose sums grow, as well", () =>
    scope(() => {
      const [a, b] = [random.uniform([40, 1500]).add(1), random.uniform([1500, 40]).add(1)];
      const want = sums(productTerms(40, 1500, 40), a.dataSync(), b.dataSync(), 1600);
      expect(error(multiply(a, b).data, want.exact)).toBeLessThan(error(want.fused, want.exact) / 2);
    }));
});

describe("scales that tiles alone would not bear", () => {
  const [m, k, n] = [40, 400, 36];
  const check = (a: Tensor, b: Tensor): number => {
    const want = sums(productTerms(m, k, n), a.dataSync(), b.dataSync(), m * n);
    const { data, fallbacks } = multiply(a, b);
    expect(worst(data, want)).toBeLessThanOrEqual(1);
    return fallbacks;
  };

  it.each([
    [1e-30, 1e30],
    [1e30, 1e-30],
    [1e-19, 1e-19],
    [1e-30, 1],
    [1e37, 1e-37],
    [4e37, 1e-3],
    [1e-38, 1e30],
    [1e-41, 3e37],
    [1e-44, 1],
    [1e-22, 1e-22],
  ])("factors of the sizes %d and %d are multiplied on tiles, after powers of two", (one, two) =>
    scope(() => {
      const scaled = (shape: number[], size: number): Tensor => random.normal(shape).mul(size);
      expect(check(scaled([m, k], one), scaled([k, n], two))).toBe(0);
    }),
  );

  it("rows of sizes up to 2⁸⁰ apart are multiplied on tiles", () =>
    scope(() => {
      const rows = tensor(
        Float32Array.from({ length: m }, (_, i) => 2 ** ((i * 7) % 80)),
        { shape: [m, 1] },
      );
      const a = random.uniform([m, k]).add(0.5).mul(rows);
      expect(check(a, random.uniform([k, n]).add(0.5))).toBe(0);
    }));

  it("sizes from 1e-30 to 1e30 within a row are multiplied in f32, and only where they meet", () =>
    scope(() => {
      const data = random.normal([m, k]).dataSync().slice();
      data[5] = 1e-30;
      data[6] = 1e30;
      // One of two panels of rows, in one of two cuts of K, meets two panels of columns.
      expect(check(tensor(data, { shape: [m, k] }), random.normal([k, n]))).toBe(2);
    }));

  it("denormals among numbers of size one are multiplied in f32", () =>
    scope(() => {
      const data = random.normal([k, n]).dataSync().slice();
      data[7] = 1e-42;
      expect(check(random.normal([m, k]), tensor(data, { shape: [k, n] }))).toBe(2);
    }));

  it("weight gradients of numbers that cannot be split are summed in f32, where such numbers meet", () =>
    scope(() => {
      const g: Geometry = { n: 2, size: 9, channels: 40, out: 20, kernel: 3, stride: 1, groups: 1 };
      const shapes = shapesOf(g);
      const [x, y] = [random.normal(shapes.x).dataSync().slice(), random.normal(shapes.y).dataSync().slice()];
      const product = () => {
        const want = sums((add) => meetings(g, (i, j, k) => add(i, k, j)), x, y, 20 * 9 * 40);
        const factors = [tensor(x, { shape: shapes.x }), tensor(y, { shape: shapes.y })];
        const { data, fallbacks } = run(
          definedOp("conv2dWeightGrad"),
          factors,
          { ...attrsOf(g), kernelSize: [3, 3] },
          split,
        );
        expect(worst(data, want)).toBeLessThanOrEqual(1);
        return fallbacks;
      };
      expect(product()).toBe(0);
      // Channel 17, in the second of three blocks of 16: nine taps meet two blocks of channels of y in each run.
      x[17] = 1e-30;
      x[40 + 17] = 1e30;
      const alone = product();
      expect(alone).toBeGreaterThan(0);
      expect(alone % (9 * 2)).toBe(0);
      // Channel 3 of y, in the first of two: all three blocks of x, and the one of before with the other.
      y[3] = 1e-42;
      expect(product()).toBe((alone / 2) * 4);
    }));

  it("zeros are of every size", () => scope(() => expect(check(zeros([m, k]), random.normal([k, n]))).toBe(0)));
});

describe("numbers that are not finite", () => {
  const [m, k, n] = [70, 40, 50];
  const cases = [
    ["infinity", Number.POSITIVE_INFINITY],
    ["minus infinity", Number.NEGATIVE_INFINITY],
    ["NaN", Number.NaN],
  ] as const;
  it.each(cases)("%s in either factor reaches what it reaches in the reference, and nothing else", (_name, value) =>
    scope(() => {
      const [a, b] = [random.normal([m, k]).dataSync().slice(), random.normal([k, n]).dataSync().slice()];
      a[3 * k + 7] = value;
      a[3 * k + 8] = -value;
      a[66 * k] = value;
      b[2 * n + 40] = value;
      b[7 * n + 4] = 0; // 0·∞ is NaN
      const [x, y] = [tensor(a, { shape: [m, k] }), tensor(b, { shape: [k, n] })];
      const { data, fallbacks } = multiply(x, y);
      const want = multiply(x, y, "reference").data;
      // Panels of rows 0 and 2 with both of columns, and that of columns 1 with row 1 besides.
      expect(fallbacks).toBe(5);
      data.forEach((z, i) => {
        const y = want[i] as number;
        if (Number.isFinite(y)) expect(Math.abs(z - y)).toBeLessThan(1e-5);
        else expect(z).toBe(y);
      });
    }),
  );

  it("the largest f32 numbers are no infinities", () =>
    scope(() => {
      const most = tensor(Float32Array.from([3.4028234663852886e38, -3.4028234663852886e38]), { shape: [1, 2] });
      const { data, fallbacks } = multiply(most, tensor([1, 0.5, 0.5, 0.5], { shape: [2, 2] }));
      expect([...data]).toEqual([1.7014117331926443e38, 0]);
      expect(fallbacks).toBe(0);
    }));

  it("sums beyond f32 are infinite", () =>
    scope(() => {
      const { data } = multiply(ones([2, 40]).mul(1e20), ones([40, 2]).mul(1e19));
      expect([...data]).toEqual(Array(4).fill(Number.POSITIVE_INFINITY));
    }));

  it("are counted by explain(), over all runs", () => {
    binding.setEmulatedTiles(true);
    try {
      const f = compile((a: Tensor, b: Tensor) => matmul(a, b));
      scope(() => {
        const [a, b] = [ones([128, 128]), ones([128, 128])];
        f(a, b).dataSync();
        expect(f.explain()).toContain("emulated-split  ");
        f(a.mul(Number.NaN), b).dataSync();
        expect(f.explain()).toContain("emulated-split (16 fallbacks)");
        f(a, b.mul(Number.NaN)).dataSync();
        expect(f.explain()).toContain("emulated-split (32 fallbacks)");
      });
      f.dispose();
    } finally {
      binding.setEmulatedTiles(false);
    }
  });
});

describe("a machine with matrix tiles", () => {
  afterEach(() => binding.setEmulatedTiles(false));

  /** The kernels of a function's products where tiles serve, in order. */
  const chosen = (body: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): string[] => {
    binding.setEmulatedTiles(true);
    const f = compile(body);
    try {
      scope(() => void f(...inputs).dataSync());
      return f
        .explain()
        .split("\n")
        .filter((line) => /^(?:matmul|conv2d)/.test(line))
        .map((line) => line.split(/ {2,}/)[3] as string);
    } finally {
      f.dispose();
      binding.setEmulatedTiles(false);
    }
  };

  it("multiplies f32 by splitting, at either precision", () =>
    scope(() => {
      const [a, b] = [ones([128, 96]), ones([96, 112])];
      expect(chosen((x, y) => matmul(x as Tensor, y as Tensor), a, b)).toEqual([split]);
      expect(chosen((x, y) => withPrecision("fast", () => matmul(x as Tensor, y as Tensor)), a, b)).toEqual([split]);
    }));

  it("convolves f32 by splitting", () =>
    scope(() => {
      const convolve = (x?: Tensor, w?: Tensor) => conv2d(x as Tensor, w as Tensor, { padding: 1, stride: 2 });
      expect(chosen(convolve, ones([2, 32, 32, 64]), ones([80, 3, 3, 64]))).toEqual([split]);
    }));

  it("convolves 3×3 taps of stride 1 by Winograd's filtering where that is estimated to be faster still", () =>
    scope(() => {
      const convolve = (x?: Tensor, w?: Tensor) => conv2d(x as Tensor, w as Tensor, { padding: 1 });
      expect(chosen(convolve, ones([1, 24, 24, 192]), ones([64, 3, 3, 192]))[0]).toMatch(/-winograd4x4$/);
      expect(chosen(convolve, ones([1, 32, 32, 32]), ones([64, 3, 3, 32]))).toEqual([split]);
      const half = (shape: number[]) => ones(shape).cast("bf16");
      expect(chosen(convolve, half([1, 24, 24, 192]), half([64, 3, 3, 192]))).toEqual(["emulated-bf16"]);
    }));

  it("multiplies bf16 as it is, and f64 and what is too small for tiles without them", () =>
    scope(() => {
      const [a, b] = [ones([128, 96]), ones([96, 112])];
      const product = (x?: Tensor, y?: Tensor) => matmul(x as Tensor, y as Tensor);
      expect(chosen(product, a.cast("bf16"), b.cast("bf16"))).toEqual(["emulated-bf16"]);
      expect(chosen(product, a.cast("f64"), b.cast("f64"))).toEqual(["reference"]);
      expect(chosen(product, a, ones([96, 8]))[0]).not.toMatch(/split|bf16/);
    }));

  it.skipIf(process.arch !== "x64")("has kernels for the hardware's tiles beside each on emulated ones", () => {
    for (const op of ["matmul", "conv2d", "conv2dInputGrad", "conv2dWeightGrad"]) {
      const built = binding.builtVariants(op);
      expect(built).toContainEqual({ name: split, isa: "generic" });
      expect(built).toContainEqual({ name: "amx-split", isa: "amx" });
    }
  });
});

describe("results in bf16", () => {
  const kernels = binding.variants("matmul").flatMap(({ name }) => (name.endsWith("-split") ? [name] : []));
  it.each(kernels)("may be denormal, in whole blocks of columns and in the last of them: %s", (variant) =>
    scope(() => {
      const [m, k, least] = [40, 64, 2 ** -133];
      for (const n of [64, 65]) {
        const [x, y] = [random.normal([m, k]).mul(1e-20), random.normal([k, n]).mul(1e-20)];
        const expected = matmul(x.cast("f64"), y.cast("f64")).dataSync();
        const { data } = run(matmulDef, [x, y], { ...matmulAttrs, result: "bf16" }, variant);
        expect(data.some((value) => value !== 0)).toBe(true);
        for (const [i, value] of data.entries()) expect(Math.abs(value - Number(expected[i]))).toBeLessThan(least);
      }
    }),
  );
});

describe("emulated tiles", () => {
  const bf16 = (values: readonly number[], shape: readonly number[]): Tensor =>
    tensor(Float32Array.from(values), { shape: [...shape] }).cast("bf16");
  const dot = (a: readonly number[], b: readonly number[]): number =>
    scope(() => {
      const [x, y] = [bf16(a, [1, a.length]), bf16(b, [b.length, 1])];
      return run(matmulDef, [x, y], { ...matmulAttrs, result: "f32" }, "emulated-bf16").data[0] as number;
    });

  it("take denormal factors for zero", () => {
    expect(dot([2 ** -127, 2 ** -126], [1, 1])).toBe(2 ** -126);
  });

  it("flush denormal sums", () => {
    expect(dot([2 ** -70], [2 ** -70])).toBe(0);
    expect(dot([2 ** -126, -(2 ** -126) * 1.5], [1, 1])).toBe(0);
  });

  it("add to a sum before rounding a product", () => {
    // A product among the denormals still counts for a sum that is none.
    expect(dot([2 ** -63, 0, 2 ** -70], [2 ** -63, 0, 2 ** -70])).toBe(2 ** -126 + 2 ** -140);
  });

  it("sum even and odd places apart, each in order, and their sums last", () => {
    // One after another, every 1 would be lost in 2²⁴.
    expect(dot([2 ** 24, 1, 1, 1], [1, 1, 1, 1])).toBe(2 ** 24 + 2);
    expect(dot([1, 2 ** 24, 1, 0], [1, 1, 1, 1])).toBe(2 ** 24 + 2);
  });
});
