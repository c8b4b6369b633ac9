// Stochastic gradient descent (Robbins & Monro 1951), with momentum and Nesterov's form of it.

import { checkOptions, sgdUpdate, UsageError } from "@figment/tensor";
import { checkFlags, checkFractions } from "../checks.js";
import { type GroupUpdate, Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { Trainable } from "./slots.js";

/** Constants of {@link SGD}. The learning rate defaults to 1e-3, weight decay to 0. */
export interface SGDOptions extends OptimizerOptions {
  /** How much of the last step each step keeps. Default 0. */
  readonly momentum?: number;
  /** Step from where the momentum leads (Sutskever et al. 2013). Default false. */
  readonly nesterov?: boolean;
}

/**
 * Gradient descent in PyTorch's formula: g ← g + λ·p, b ← μ·b + g, p ← p − lr·b; with Nesterov p ← p − lr·(g + μ·b).
 * Without momentum it keeps no state.
 *
 * @example
 * const optimizer = new SGD(model, { lr: 0.1, momentum: 0.9, nesterov: true });
 */
export class SGD extends Optimizer {
  readonly momentum: number;
  readonly nesterov: boolean;

  /** @throws UsageError when there is nothing to train, a constant is out of range, or Nesterov has no momentum. */
  constructor(target: Trainable, options: SGDOptions = {}) {
    checkOptions(new.target.name, options, ["lr", "weightDecay", "groups", "momentum", "nesterov"]);
    const { lr = 1e-3, momentum = 0, nesterov = false } = options;
    super(target, { ...options, lr }, momentum === 0 ? [] : ["buffer"]);
    checkFractions(this.constructor.name, { momentum });
    checkFlags(this.constructor.name, { nesterov });
    if (nesterov && momentum === 0) throw new UsageError(`${this.constructor.name}: nesterov needs momentum`);
    this.momentum = momentum;
    this.nesterov = nesterov;
  }

  protected override apply({ states, step: _, ...update }: GroupUpdate): void {
    const { momentum, nesterov } = this;
    sgdUpdate({ ...update, momentum, nesterov, ...(momentum === 0 ? {} : { buffers: states("buffer") }) });
  }
}
