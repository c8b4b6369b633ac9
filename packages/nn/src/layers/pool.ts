// Pooling layers, channels last.

import { avgPool, checkObject, checkTensor, maxPool, show, type Tensor, UsageError } from "@figment/tensor";
import { checkPairs, type Pair, pairOf } from "../checks.js";
import { Module } from "../module.js";

/** Options of {@link MaxPool2d} and {@link AvgPool2d}. */
export interface Pool2dOptions {
  /** Default: the kernel. */
  readonly stride?: Pair;
  /** Rows and columns around the image: a number, or [height, width]. Default 0. */
  readonly padding?: Pair;
}

function checkPool(owner: string, kernelSize: Pair, options: Pool2dOptions): void {
  const { stride = kernelSize, padding = 0 } = checkObject(owner, "options", options);
  checkPairs(owner, { kernelSize, stride });
  checkPairs(owner, { padding }, 0);
}

/**
 * The largest element of each window: [N,H,W,C] → [N,Ho,Wo,C] with Ho = ⌊(H + 2·padding − kernel) / stride⌋ + 1.
 * Padding takes no part, and must be smaller than the kernel.
 *
 * @example
 * new MaxPool2d(2).forward(rng(0).normal([1, 8, 8, 3])); // [1, 4, 4, 3]
 */
export class MaxPool2d extends Module {
  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly kernelSize: Pair,
    readonly options: Pool2dOptions = {},
  ) {
    super();
    checkPool("MaxPool2d", kernelSize, options);
    const [kernel, padding] = [pairOf(kernelSize), pairOf(options.padding ?? 0)];
    if (padding.some((sides, axis) => sides >= (kernel[axis] as number)))
      throw new UsageError(
        `MaxPool2d: padding must be smaller than the kernel, got ${show(padding)} and ${show(kernel)}`,
      );
  }

  /** @throws ShapeError when the window does not fit. */
  forward(x: Tensor): Tensor {
    checkTensor("MaxPool2d", "x", x);
    return maxPool(x, { kernel: this.kernelSize, ...this.options });
  }
}

/**
 * The mean of each window: [N,H,W,C] → [N,Ho,Wo,C] with Ho = ⌊(H + 2·padding − kernel) / stride⌋ + 1. Padding counts
 * as zeros.
 *
 * @example
 * new AvgPool2d(3, { stride: 2, padding: 1 }).forward(rng(0).normal([1, 8, 8, 3])); // [1, 4, 4, 3]
 */
export class AvgPool2d extends Module {
  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly kernelSize: Pair,
    readonly options: Pool2dOptions = {},
  ) {
    super();
    checkPool("AvgPool2d", kernelSize, options);
  }

  /** @throws ShapeError when the window does not fit. */
  forward(x: Tensor): Tensor {
    checkTensor("AvgPool2d", "x", x);
    return avgPool(x, { kernel: this.kernelSize, ...this.options });
  }
}
