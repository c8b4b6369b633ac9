// Layers, losses and resampling against golden vectors recorded from PyTorch: values and derivatives.

import {
  binaryCrossEntropyWithLogits,
  crossEntropyLoss,
  huber,
  type KVCache,
  l1,
  Module,
  mse,
  type Transformer,
  timestepEmbedding,
} from "@figment/nn";
import {
  assertNoLeaks,
  avgPool,
  compile,
  concat,
  edgePad,
  grad,
  resizeBilinear,
  resizeNearest,
  scope,
  type Tensor,
  upfirdn2d,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { casesOf, expectGolden, golden, goldenFile, numbers } from "./golden.js";
import { blockCases, blocks, makeTransformer } from "./goldenBlocks.js";
import { subclassesOf } from "./goldenCase.js";
import { layerCases } from "./goldenLayers.js";

afterAll(() => assertNoLeaks());

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
  it.each(["layers", "blocks", "penalties"])("%s were recorded by the script beside them, from PyTorch 2", (name) => {
    const { metadata, scriptHash } = goldenFile(name);
    expect(metadata.script_sha256).toBe(scriptHash());
    expect(metadata.torch).toMatch(/^2\./);
  });
});

describe("layers agree with PyTorch", () => {
  const cases = [...layerCases, ...blockCases];

  it("one and all: every exported layer has a case", () => {
    const exported = subclassesOf(Module);
    const compared = new Set(cases.map(({ layer }) => layer));
    expect(exported.length).toBeGreaterThan(25);
    expect(exported.filter((layer) => !compared.has(layer)).map(({ name }) => name)).toEqual([]);
  });

  it.each(cases)("$layer.name, $variant", ({ compare }) => compare());

  it("the sinusoids of a timestep", () => {
    scope(() => blocks.expect(timestepEmbedding(blocks.tensor("sinusoids/t"), 10), "sinusoids/y"));
  });

  it.each([[[6]], [[1, 1, 1, 1, 1, 1]], [[3, 2, 1]]])(
    "a Transformer that decodes %j tokens at a time with a cache, as one that sees all at once",
    (counts) => {
      const model = makeTransformer();
      const cache = model.cache({ batch: 2 });
      const decode = compile((net: Transformer, past: KVCache, tokens: Tensor) => net.forward(tokens, past));
      scope(() => {
        const paths = Object.keys(model.stateDict());
        model.loadStateDict(Object.fromEntries(paths.map((path) => [path, blocks.tensor(`transformer/${path}`)])));
        const tokens = blocks.tensor("transformer/tokens");
        let from = 0;
        const logits = counts.map((count) => {
          const part = decode(model, cache, tokens.slice([0, from], [2, count]));
          from += count;
          return part;
        });
        blocks.expect(concat(logits, 1), "transformer/y");
      });
      for (const owner of [decode, cache, model]) owner.dispose();
    },
  );
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

  it("bilinear resize, shrinking and with aligned corners", () => {
    expectFunction("resizeBilinear/odd", (x) => resizeBilinear(x, [3, 8]));
    expectFunction("resizeBilinear/aligned", (x) => resizeBilinear(x, [7, 3], { alignCorners: true }));
  });

  it("padding with the border pixels", () => expectFunction("edgePad", (x) => edgePad(x, [0, 2, 3, 0], [0, 0, 1, 0])));

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
