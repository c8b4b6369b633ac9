// Layers, losses and resampling against golden vectors recorded from PyTorch: values and derivatives.

import {
  AvgPool2d,
  BatchNorm,
  BilinearUpsample,
  binaryCrossEntropyWithLogits,
  Conv2d,
  ConvTranspose2d,
  crossEntropyLoss,
  Embedding,
  GroupNorm,
  huber,
  InstanceNorm,
  LayerNorm,
  Linear,
  l1,
  MaxPool2d,
  type Module,
  MultiHeadAttention,
  mse,
  PixelShuffle,
  PixelUnshuffle,
  ReflectionPad2d,
  RMSNorm,
  SpectralNorm,
} from "@figment/nn";
import {
  assertNoLeaks,
  avgPool,
  type Cell,
  edgePad,
  grad,
  resizeBilinear,
  resizeNearest,
  rng,
  scope,
  type Tensor,
  upfirdn2d,
  valueAndGrad,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { casesOf, expectGolden, golden, metadata, numbers, scriptHash } from "./golden.js";

afterAll(() => assertNoLeaks());

/** Loads a case's weights into a module and compares output, input derivative and parameter derivatives. */
function expectLayer(name: string, module: Module, forward: (x: Tensor) => Tensor): void {
  scope(() => {
    const parameters: Record<string, Cell> = module.stateDict();
    module.loadStateDict(Object.fromEntries(Object.keys(parameters).map((path) => [path, golden(`${name}/${path}`)])));
    const x = golden(`${name}/x`);
    const dy = golden(`${name}/dy`);
    expectGolden(forward(x), `${name}/y`);
    const weighted = (input: Tensor): Tensor => forward(input).mul(dy).sum();
    expectGolden(grad(weighted)(x), `${name}/dx`);
    const { grads } = valueAndGrad(() => weighted(x), { wrt: module })();
    for (const [path, cell] of Object.entries(parameters)) expectGolden(grads.get(cell), `${name}/d${path}`);
  });
  module.dispose();
}

/** Compares a function of one tensor and its derivative. */
function expectFunction(name: string, f: (x: Tensor) => Tensor): void {
  scope(() => {
    const x = golden(`${name}/x`);
    const dy = golden(`${name}/dy`);
    expectGolden(f(x), `${name}/y`);
    expectGolden(grad((input: Tensor) => f(input).mul(dy).sum())(x), `${name}/dx`);
  });
}

describe("golden vectors", () => {
  it("were recorded by the script beside them, from PyTorch 2", () => {
    expect(metadata.script_sha256).toBe(scriptHash());
    expect(metadata.torch).toMatch(/^2\./);
  });
});

describe("layers agree with PyTorch", () => {
  it("Linear", () => {
    const layer = new Linear(7, 3);
    expectLayer("linear", layer, (x) => layer.forward(x));
  });

  it.each(casesOf("conv2d"))("Conv2d, %s", (name) => {
    const [kernel = 0, stride, padding, dilation, groups] = numbers(`conv2d/${name}/geometry`);
    const { inChannels, outChannels } = scope(() => ({
      inChannels: golden(`conv2d/${name}/x`).dim(3),
      outChannels: golden(`conv2d/${name}/y`).dim(3),
    }));
    const layer = new Conv2d(inChannels, outChannels, kernel, { stride, padding, dilation, groups });
    expectLayer(`conv2d/${name}`, layer, (x) => layer.forward(x));
  });

  it.each(casesOf("convTranspose2d"))("ConvTranspose2d, %s", (name) => {
    const [kernel = 0, stride, padding, outputPadding, dilation, groups] = numbers(`convTranspose2d/${name}/geometry`);
    const { inChannels, outChannels } = scope(() => ({
      inChannels: golden(`convTranspose2d/${name}/x`).dim(3),
      outChannels: golden(`convTranspose2d/${name}/y`).dim(3),
    }));
    const options = { stride, padding, outputPadding, dilation, groups };
    const layer = new ConvTranspose2d(inChannels, outChannels, kernel, options);
    expectLayer(`convTranspose2d/${name}`, layer, (x) => layer.forward(x));
  });

  it.each([
    ["plain", false],
    ["silu", true],
  ] as const)("GroupNorm, %s", (name, silu) => {
    const layer = new GroupNorm(4, 12, { silu });
    expectLayer(`groupNorm/${name}`, layer, (x) => layer.forward(x));
  });

  it.each([
    ["layerNorm", new LayerNorm(12)],
    ["rmsNorm", new RMSNorm(12)],
    ["instanceNorm", new InstanceNorm(6, { affine: true })],
  ] as const)("%s", (name, layer) => {
    expectLayer(name, layer, (x) => layer.forward(x));
  });

  it("BatchNorm: three training steps with their derivatives, the running statistics, then evaluation", () => {
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
  });

  it.each([
    ["linear", () => new SpectralNorm(new Linear(7, 5))],
    ["conv2d", () => new SpectralNorm(new Conv2d(3, 4, 3, { padding: 1 }))],
    ["convTranspose2d", () => new SpectralNorm(new ConvTranspose2d(3, 4, 3, { padding: 1 }))],
  ] as const)("SpectralNorm of %s: the third training call with its derivatives, then evaluation", (name, make) => {
    const module: SpectralNorm<Linear | Conv2d | ConvTranspose2d> = make();
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
  });

  it("Embedding, with repeated indices", () => {
    const layer = new Embedding(11, 6);
    scope(() => {
      layer.loadStateDict({ weight: golden("embedding/weight") });
      const indices = golden("embedding/indices");
      expectGolden(layer.forward(indices), "embedding/y");
      const { grads } = valueAndGrad(() => layer.forward(indices).mul(golden("embedding/dy")).sum(), { wrt: layer })();
      expectGolden(grads.get(layer.weight), "embedding/dweight");
    });
    layer.dispose();
  });

  it.each([
    ["full", false],
    ["causal", true],
  ] as const)("MultiHeadAttention, %s", (name, causal) => {
    const layer = new MultiHeadAttention(12, 3, { causal });
    expectLayer(`attention/${name}`, layer, (x) => layer.forward(x));
  });
});

describe("resampling agrees with PyTorch", () => {
  it.each(casesOf("avgPool"))("average pooling, %s", (name) => {
    const [kernel = 0, stride, padding] = numbers(`avgPool/${name}/geometry`);
    expectFunction(`avgPool/${name}`, (x) => avgPool(x, { kernel, stride, padding }));
  });

  it.each([
    ["double", [8, 10]],
    ["odd", [7, 13]],
  ] as const)("nearest-neighbour resize, %s", (name, size) => {
    expectFunction(`resizeNearest/${name}`, (x) => resizeNearest(x, size));
  });

  it.each([
    ["maxPool/half", new MaxPool2d(2)],
    ["maxPool/overlapping", new MaxPool2d(3, { stride: 2, padding: 1 })],
    ["resizeBilinear/double", new BilinearUpsample()],
    ["pixelShuffle", new PixelShuffle(2)],
    ["pixelUnshuffle", new PixelUnshuffle(3)],
    [
      "reflectPad",
      new ReflectionPad2d([
        [2, 0],
        [3, 1],
      ]),
    ],
  ] as const)("%s, as a layer", (name, layer) => expectFunction(name, (x) => layer.forward(x)));

  it("bilinear resize, shrinking and with aligned corners", () => {
    expectFunction("resizeBilinear/odd", (x) => resizeBilinear(x, [3, 8]));
    expectFunction("resizeBilinear/aligned", (x) => resizeBilinear(x, [7, 3], { alignCorners: true }));
  });

  it("padding with the border pixels", () => expectFunction("edgePad", (x) => edgePad(x, [0, 2, 3, 0], [0, 0, 1, 0])));

  it.each(casesOf("avgPool"))("AvgPool2d, %s", (name) => {
    const [kernel = 0, stride = 1, padding = 0] = numbers(`avgPool/${name}/geometry`);
    const layer = new AvgPool2d(kernel, { stride, padding });
    expectFunction(`avgPool/${name}`, (x) => layer.forward(x));
  });

  it.each(casesOf("upfirdn2d"))("upfirdn2d, %s, with the derivative of the filter", (name) => {
    const [up = 1, down = 1, left = 0, right = 0, top = 0, bottom = 0] = numbers(`upfirdn2d/${name}/geometry`);
    const padding: readonly [readonly [number, number], readonly [number, number]] = [
      [top, bottom],
      [left, right],
    ];
    const filtered = (x: Tensor, filter: Tensor): Tensor => upfirdn2d(x, filter, { up, down, padding });
    scope(() => {
      const [x, filter, dy] = ["x", "filter", "dy"].map((part) => golden(`upfirdn2d/${name}/${part}`)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      expectFunction(`upfirdn2d/${name}`, (image) => filtered(image, filter));
      expectGolden(grad((taps: Tensor) => filtered(x, taps).mul(dy).sum())(filter), `upfirdn2d/${name}/dfilter`);
    });
  });
});

describe("losses agree with PyTorch", () => {
  it.each(Object.entries({ mse, l1, huber, binaryCrossEntropyWithLogits, crossEntropy: crossEntropyLoss }))(
    "%s",
    (name, loss) => {
      scope(() => {
        const target = golden(`loss/${name}/target`);
        expectGolden(loss(golden(`loss/${name}/x`), target), `loss/${name}/y`);
        expectGolden(grad((x: Tensor) => loss(x, target))(golden(`loss/${name}/x`)), `loss/${name}/dx`);
      });
    },
  );
});
