// The residual block of DDPM's U-Net (Ho et al. 2020, appendix B; Dhariwal & Nichol 2021 for scale and shift).

import { checkObject, checkTensor, silu, type Tensor, UsageError } from "@figment/tensor";
import { checkCounts, checkFractions } from "../checks.js";
import { zeroInit } from "../initialisers.js";
import { Module } from "../module.js";
import { fittingGroups } from "./attention.js";
import { Conv2d } from "./conv.js";
import { Dropout } from "./dropout.js";
import { Linear } from "./linear.js";
import { GroupNorm } from "./norm.js";

/** Options of {@link ResidualBlock}. */
export interface ResidualBlockOptions {
  /** Default: as many as come in. */
  readonly outChannels?: number;
  /** Channels of the conditioning vector, if the block takes one. */
  readonly timeDim?: number;
  /** Whether the vector scales and shifts the second normalisation instead of adding a bias. Default false. */
  readonly scaleShift?: boolean;
  /** Default 0. */
  readonly dropout?: number;
  /** Groups of the normalisations. Default 8, or the largest common divisor with the channels. */
  readonly groups?: number;
  /** Added to the variances in them. Default 1e-5. */
  readonly eps?: number;
}

/**
 * GroupNorm+SiLU, 3×3 convolution, conditioning, GroupNorm+SiLU, dropout, 3×3 convolution, and a shortcut
 * around them (a 1×1 convolution where the channels change): [N,H,W,C] → [N,H,W,out]. The last convolution
 * starts at zero, so the block starts as its shortcut.
 *
 * @example
 * const block = new ResidualBlock(16, { outChannels: 32, timeDim: 64 }).init(rng(0));
 * block.forward(rng(1).normal([2, 8, 8, 16]), rng(2).normal([2, 64])); // [2, 8, 8, 32]
 */
export class ResidualBlock extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly time: Linear | null;
  readonly norm2: GroupNorm;
  readonly dropout: Dropout | null;
  readonly conv2: Conv2d;
  readonly shortcut: Conv2d | null;
  readonly scaleShift: boolean;

  /** @throws UsageError when a number is out of range. */
  constructor(channels: number, options: ResidualBlockOptions = {}) {
    super();
    const {
      outChannels = channels,
      timeDim,
      scaleShift = false,
      dropout = 0,
      groups,
      eps,
    } = checkObject("ResidualBlock", "options", options);
    checkCounts("ResidualBlock", { channels, outChannels, ...(timeDim === undefined ? {} : { timeDim }) });
    checkFractions("ResidualBlock", { dropout });
    this.scaleShift = scaleShift;
    this.norm1 = new GroupNorm(fittingGroups(channels, groups), channels, { silu: true, eps });
    this.conv1 = new Conv2d(channels, outChannels, 3, { padding: 1 });
    this.time = timeDim !== undefined ? new Linear(timeDim, scaleShift ? 2 * outChannels : outChannels) : null;
    // With scale and shift in between, SiLU cannot be part of the normalisation's kernel.
    this.norm2 = new GroupNorm(fittingGroups(outChannels, groups), outChannels, { silu: !scaleShift, eps });
    this.dropout = dropout > 0 ? new Dropout(dropout) : null;
    this.conv2 = new Conv2d(outChannels, outChannels, 3, { padding: 1, weightInit: zeroInit, biasInit: zeroInit });
    this.shortcut = outChannels === channels ? null : new Conv2d(channels, outChannels, 1);
  }

  /** @throws UsageError when a conditioning vector is given to a block without `timeDim`, or missing from one with it. */
  forward(x: Tensor, condition?: Tensor): Tensor {
    checkTensor("ResidualBlock", "x", x);
    if ((condition === undefined) !== (this.time === null)) {
      throw new UsageError("ResidualBlock: a conditioning vector is given exactly when the block has a timeDim");
    }
    const h = this.conv1.forward(this.norm1.forward(x));
    const vector = this.time && condition && this.time.forward(silu(condition)).cast(h.dtype);
    const active = vector ? this.modulate(h, vector) : this.norm2.forward(h);
    const dropped = this.dropout ? this.dropout.forward(active) : active;
    const residual = this.conv2.forward(dropped);
    return residual.add(this.shortcut ? this.shortcut.forward(x) : x);
  }

  private modulate(h: Tensor, vector: Tensor): Tensor {
    const n = h.dim(0);
    const channels = h.dim(3);
    if (!this.scaleShift) return this.norm2.forward(h.add(vector.reshape([n, 1, 1, channels])));
    const scale = vector.slice([0, 0], [n, channels]).reshape([n, 1, 1, channels]);
    const shift = vector.slice([0, channels], [n, channels]).reshape([n, 1, 1, channels]);
    return silu(this.norm2.forward(h).mul(scale.add(1)).add(shift));
  }
}
