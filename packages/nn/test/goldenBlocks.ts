// The cases of the layers that are made of others, which blocks.py recorded.

import {
  Downsample,
  Dropout,
  Linear,
  type Module,
  MultiHeadAttention,
  ResidualBlock,
  type ResidualBlockOptions,
  SelfAttention2d,
  Sequential,
  TimestepEmbedding,
  Transformer,
  TransformerBlock,
  type TransformerBlockOptions,
  Upsample,
} from "@figment/nn";
import { grad, rng, scope, silu, type Tensor } from "@figment/tensor";
import { expect } from "vitest";
import { goldenFile } from "./golden.js";
import { expectLayer, type LayerCase } from "./goldenCase.js";

export const blocks = goldenFile("blocks");

type Inputs = [first: Tensor, second?: Tensor];

/** A case, its module made when it is compared. */
const block = <M extends Module>(
  layer: LayerCase["layer"],
  name: string,
  make: () => M,
  forward: (module: M, ...inputs: Inputs) => Tensor,
  inputs: readonly string[] = ["x"],
): LayerCase => ({
  layer,
  variant: name,
  compare: () =>
    expectLayer({ file: blocks, name, inputs }, make(), (module, ...given) => forward(module, ...(given as Inputs))),
});

const transformerBlock = (variant: string, options: TransformerBlockOptions): LayerCase =>
  block(
    TransformerBlock,
    `transformerBlock/${variant}`,
    () => new TransformerBlock(12, options),
    (module, x, context) => module.forward(x, { context }),
    options.contextDim === undefined ? ["x"] : ["x", "context"],
  );

const residualBlock = (variant: string, options: ResidualBlockOptions): LayerCase =>
  block(
    ResidualBlock,
    `residualBlock/${variant}`,
    () => new ResidualBlock(8, { groups: 4, ...options }),
    (module, x, condition) => module.forward(x, condition),
    options.timeDim === undefined ? ["x"] : ["x", "condition"],
  );

/** The model that transformer's weights were recorded for. */
export const makeTransformer = (): Transformer =>
  new Transformer({ vocabulary: 11, dim: 12, heads: 3, layers: 2, maxLength: 8, hidden: 16 });

/** Which elements are kept is our stream's to say; those that are, and their derivatives, are PyTorch's. */
function compareDropout(): void {
  const layer = new Dropout(0.3).init(rng(5));
  const again = layer.clone();
  scope(() => {
    const [x, dy, kept, slope] = ["x", "dy", "y", "dx"].map((part) => blocks.tensor(`dropout/${part}`)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const y = layer.forward(x);
    const mask = y.ne(0).cast("f32");
    const share = mask.mean().itemSync();
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(1);
    const dx = grad((input: Tensor) => again.forward(input).mul(dy).sum())(x);
    expect(y.sub(kept.mul(mask)).abs().max().itemSync()).toBeLessThan(1e-6);
    expect(dx.sub(slope.mul(mask)).abs().max().itemSync()).toBeLessThan(1e-6);
    expect(layer.eval().forward(x)).toBe(x);
  });
  for (const module of [layer, again]) module.dispose();
}

export const blockCases: readonly LayerCase[] = [
  block(
    MultiHeadAttention,
    "crossAttention",
    () => new MultiHeadAttention(12, 3, { contextDim: 8 }),
    (module, x, context) => module.forward(x, context),
    ["x", "context"],
  ),
  transformerBlock("self", { heads: 3 }),
  transformerBlock("causal", { heads: 2, hidden: 20, causal: true }),
  transformerBlock("context", { heads: 3, hidden: 16, contextDim: 7 }),
  transformerBlock("module", { heads: 3, hidden: 16 }),
  block(Transformer, "transformer", makeTransformer, (module, tokens) => module.forward(tokens), ["tokens"]),
  block(
    SelfAttention2d,
    "selfAttention2d",
    () => new SelfAttention2d(12, { heads: 2, groups: 4 }),
    (module, x) => module.forward(x),
  ),
  block(
    TimestepEmbedding,
    "timestepEmbedding",
    () => new TimestepEmbedding(8, 12),
    (module, t) => module.forward(t),
    ["t"],
  ),
  residualBlock("plain", {}),
  residualBlock("time", { outChannels: 12, timeDim: 6 }),
  residualBlock("scaleShift", { timeDim: 6, scaleShift: true }),
  block(
    Downsample,
    "downsample",
    () => new Downsample(4, { outChannels: 6 }),
    (module, x) => module.forward(x),
  ),
  block(
    Upsample,
    "upsample/double",
    () => new Upsample(4, 3),
    (module, x) => module.forward(x),
  ),
  block(
    Upsample,
    "upsample/sized",
    () => new Upsample(4, 3),
    (module, x) => module.forward(x, [7, 5]),
  ),
  block(
    Sequential,
    "sequential",
    () => new Sequential(new Linear(5, 7), silu, new Linear(7, 3)),
    (module, x) => module.forward(x),
  ),
  { layer: Dropout, variant: "what is kept", compare: compareDropout },
];
