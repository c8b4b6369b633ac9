// RMSProp (Tieleman & Hinton 2012, lecture 6.5), plain and centred (Graves 2013, eq. 38–45).

import { checkOptions, rmspropUpdate } from "@figment/tensor";
import { checkFlags, checkFractions, checkNotNegative } from "../checks.js";
import { type GroupUpdate, Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { Trainable } from "./slots.js";

/** Constants of {@link RMSProp}. The learning rate defaults to 1e-2, weight decay to 0. */
export interface RMSPropOptions extends OptimizerOptions {
  /** Decay of the moving averages. Default 0.99. */
  readonly alpha?: number;
  /** Added to the root. Default 1e-8. */
  readonly eps?: number;
  /** How much of the last step each step keeps. Default 0. */
  readonly momentum?: number;
  /** Divide by the root of the gradient's variance instead of its mean square. Default false. */
  readonly centered?: boolean;
}

/**
 * RMSProp in PyTorch's formula: s ← α·s + (1 − α)·g², p ← p − lr·g / (√s + eps); centred, the root is that of s − m²
 * with the average gradient m; with momentum, b ← μ·b + g / (√s + eps) and p ← p − lr·b.
 *
 * @example
 * const critic = new Linear(2, 1).init(rng(0));
 * const optimizer = new RMSProp(critic, { lr: 5e-5 });
 */
export class RMSProp extends Optimizer {
  readonly alpha: number;
  readonly eps: number;
  readonly momentum: number;
  readonly centered: boolean;

  /** @throws UsageError when there is nothing to train or a constant is out of range. */
  constructor(target: Trainable, options: RMSPropOptions = {}) {
    checkOptions(new.target.name, options, ["lr", "weightDecay", "groups", "alpha", "eps", "momentum", "centered"]);
    const { lr = 1e-2, alpha = 0.99, eps = 1e-8, momentum = 0, centered = false } = options;
    super(target, { ...options, lr }, ["square", ...(centered ? ["mean"] : []), ...(momentum === 0 ? [] : ["buffer"])]);
    checkFractions(this.constructor.name, { alpha, momentum });
    checkNotNegative(this.constructor.name, { eps });
    checkFlags(this.constructor.name, { centered });
    this.alpha = alpha;
    this.eps = eps;
    this.momentum = momentum;
    this.centered = centered;
  }

  protected override apply({ states, step: _, ...update }: GroupUpdate): void {
    const { alpha, eps, momentum, centered } = this;
    rmspropUpdate({
      ...update,
      alpha,
      eps,
      momentum,
      squares: states("square"),
      ...(centered ? { means: states("mean") } : {}),
      ...(momentum === 0 ? {} : { buffers: states("buffer") }),
    });
  }
}
