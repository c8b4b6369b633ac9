// The U-Net of latent diffusion and Stable Diffusion (Rombach et al. 2022): DDPM's, with transformers that attend to a context
// after its residual blocks. The same network as diffusers' UNet2DConditionModel.

import {
  Conv2d,
  checkCounts,
  type Downsample,
  fittingGroups,
  GroupNorm,
  Module,
  ResidualBlock,
  type SinusoidOptions,
  TimestepEmbedding,
  type Upsample,
} from "@figment/nn";
import { checkObject, checkTensor, ShapeError, showShape, type Tensor, UsageError } from "@figment/tensor";
import { checkLevels, type Level, makeLevels, outerChannels, passLevels } from "../levels.js";
import { SpatialTransformer, stableGroups } from "./spatialTransformer.js";

/** What a {@link UNet2DConditionModel} looks like. The defaults are those of Stable Diffusion 1.5. */
export interface UNet2DConditionOptions {
  /** Default 4. */
  readonly inChannels?: number;
  /** Default 4. */
  readonly outChannels?: number;
  /** Channels of each level, the finest first. Default [320, 640, 1280, 1280]. */
  readonly channels?: readonly number[];
  /** Residual blocks of each level on the way down; one more on the way up. Default 2. */
  readonly blocks?: number;
  /** Levels with a transformer after each residual block, the finest 0. Default all but the last. */
  readonly attentionLevels?: readonly number[];
  /** Heads of the attention: one number, or one for each level. Default 8. */
  readonly heads?: number | readonly number[];
  /** Channels of the context. Default 768. */
  readonly contextDim?: number;
  /** Blocks of each transformer. Default 1. */
  readonly transformerLayers?: number;
  /** Whether the projections of the transformers are linear layers in place of 1×1 convolutions. Default false. */
  readonly linearProjection?: boolean;
  /** Groups of the normalisations. Default 32, or the largest common divisor with the channels. */
  readonly groups?: number;
  /** Added to the variances in those of residual blocks and the last. Default 1e-5. */
  readonly normEps?: number;
  /** How the sinusoids of the timestep are arranged. Default: cosines first, no shift of the frequencies. */
  readonly sinusoids?: SinusoidOptions;
  /** Default 0. */
  readonly dropout?: number;
}

const stableChannels = [320, 640, 1280, 1280] as const;
/** Channels of the time embedding, in those of the finest level. */
const timeFactor = 4;

/** A residual block with a transformer after it where the level has some. */
class Stage extends Module {
  constructor(
    readonly block: ResidualBlock,
    readonly transformer: SpatialTransformer | null,
  ) {
    super();
  }

  forward(x: Tensor, time: Tensor, context: Tensor): Tensor {
    const h = this.block.forward(x, time);
    return this.transformer ? this.transformer.forward(h, context) : h;
  }
}

/**
 * Predicts from noisy latents x [N,H,W,inChannels], their timesteps t (i32 [N]) and a context [N,K,contextDim] a tensor
 * [N,H,W,outChannels]. Without options it is the network of Stable Diffusion 1.5, of 859,520,964 parameters.
 *
 * @example
 * const net = new UNet2DConditionModel({ channels: [8, 16], heads: 2, contextDim: 12, groups: 4 }).init(rng(0));
 * const [x, context] = [rng(1).normal([2, 8, 8, 4]), rng(2).normal([2, 5, 12])];
 * net.forward(x, tensor([3, 700], { dtype: "i32" }), context); // [2, 8, 8, 4]
 */
export class UNet2DConditionModel extends Module {
  readonly inChannels: number;
  readonly contextDim: number;
  readonly time: TimestepEmbedding;
  readonly first: Conv2d;
  readonly down: readonly Level<Stage, Downsample>[];
  readonly middle: readonly [Stage, ResidualBlock];
  readonly up: readonly Level<Stage, Upsample>[];
  readonly norm: GroupNorm;
  readonly last: Conv2d;

