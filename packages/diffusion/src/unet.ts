// The U-Net of DDPM (Ho et al. 2020, appendix B): residual blocks that are told the time, attention at chosen
// resolutions, and skip connections from the way down to the way up.

import {
  Conv2d,
  checkCounts,
  checkFlags,
  checkFractions,
  type Downsample,
  Embedding,
  fittingGroups,
  GroupNorm,
  Module,
  ResidualBlock,
  type ResidualBlockOptions,
  SelfAttention2d,
  type SinusoidOptions,
  TimestepEmbedding,
  type Upsample,
  zeroInit,
} from "@figment/nn";
import { checkArray, checkObject, checkTensor, ShapeError, showShape, type Tensor, UsageError } from "@figment/tensor";
import { checkLevels, type Level, makeLevels, outerChannels, passLevels } from "./levels.js";
import { patchify, unpatchify } from "./patch.js";

/** What a {@link UNet} looks like. */
export interface UNetOptions {
  readonly inChannels: number;
  /** Default: as many as come in. */
  readonly outChannels?: number;
  /** Channels of each level, the finest first; each level halves the resolution of the one before. */
  readonly channels: readonly number[];
  /** Residual blocks of each level on the way down; one more on the way up. Default 1. */
  readonly blocks?: number;
  /**
   * Resolutions (heights of feature maps) with attention after each residual block. If any is given, the middle has
   * attention too. Default none.
   */
  readonly attention?: readonly number[];
  /** Levels with attention after each residual block, the finest 0, in place of their resolutions. */
  readonly attentionLevels?: readonly number[];
  /** Whether the middle has attention. Default: if any level has. */
  readonly middleAttention?: boolean;
  /**
   * Height of the images for which `attention` is meant. Default: that for which the smallest resolution in
   * `attention` is the coarsest level's.
   */
  readonly imageSize?: number;
  /** Default 1. */
  readonly heads?: number;
  /** Channels of each head, in place of their number. */
  readonly headDim?: number;
  /** Default 0. */
  readonly dropout?: number;
  /** Channels of the time embedding. Default 4 × channels[0]. */
  readonly timeDim?: number;
  /** Groups of the normalisations. Default 8, or the largest common divisor with the channels. */
  readonly groups?: number;
  /** Added to the variances in them. Default 1e-5. */
  readonly normEps?: number;
  /** How the sinusoids of the timestep are arranged. Default as Ho et al. 2020. */
  readonly sinusoids?: SinusoidOptions;
  /** Where zeros are put around images before their resolution is halved. Default "around". */
  readonly downsamplePadding?: "around" | "end";
  /** Whether the timestep scales and shifts the normalised values instead of adding a bias (Dhariwal & Nichol 2021). Default false. */
  readonly scaleShift?: boolean;
  /** Number of classes of a class-conditional network, whose labels i32 [N] are then the third argument. Default: none. */
  readonly classes?: number;
  /** Whether one more label, `nullLabel`, stands for no class, as guidance without a classifier needs it. Default false. */
  readonly nullClass?: boolean;
  /** Pixels are folded into channels by patches of this side first, so that the network is as much smaller. Default 1. */
  readonly patch?: number;
}

/** A residual block with attention after it where the level has some. */
class Stage extends Module {
  readonly block: ResidualBlock;
  readonly attention: SelfAttention2d | null;

  constructor(
    channels: number,
    options: ResidualBlockOptions & { readonly outChannels: number },
    heads: number | null,
  ) {
    super();
    this.block = new ResidualBlock(channels, options);
    this.attention =
      heads === null
        ? null
        : new SelfAttention2d(options.outChannels, { heads, groups: options.groups, eps: options.eps });
  }

  forward(x: Tensor, time: Tensor): Tensor {
    checkTensor("Stage", "x", x);
    const h = this.block.forward(x, time);
    return this.attention ? this.attention.forward(h) : h;
  }
}

/**
 * Predicts from noisy images x [N,H,W,inChannels] and their timesteps t (i32 [N]) a tensor [N,H,W,outChannels].
 * Starts at zero: the last convolution does.
 *
 * @example
 * const net = new UNet({ inChannels: 1, channels: [16, 32], attention: [4] }).init(rng(0));
 * net.forward(rng(1).normal([2, 8, 8, 1]), tensor([3, 700], { dtype: "i32" })); // [2, 8, 8, 1]
 */
export class UNet extends Module {
  readonly patch: number;
  readonly inChannels: number;
  readonly time: TimestepEmbedding;
  readonly label: Embedding | null;
  /** The label that stands for no class; null where there is none. */
  readonly nullLabel: number | null;
  readonly first: Conv2d;
  readonly down: readonly Level<Stage, Downsample>[];
  readonly middle: readonly [Stage, ResidualBlock];
  readonly up: readonly Level<Stage, Upsample>[];
  readonly norm: GroupNorm;
  readonly last: Conv2d;
  /** Height that each level with attention was meant for when no image size was given; 0 for the others. */
  private readonly expected: readonly number[];

