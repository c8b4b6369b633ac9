// Transposed convolution, channels last: the derivative of a convolution with respect to its image, as a layer
// (Zeiler et al. 2010; Dumoulin & Visin 2016, chapter 4).

import { checkTensor, conv2dInputGrad, pad, ShapeError, sizeOf, type Tensor, UsageError } from "@figment/tensor";
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

/** Options of {@link ConvTranspose2d}. */
export interface ConvTranspose2dOptions {
  /** How far apart neighbouring pixels are put. Default 1. */
  readonly stride?: Pair;
  /** Rows and columns cut off the result on each side, or [[top, bottom], [left, right]]. Default 0. */
  readonly padding?: Padding;
  /** Rows and columns added at the bottom and at the right, fewer than the stride or the dilation. Default 0. */
  readonly outputPadding?: Pair;
  /** Default 1. */
  readonly dilation?: Pair;
  /** Channels are split into this many groups, each convolved by itself. Default 1. */
  readonly groups?: number;
  /** Whether to add a bias. Default true. */
  readonly bias?: boolean;
  /** Default U(−b, b), b = 1/√(kH·kW·out/groups), as in PyTorch. */
  readonly weightInit?: Initialiser;
  /** Default as the weight's. */
  readonly biasInit?: Initialiser;
}

/**
 * Transposed convolution: [N,H,W,in] → [N,Ho,Wo,out] with
 * Ho = (H − 1)·stride − padding + dilation·(kH − 1) + outputPadding + 1, padding that of both sides. Weight
 * [in, kH, kW, out/groups], which is PyTorch's [in, out/groups, kH, kW] with its channels last; bias [out].
 *
 * @example
 * const layer = new ConvTranspose2d(8, 4, 4, { stride: 2, padding: 1 }).init(rng(0));
 * layer.forward(rng(1).normal([1, 7, 7, 8])); // [1, 14, 14, 4]
 */
export class ConvTranspose2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly stride: Pair;
  readonly padding: Padding;
  readonly outputPadding: Pair;
  readonly dilation: Pair;
  readonly groups: number;

  /**
   * @throws UsageError when a number is out of range, the channels do not divide into the groups, or outputPadding is not
   * below stride or dilation.
   */
  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly kernelSize: Pair,
    options: ConvTranspose2dOptions = {},
  ) {
    super();
    const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1, bias = true } = options;
    checkCounts("ConvTranspose2d", { inChannels, outChannels, groups });
    checkPairs("ConvTranspose2d", { kernelSize, stride, dilation });
    checkPairs("ConvTranspose2d", { outputPadding }, 0);
    checkPadding("ConvTranspose2d", padding);
    checkFlags("ConvTranspose2d", { bias });
    checkDivisible("ConvTranspose2d", "channels", [inChannels, outChannels], groups, "groups");
    pairOf(outputPadding).forEach((extra, i) => {
      const limit = Math.max(pairOf(stride)[i as 0 | 1], pairOf(dilation)[i as 0 | 1]);
      if (extra >= limit) throw new UsageError(`ConvTranspose2d: outputPadding must be in [0, ${limit}), got ${extra}`);
    });
    this.stride = stride;
    this.padding = padding;
    this.outputPadding = outputPadding;
    this.dilation = dilation;
    this.groups = groups;
    const [kh, kw] = pairOf(kernelSize);
    const shape = [inChannels, kh, kw, outChannels / groups];
    const fallback = fanInUniform((kh * kw * outChannels) / groups);
    const { weightInit = fallback, biasInit = fallback } = options;
    this.weight = new Parameter({ shape, init: weightInit, name: "ConvTranspose2d.weight" });
    this.bias = bias ? new Parameter({ shape: [outChannels], init: biasInit, name: "ConvTranspose2d.bias" }) : null;
  }

  /** @throws ShapeError when x is not [N,H,W,inChannels], or when padding leaves nothing. */
  forward(x: Tensor): Tensor {
    checkTensor("ConvTranspose2d", "x", x);
    if (x.rank !== 4 || x.dim(3) !== this.inChannels) {
      throw new ShapeError(
        `ConvTranspose2d: expected x of shape [N, H, W, ${this.inChannels}], got [${x.shape.join(", ")}]`,
      );
    }
    const { stride, padding, dilation, groups } = this;
    const inputShape = [x.dim(0), this.extent(x, 0), this.extent(x, 1), this.outChannels];
    const y = conv2dInputGrad(this.extended(x), this.weight.as(x.dtype), {
      stride,
      padding,
      dilation,
      groups,
      inputShape,
    });
    return this.bias ? y.add(this.bias.as(x.dtype)) : y;
  }

  /**
   * x with zeros below and at the right, one for each whole stride in outputPadding: as many as a convolution of the result
   * would see there, whose derivative this is.
   */
  private extended(x: Tensor): Tensor {
    const [rows, columns] = ([0, 1] as const).map((axis) =>
      Math.floor(pairOf(this.outputPadding)[axis] / pairOf(this.stride)[axis]),
    ) as [number, number];
    return rows + columns === 0 ? x : pad(x, [0, 0, 0, 0], [0, rows, columns, 0]);
  }

  /** Height or width of the result. */
  private extent(x: Tensor, axis: 0 | 1): number {
    const sides = typeof this.padding === "number" ? this.padding : this.padding[axis];
    const cut = typeof sides === "number" ? 2 * sides : sides[0] + sides[1];
    const of = (pair: Pair): number => pairOf(pair)[axis];
    const extent =
      (x.dim(1 + axis) - 1) * of(this.stride) +
      of(this.dilation) * (of(this.kernelSize) - 1) +
      of(this.outputPadding) +
      1 -
      cut;
    if (extent < 1)
      throw new ShapeError(`ConvTranspose2d: the padding leaves nothing of an image from [${x.shape.join(", ")}]`);
    return extent;
  }

  override torchMember(name: string): TorchMember {
    return name === "weight" ? { name, layout: channelsFirst } : { name };
  }

  /** Multiplications and additions of one call, as summaries count them. */
  flops(inputs: readonly unknown[]): number {
    const perInput = sizeOf(this.weight.shape.slice(1));
    return 2 * (inputs[0] as Tensor).size * perInput;
  }
}
