// The activations that matmul and convolution kernels can apply to their result.

import type { Tensor } from "../core/tensor.js";
import { relu, silu } from "./elementwise.js";

/** An activation that a kernel applies to its result before storing it. */
export type Activation = "none" | "silu" | "relu";

/** The number of each activation in kernel parameters. */
export const activationCode: Readonly<Record<Activation, number>> = { none: 0, silu: 1, relu: 2 };

/** Applies an activation by name. */
export const activate = (x: Tensor, activation: Activation): Tensor =>
  activation === "silu" ? silu(x) : activation === "relu" ? relu(x) : x;
