// The parametric ReLU (He et al. 2015, "Delving deep into rectifiers", eq. 1).

import { checkCounts, constantInit, Module, Parameter } from "@figment/nn";
import { relu, scope, type Tensor } from "@figment/tensor";

/**
 * x where positive, aₖ·x elsewhere, with one learned slope aₖ for each channel k (He et al. 2015, eq. 1): max(0, x) −
 * aₖ·max(0, −x). [..., C] → [..., C]; weight [C], 0.25 at first.
 *
 * @example
 * new PRelu(2).init(rng(0)).forward(tensor([[-4, 2]])).sum(); // 1
 */
export class PRelu extends Module {
  readonly weight: Parameter;

  /** @throws UsageError unless the number of channels is an integer of at least 1. */
  constructor(channels: number) {
    super();
    checkCounts("PRelu", { channels });
    this.weight = new Parameter({ shape: [channels], init: constantInit(0.25), name: "PRelu.weight" });
  }

  forward(x: Tensor): Tensor {
    return scope(() => relu(x).sub(relu(x.neg()).mul(this.weight.as(x.dtype))));
  }
}
