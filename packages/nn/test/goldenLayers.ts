// The cases of the plain layers, which layers.py recorded.

import {
  AvgPool2d,
  BatchNorm,
  BilinearUpsample,
  Conv2d,
  ConvTranspose2d,
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
  RMSNorm,
  SpectralNorm,
} from "@figment/nn";
import { type Cell, grad, rng, scope, type Tensor, valueAndGrad } from "@figment/tensor";
import { casesOf, expectGolden, golden, layers, numbers } from "./golden.js";
import { expectLayer, type LayerCase } from "./goldenCase.js";

type Plain = Module & { forward(x: Tensor): Tensor };

/** A case of a layer of one tensor, made when it is compared. */
const plain = (layer: LayerCase["layer"], name: string, make: () => Plain): LayerCase => ({
  layer,
  variant: name,
  compare: () => expectLayer({ file: layers, name }, make(), (module, x) => module.forward(x as Tensor)),
});

/** The channels of a recorded image. */
const channels = (key: string): number => layers.read(key).shape[3] as number;

const convolutions = casesOf("conv2d").map((variant) =>
  plain(Conv2d, `conv2d/${variant}`, () => {
    const [kernel = 0, stride, padding, dilation, groups] = numbers(`conv2d/${variant}/geometry`);
    const options = { stride, padding, dilation, groups };
    return new Conv2d(channels(`conv2d/${variant}/x`), channels(`conv2d/${variant}/y`), kernel, options);
  }),
);

const transposed = casesOf("convTranspose2d").map((variant) =>
  plain(ConvTranspose2d, `convTranspose2d/${variant}`, () => {
    const name = `convTranspose2d/${variant}`;
    const [kernel = 0, stride, padding, outputPadding, dilation, groups] = numbers(`${name}/geometry`);
    const options = { stride, padding, outputPadding, dilation, groups };
    return new ConvTranspose2d(channels(`${name}/x`), channels(`${name}/y`), kernel, options);
  }),
);

const pools = casesOf("avgPool").map((variant) =>
  plain(AvgPool2d, `avgPool/${variant}`, () => {
    const [kernel = 0, stride = 1, padding = 0] = numbers(`avgPool/${variant}/geometry`);
    return new AvgPool2d(kernel, { stride, padding });
  }),
);

/** Three training steps with their derivatives, the running statistics, then evaluation. */
function compareBatchNorm(): void {
  const layer = new BatchNorm(6, { eps: 1e-4, momentum: 0.3 }).init(rng(0));
  const expectCase = (name: string): void => {
    const [x, dy] = [golden(`${name}/x`), golden(`${name}/dy`)];
    const weighted = (input: Tensor): Tensor => layer.forward(input).mul(dy).sum();
    // One call that moves the running statistics, whatever else is looked at.
    const { grads } = valueAndGrad(() => weighted(x), { wrt: layer.parameters() })();
    expectGolden(grads.get(layer.weight as Cell), `${name}/dweight`);
    expectGolden(grads.get(layer.bias as Cell), `${name}/dbias`);
    const still = layer.clone();
    expectGolden(still.forward(x), `${name}/y`);
    expectGolden(grad((input: Tensor) => still.forward(input).mul(dy).sum())(x), `${name}/dx`);
    still.dispose();
  };
  scope(() => {
    layer.weight?.set(golden("batchNorm/start/weight"));
    layer.bias?.set(golden("batchNorm/start/bias"));
    for (let step = 0; step < 3; step++) expectCase(`batchNorm/step${step}`);
    expectGolden((layer.runningMean as Cell).value, "batchNorm/eval/runningMean");
    expectGolden((layer.runningVar as Cell).value, "batchNorm/eval/runningVar");
    layer.eval();
    expectCase("batchNorm/eval");
  });
  layer.dispose();
}

