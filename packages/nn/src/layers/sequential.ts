// Layers applied one after another.

import { type Tensor, UsageError } from "@figment/tensor";
import type { TorchMember } from "../interchange/layout.js";
import { type Layer, Module } from "../module.js";

/** A layer, or a function of a tensor that has no parameters, such as `silu`. */
export type Stage = Layer | ((x: Tensor) => Tensor);

/**
 * Applies its stages in order.
 *
 * @example
 * const net = new Sequential(new Linear(2, 8), silu, new Linear(8, 1)).init(rng(0));
 * net.forward(tensor([[1, 2]])); // [1, 1]
 */
export class Sequential extends Module {
  readonly stages: readonly Stage[];

  constructor(...stages: readonly Stage[]) {
    super();
    for (const [i, stage] of stages.entries()) {
      if (!(stage instanceof Module) && typeof stage !== "function")
        throw new UsageError(
          `Sequential: stage ${i} is ${Array.isArray(stage) ? "an array" : String(stage)}; expected modules and functions of a tensor, one argument each`,
        );
    }
    this.stages = stages;
  }

  forward(x: Tensor): Tensor {
    return this.stages.reduce((h, stage) => (stage instanceof Module ? stage.forward(h) : stage(h)), x);
  }

  /** PyTorch calls the stages of its Sequential by their numbers alone. */
  override torchMember(name: string): TorchMember {
    return { name: name.replace(/^stages\./, "") };
  }
}
