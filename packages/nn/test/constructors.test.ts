// Numbers out of range are refused where they are written: by constructors of layers, optimisers, averages and schedules.

import * as nn from "@figment/nn";
import {
  Adam,
  AdamW,
  AvgPool2d,
  BatchNorm,
  BilinearUpsample,
  Conv2d,
  ConvTranspose2d,
  constantLr,
  cosineLr,
  Downsample,
  Dropout,
  EMA,
  Embedding,
  exponentialLr,
  GroupNorm,
  InstanceNorm,
  KVCache,
  LayerNorm,
  Linear,
  linearLr,
  MaxPool2d,
  Module,
  MultiHeadAttention,
  Optimizer,
  PixelShuffle,
  PixelUnshuffle,
  polynomialLr,
  ReflectionPad2d,
  ResidualBlock,
  RMSNorm,
  RMSProp,
  type Schedule,
  SelfAttention2d,
  SGD,
  SpectralNorm,
  stepLr,
  TimestepEmbedding,
  Transformer,
  TransformerBlock,
  Upsample,
  warmupCosineLr,
  warmupLr,
} from "@figment/nn";
import { assertNoLeaks, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const model = new Linear(1, 1);
const transformer = { vocabulary: 5, dim: 4, heads: 2, layers: 1, maxLength: 3 };
const cache = { layers: 1, heads: 2, headDim: 4, maxLength: 3 };
const counts = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "2" as unknown as number];
const sizes = [-1, Number.NaN, Number.POSITIVE_INFINITY];
const fractions = [-0.1, 1, Number.NaN];

/** By name: values that are out of range, and what is made with one of them. */
type Refusals = readonly (readonly [readonly number[], (n: number) => unknown])[];