/** The third training call with its derivatives, then evaluation. */
function compareSpectralNorm(name: string, module: SpectralNorm<Linear | Conv2d | ConvTranspose2d>): void {
  const [start, train] = [`spectralNorm/${name}/start`, `spectralNorm/${name}/train`];
  scope(() => {
    module.loadStateDict({
      "layer.weight": golden(`${start}/weight`),
      "layer.bias": golden(`${start}/bias`),
      u: golden(`${start}/u`),
      v: golden(`${start}/v`),
    });
    const [x, dy] = [golden(`${train}/x`), golden(`${train}/dy`)];
    // The vectors move with every call, so each look at the third call starts from a clone of the second.
    for (let i = 0; i < 2; i++) module.forward(x);
    const [second, third] = [module.clone(), module.clone()];
    expectGolden(module.forward(x), `${train}/y`);
    expectGolden(module.u.value, `${train}/u`);
    expectGolden(module.v.value, `${train}/v`);
    expectGolden(grad((input: Tensor) => second.forward(input).mul(dy).sum())(x), `${train}/dx`);
    const { grads } = valueAndGrad(() => third.forward(x).mul(dy).sum(), { wrt: third.parameters() })();
    expectGolden(grads.get(third.layer.weight), `${train}/dweight`);
    expectGolden(grads.get(third.layer.bias as Cell), `${train}/dbias`);
    module.layer.weight.set(golden(`spectralNorm/${name}/eval/weight`));
    expectGolden(module.eval().forward(golden(`spectralNorm/${name}/eval/x`)), `spectralNorm/${name}/eval/y`);
    for (const owner of [second, third]) owner.dispose();
  });
  module.dispose();
}

const spectral = (name: string, inner: () => Linear | Conv2d | ConvTranspose2d): LayerCase => ({
  layer: SpectralNorm,
  variant: `of ${name}`,
  compare: () => compareSpectralNorm(name, new SpectralNorm(inner())),
});

const embedding: LayerCase = {
  layer: Embedding,
  variant: "repeated indices",
  compare: () =>
    expectLayer({ file: layers, name: "embedding", inputs: ["indices"] }, new Embedding(11, 6), (module, indices) =>
      module.forward(indices as Tensor),
    ),
};

const padding: readonly [readonly [number, number], readonly [number, number]] = [
  [2, 0],
  [3, 1],
];

export const layerCases: readonly LayerCase[] = [
  plain(Linear, "linear", () => new Linear(7, 3)),
  ...convolutions,
  ...transposed,
  plain(GroupNorm, "groupNorm/plain", () => new GroupNorm(4, 12)),
  plain(GroupNorm, "groupNorm/silu", () => new GroupNorm(4, 12, { silu: true })),
  plain(LayerNorm, "layerNorm", () => new LayerNorm(12)),
  plain(RMSNorm, "rmsNorm", () => new RMSNorm(12)),
  plain(InstanceNorm, "instanceNorm", () => new InstanceNorm(6, { affine: true })),
  { layer: BatchNorm, variant: "training and evaluation", compare: compareBatchNorm },
  spectral("linear", () => new Linear(7, 5)),
  spectral("conv2d", () => new Conv2d(3, 4, 3, { padding: 1 })),
  spectral("convTranspose2d", () => new ConvTranspose2d(3, 4, 3, { padding: 1 })),
  embedding,
  plain(MultiHeadAttention, "attention/full", () => new MultiHeadAttention(12, 3)),
  plain(MultiHeadAttention, "attention/causal", () => new MultiHeadAttention(12, 3, { causal: true })),
  ...pools,
  plain(MaxPool2d, "maxPool/half", () => new MaxPool2d(2)),
  plain(MaxPool2d, "maxPool/overlapping", () => new MaxPool2d(3, { stride: 2, padding: 1 })),
  plain(BilinearUpsample, "resizeBilinear/double", () => new BilinearUpsample()),
  plain(PixelShuffle, "pixelShuffle", () => new PixelShuffle(2)),
  plain(PixelUnshuffle, "pixelUnshuffle", () => new PixelUnshuffle(3)),
  plain(ReflectionPad2d, "reflectPad", () => new ReflectionPad2d(padding)),
];
