// Fully connected layer.

import { matmul, ShapeError, type Tensor } from "@figment/tensor";
import { checkCounts } from "../checks.js";
import { fanInUniform, type Initialiser } from "../initialisers.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link Linear}. */
export interface LinearOptions {
  /** Whether to add a bias. Default true. */
  readonly bias?: boolean;
  /** Default U(−1/√in, 1/√in). */
  readonly weightInit?: Initialiser;
  /** Default U(−1/√in, 1/√in). */
  readonly biasInit?: Initialiser;
}

/**
 * y = x·Wᵀ + b over the last axis: [..., in] → [..., out]. Weight [out, in], bias [out].
 *
 * @example
 * const layer = new Linear(3, 2).init(rng(0));
 * layer.forward(tensor([[1, 2, 3]])); // [1, 2]
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: LinearOptions = {},
  ) {
    super();
    checkCounts("Linear", { inFeatures, outFeatures });
    const { bias = true, weightInit = fanInUniform(inFeatures), biasInit = fanInUniform(inFeatures) } = options;
    this.weight = new Parameter({ shape: [outFeatures, inFeatures], init: weightInit, name: "Linear.weight" });
    this.bias = bias ? new Parameter({ shape: [outFeatures], init: biasInit, name: "Linear.bias" }) : null;
  }

  /** @throws ShapeError when the last axis of x is not `inFeatures`. */
  forward(x: Tensor): Tensor {
    if (x.shape.at(-1) !== this.inFeatures) {
      throw new ShapeError(`Linear: expected x of shape [..., ${this.inFeatures}], got [${x.shape.join(", ")}]`);
    }
    const rows = x.rank === 2 ? x : x.reshape([x.size / this.inFeatures, this.inFeatures]);
    const product = matmul(rows, this.weight.as(x.dtype), { transposeB: true });
    const y = this.bias ? product.add(this.bias.as(x.dtype)) : product;
    return x.rank === 2 ? y : y.reshape([...x.shape.slice(0, -1), this.outFeatures]);
  }

  /** Multiplications and additions of one call, as summaries count them. */
  flops(inputs: readonly unknown[]): number {
    const [x] = inputs as [Tensor];
    return 2 * x.size * this.outFeatures;
  }
}
