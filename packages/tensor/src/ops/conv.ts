// Convolution over channels-last images as three bilinear primitives that share one geometry:
// conv2d(x, w), conv2dInputGrad(y, w) (the transposed convolution) and conv2dWeightGrad(x, y). The
// derivatives of each are the other two, so the triple is closed under differentiation.

import { applyOne } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { checkShape, type Shape, showShape } from "../shape.js";
import { type Activation, activationCode } from "./activation.js";
import {
  checkOptions,
  checkTensor,
  expectCount,
  expectProduct,
  expectRank,
  expectShape,
  factorsOf,
  type Pair,
  type ProductAttrs,
  pairOf,
} from "./checks.js";
import {
  type ConvGeometry,
  type ConvOptions,
  convFields,
  convParams,
  geometryKeys,
  geometryOf,
  geometryOnly,
  resultShape,
  weightLayout,
} from "./convGeometry.js";
import { convSamples } from "./convSamples.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type VjpArgs } from "./definition.js";
import { unbroadcast } from "./elementwise.js";
import {
  type EpilogueAttrs,
  epilogueFields,
  epilogueOf,
  epilogueParams,
  expectEpilogue,
  expectOperands,
  finished,
} from "./epilogue.js";
import { gradientThrough } from "./fused.js";
import { expectImage } from "./images.js";

const conv2dSchema = nativeSchema("conv2d", { ...convFields, ...epilogueFields, activation: "i32" });
const conv2dInputGradSchema = nativeSchema("conv2dInputGrad", convFields);
const conv2dWeightGradSchema = nativeSchema("conv2dWeightGrad", convFields);

/** Attributes of conv2d. */
export type Conv2dAttrs = ConvGeometry & EpilogueAttrs & { readonly activation: Activation };
/** Attributes of conv2dInputGrad: the image size, which strides leave open. */
export type Conv2dInputGradAttrs = ConvGeometry & ProductAttrs & { readonly inputSize: Pair };
/** Attributes of conv2dWeightGrad: the kernel size, which the images leave open. */
export type Conv2dWeightGradAttrs = ConvGeometry & ProductAttrs & { readonly kernelSize: Pair };

const whole = (avals: readonly Aval[]) => avals.map(({ shape }, index) => ({ index, dims: shape }));

const spatial = (x: Tensor): Pair => [x.dim(1), x.dim(2)];

const convolve = (x: Tensor, w: Tensor, attrs: ConvGeometry): Tensor =>
  applyOne(conv2dDef, [x, w], { ...geometryOnly(attrs), activation: "none" });
const inputGrad = (y: Tensor, w: Tensor, attrs: ConvGeometry, inputSize: Pair): Tensor =>
  applyOne(conv2dInputGradDef, [y, w], { ...geometryOnly(attrs), inputSize });
const weightGrad = (x: Tensor, y: Tensor, attrs: ConvGeometry, kernelSize: Pair): Tensor =>
  applyOne(conv2dWeightGradDef, [x, y], { ...geometryOnly(attrs), kernelSize });

function conv2dVjp({ inputs, attrs, cotangent, needs }: VjpArgs<Conv2dAttrs>): (Tensor | undefined)[] {
  const [x, w] = inputs as readonly [Tensor, Tensor];
  const { bias, addend } = epilogueOf(inputs, attrs);
  const dy = cotangent();
  if (attrs.activation !== "none" || attrs.scale)
    return gradientThrough((xs) => decomposeConv(xs, attrs), inputs, [dy]);
  return [
    needs(0) ? inputGrad(dy, w, attrs, spatial(x)) : undefined,
    needs(1) ? weightGrad(x, dy, attrs, spatial(w)) : undefined,
    ...(bias ? [needs(2) ? unbroadcast(dy, bias.shape) : undefined] : []),
    ...(addend ? [dy] : []),
  ];
}

function decomposeConv(inputs: readonly Tensor[], attrs: Conv2dAttrs): Tensor[] {
  const [x, w] = inputs as readonly [Tensor, Tensor];
  return [finished(convolve(x, w, attrs), epilogueOf(inputs, attrs), attrs.activation)];
}

function conv2dCall(node: Node, attrs: Conv2dAttrs): KernelCall {
  const [x, w] = factorsOf(node);
  const y = node.outputs[0] as Aval;
  return {
    schema: conv2dSchema,
    params: {
      ...convParams({ x: x.shape, w: w.shape, y: y.shape }, attrs),
      ...epilogueParams(epilogueOf(node.inputs, attrs)),
      activation: activationCode[attrs.activation],
    },
    inputs: whole(node.inputs),
    outputs: whole(node.outputs),
  };
}

