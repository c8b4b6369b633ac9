// Instance normalisation (Ulyanov, Vedaldi & Lempitsky 2016): group normalisation whose groups are single channels.

import { checkObject, checkTensor, groupNorm, ones, type Tensor, zeros } from "@figment/tensor";
import { checkCounts, checkNotNegative } from "../checks.js";
import { oneInit, zeroInit } from "../initialisers.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link InstanceNorm}. */
export interface InstanceNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether to scale and shift by trained vectors. Default false. */
  readonly affine?: boolean;
}

/**
 * Normalises each channel of each sample over its positions to mean 0 and variance 1 (biased), (x − μ)/√(σ² + ε), then
 * scales and shifts per channel if affine. [N,...,C] → [N,...,C]; weight γ [C], bias β [C].
 *
 * @example
 * const layer = new InstanceNorm(1);
 * layer.forward(tensor([[[1], [3]]])).max(); // 0.999995
 */
export class InstanceNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: number;

  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly channels: number,
    options: InstanceNormOptions = {},
  ) {
    super();
    const { eps = 1e-5, affine = false } = checkObject("InstanceNorm", "options", options);
    checkCounts("InstanceNorm", { channels });
    checkNotNegative("InstanceNorm", { eps });
    this.eps = eps;
    this.weight = affine ? new Parameter({ shape: [channels], init: oneInit, name: "InstanceNorm.weight" }) : null;
    this.bias = affine ? new Parameter({ shape: [channels], init: zeroInit, name: "InstanceNorm.bias" }) : null;
  }

  /** @throws ShapeError when x is not [N, ..., channels]. */
  forward(x: Tensor): Tensor {
    checkTensor("InstanceNorm", "x", x);
    const { channels, weight, bias, eps } = this;
    const gamma = weight?.as(x.dtype) ?? ones([channels], x.dtype);
    return groupNorm(x, gamma, bias?.as(x.dtype) ?? zeros([channels], x.dtype), { groups: channels, eps });
  }
}
