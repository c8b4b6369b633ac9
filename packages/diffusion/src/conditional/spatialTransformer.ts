// Transformer blocks over the pixels of a feature map, which attend to each other and to a context such as the embedded
// words of a caption (Rombach et al. 2022, §3.3 and appendix E.2.1).

import {
  Conv2d,
  checkCounts,
  checkFlags,
  fittingGroups,
  GroupNorm,
  Linear,
  Module,
  TransformerBlock,
} from "@figment/nn";
import { checkObject, checkTensor, ShapeError, showShape, type Tensor } from "@figment/tensor";

/** Options of {@link SpatialTransformer}. */
export interface SpatialTransformerOptions {
  /** Default 1. */
  readonly heads?: number;
  /** Channels of the context. */
  readonly contextDim: number;
  /** Transformer blocks one after the other. Default 1. */
  readonly layers?: number;
  /** Whether the projections before and after the blocks are linear layers in place of 1×1 convolutions, which are the same function. Default false. */
  readonly linearProjection?: boolean;
  /** Groups of the normalisation. Default 32, or the largest common divisor with the channels. */
  readonly groups?: number;
  /** Default 0. */
  readonly dropout?: number;
}

/** Groups of a Stable Diffusion U-Net's normalisations, and what is added to the variance in those before attention. */
export const stableGroups = 32;
const eps = 1e-6;

/**
 * x + project(blocks(project(norm(x)), context)): x [N,H,W,channels], context [N,K,contextDim] → [N,H,W,channels]. Each block
 * is attention among the pixels, attention to the context, and a gated perceptron.
 *
 * @example
 * const layer = new SpatialTransformer(16, { heads: 2, contextDim: 12, groups: 8 }).init(rng(0));
 * layer.forward(rng(1).normal([1, 4, 4, 16]), rng(2).normal([1, 5, 12])); // [1, 4, 4, 16]
 */
export class SpatialTransformer extends Module {
  readonly norm: GroupNorm;
  readonly projectIn: Conv2d | Linear;
  readonly blocks: readonly TransformerBlock[];
  readonly projectOut: Conv2d | Linear;

  /** @throws UsageError when a number is out of range or the channels do not divide into the heads. */
  constructor(channels: number, options: SpatialTransformerOptions) {
    super();
    checkObject("SpatialTransformer", "options", options, "contextDim");
    const { heads = 1, contextDim, layers = 1, linearProjection = false, groups = stableGroups, dropout } = options;
    checkCounts("SpatialTransformer", { channels, heads, contextDim, layers });
    checkFlags("SpatialTransformer", { linearProjection });
    const project = (): Conv2d | Linear =>
      linearProjection ? new Linear(channels, channels) : new Conv2d(channels, channels, 1);
    this.norm = new GroupNorm(fittingGroups(channels, groups), channels, { eps });
    this.projectIn = project();
    this.blocks = Array.from(
      { length: layers },
      () => new TransformerBlock(channels, { heads, contextDim, dropout, attentionBias: false, gated: true }),
    );
    this.projectOut = project();
  }

  /** @throws ShapeError when x or the context does not fit. */
  forward(x: Tensor, context: Tensor): Tensor {
    checkTensor("SpatialTransformer", "x", x);
    checkTensor("SpatialTransformer", "context", context);
    const [n, h, w, c] = x.dims(4);
    if (context.rank !== 3 || context.dim(0) !== n)
      throw new ShapeError(`SpatialTransformer: expected context [${n}, K, C], got ${showShape(context.shape)}`);
    const pixels = this.projectIn.forward(this.norm.forward(x)).reshape([n, h * w, c]);
    const mixed = this.blocks.reduce((y, block) => block.forward(y, { context }), pixels);
    return this.projectOut.forward(mixed.reshape([n, h, w, c])).add(x);
  }
}