export const conv2dDef: OpDef<Conv2dAttrs> = defineOp({
  name: "conv2d",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectOperands("conv2d", inputs, attrs);
    const [x, w] = inputs as readonly [Aval, Aval];
    const epilogue = epilogueOf(inputs, attrs);
    const dtype = expectProduct("conv2d", { x, w }, attrs, epilogue);
    expectImage("conv2d", "x", x);
    expectRank("conv2d", "w", w, 4, weightLayout);
    const shape = resultShape("conv2d", x.shape, w.shape, attrs);
    expectEpilogue("conv2d", epilogue, w.shape[0] as number, shape);
    return [{ shape, dtype }];
  },
  vjp: conv2dVjp,
  decompose: decomposeConv,
  lower: { kind: "kernel", halves: true, call: conv2dCall },
  factors: [0, 1],
  stores: true,
  asStored: [2, 3, 4],
  samples: () => convSamples.conv2d(),
});

export const conv2dInputGradDef: OpDef<Conv2dInputGradAttrs> = defineOp({
  name: "conv2dInputGrad",
  effect: "pure",
  infer: (inputs, attrs) => {
    const op = "conv2dInputGrad";
    expectCount(op, inputs, 2);
    const [y, w] = inputs as readonly [Aval, Aval];
    const dtype = expectProduct(op, { y, w }, attrs);
    expectRank(op, "y", y, 4, "[N, Ho, Wo, O]");
    expectRank(op, "w", w, 4, weightLayout);
    const x = [y.shape[0] as number, ...attrs.inputSize, (w.shape[3] as number) * attrs.groups];
    checkShape(op, x);
    expectShape(
      op,
      `y for an image ${showShape(x)} and weights ${showShape(w.shape)}`,
      y,
      resultShape(op, x, w.shape, attrs),
    );
    return [{ shape: x, dtype }];
  },
  vjp: ({ inputs, attrs, cotangent, needs }) => {
    const [y, w] = inputs as readonly [Tensor, Tensor];
    const dx = cotangent();
    return [needs(0) ? convolve(dx, w, attrs) : undefined, needs(1) ? weightGrad(dx, y, attrs, spatial(w)) : undefined];
  },
  factors: [0, 1],
  stores: true,
  lower: {
    kind: "kernel",
    halves: true,
    call: (node, attrs) => {
      const [y, w] = factorsOf(node);
      const { shape: x } = node.outputs[0] as Aval;
      return {
        schema: conv2dInputGradSchema,
        params: convParams({ x, w: w.shape, y: y.shape }, attrs),
        inputs: whole(node.inputs),
        outputs: whole(node.outputs),
      };
    },
  },
  samples: () => convSamples.inputGrad(),
});

export const conv2dWeightGradDef: OpDef<Conv2dWeightGradAttrs> = defineOp({
  name: "conv2dWeightGrad",
  effect: "pure",
  infer: (inputs, attrs) => {
    const op = "conv2dWeightGrad";
    expectCount(op, inputs, 2);
    const [x, y] = inputs as readonly [Aval, Aval];
    const dtype = expectProduct(op, { x, y }, attrs);
    expectImage(op, "x", x);
    expectRank(op, "y", y, 4, "[N, Ho, Wo, O]");
    const channels = x.shape[3] as number;
    if (channels % attrs.groups !== 0) {
      throw new ShapeError(
        `${op}: ${attrs.groups} groups do not divide the ${channels} channels of x ${showShape(x.shape)}`,
      );
    }
    const w = [y.shape[3] as number, ...attrs.kernelSize, channels / attrs.groups];
    checkShape(op, w);
    expectShape(
      op,
      `y for an image ${showShape(x.shape)} and weights ${showShape(w)}`,
      y,
      resultShape(op, x.shape, w, attrs),
    );
    return [{ shape: w, dtype }];
  },
  vjp: ({ inputs, attrs, cotangent, needs }) => {
    const [x, y] = inputs as readonly [Tensor, Tensor];
    const dw = cotangent();
    return [needs(0) ? inputGrad(y, dw, attrs, spatial(x)) : undefined, needs(1) ? convolve(x, dw, attrs) : undefined];
  },
  factors: [0, 1],
  stores: true,
  lower: {
    kind: "kernel",
    halves: true,
    call: (node, attrs) => {
      const [x, y] = factorsOf(node);
      const { shape: w } = node.outputs[0] as Aval;
      return {
        schema: conv2dWeightGradSchema,
        params: convParams({ x: x.shape, w, y: y.shape }, attrs),
        inputs: whole(node.inputs),
        outputs: whole(node.outputs),
      };
    },
  },
  samples: () => convSamples.weightGrad(),
});