const layers: Readonly<Record<string, Refusals>> = {
  AvgPool2d: [
    [counts, (n) => new AvgPool2d(n)],
    [counts, (n) => new AvgPool2d([2, n])],
    [counts, (n) => new AvgPool2d(2, { stride: n })],
    [sizes, (n) => new AvgPool2d(2, { padding: n })],
  ],
  BatchNorm: [
    [counts, (n) => new BatchNorm(n)],
    [sizes, (n) => new BatchNorm(2, { eps: n })],
    [[-0.1, 1.1, Number.NaN], (n) => new BatchNorm(2, { momentum: n })],
  ],
  BilinearUpsample: [[counts, (n) => new BilinearUpsample(n)]],
  Conv2d: [
    [counts, (n) => new Conv2d(n, 1, 1)],
    [counts, (n) => new Conv2d(1, n, 1)],
    [counts, (n) => new Conv2d(1, 1, n)],
    [counts, (n) => new Conv2d(1, 1, [3, n])],
    [counts, (n) => new Conv2d(1, 1, 3, { stride: n })],
    [counts, (n) => new Conv2d(1, 1, 3, { dilation: [n, 1] })],
    [counts, (n) => new Conv2d(1, 1, 3, { groups: n })],
    [[2], (n) => new Conv2d(3, 4, 3, { groups: n })],
    [sizes, (n) => new Conv2d(1, 1, 3, { padding: n })],
    [
      sizes,
      (n) =>
        new Conv2d(1, 1, 3, {
          padding: [
            [1, 1],
            [n, 1],
          ],
        }),
    ],
  ],
  ConvTranspose2d: [
    [counts, (n) => new ConvTranspose2d(n, 1, 1)],
    [counts, (n) => new ConvTranspose2d(1, n, 1)],
    [counts, (n) => new ConvTranspose2d(1, 1, n)],
    [counts, (n) => new ConvTranspose2d(1, 1, 3, { stride: n })],
    [counts, (n) => new ConvTranspose2d(1, 1, 3, { dilation: n })],
    [counts, (n) => new ConvTranspose2d(1, 1, 3, { groups: n })],
    [sizes, (n) => new ConvTranspose2d(1, 1, 3, { padding: n })],
    [[...sizes, 1], (n) => new ConvTranspose2d(1, 1, 3, { outputPadding: n })],
  ],
  Downsample: [[counts, (n) => new Downsample(n)]],
  Dropout: [[fractions, (n) => new Dropout(n)]],
  Embedding: [
    [counts, (n) => new Embedding(n, 1)],
    [counts, (n) => new Embedding(1, n)],
  ],
  GroupNorm: [
    [counts, (n) => new GroupNorm(n, 4)],
    [counts, (n) => new GroupNorm(1, n)],
    [[3], (n) => new GroupNorm(n, 4)],
    [sizes, (n) => new GroupNorm(1, 4, { eps: n })],
  ],
  InstanceNorm: [
    [counts, (n) => new InstanceNorm(n)],
    [sizes, (n) => new InstanceNorm(4, { eps: n })],
  ],
  LayerNorm: [
    [counts, (n) => new LayerNorm(n)],
    [sizes, (n) => new LayerNorm(4, { eps: n })],
  ],
  Linear: [
    [counts, (n) => new Linear(n, 1)],
    [counts, (n) => new Linear(1, n)],
  ],
  MaxPool2d: [
    [counts, (n) => new MaxPool2d(n)],
    [counts, (n) => new MaxPool2d(2, { stride: [n, 1] })],
    [[...sizes, 2], (n) => new MaxPool2d(2, { padding: n })],
    [[1], (n) => new MaxPool2d([3, 1], { padding: n })],
  ],
  MultiHeadAttention: [
    [counts, (n) => new MultiHeadAttention(n)],
    [[...counts, 3], (n) => new MultiHeadAttention(4, n)],
    [counts, (n) => new MultiHeadAttention(4, 2, { contextDim: n })],
  ],
  PixelShuffle: [[counts, (n) => new PixelShuffle(n)]],
  PixelUnshuffle: [[counts, (n) => new PixelUnshuffle(n)]],
  RMSNorm: [
    [counts, (n) => new RMSNorm(n)],
    [sizes, (n) => new RMSNorm(4, { eps: n })],
  ],
  ReflectionPad2d: [
    [sizes, (n) => new ReflectionPad2d(n)],
    [
      sizes,
      (n) =>
        new ReflectionPad2d([
          [n, 0],
          [0, 0],
        ]),
    ],
  ],
  ResidualBlock: [
    [counts, (n) => new ResidualBlock(n)],
    [counts, (n) => new ResidualBlock(4, { outChannels: n })],
    [counts, (n) => new ResidualBlock(4, { timeDim: n })],
    [counts, (n) => new ResidualBlock(4, { groups: n })],
    [fractions, (n) => new ResidualBlock(4, { dropout: n })],
  ],
  SelfAttention2d: [
    [counts, (n) => new SelfAttention2d(n)],
    [counts, (n) => new SelfAttention2d(4, { heads: n })],
    [counts, (n) => new SelfAttention2d(4, { groups: n })],
  ],
  SpectralNorm: [
    [counts, (n) => new SpectralNorm(model, { powerIterations: n })],
    [sizes, (n) => new SpectralNorm(model, { eps: n })],
    [[-1, 2, 0.5], (n) => new SpectralNorm(model, { axis: n })],
  ],
  TimestepEmbedding: [
    [[...counts, 2, 7], (n) => new TimestepEmbedding(n, 8)],
    [counts, (n) => new TimestepEmbedding(8, n)],
  ],
  Transformer: Object.keys(transformer).map((key) => [
    counts,
    (n: number) => new Transformer({ ...transformer, [key]: n }),
  ]),
  TransformerBlock: [
    [counts, (n) => new TransformerBlock(n)],
    [counts, (n) => new TransformerBlock(4, { hidden: n })],
    [counts, (n) => new TransformerBlock(4, { contextDim: n })],
    [fractions, (n) => new TransformerBlock(4, { dropout: n })],
  ],
  Upsample: [[counts, (n) => new Upsample(4, n)]],
};

const optimisers: Readonly<Record<string, Refusals>> = {
  Adam: [
    [sizes, (n) => new Adam(model, { lr: n })],
    [sizes, (n) => new Adam(model, { eps: n })],
    [sizes, (n) => new Adam(model, { weightDecay: n })],
    [fractions, (n) => new Adam(model, { betas: [n, 0.9] })],
    [fractions, (n) => new Adam(model, { betas: [0.9, n] })],
    [sizes, (n) => new Adam(model, { groups: [{ select: () => true, lrScale: n }] })],
  ],
  AdamW: [[sizes, (n) => new AdamW(model, { weightDecay: n })]],
  RMSProp: [
    [sizes, (n) => new RMSProp(model, { lr: n })],
    [fractions, (n) => new RMSProp(model, { alpha: n })],
    [fractions, (n) => new RMSProp(model, { momentum: n })],
    [sizes, (n) => new RMSProp(model, { eps: n })],
  ],
  SGD: [
    [[...sizes, "1" as unknown as number], (n) => new SGD(model, { lr: n })],
    [fractions, (n) => new SGD(model, { momentum: n })],
  ],
};