  /** @throws UsageError when a number is out of range, there are no channels, or `attention` names a resolution that no level has. */
  constructor(readonly options: UNetOptions) {
    super();
    const {
      inChannels,
      outChannels = inChannels,
      channels,
      blocks = 1,
      attention = [],
      heads = 1,
      headDim,
    } = checkObject("UNet", "options", options, "inChannels", "channels");
    const { dropout = 0, groups, patch = 1, imageSize, scaleShift = false, classes, nullClass = false } = options;
    const [base, deepest] = outerChannels("UNet", channels);
    checkArray("UNet", "attention", attention);
    const { timeDim = 4 * base } = options;
    checkCounts("UNet", { inChannels, outChannels, blocks, heads, patch, timeDim });
    const { attentionLevels, normEps: eps, sinusoids, downsamplePadding: padding } = options;
    for (const [name, count] of Object.entries({ groups, imageSize, classes, headDim }))
      if (count !== undefined) checkCounts("UNet", { [name]: count });
    checkFractions("UNet", { dropout });
    checkFlags("UNet", { scaleShift, nullClass });
    const sizes = levelSizes(channels.length, attention, imageSize, patch);
    this.expected = sizes.map((size) => (imageSize === undefined && attention.includes(size) ? size : 0));
    this.patch = patch;
    this.inChannels = inChannels;
    const attended = attentionLevels ?? sizes.flatMap((size, level) => (attention.includes(size) ? [level] : []));
    checkLevels("UNet", attended, channels.length);
    if (attentionLevels && attention.length > 0)
      throw new UsageError("UNet: give attention or attentionLevels, not both");
    const headsOf = (width: number): number => headsFor(width, heads, headDim);
    const stage = (from: number, to: number, level: number): Stage => {
      const block = { outChannels: to, timeDim, dropout, groups, eps, scaleShift };
      return new Stage(from, block, attended.includes(level) ? headsOf(to) : null);
    };

    this.time = new TimestepEmbedding(base, timeDim, sinusoids);
    if (nullClass && classes === undefined) throw new UsageError("UNet: nullClass is for networks with classes");
    this.nullLabel = classes !== undefined && nullClass ? classes : null;
    this.label = classes === undefined ? null : new Embedding(nullClass ? classes + 1 : classes, timeDim);
    this.first = new Conv2d(inChannels * patch ** 2, base, 3, { padding: 1 });
    const { down, up } = makeLevels({ channels, blocks, stage, padding });
    this.down = down;
    const block = { outChannels: deepest, timeDim, dropout, groups, eps, scaleShift };
    const { middleAttention = attended.length > 0 } = options;
    checkFlags("UNet", { middleAttention });
    this.middle = [
      new Stage(deepest, block, middleAttention ? headsOf(deepest) : null),
      new ResidualBlock(deepest, { timeDim, dropout, groups, eps, scaleShift }),
    ];
    this.up = up;
    this.norm = new GroupNorm(fittingGroups(base, groups), base, { silu: true, eps });
    this.last = new Conv2d(base, outChannels * patch ** 2, 3, { padding: 1, weightInit: zeroInit, biasInit: zeroInit });
  }

  /** @throws ShapeError when x does not fit, or is of another size than `attention` was meant for. */
  forward(x: Tensor, t: Tensor, label?: Tensor): Tensor {
    checkTensor("UNet", "x", x);
    checkTensor("UNet", "t", t);
    const [n, , , c] = x.dims(4);
    if (c !== this.inChannels || t.rank !== 1 || t.dim(0) !== n) {
      throw new ShapeError(
        `UNet: expected x [N, H, W, ${this.inChannels}] and t [N], got ${showShape(x.shape)} and ${showShape(t.shape)}`,
      );
    }
    if ((label === undefined) !== (this.label === null)) {
      throw new UsageError(
        `UNet: labels are given exactly when the network has classes; it has ${this.label ? "some" : "none"}`,
      );
    }
    const when = this.time.forward(t);
    const time = this.label && label ? when.add(this.label.forward(label).cast(when.dtype)) : when;
    const [inner, outer] = this.middle;
    const h = passLevels(this, this.first.forward(this.patch === 1 ? x : patchify(x, this.patch)), {
      enter: (level, h) => this.checkSize(level, h),
      stage: (stage, h) => stage.forward(h, time),
      middle: (h) => outer.forward(inner.forward(h, time), time),
    });
    const out = this.last.forward(this.norm.forward(h));
    return this.patch === 1 ? out : unpatchify(out, this.patch);
  }

  private checkSize(level: number, h: Tensor): void {
    const expected = this.expected[level];
    if (!expected || h.dim(1) === expected) return;
    throw new ShapeError(
      `UNet: attention at ${expected}×${expected} was taken to be level ${level}, which is ${h.dim(1)}×${h.dim(2)} for these images; set imageSize`,
    );
  }
}

function headsFor(width: number, heads: number, headDim: number | undefined): number {
  if (headDim === undefined) return heads;
  if (width % headDim !== 0) throw new UsageError(`UNet: ${width} channels do not divide into heads of ${headDim}`);
  return width / headDim;
}

/** Heights of the levels' feature maps, each half of the one before, rounded up. */
function levelSizes(
  levels: number,
  attention: readonly number[],
  imageSize: number | undefined,
  patch: number,
): readonly number[] {
  const finest = imageSize === undefined ? Math.min(...attention) * 2 ** (levels - 1) : imageSize / patch;
  const sizes = Array.from({ length: levels }, (_, level) => Math.ceil(finest / 2 ** level));
  const missing = attention.filter((size) => !sizes.includes(size));
  if (attention.length > 0 && missing.length > 0) {
    throw new UsageError(
      `UNet: attention at ${missing.join(", ")}, but the levels are ${sizes.join(", ")}; set imageSize`,
    );
  }
  return sizes;
}
