// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019).

import { adamUpdate, checkArray, checkObject, checkOptions } from "@figment/tensor";
import { checkFractions, checkNotNegative } from "../checks.js";
import { type GroupUpdate, Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { Trainable } from "./slots.js";

/** Constants of Adam. The learning rate defaults to 1e-3, weight decay to 0 for Adam and 0.01 for AdamW. */
export interface AdamOptions extends OptimizerOptions {
  /** Decay of the moving averages of the gradient and of its square. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the denominator. Default 1e-8. */
  readonly eps?: number;
}

/**
 * Adam with L2 regularisation through the gradient (Kingma & Ba 2015, algorithm 1), in PyTorch's formula:
 * p ← p − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps).
 *
 * @example
 * const model = new Linear(2, 1).init(rng(0));
 * const optimizer = new Adam(model, { lr: 1e-2 });
 * const loss = optimizer.minimize(() => mse(model.forward(tensor([[1, 2]])), tensor([[3]])));
 */
export class Adam extends Optimizer {
  protected readonly decoupled: boolean = false;
  private readonly betas: readonly [number, number];
  private readonly eps: number;

  /** @throws UsageError when there is nothing to train, two parameters share a path, or a constant is out of range. */
  constructor(target: Trainable, options: AdamOptions = {}) {
    checkOptions(new.target.name, options, ["lr", "weightDecay", "groups", "betas", "eps"]);
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8 } = options;
    checkArray(new.target.name, "betas", betas);
    super(target, { ...options, lr }, ["m", "v"]);
    checkFractions(this.constructor.name, { "betas[0]": betas[0], "betas[1]": betas[1] });
    checkNotNegative(this.constructor.name, { eps });
    this.betas = betas;
    this.eps = eps;
  }

  protected override apply({ states, ...update }: GroupUpdate): void {
    const { betas, eps, decoupled } = this;
    const [beta1, beta2] = betas;
    adamUpdate({ ...update, m: states("m"), v: states("v"), beta1, beta2, eps, decoupled });
  }
}

/**
 * Adam whose weight decay acts on the weights directly, p ← p − lr·λ·p, and not through the gradient
 * (Loshchilov & Hutter 2019, algorithm 2). Weight decay defaults to 0.01.
 *
 * @example
 * const optimizer = new AdamW(model, { lr: 1e-3, groups: [vectorsWithoutDecay] });
 */
export class AdamW extends Adam {
  protected override readonly decoupled = true;

  constructor(target: Trainable, options: AdamOptions = {}) {
    super(target, { ...options, weightDecay: checkObject(new.target.name, "options", options).weightDecay ?? 0.01 });
  }
}