const lr: Schedule = constantLr(1);
const steps = [0, ...sizes];
const others: Readonly<Record<string, Refusals>> = {
  EMA: [[fractions, (n) => new EMA(model, { decay: n })]],
  KVCache: [...Object.keys(cache), "batch"].map((key) => [counts, (n: number) => new KVCache({ ...cache, [key]: n })]),
  constantLr: [[sizes, (n) => constantLr(n)]],
  cosineLr: [
    [sizes, (n) => cosineLr({ from: n, steps: 2 })],
    [steps, (n) => cosineLr({ from: 1, steps: n })],
  ],
  exponentialLr: [
    [sizes, (n) => exponentialLr({ from: n, decay: 0.9 })],
    [steps, (n) => exponentialLr({ from: 1, decay: n })],
  ],
  linearLr: [
    [sizes, (n) => linearLr({ from: 1, to: n, steps: 2 })],
    [steps, (n) => linearLr({ from: 1, steps: n })],
  ],
  polynomialLr: [
    [steps, (n) => polynomialLr({ from: 1, steps: n, power: 2 })],
    [steps, (n) => polynomialLr({ from: 1, steps: 2, power: n })],
  ],
  sequentialLr: [[steps, (n) => nn.sequentialLr([{ lr, steps: n }], lr)]],
  stepLr: [
    [steps, (n) => stepLr({ from: 1, factor: n, every: 2 })],
    [steps, (n) => stepLr({ from: 1, factor: 0.5, every: n })],
  ],
  warmupCosineLr: [
    [sizes, (n) => warmupCosineLr({ peak: n, total: 5 })],
    [sizes, (n) => warmupCosineLr({ peak: 1, total: 5, warmup: n })],
    [[...steps, 2], (n) => warmupCosineLr({ peak: 1, total: n, warmup: 2 })],
    [sizes, (n) => warmupCosineLr({ peak: 1, total: 5, floor: n })],
  ],
  warmupLr: [
    [sizes, (n) => warmupLr({ to: n, steps: 2 })],
    [steps, (n) => warmupLr({ to: 1, steps: n })],
  ],
};

/** The classes of the package below `base` that make something of numbers. */
const classes = (base: typeof Module | typeof Optimizer): string[] =>
  Object.entries(nn)
    .filter(([, item]) => typeof item === "function" && item.prototype instanceof base)
    .map(([name]) => name)
    .sort();

describe("constructors", () => {
  it("are all tried here", () => {
    expect(Object.keys(layers).sort()).toEqual(classes(Module).filter((name) => name !== "Sequential"));
    expect(Object.keys(optimisers).sort()).toEqual(classes(Optimizer));
    const schedules = Object.keys(nn).filter((name) => name.endsWith("Lr"));
    expect(Object.keys(others).sort()).toEqual(["EMA", "KVCache", ...schedules].sort());
  });

  it.each(Object.entries({ ...layers, ...optimisers, ...others }))(
    "of %s refuse numbers out of range",
    (_name, refusals) => {
      for (const [numbers, make] of refusals)
        for (const n of numbers) expect(() => make(n), `${String(make)} with ${String(n)}`).toThrow(UsageError);
    },
  );

  it("say what was given and what was expected", () => {
    expect(() => new Conv2d(1, 1, 0)).toThrow(
      /^Conv2d: kernelSize must be an integer ≥ 1 or \[height, width\], got 0$/,
    );
    expect(() => new Conv2d(1, 1, 3, { stride: -2 })).toThrow(/^Conv2d: stride must be .*, got -2$/);
    expect(() => new MaxPool2d(2, { padding: [0, 2] })).toThrow(/smaller than the kernel, got \[0, 2\] and \[2, 2\]/);
    expect(() => new Linear(2.5, 1)).toThrow(/^Linear: inFeatures must be an integer ≥ 1, got 2.5$/);
  });
});
