// Two-dimensional convolution, channels last.

import { checkTensor, conv2d, sizeOf, type Tensor } from "@figment/tensor";
import {
  checkCounts,
  checkDivisible,
  checkFlags,
  checkPadding,
  checkPairs,
  type Padding,
  type Pair,
  pairOf,
} from "../checks.js";
import { fanInUniform, type Initialiser } from "../initialisers.js";
import { channelsFirst, type TorchMember } from "../interchange/layout.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link Conv2d}. */
export interface Conv2dOptions {
  /** Default 1. */
  readonly stride?: Pair;
  /** Rows and columns of zeros on each side, or [[top, bottom], [left, right]]. Default 0. */
  readonly padding?: Padding;
  /** Default 1. */
  readonly dilation?: Pair;
  /** Channels are split into this many groups, each convolved by itself. Default 1. */
  readonly groups?: number;
  /** Whether to add a bias. Default true. */
  readonly bias?: boolean;
  /** Default U(−b, b), b = 1/√(kH·kW·in/groups). */
  readonly weightInit?: Initialiser;
  /** Default as the weight's. */
  readonly biasInit?: Initialiser;
}

/**
 * Convolution (cross-correlation, as everywhere in the field): [N,H,W,in] → [N,Ho,Wo,out] with
 * Ho = ⌊(H + padding − dilation·(kH − 1) − 1) / stride⌋ + 1, padding that of both sides. Weight [out, kH, kW, in/groups], bias
 * [out].
 *
 * @example
 * const layer = new Conv2d(3, 8, 3, { padding: 1 }).init(rng(0));
 * layer.forward(rng(1).normal([1, 16, 16, 3])); // [1, 16, 16, 8]
 */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly stride: Pair;
  readonly padding: Padding;
  readonly dilation: Pair;
  readonly groups: number;

  /** @throws UsageError when a number is out of range or the channels do not divide into the groups. */
  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly kernelSize: Pair,
    options: Conv2dOptions = {},
  ) {
    super();
    const { stride = 1, padding = 0, dilation = 1, groups = 1, bias = true } = options;
    checkCounts("Conv2d", { inChannels, outChannels, groups });
    checkPairs("Conv2d", { kernelSize, stride, dilation });
    checkPadding("Conv2d", padding);
    checkFlags("Conv2d", { bias });
    checkDivisible("Conv2d", "channels", [inChannels, outChannels], groups, "groups");
    this.stride = stride;
    this.padding = padding;
    this.dilation = dilation;
    this.groups = groups;
    const [kh, kw] = pairOf(kernelSize);
    const shape = [outChannels, kh, kw, inChannels / groups];
    const fallback = fanInUniform((kh * kw * inChannels) / groups);
    const { weightInit = fallback, biasInit = fallback } = options;
    this.weight = new Parameter({ shape, init: weightInit, name: "Conv2d.weight" });
    this.bias = bias ? new Parameter({ shape: [outChannels], init: biasInit, name: "Conv2d.bias" }) : null;
  }

  /** @throws ShapeError when x is not [N,H,W,inChannels] or smaller than the kernel. */
  forward(x: Tensor): Tensor {
    checkTensor("Conv2d", "x", x);
    const { stride, padding, dilation, groups } = this;
    const options = { stride, padding, dilation, groups };
    return conv2d(x, this.weight.as(x.dtype), this.bias ? { ...options, bias: this.bias.as(x.dtype) } : options);
  }

  override torchMember(name: string): TorchMember {
    return name === "weight" ? { name, layout: channelsFirst } : { name };
  }

  /** Multiplications and additions of one call, as summaries count them. */
  flops(_inputs: readonly unknown[], output: unknown): number {
    const perOutput = sizeOf(this.weight.shape.slice(1));
    return 2 * (output as Tensor).size * perOutput;
  }
}
