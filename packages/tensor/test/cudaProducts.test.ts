// Products on the GPU beyond the samples of their definitions: sizes about those of tiles, deep sums that are split, large
// batches, strides beyond kernels, few channels, many groups, and operands whose formats differ.

import { loadBinding } from "@figment/native";
import {
  assertNoLeaks,
  attention,
  compile,
  conv2d,
  type DType,
  grad,
  matmul,
  ones,
  type Precision,
  relu,
  scope,
  sum,
  Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Aval, GraphBuilder } from "#ir/graph";
import type { Activation } from "#ops/activation";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { epilogueOperands } from "#ops/epilogue";
import { onDevice } from "#runtime/device";
import { loadGraph, releaseProgram, runProgram } from "#runtime/program";
import type { Shape } from "#shape";
import { cudaDevice, triedVariants } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";
import { distance, epsilon, expectedAt, kernelOf, termsOf } from "./support/parity.ts";
import { drawPoint, type Point, tensorsAt, titleOf } from "./support/points.ts";

const seed = 977;
const binding = loadBinding();
const device = cudaDevice();
const index = device.index ?? 0;

beforeAll(() => {
  if (device.index !== undefined) binding.setPoison(true, index);
});
afterAll(() => {
  if (device.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});
console.info(`CUDA products: seed ${seed}`);

/** Formats of the factors, in turn, and of the result and what follows them; further operands have those of the factors. */
type Mix = readonly [DType, DType, "f32" | "bf16" | "f16"];
const alike: readonly Mix[] = [
  ["f32", "f32", "f32"],
  ["bf16", "bf16", "bf16"],
  ["f16", "f16", "f32"],
];
const mixed: readonly Mix[] = [
  ["f32", "bf16", "f16"],
  ["f16", "bf16", "f32"],
  ["bf16", "f32", "bf16"],
];

interface Case {
  readonly def: OpDef;
  readonly sample: Sample;
  readonly mixes: readonly Mix[];
}

const defOf = (name: string): OpDef => definedOps().find((def) => def.name === name) as OpDef;

function product(
  a: Shape,
  b: Shape,
  {
    transposeA = false,
    transposeB = false,
    scale = undefined as Shape | undefined,
    bias = false,
    activation = "none" as Activation,
    addend = false,
  } = {},
  mixes = alike,
): Case {
  const n = b.at(transposeB ? -2 : -1) as number;
  const result = [...a.slice(0, -2), a.at(transposeA ? -1 : -2) as number, n];
  const epilogue = { scale, bias: bias ? [n] : undefined, addend: addend ? result : undefined };
  const inputs = [a, b, ...epilogueOperands<Shape>(epilogue)].map((shape) => ({ shape }));
  const attrs = { transposeA, transposeB, activation, ...(scale && { scale: true }), ...(addend && { addend }) };
  return { def: defOf("matmul"), sample: { inputs, attrs }, mixes };
}

type Pair = readonly [number, number];
interface Geometry {
  readonly stride?: Pair;
  readonly pad?: Pair;
  readonly dilation?: Pair;
  readonly groups?: number;
}

/** A convolution and both of its gradients. */
function convolutions(
  image: readonly [number, number, number, number],
  channels: number,
  kernel: Pair,
  { stride = [1, 1], pad = [0, 0], dilation = [1, 1], groups = 1 }: Geometry = {},
  mixes = alike,
): Case[] {
  const extent = (i: 0 | 1): number =>
    Math.floor((image[i === 0 ? 1 : 2] + 2 * pad[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i]) + 1;
  const x = { shape: image };
  const w = { shape: [channels, ...kernel, image[3] / groups] };
  const y = { shape: [image[0], extent(0), extent(1), channels] };
  const attrs = { stride, padLo: pad, padHi: pad, dilation, groups };
  const bias = { shape: [channels] };
  return [
    { def: defOf("conv2d"), sample: { inputs: [x, w, bias], attrs: { ...attrs, activation: "silu" } }, mixes },
    {
      def: defOf("conv2dInputGrad"),
      sample: { inputs: [y, w], attrs: { ...attrs, inputSize: [image[1], image[2]] } },
      mixes,
    },
    { def: defOf("conv2dWeightGrad"), sample: { inputs: [x, y], attrs: { ...attrs, kernelSize: kernel } }, mixes },
  ];
}

/** The forward pass of {@link convolutions} with a scale of so many numbers. */
function scaled(numbers: number, ...of: Parameters<typeof convolutions>): Case {
  const [forward] = convolutions(...of) as [Case];
  const { inputs, attrs } = forward.sample;
  const [x, w, ...rest] = inputs as [Sample["inputs"][number], Sample["inputs"][number]];
  return {
    ...forward,
    sample: { inputs: [x, w, { shape: [numbers] }, ...rest], attrs: { ...(attrs as object), scale: true } },
  };
}

/** The forward pass of {@link convolutions} with an addend. */
function added(...of: Parameters<typeof convolutions>): Case {
  const [forward, inputGrad] = convolutions(...of) as [Case, Case];
  const { inputs, attrs } = forward.sample;
  const [y] = inputGrad.sample.inputs as [Sample["inputs"][number]];
  return { ...forward, sample: { inputs: [...inputs, y], attrs: { ...(attrs as object), addend: true } } };
}

const both = { transposeA: true, transposeB: true };
const same = { pad: [1, 1] as const };
const cases: Case[] = [
  // Tiles of 128 × 128: their blocks fill a GPU.
  product([133, 72, 40], [133, 40, 80], { bias: true, activation: "silu" }, alike.slice(1)),
  product([133, 40, 72], [133, 40, 72], { transposeA: true }, alike.slice(0, 2)),
  product([133, 66, 40], [133, 72, 40], { transposeB: true }, alike.slice(0, 2)),
  product([133, 40, 72], [133, 72, 40], both, alike.slice(1, 2)),
  product([133, 65, 20], [133, 20, 68], { bias: true, activation: "silu" }, alike.slice(0, 1)),
  product([133, 20, 68], [133, 71, 20], both, alike.slice(0, 1)),
  ...convolutions([1, 130, 132, 8], 68, [1, 3], { pad: [0, 1] }, alike.slice(0, 1)).slice(0, 1),
  // Sums split into parts.
  product([20, 1040], [1040, 24], { bias: true, activation: "relu" }),
  product([1031, 9], [1031, 13], { transposeA: true }),
  product([3, 24, 520], [3, 40, 520], { transposeB: true }),
  product([64, 7], [33, 64], both),
  // Addends, of rows that are multiples of eight or not.
  product([133, 72, 40], [133, 40, 80], { bias: true, activation: "silu", addend: true }),
  product([133, 66, 24], [133, 67, 24], { transposeB: true, addend: true }),
  product([2, 130, 64], [2, 168, 64], { transposeB: true, activation: "relu", addend: true }),
  product([20, 1040], [1040, 24], { bias: true, activation: "relu", addend: true }),
  product([20, 1040], [23, 1040], { transposeB: true, addend: true }),
  product([2, 260], [72, 260], { transposeB: true, bias: true, addend: true }, [...alike, ...mixed]),
  added([1, 9, 11, 16], 24, [3, 3], same, [...alike, ...mixed]),
  added([1, 12, 13, 64], 69, [3, 3], same),
  added([2, 5, 4, 520], 40, [3, 3], same),
  added([2, 8, 7, 64], 3, [3, 3], same),
  added([2, 9, 7, 32], 32, [3, 3], { pad: [1, 1], groups: 32 }),
  added([1, 6, 5, 24], 36, [3, 3], { pad: [1, 1], groups: 3 }),
  // Scales of a number for each column or for all.
  product([133, 72, 40], [133, 40, 80], { scale: [80], bias: true, activation: "relu" }),
  product([133, 66, 24], [133, 67, 24], { transposeB: true, scale: [1], addend: true }),
  product([2, 130, 64], [2, 168, 64], { transposeB: true, scale: [168], bias: true, addend: true }, [
    ...alike,
    ...mixed,
  ]),
  product([20, 1040], [1040, 24], { scale: [24], bias: true, activation: "silu", addend: true }),
  product([20, 1040], [23, 1040], { transposeB: true, scale: [23] }),
  product([2, 260], [72, 260], { transposeB: true, scale: [72], bias: true }),
  scaled(24, [1, 9, 11, 16], 24, [3, 3], same, [...alike, ...mixed]),
  scaled(1, [1, 12, 13, 64], 69, [3, 3], same),
  scaled(40, [2, 5, 4, 520], 40, [3, 3], same),
  scaled(3, [2, 8, 7, 64], 3, [3, 3], same),
  scaled(64, [2, 8, 8, 3], 64, [3, 3], same),
  scaled(32, [2, 9, 7, 32], 32, [3, 3], { pad: [1, 1], groups: 32 }),
  scaled(36, [1, 6, 5, 24], 36, [3, 3], { pad: [1, 1], groups: 3 }),
  // Few rows or columns.
  product([2, 260], [72, 260], { transposeB: true, bias: true, activation: "silu" }, [...alike, ...mixed]),
  product([67, 2308], [1, 2308], { transposeB: true, bias: true }),
  product([7, 4101], [3, 4101], { transposeB: true }),
  product([3, 5, 300], [3, 9, 300], { transposeB: true, activation: "relu" }),
  product([24, 130], [130, 20], { bias: true }),
  // Tails, rows and columns of one, nothing to sum.
  product([1, 8], [8, 1]),
  product([1, 257], [257, 65], { bias: true }),
  product([65, 1], [1, 129]),
  product([5, 0], [0, 3], { bias: true }),
  product([16, 24], [24, 32], { bias: true }, mixed),
  product([5, 17, 3], [3, 7], { activation: "silu" }, mixed),
  product([9, 16], [9, 24], { transposeA: true }, mixed),
  ...convolutions([1, 9, 11, 16], 24, [3, 3], same),
  ...convolutions([1, 9, 11, 16], 24, [3, 3], same, mixed),
  ...convolutions([2, 8, 8, 3], 72, [3, 3], same),
  ...convolutions([2, 8, 7, 64], 3, [3, 3], same),
  ...convolutions([2, 9, 9, 1], 8, [3, 3], { stride: [2, 2], pad: [1, 1] }),
  // Few channels on one side.
  ...convolutions([2, 12, 10, 3], 64, [4, 4], { stride: [2, 2], pad: [1, 1] }),
  ...convolutions([2, 11, 9, 5], 12, [3, 2], { stride: [3, 1], dilation: [1, 3], pad: [2, 1] }),
  ...convolutions([1, 9, 8, 24], 5, [2, 3], { dilation: [3, 2], pad: [2, 1] }, [...alike, ["f16", "bf16", "f32"]]),
  ...convolutions([1, 9, 8, 16], 3, [3, 3], { stride: [2, 2], pad: [1, 1] }),
  ...convolutions([2, 17, 19, 3], 16, [3, 3], same, alike.slice(1, 2)),
  ...convolutions([2, 17, 19, 16], 4, [3, 3], same, alike.slice(1, 2)),
  ...convolutions([1, 16, 16, 8], 16, [4, 4], { stride: [2, 2], pad: [1, 1] }),
  ...convolutions([1, 11, 13, 8], 8, [2, 3], { stride: [5, 7] }),
  ...convolutions([2, 7, 10, 8], 8, [3, 2], { stride: [2, 3], dilation: [3, 2], pad: [3, 1] }),
  ...convolutions([1, 6, 6, 32], 48, [3, 3], { pad: [1, 1], groups: 2 }),
  ...convolutions([1, 6, 5, 24], 36, [3, 3], { pad: [1, 1], groups: 3 }),
  ...convolutions([2, 9, 7, 32], 32, [3, 3], { pad: [1, 1], groups: 32 }),
  ...convolutions([2, 9, 8, 16], 16, [5, 3], { stride: [2, 1], pad: [2, 1], groups: 16 }, [...alike, ...mixed]),
  ...convolutions([1, 7, 9, 6], 12, [3, 3], { pad: [1, 1], groups: 6 }),
];

const representable = (x: number, at: number): number => (at % 2 === 0 ? 1 : -1) * (Math.round(Math.abs(x) * 32) / 32);
/** Of the norm: rounding of results, by their format. */
const tolerance = { f32: 1e-5, bf16: 3e-3, f16: 5e-4 } as const;

/** Runs a kernel on operands of any formats, which no shape rule would let users mix. */
function run(def: OpDef, sample: Sample, point: Point, [a, b, result]: Mix, variant: string): Tensor {
  const formats: DType[] = [a, b, result, a, b];
  const inputs = onDevice(index, () => tensorsAt(sample, point, "f32").map((x, i) => x.cast(formats[i] as DType)));
  const builder = new GraphBuilder();
  const [{ shape }] = def.infer(
    inputs.map((x): Aval => ({ shape: x.shape, dtype: "f32" })),
    sample.attrs,
  ) as [Aval];
  const values = inputs.map((x) => builder.arg({ shape: x.shape, dtype: x.dtype }));
  const node = builder.node(def, values, { ...sample.attrs, result }, [{ shape, dtype: result }], "");
  const program = onDevice(index, () => loadGraph(builder.finish(node.outputs), def.name, variant));
  try {
    const [storage] = runProgram(
      program,
      0,
      inputs.map((x) => x.storage(def.name)),
    );
    return new Tensor(shape, result, { storage: storage as NonNullable<typeof storage> });
  } finally {
    releaseProgram(program);
  }
}

/** Three operands of a function. */
const tensorsOf = (points: readonly { shape: Shape; data: Float64Array }[]): [Tensor, Tensor, Tensor] =>
  points.map(({ shape, data }) => tensor(data, { shape, dtype: "f32" })) as [Tensor, Tensor, Tensor];

/** Expects of a function, compiled for the device, the numbers that the host computes; gives its program's text. */
function printedOf(shapes: readonly Shape[], body: (...operands: [Tensor, Tensor, Tensor]) => Tensor): string {
  const points = shapes.map((shape, i) => {
    const [drawn] = drawPoint({ inputs: [{ shape }], attrs: {} }, new Draws(seed + i));
    return { shape, data: drawn as Float64Array };
  });
  const eager = scope(() => body(...tensorsOf(points)).dataSync());
  return scope(() =>
    onDevice(index, () => {
      const f = compile(body);
      expect(distance(f(...tensorsOf(points)).dataSync(), eager, () => 1).relative).toBeLessThan(1e-6);
      const text = f.print();
      f.dispose();
      return text;
    }),
  );
}

/** Groups of few channels have a kernel of their own, in f32. */
const isGrouped = ({ attrs }: Sample): boolean => ((attrs as { groups?: number }).groups ?? 1) > 3;

/** The precision at which a kernel is chosen. */
const askedBy = (variant: string): Precision =>
  variant.endsWith("-split") ? "fast" : variant.endsWith("-tf32") ? "tf32" : "highest";

/** The nearest numbers of 11 significant bits, of two the one further from zero. */
function toTf32(values: Float64Array): Float64Array {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  return Float64Array.from(new Float32Array(words.map((word) => (word + 0x1000) & 0xffffe000).buffer));
}
/** A point whose factors are numbers of TF32. */
const inTf32 = (def: OpDef, point: Point): Point =>
  point.map((x, i) => (x && def.factors?.includes(i) ? toTf32(x) : x));

function check({ def, sample }: Case, variant: string, mix: Mix): void {
  const drawn = drawPoint(sample, new Draws(seed));
  const point = mix.every((format) => format === "f32") ? drawn : drawn.map((x) => x?.map(representable) ?? null);
  const precision = askedBy(variant);
  // At "tf32" products are those of the rounded factors, as exact as f32's.
  const factors = precision === "tf32" && !isGrouped(sample) ? inTf32(def, point) : point;
  const want = expectedAt(def, sample, factors)[0] as ArrayLike<number>;
  const terms = termsOf(def, sample, factors)(variant)[0] as ArrayLike<number>;
  // The kernels of precision "fast" lose the product of the factors' lower parts, up to 2⁻¹⁶ of a term, and half as much for
  // the rounding of each.
  const fast = precision === "fast";
  const got = scope(() =>
    run(def, { ...sample, attrs: { ...sample.attrs, precision } }, point, mix, variant).dataSync(),
  );
  expect(got.length).toBe(want.length);
  const { activation = "none" } = sample.attrs as { activation?: string };
  const rounding = { f32: 0, bf16: 2 ** -8, f16: 2 ** -11 }[mix[2]];
  // SiLU's slope is at most 1.1, so that errors of sums stay as large as they are.
  const off = distance(got, want, (i) => {
    const sums = activation === "silu" ? Math.abs(terms[i] as number) + 1 : (terms[i] as number);
    return (fast ? 2 ** -15 : 5 * epsilon) * sums + rounding * Math.abs(want[i] as number) + 2 ** -24;
  });
  expect(off.notFinite, "NaN or infinite elements").toBe(0);
  expect(off.relative, "error relative to the norm").toBeLessThanOrEqual(tolerance[mix[2]]);
  expect(off.worst, "worst element, in units of its bound").toBeLessThanOrEqual(1);
}

const only = process.env.FIGMENT_TEST_OPS?.split(",");
/** Every mix of formats: minutes on the emulator, where otherwise a kernel has one of a case's in turn. */
const thorough = process.env.FIGMENT_TEST_ALL === "1" || process.env.FIGMENT_TEST_CUDA === "1";

describe.skipIf(device.index === undefined)("on the GPU", () => {
  for (const [i, item] of cases.entries()) {
    const kernel = kernelOf(item.def, item.sample) as string;
    if (device.index === undefined || (only && !only.includes(kernel))) continue;
    const variants = triedVariants(kernel, index).filter((name) => name !== "plain");
    const titled = variants.flatMap((name, v) =>
      item.mixes
        .filter((_, m) => thorough || m === (i + v) % item.mixes.length)
        .map((mix) => [name, mix.join(" "), mix] as const),
    );
    it.each(titled)(`${kernel} on the kernel %s, of %s, at ${titleOf(item.sample)}`, (variant, _title, mix) =>
      check(item, variant, mix),
    );
  }

  it.each([
    ["fast", "mma-split"],
    ["tf32", "mma-tf32"],
  ])("multiplies f32 factors otherwise at precision %s", (precision, variant) => {
    const { def, sample } = product([20, 1040], [1040, 24]);
    const point = drawPoint(sample, new Draws(seed));
    const asked: Sample = { ...sample, attrs: { ...sample.attrs, precision } };
    const got = scope(() =>
      [sample, asked].map((each) => run(def, each, point, ["f32", "f32", "f32"], variant).dataSync()),
    );
    expect(got[0]).not.toEqual(got[1]);
  });

  it("loses at precision tf32 at most 2⁻¹⁰ + 2⁻²² of each term, and more than half of it somewhere", () => {
    const { def, sample } = product([96, 8], [8, 96]);
    const point = drawPoint(sample, new Draws(seed));
    const want = expectedAt(def, sample, point)[0] as ArrayLike<number>;
    const terms = termsOf(def, sample, point)("mma-tf32")[0] as ArrayLike<number>;
    const asked: Sample = { ...sample, attrs: { ...sample.attrs, precision: "tf32" } };
    const got = scope(() => run(def, asked, point, ["f32", "f32", "f32"], "mma-tf32").dataSync());
    const off = distance(got, want, (i) => (2 ** -10 + 2 ** -22 + 5 * epsilon) * (terms[i] as number));
    expect(off.worst).toBeLessThanOrEqual(1);
    expect(off.worst).toBeGreaterThan(0.5);
  });

  it("rounds to TF32 to the nearest, ties away from zero, and keeps what is not finite", () => {
    const unit = 2 ** -10;
    const given = [
      1 + unit / 2,
      -1 - unit / 2,
      1 + 0.49 * unit,
      1.5 * unit * 2 ** -100,
      2 ** 128 - 2 ** 104,
      -Infinity,
      NaN,
    ];
    const rounded = [1 + unit, -1 - unit, 1, 1.5 * unit * 2 ** -100, Infinity, -Infinity, NaN];
    const { def, sample } = product([given.length, 1], [1, 1]);
    const asked: Sample = { ...sample, attrs: { ...sample.attrs, precision: "tf32" } };
    const point = [Float64Array.from(given), Float64Array.of(1)];
    expect([...scope(() => run(def, asked, point, ["f32", "f32", "f32"], "mma-tf32").dataSync())]).toEqual(rounded);
  });

  describe("a compiled function", () => {
    /** Kernels of products and attention, in a program of each of them and of derivatives. */
    const kernelsAt = (precision?: Precision): string[] =>
      scope(() =>
        onDevice(index, () => {
          const step = compile(
            (x: Tensor, w: Tensor, a: Tensor) =>
              grad((v: Tensor) => {
                const pixels = conv2d(conv2d(x, v, { padding: 1 }).sin(), v, { padding: 1 }).reshape([1, 36, 1, 16]);
                return sum(matmul(attention(pixels, pixels, pixels), a));
              })(w),
            { precision },
          );
          step(ones([1, 6, 6, 16]), ones([16, 3, 3, 16]), ones([16, 8]));
          const lines = step
            .explain()
            .split("\n")
            .map((line) => line.trim().split(/ {2,}/));
          step.dispose();
          return lines.flatMap(([op = "", ...rest]) => {
            const [name = ""] = op.split(" ");
            return /^(matmul|conv2d|attention)/.test(name) && !rest.includes("0 FLOP")
              ? [`${name} ${rest.join(" ")}`]
              : [];
          });
        }),
      );

    it("runs matrix products and convolutions in TF32 at precision tf32, in both directions", () => {
      const kernels = kernelsAt("tf32");
      for (const op of ["matmul", "conv2d", "conv2dInputGrad", "conv2dWeightGrad"]) {
        const own = kernels.filter((line) => line.startsWith(`${op} `));
        expect(own.length, op).toBeGreaterThan(0);
        for (const line of own) expect(line).toContain("mma-tf32");
      }
    });

    it("adds residuals where products and convolutions store them", () => {
      const shapes = [
        [1, 6, 6, 16],
        [16, 3, 3, 16],
        [16, 16],
      ];
      const text = printedOf(shapes, (x, w, a) => conv2d(x, w, { padding: 1 }).add(x).matmul(a).silu().add(x));
      expect(text.match(/ = /g)).toHaveLength(2);
      expect(text.match(/addend=true/g)).toHaveLength(2);
    });

    it("scales where convolutions store, after batch norm of inference and in scaled residuals", () => {
      const text = printedOf([[1, 6, 6, 16], [16, 3, 3, 16], [16]], (x, w, s) => {
        const y = relu(conv2d(x, w, { padding: 1 }).mul(s).add(s));
        return conv2d(y, w, { padding: 1 }).mul(0.2).add(x);
      });
      expect(text.match(/scale=true/g)).toHaveLength(2);
      expect(text).not.toContain("mul(");
    });

    it("multiplies f16 at precision f16, attention included", () => {
      const kernels = kernelsAt("f16");
      expect(kernels.length).toBeGreaterThan(6);
      for (const line of kernels) expect(line).toMatch(/ f16(×[23])? /);
    });

    it("and in TF32 at no other precision", () => {
      for (const precision of [undefined, "highest", "fast", "bf16", "f16"] as const)
        expect(kernelsAt(precision).join("\n")).not.toContain("tf32");
    });
  });
});
