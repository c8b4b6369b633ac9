// Mistakes that TypeScript would have caught, made in JavaScript or behind a cast: each a typed error that names what was
// given, and none ignored.

import {
  Adam,
  AdamW,
  AvgPool2d,
  BatchNorm,
  BilinearUpsample,
  Conv2d,
  ConvTranspose2d,
  compileStep,
  Downsample,
  Dropout,
  EMA,
  Embedding,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  Linear,
  MaxPool2d,
  type Module,
  MultiHeadAttention,
  PixelShuffle,
  PixelUnshuffle,
  ReflectionPad2d,
  ResidualBlock,
  RMSNorm,
  RMSProp,
  SelfAttention2d,
  Sequential,
  SGD,
  spectralNorm,
  TimestepEmbedding,
  Transformer,
  TransformerBlock,
  Upsample,
} from "@figment/nn";
import {
  assertNoLeaks,
  DeviceError,
  DTypeError,
  ones,
  rng,
  scope,
  sum,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const layers: readonly Module[] = [
  new AvgPool2d(2),
  new BatchNorm(4),
  new BilinearUpsample(2),
  new Conv2d(4, 4, 3),
  new ConvTranspose2d(4, 4, 3),
  new Downsample(4),
  new Dropout(0.5),
  new Embedding(4, 4),
  new GroupNorm(2, 4),
  new InstanceNorm(4),
  new LayerNorm(4),
  new Linear(4, 4),
  new MaxPool2d(2),
  new MultiHeadAttention(4, 2),
  new PixelShuffle(2),
  new PixelUnshuffle(2),
  new RMSNorm(4),
  new ReflectionPad2d(1),
  new ResidualBlock(4),
  new SelfAttention2d(4),
  new Sequential(new Linear(4, 4)),
  spectralNorm(new Linear(4, 4)),
  new TimestepEmbedding(4, 4),
  new Transformer({ vocabulary: 4, dim: 4, layers: 1, maxLength: 4 }),
  new TransformerBlock(4),
  new Upsample(4),
];

describe("layers", () => {
  it.each(layers.map((layer) => [layer.constructor.name, layer] as const))("%s takes tensors only", (_name, layer) => {
    layer.init(rng(0));
    const { forward } = layer as unknown as { forward(x: unknown): Tensor };
    for (const x of [undefined, null, 3, [[1, 2, 3, 4]], "x"])
      expect(() => scope(() => forward.call(layer, x)), String(x)).toThrow(DTypeError);
    layer.dispose();
  });
});

describe("optimisers and averages", () => {
  const model = new Linear(2, 2);

  it.each([Adam, AdamW, RMSProp, SGD])(
    "%o refuses options that it does not know, and what has no parameters",
    (Kind) => {
      const make = Kind as new (target: unknown, options?: unknown) => unknown;
      expect(() => new make(model, { learningRate: 1 })).toThrow(
        new RegExp(`^${Kind.name}: unknown option "learningRate"; the options are lr, `),
      );
      for (const target of [undefined, null, 3, "a", [undefined], { model: 3 }])
        expect(() => new make(target), String(target)).toThrow(/expected a module to train/);
    },
  );

  it("know their options and what they average", () => {
    expect(() => new EMA(model, { dekay: 1 } as never)).toThrow(/^EMA: unknown option "dekay"/);
    expect(() => new EMA(undefined as never)).toThrow(/^EMA: expected a module, got undefined/);
  });
});

describe("training steps", () => {
  it("refuse batches that are none, and name the layer that misses an input", () => {
    const model = new Sequential(new Linear(2, 2)).init(rng(0));
    const optimizer = new SGD(model);
    const step = compileStep(model, optimizer, (net, { y }: { y: Tensor }) => sum(net.forward(y)));
    for (const batch of [undefined, null, [[1, 2]], 3])
      expect(() => step(batch as never), String(batch)).toThrow(UsageError);
    using x = ones([1, 2]);
    expect(() => step({ x } as never)).toThrow(/stages\.0: Linear: expected a tensor for x, got undefined/);
    for (const owner of [step, optimizer, model]) owner.dispose();
  });

  it("refuse a model, an optimiser, a loss and options that are none, before the first batch", () => {
    const model = new Linear(2, 2).init(rng(0));
    const optimizer = new SGD(model);
    const loss = (net: Linear, { x }: { x: Tensor }): Tensor => sum(net.forward(x));
    const make = compileStep as (...given: unknown[]) => unknown;
    const other = new Linear(2, 2).init(rng(0));
    expect(() => compileStep(other, optimizer, loss)).toThrow(/the optimiser trains no parameter of the model/);
    for (const [given, message] of [
      [[], "expected a module to train, got undefined"],
      [[optimizer, model, loss], "expected a module to train, got a SGD"],
      [[model, {}, loss], "expected an optimiser such as new AdamW(model), got an object"],
      [[model, optimizer], "expected a function as loss, got undefined"],
      [[model, optimizer, loss, null], "expected options, got null"],
      [[model, optimizer, loss, 5], "expected options, got 5"],
    ] as const)
      expect(() => make(...given), message).toThrow(new UsageError(`compileStep: ${message}`));
    for (const owner of [optimizer, model, other]) owner.dispose();
  });
});

describe("what has been disposed", () => {
  it("says so, where it would begin anew otherwise", () => {
    const model = new Linear(2, 2).init(rng(0));
    const optimizer = new SGD(model, { momentum: 0.9 });
    optimizer.dispose();
    expect(() => scope(() => optimizer.minimize(() => sum(model.weight.value)))).toThrow(DeviceError);
    model.dispose();
    expect(() => model.weight.value).toThrow(/weight has been disposed/);
    const stream = rng(0);
    stream.normal([2]).dispose();
    stream.dispose();
    expect(() => stream.normal([2])).toThrow(/has been disposed/);
  });
});
