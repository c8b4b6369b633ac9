// Layers, losses and resampling against golden vectors recorded from PyTorch: values and derivatives.

import {
  binaryCrossEntropyWithLogits,
  Conv2d,
  crossEntropyLoss,
  Embedding,
  GroupNorm,
  huber,
  Linear,
  l1,
  type Module,
  MultiHeadAttention,
  mse,
} from "@figment/nn";
import {
  assertNoLeaks,
  avgPool,
  type Cell,
  grad,
  resizeNearest,
  scope,
  type Tensor,
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

  it.each([
    ["plain", false],
    ["silu", true],
  ] as const)("GroupNorm, %s", (name, silu) => {
    const layer = new GroupNorm(4, 12, { silu });
    expectLayer(`groupNorm/${name}`, layer, (x) => layer.forward(x));
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
