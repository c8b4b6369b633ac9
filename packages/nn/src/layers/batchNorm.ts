// Batch normalisation (Ioffe & Szegedy 2015) with running statistics.

import {
  batchNorm,
  batchNormWith,
  checkObject,
  checkTensor,
  emaUpdate,
  ones,
  ShapeError,
  type Tensor,
  zeros,
} from "@figment/tensor";
import { checkCounts, checkFlags, checkNotNegative, checkShares } from "../checks.js";
import { oneInit, zeroInit } from "../initialisers.js";
import type { TorchMember } from "../interchange/layout.js";
import { Module } from "../module.js";
import { BufferCell, Parameter } from "../parameter.js";

/** Options of {@link BatchNorm}. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Weight of the batch in the running statistics. Default 0.1. */
  readonly momentum?: number;
  /** Whether to scale and shift by trained vectors. Default true. */
  readonly affine?: boolean;
  /** Whether to keep running statistics for evaluation; without them the batch's are used there too. Default true. */
  readonly trackRunningStats?: boolean;
}

/**
 * Normalises each channel over the batch and all positions to mean 0 and variance 1 (biased), then scales and shifts:
 * (x − μ)/√(σ² + ε)·γ + β (Ioffe & Szegedy 2015, algorithm 1). [N,...,C] → [N,...,C]; weight γ [C], bias β [C].
 *
 * In training, running statistics move toward the batch's without a derivative, running ← (1 − momentum)·running +
 * momentum·batch, the variance unbiased; in evaluation they normalise.
 *
 * @example
 * const layer = new BatchNorm(1).init(rng(0));
 * layer.forward(tensor([[1], [3]])).at(1); // 0.999995
 * layer.runningMean?.value.at(0); // 0.2
 * layer.eval().forward(tensor([[0.2]])); // 0
 */
export class BatchNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly runningMean: BufferCell | null;
  readonly runningVar: BufferCell | null;
  readonly eps: number;
  readonly momentum: number;

  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly channels: number,
    options: BatchNormOptions = {},
  ) {
    super();
    const {
      eps = 1e-5,
      momentum = 0.1,
      affine = true,
      trackRunningStats = true,
    } = checkObject("BatchNorm", "options", options);
    checkCounts("BatchNorm", { channels });
    checkNotNegative("BatchNorm", { eps });
    checkFlags("BatchNorm", { affine, trackRunningStats });
    checkShares("BatchNorm", { "the momentum": momentum });
    const shape = [channels];
    this.eps = eps;
    this.momentum = momentum;
    this.weight = affine ? new Parameter({ shape, init: oneInit, name: "BatchNorm.weight" }) : null;
    this.bias = affine ? new Parameter({ shape, init: zeroInit, name: "BatchNorm.bias" }) : null;
    const buffer = (init: typeof oneInit, name: string): BufferCell | null =>
      trackRunningStats ? new BufferCell({ shape, init, name: `BatchNorm.${name}` }) : null;
    this.runningMean = buffer(zeroInit, "runningMean");
    this.runningVar = buffer(oneInit, "runningVar");
  }

  /**
   * @throws ShapeError when x is not [N, ..., channels], or when running statistics are to move and there is only one
   * value a channel.
   */
  forward(x: Tensor): Tensor {
    checkTensor("BatchNorm", "x", x);
    const { channels, weight, bias, runningMean, runningVar, eps, momentum } = this;
    const gamma = weight?.as(x.dtype) ?? ones([channels], x.dtype);
    const beta = bias?.as(x.dtype) ?? zeros([channels], x.dtype);
    if (!runningMean || !runningVar) return batchNorm(x, gamma, beta, { eps }).y;
    if (!this.training) return batchNormWith(x, gamma, beta, runningMean.as(x.dtype), runningVar.as(x.dtype), { eps });
    if (x.size / channels < 2)
      throw new ShapeError(`BatchNorm: training needs more than one value a channel, got [${x.shape.join(", ")}]`);
    const { y, mean, unbiasedVariance } = batchNorm(x, gamma, beta, { eps });
    emaUpdate(1 - momentum, [runningMean, runningVar], [mean, unbiasedVariance]);
    return y;
  }

  override torchMember(name: string): TorchMember {
    return { name: { runningMean: "running_mean", runningVar: "running_var" }[name] ?? name };
  }
}
