// Pooling layers, channels last.

import { avgPool, maxPool, type Tensor } from "@figment/tensor";
import { Module } from "../module.js";
import type { Pair } from "./conv.js";

/** Options of {@link MaxPool2d} and {@link AvgPool2d}. */
export interface Pool2dOptions {
  /** Default: the kernel. */
  readonly stride?: Pair;
  /** Rows and columns around the image: a number, or [height, width]. Default 0. */
  readonly padding?: Pair;
}

/**
 * The largest element of each window: [N,H,W,C] → [N,Ho,Wo,C] with Ho = ⌊(H + 2·padding − kernel) / stride⌋ + 1.
 * Padding takes no part, and must be smaller than the kernel.
 *
 * @example
 * new MaxPool2d(2).forward(rng(0).normal([1, 8, 8, 3])); // [1, 4, 4, 3]
 */
export class MaxPool2d extends Module {
  constructor(
    readonly kernelSize: Pair,
    readonly options: Pool2dOptions = {},
  ) {
    super();
  }

  /** @throws ShapeError when the window does not fit. */
  forward(x: Tensor): Tensor {
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
  constructor(
    readonly kernelSize: Pair,
    readonly options: Pool2dOptions = {},
  ) {
    super();
  }

  /** @throws ShapeError when the window does not fit. */
  forward(x: Tensor): Tensor {
    return avgPool(x, { kernel: this.kernelSize, ...this.options });
  }
}