/**
 * Two-dimensional convolution (cross-correlation, as the field calls it) over channels-last images.
 *
 * @param x [N, H, W, C].
 * @param w [O, kH, kW, C / groups].
 * @param options `bias` is [O]; the rest as in {@link ConvOptions}.
 * @returns [N, Ho, Wo, O].
 * @throws ShapeError when shapes and options do not fit; DTypeError for operands that are not of one float type.
 * @example
 * const [x, w, bias] = [ones([1, 8, 8, 3]), ones([4, 3, 3, 3]), zeros([4])];
 * conv2d(x, w, { bias, stride: 2, padding: 1 }); // [1, 4, 4, 4]
 */
export function conv2d(x: Tensor, w: Tensor, options: ConvOptions & { readonly bias?: Tensor } = {}): Tensor {
  checkTensor("conv2d", "x", x);
  checkTensor("conv2d", "w", w);
  checkOptions("conv2d", options, ["bias", ...geometryKeys]);
  const { bias } = options;
  if (bias !== undefined) checkTensor("conv2d", "bias", bias);
  const attrs = { ...geometryOf("conv2d", options), activation: "none" } as const;
  return applyOne(conv2dDef, bias ? [x, w, bias] : [x, w], attrs);
}

/**
 * The derivative of {@link conv2d} with respect to its image, applied to y; also known as transposed convolution.
 *
 * @param y [N, Ho, Wo, O].
 * @param w [O, kH, kW, C / groups].
 * @param options `inputShape` is the image shape [N, H, W, C]; default: the smallest image whose convolution has y's
 * shape. The rest as in {@link ConvOptions}.
 * @returns [N, H, W, C].
 * @throws ShapeError when conv2d would not take an image of `inputShape` to y's shape.
 * @example
 * const [y, w] = [ones([1, 4, 4, 4]), ones([4, 3, 3, 3])];
 * conv2dInputGrad(y, w, { stride: 2, padding: 1 }); // [1, 7, 7, 3]
 */
export function conv2dInputGrad(
  y: Tensor,
  w: Tensor,
  options: ConvOptions & { readonly inputShape?: Shape } = {},
): Tensor {
  const op = "conv2dInputGrad";
  checkTensor(op, "y", y);
  checkTensor(op, "w", w);
  checkOptions(op, options, ["inputShape", ...geometryKeys]);
  expectRank(op, "y", y, 4, "[N, Ho, Wo, O]");
  expectRank(op, "w", w, 4, weightLayout);
  const shared = geometryOf(op, options);
  const { inputShape } = options;
  if (inputShape === undefined) return inputGrad(y, w, shared, smallestInput(y, w, shared));
  checkShape(op, inputShape);
  expectShape(op, "inputShape", { shape: inputShape, dtype: y.dtype }, [
    y.dim(0),
    inputShape[1] ?? 0,
    inputShape[2] ?? 0,
    w.dim(3) * shared.groups,
  ]);
  return inputGrad(y, w, shared, [inputShape[1] as number, inputShape[2] as number]);
}

function smallestInput(y: Tensor, w: Tensor, { stride, padLo, padHi, dilation }: ConvGeometry): Pair {
  const extent = (axis: 0 | 1): number =>
    (y.dim(1 + axis) - 1) * stride[axis] + dilation[axis] * (w.dim(1 + axis) - 1) + 1 - padLo[axis] - padHi[axis];
  const size: Pair = [extent(0), extent(1)];
  if (size[0] < 1 || size[1] < 1) {
    throw new ShapeError(
      `conv2dInputGrad: padding leaves nothing of the ${size[0]}×${size[1]} image that y ${showShape(y.shape)} comes from`,
    );
  }
  return size;
}

/**
 * The derivative of {@link conv2d} with respect to its weights, applied to y.
 *
 * @param x [N, H, W, C].
 * @param y [N, Ho, Wo, O].
 * @param options `kernelSize` is [kH, kW] or one number for both; the rest as in {@link ConvOptions}.
 * @returns [O, kH, kW, C / groups].
 * @throws ShapeError when conv2d with such a kernel would not take x to y's shape.
 * @example
 * const [x, y] = [ones([1, 8, 8, 3]), ones([1, 8, 8, 4])];
 * conv2dWeightGrad(x, y, { kernelSize: 3, padding: 1 }); // [4, 3, 3, 3]
 */
export function conv2dWeightGrad(
  x: Tensor,
  y: Tensor,
  options: ConvOptions & { readonly kernelSize: number | Pair },
): Tensor {
  const op = "conv2dWeightGrad";
  checkTensor(op, "x", x);
  checkTensor(op, "y", y);
  checkOptions(op, options, ["kernelSize", ...geometryKeys]);
  return weightGrad(x, y, geometryOf(op, options), pairOf(op, "kernelSize", options.kernelSize, 1));
}
