// Products on the GPU beyond the samples of their definitions: sizes about those of tiles, deep sums that are split, large
// batches, strides beyond kernels, few channels, many groups, and operands whose formats differ.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, type DType, scope, Tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Aval, GraphBuilder } from "#ir/graph";
import type { Activation } from "#ops/activation";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { loadGraph, releaseProgram, runProgram } from "#runtime/program";
import type { Shape } from "#shape";
import { cudaDevice } from "./support/cuda.ts";
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

/** Formats of the factors, in turn, and of bias and result. */
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
  { transposeA = false, transposeB = false, bias = false, activation = "none" as Activation } = {},
  mixes = alike,
): Case {
  const n = b.at(transposeB ? -2 : -1) as number;
  const inputs = [{ shape: a }, { shape: b }, ...(bias ? [{ shape: [n] }] : [])];
  return { def: defOf("matmul"), sample: { inputs, attrs: { transposeA, transposeB, activation } }, mixes };
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

const both = { transposeA: true, transposeB: true };
const same = { pad: [1, 1] as const };
const cases: Case[] = [
  // Tiles of 128 × 128: their blocks fill a GPU.
  product([133, 72, 40], [133, 40, 80], { bias: true, activation: "silu" }, alike.slice(1)),
  product([133, 40, 72], [133, 40, 72], { transposeA: true }, alike.slice(1, 2)),
  product([133, 66, 40], [133, 72, 40], { transposeB: true }, alike.slice(1, 2)),
  product([133, 40, 72], [133, 72, 40], both, alike.slice(1, 2)),
  product([133, 65, 20], [133, 20, 68], {}, alike.slice(0, 1)),
  product([133, 20, 68], [133, 71, 20], both, alike.slice(0, 1)),
  // Sums split into parts.
  product([20, 1040], [1040, 24], { bias: true, activation: "relu" }),
  product([1031, 9], [1031, 13], { transposeA: true }),
  product([3, 24, 520], [3, 40, 520], { transposeB: true }),
  product([64, 7], [33, 64], both),
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
  const inputs = onDevice(index, () =>
    tensorsAt(sample, point, "f32").map((x, i) => x.cast(([a, b] as DType[])[i] ?? result)),
  );
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

function check({ def, sample }: Case, variant: string, mix: Mix): void {
  const drawn = drawPoint(sample, new Draws(seed));
  const point = mix.every((format) => format === "f32") ? drawn : drawn.map((x) => x?.map(representable) ?? null);
  const want = expectedAt(def, sample, point)[0] as ArrayLike<number>;
  const terms = termsOf(def, sample, point)(variant)[0] as ArrayLike<number>;
  // The kernels of precision "fast" lose the product of the factors' lower parts, up to 2⁻¹⁶ of a term, and half as much for
  // the rounding of each.
  const fast = variant.endsWith("-split");
  const asked: Sample = fast ? { ...sample, attrs: { ...sample.attrs, precision: "fast" } } : sample;
  const got = scope(() => run(def, asked, point, mix, variant).dataSync());
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

describe.skipIf(device.index === undefined)("on the GPU", () => {
  for (const item of cases) {
    const kernel = kernelOf(item.def, item.sample) as string;
    if (device.index === undefined || (only && !only.includes(kernel))) continue;
    const variants = binding.variants(kernel, index).filter(({ name }) => name !== "plain");
    const titled = variants.flatMap(({ name }) => item.mixes.map((mix) => [name, mix.join(" "), mix] as const));
    it.each(titled)(`${kernel} on the kernel %s, of %s, at ${titleOf(item.sample)}`, (variant, _title, mix) =>
      check(item, variant, mix),
    );
  }

  it("multiplies f32 factors otherwise at precision fast", () => {
    const { def, sample } = product([20, 1040], [1040, 24]);
    const point = drawPoint(sample, new Draws(seed));
    const fast: Sample = { ...sample, attrs: { ...sample.attrs, precision: "fast" } };
    const got = scope(() =>
      [sample, fast].map((asked) => run(def, asked, point, ["f32", "f32", "f32"], "mma-split").dataSync()),
    );
    expect(got[0]).not.toEqual(got[1]);
  });
});