  /** @throws UsageError when a number is out of range, there are no channels, or a level is named that there is not. */
  constructor(readonly options: UNet2DConditionOptions = {}) {
    super();
    const {
      inChannels = 4,
      outChannels = 4,
      channels = stableChannels,
      blocks = 2,
      contextDim = 768,
    } = checkObject("UNet2DConditionModel", "options", options);
    const { transformerLayers: layers = 1, linearProjection, groups = stableGroups, normEps: eps, dropout } = options;
    const { sinusoids = { frequencyShift: 0, cosinesFirst: true } } = options;
    const owner = "UNet2DConditionModel";
    const [base, deepest] = outerChannels(owner, channels);
    checkCounts(owner, { inChannels, outChannels, blocks, contextDim, layers, groups });
    const { attentionLevels: attended = channels.map((_, level) => level).slice(0, -1) } = options;
    checkLevels(owner, attended, channels.length);
    const heads = headsOfLevels(options.heads ?? 8, channels.length);
    this.inChannels = inChannels;
    this.contextDim = contextDim;
    const timeDim = timeFactor * base;
    const residual = (from: number, to: number): ResidualBlock =>
      new ResidualBlock(from, { outChannels: to, timeDim, dropout, groups, eps });
    const transformer = (width: number, level: number): SpatialTransformer =>
      new SpatialTransformer(width, {
        heads: heads[level] as number,
        contextDim,
        layers,
        linearProjection,
        groups,
        dropout,
      });
    const stage = (from: number, to: number, level: number): Stage =>
      new Stage(residual(from, to), attended.includes(level) ? transformer(to, level) : null);

    this.time = new TimestepEmbedding(base, timeDim, sinusoids);
    this.first = new Conv2d(inChannels, base, 3, { padding: 1 });
    const { down, up } = makeLevels({ channels, blocks, stage });
    this.down = down;
    const inner = new Stage(residual(deepest, deepest), transformer(deepest, channels.length - 1));
    this.middle = [inner, residual(deepest, deepest)];
    this.up = up;
    this.norm = new GroupNorm(fittingGroups(base, groups), base, { silu: true, eps });
    this.last = new Conv2d(base, outChannels, 3, { padding: 1 });
  }

  /** @throws ShapeError when an operand does not fit. */
  forward(x: Tensor, t: Tensor, context: Tensor): Tensor {
    this.check(x, t, context);
    const time = this.time.forward(t);
    const first = this.first.forward(x);
    const told = context.cast(first.dtype);
    const [inner, outer] = this.middle;
    const h = passLevels(this, first, {
      stage: (stage, h) => stage.forward(h, time, told),
      middle: (h) => outer.forward(inner.forward(h, time, told), time),
    });
    return this.last.forward(this.norm.forward(h));
  }

  private check(x: Tensor, t: Tensor, context: Tensor): void {
    for (const [name, value] of Object.entries({ x, t, context })) checkTensor("UNet2DConditionModel", name, value);
    const n = x.shape[0];
    const { inChannels, contextDim } = this;
    const fits = x.rank === 4 && x.dim(3) === inChannels && t.rank === 1 && t.dim(0) === n && context.rank === 3;
    if (!fits || context.dim(0) !== n || context.dim(2) !== contextDim)
      throw new ShapeError(
        `UNet2DConditionModel: expected x [N, H, W, ${inChannels}], t [N] and context [N, K, ${contextDim}], got ${[x, t, context].map(({ shape }) => showShape(shape)).join(", ")}`,
      );
  }
}

/** @throws UsageError unless there is one number or one for each level. */
function headsOfLevels(heads: number | readonly number[], count: number): readonly number[] {
  const list = typeof heads === "number" ? Array.from({ length: count }, () => heads) : heads;
  if (list.length !== count)
    throw new UsageError(`UNet2DConditionModel: heads for ${list.length} levels, channels for ${count}`);
  checkCounts("UNet2DConditionModel", Object.fromEntries(list.map((number, level) => [`heads[${level}]`, number])));
  return list;
}
