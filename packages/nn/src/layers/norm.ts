// Group normalisation (Wu & He 2018), with SiLU fused on request.

import { checkTensor, groupNorm, type Tensor } from "@figment/tensor";
import { checkCounts, checkDivisible, checkFlags, checkNotNegative } from "../checks.js";
import { oneInit, zeroInit } from "../initialisers.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link GroupNorm}. */
export interface GroupNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether to apply x·sigmoid(x) to the result, in the same kernel. Default false. */
  readonly silu?: boolean;
}

/**
 * Normalises each group of channels of each sample to mean 0 and variance 1 (biased), then scales and shifts
 * per channel: (x − μ)/√(σ² + ε)·γ + β (Wu & He 2018, eq. 1, 2, 6 and 7). [N,H,W,C] → [N,H,W,C]; weight γ [C], bias β [C].
 *
 * @example
 * const layer = new GroupNorm(2, 8, { silu: true }).init(rng(0));
 * layer.forward(rng(1).normal([1, 4, 4, 8])); // [1, 4, 4, 8]
 */
export class GroupNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly eps: number;
  readonly silu: boolean;

  /** @throws UsageError when a number is out of range or the channels do not divide into the groups. */
  constructor(
    readonly groups: number,
    readonly channels: number,
    { eps = 1e-5, silu = false }: GroupNormOptions = {},
  ) {
    super();
    checkCounts("GroupNorm", { groups, channels });
    checkNotNegative("GroupNorm", { eps });
    checkFlags("GroupNorm", { silu });
    checkDivisible("GroupNorm", "channels", [channels], groups, "groups");
    this.eps = eps;
    this.silu = silu;
    this.weight = new Parameter({ shape: [channels], init: oneInit, name: "GroupNorm.weight" });
    this.bias = new Parameter({ shape: [channels], init: zeroInit, name: "GroupNorm.bias" });
  }

  forward(x: Tensor): Tensor {
    checkTensor("GroupNorm", "x", x);
    const { groups, eps, silu } = this;
    return groupNorm(x, this.weight.as(x.dtype), this.bias.as(x.dtype), { groups, eps, silu });
  }
}
