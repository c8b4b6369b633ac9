// Normalisation of each position by itself: layer normalisation (Ba, Kiros & Hinton 2016) and its form without mean
// and shift (Zhang & Sennrich 2019).

import { checkObject, checkTensor, layerNorm, ones, rmsNorm, type Tensor, zeros } from "@figment/tensor";
import { checkCounts, checkFlags, checkNotNegative } from "../checks.js";
import { oneInit, zeroInit } from "../initialisers.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link LayerNorm}. */
export interface LayerNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether to scale and shift by trained vectors. Default true. */
  readonly affine?: boolean;
  /** Whether the affine form shifts. Default true. */
  readonly bias?: boolean;
}

/**
 * Normalises the last axis of each position to mean 0 and variance 1 (biased), then scales and shifts per channel:
 * (x − μ)/√(σ² + ε)·γ + β (Ba, Kiros & Hinton 2016, eq. 4). [..., C] → [..., C]; weight γ [C], bias β [C].
 *
 * @example
 * const layer = new LayerNorm(2).init(rng(0));
 * layer.forward(tensor([1, 3])).at(1); // 0.999995
 */
export class LayerNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: number;

  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly channels: number,
    options: LayerNormOptions = {},
  ) {
    super();
    const { eps = 1e-5, affine = true, bias = true } = checkObject("LayerNorm", "options", options);
    checkCounts("LayerNorm", { channels });
    checkNotNegative("LayerNorm", { eps });
    checkFlags("LayerNorm", { affine, bias });
    const shape = [channels];
    this.eps = eps;
    this.weight = affine ? new Parameter({ shape, init: oneInit, name: "LayerNorm.weight" }) : null;
    this.bias = affine && bias ? new Parameter({ shape, init: zeroInit, name: "LayerNorm.bias" }) : null;
  }

  /** @throws ShapeError when the last axis of x is not `channels`. */
  forward(x: Tensor): Tensor {
    checkTensor("LayerNorm", "x", x);
    const { channels, weight, bias, eps } = this;
    return layerNorm(
      x,
      weight?.as(x.dtype) ?? ones([channels], x.dtype),
      bias?.as(x.dtype) ?? zeros([channels], x.dtype),
      { eps },
    );
  }
}

/** Options of {@link RMSNorm}. */
export interface RMSNormOptions {
  /** Added to the mean square. Default 1e-5. */
  readonly eps?: number;
  /** Whether to scale by a trained vector. Default true. */
  readonly affine?: boolean;
}

/**
 * Divides each position by the root mean square of its last axis, then scales per channel: x/√(mean(x²) + ε)·γ (Zhang
 * & Sennrich 2019, eq. 4). [..., C] → [..., C]; weight γ [C].
 *
 * @example
 * const layer = new RMSNorm(2).init(rng(0));
 * layer.forward(tensor([2, -2])).at(0); // 0.999999
 */
export class RMSNorm extends Module {
  readonly weight: Parameter | null;
  readonly eps: number;

  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly channels: number,
    options: RMSNormOptions = {},
  ) {
    super();
    const { eps = 1e-5, affine = true } = checkObject("RMSNorm", "options", options);
    checkCounts("RMSNorm", { channels });
    checkNotNegative("RMSNorm", { eps });
    checkFlags("RMSNorm", { affine });
    this.eps = eps;
    this.weight = affine ? new Parameter({ shape: [channels], init: oneInit, name: "RMSNorm.weight" }) : null;
  }

  /** @throws ShapeError when the last axis of x is not `channels`. */
  forward(x: Tensor): Tensor {
    checkTensor("RMSNorm", "x", x);
    const { channels, weight, eps } = this;
    return rmsNorm(x, weight?.as(x.dtype) ?? ones([channels], x.dtype), { eps });
  }
}
