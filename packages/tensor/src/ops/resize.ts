// Resampling of channels-last images [N,H,W,C]: nearest-neighbour resizing and average pooling, each with
// its transpose, which is its derivative.

import { applyOne } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import {
  checkOptions,
  checkTensor,
  expectCompute,
  expectCount,
  expectShape,
  type Pair,
  paddingOf,
  pairOf,
} from "./checks.js";
import { defineOp, nativeSchema, type OpDef } from "./definition.js";
import { expectImage, expectPixels, type Image, imageFields, imageParams } from "./images.js";

/** The parameters of a pooling window. */
export const poolFields = {
  ...imageFields,
  kh: "i32",
  kw: "i32",
  stride: ["i32", 2],
  padLo: ["i32", 2],
  padHi: ["i32", 2],
} as const;
const resizeNearestSchema = nativeSchema("resizeNearest", imageFields);
const resizeNearestGradSchema = nativeSchema("resizeNearestGrad", imageFields);
const avgPoolSchema = nativeSchema("avgPool", poolFields);
const avgPoolGradSchema = nativeSchema("avgPoolGrad", poolFields);

/** The size of the result, [height, width]. */
export type ResizeAttrs = { readonly size: Pair };

/** A pooling window and the image size, which strides leave open in the transpose. Pairs are [height, width]. */
export type PoolAttrs = {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padLo: Pair;
  readonly padHi: Pair;
};
export type PoolGradAttrs = PoolAttrs & { readonly inputSize: Pair };

function resized(op: string, x: Aval, size: Pair): Shape {
  expectPixels(op, x);
  return [x.shape[0] as number, ...size, x.shape[3] as number];
}

const single = (node: Node) => ({
  inputs: [{ index: 0, dims: (node.inputs[0] as Aval).shape }],
  outputs: [{ index: 0, dims: (node.outputs[0] as Aval).shape }],
});

/** Visits each element of an [n, ho, wo, c] image with the element of [n, h, w, c] that it is taken from. */
function eachNearest(from: Shape, to: Shape, visit: (source: number, target: number) => void): void {
  const [n, h, w, c] = from as Image;
  const [, ho, wo] = to as Image;
  let target = 0;
  for (let image = 0; image < n; image++) {
    for (let i = 0; i < ho; i++) {
      for (let j = 0; j < wo; j++) {
        const row = image * h + Math.floor((i * h) / ho);
        const source = (row * w + Math.floor((j * w) / wo)) * c;
        for (let channel = 0; channel < c; channel++) visit(source + channel, target++);
      }
    }
  }
}

const resizeCases: readonly (readonly [Shape, Pair])[] = [
  [
    [1, 1, 1, 1],
    [1, 1],
  ],
  [
    [2, 3, 4, 3],
    [6, 8],
  ],
  [
    [1, 5, 3, 2],
    [7, 4],
  ],
  [
    [2, 6, 7, 1],
    [3, 2],
  ],
  [
    [1, 1, 3, 5],
    [4, 3],
  ],
  [
    [2, 7, 7, 33],
    [14, 14],
  ],
];

export const resizeNearestDef: OpDef<ResizeAttrs> = defineOp({
  name: "resizeNearest",
  effect: "pure",
  infer: (inputs, { size }) => {
    expectCount("resizeNearest", inputs, 1);
    const x = inputs[0] as Aval;
    expectImage("resizeNearest", "x", x);
    const dtype = expectCompute("resizeNearest", { x });
    return [{ shape: resized("resizeNearest", x, size), dtype }];
  },
  vjp: ({ inputs, cotangent }) => {
    const x = inputs[0] as Tensor;
    return [applyOne(resizeNearestGradDef, [cotangent()], { size: [x.dim(1), x.dim(2)] })];
  },
  lower: {
    kind: "kernel",
    call: (node) => ({
      schema: resizeNearestSchema,
      params: imageParams(node.inputs[0] as Aval, node.outputs[0] as Aval),
      ...single(node),
    }),
  },
  reference: ([x], [aval], { size }) => {
    const { shape } = aval as Aval;
    const to = resized("resizeNearest", aval as Aval, size);
    const out = new Float64Array(sizeOf(to));
    eachNearest(shape, to, (source, target) => {
      out[target] = (x as Float64Array)[source] as number;
    });
    return [out];
  },
  samples: () => resizeCases.map(([shape, size]) => ({ inputs: [{ shape }], attrs: { size } })),
});

/** Sums each pixel of the large image into the one that it was taken from. `size` is that of the result. */
export const resizeNearestGradDef: OpDef<ResizeAttrs> = defineOp({
  name: "resizeNearestGrad",
  effect: "pure",
  infer: (inputs, { size }) => {
    expectCount("resizeNearestGrad", inputs, 1);
    const y = inputs[0] as Aval;
    expectImage("resizeNearestGrad", "y", y);
    const dtype = expectCompute("resizeNearestGrad", { y });
    return [{ shape: [y.shape[0] as number, ...size, y.shape[3] as number], dtype }];
  },
  vjp: ({ inputs, cotangent }) => {
    const y = inputs[0] as Tensor;
    return [applyOne(resizeNearestDef, [cotangent()], { size: [y.dim(1), y.dim(2)] })];
  },
  lower: {
    kind: "kernel",
    call: (node) => ({
      schema: resizeNearestGradSchema,
      params: imageParams(node.outputs[0] as Aval, node.inputs[0] as Aval),
      ...single(node),
    }),
  },
  reference: ([y], [aval], { size }) => {
    const { shape } = aval as Aval;
    const small = [shape[0] as number, ...size, shape[3] as number];
    const out = new Float64Array(sizeOf(small));
    eachNearest(small, shape, (source, target) => {
      out[source] = (out[source] as number) + ((y as Float64Array)[target] as number);
    });
    return [out];
  },
  samples: () =>
    resizeCases.map(([[n = 0, h = 0, w = 0, c = 0], size]) => ({
      inputs: [{ shape: [n, ...size, c] }],
      attrs: { size: [h, w] },
    })),
});

function pooled(op: string, x: Aval, { kernel, stride, padLo, padHi }: PoolAttrs): Shape {
  expectPixels(op, x);
  const { shape } = x;
  const extent = (axis: 0 | 1): number => {
    const room = (shape[axis + 1] as number) + padLo[axis] + padHi[axis] - kernel[axis];
    return room < 0 ? 0 : Math.floor(room / stride[axis]) + 1;
  };
  const [ho, wo] = [extent(0), extent(1)];
  if (ho < 1 || wo < 1) {
    throw new ShapeError(
      `${op}: the ${kernel[0]}×${kernel[1]} window does not fit into the image ${showShape(shape)} with its padding`,
    );
  }
  return [shape[0] as number, ho, wo, shape[3] as number];
}

/** The parameters of a pooling window between an image and its windows. */
export const poolParams = (x: Aval, y: Aval, { kernel, stride, padLo, padHi }: PoolAttrs) => ({
  ...imageParams(x, y),
  kh: kernel[0],
  kw: kernel[1],
  stride,
  padLo,
  padHi,
});

/** Visits each pair of an input element and the window (an output element) that covers it. */
function eachPooled(
  from: Shape,
  to: Shape,
  { kernel, stride, padLo }: PoolAttrs,
  visit: (source: number, target: number) => void,
): void {
  const [n, h, w, c] = from as Image;
  const [, ho, wo] = to as Image;
  for (let target = 0; target < n * ho * wo * c; target++) {
    const channel = target % c;
    const column = Math.floor(target / c) % wo;
    const row = Math.floor(target / (c * wo)) % ho;
    const image = Math.floor(target / (c * wo * ho));
    for (let tap = 0; tap < kernel[0] * kernel[1]; tap++) {
      const i = row * stride[0] - padLo[0] + Math.floor(tap / kernel[1]);
      const j = column * stride[1] - padLo[1] + (tap % kernel[1]);
      if (i >= 0 && i < h && j >= 0 && j < w) visit(((image * h + i) * w + j) * c + channel, target);
    }
  }
}

const poolCases: readonly (readonly [Shape, PoolAttrs])[] = [
  [[1, 1, 1, 1], { kernel: [1, 1], stride: [1, 1], padLo: [0, 0], padHi: [0, 0] }],
  [[2, 4, 6, 3], { kernel: [2, 2], stride: [2, 2], padLo: [0, 0], padHi: [0, 0] }],
  [[1, 7, 5, 2], { kernel: [3, 2], stride: [2, 1], padLo: [1, 0], padHi: [0, 1] }],
  [[1, 5, 5, 1], { kernel: [5, 5], stride: [5, 5], padLo: [0, 0], padHi: [0, 0] }],
  [[2, 14, 14, 33], { kernel: [2, 2], stride: [2, 2], padLo: [0, 0], padHi: [0, 0] }],
];

export const avgPoolDef: OpDef<PoolAttrs> = defineOp({
  name: "avgPool",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectCount("avgPool", inputs, 1);
    const x = inputs[0] as Aval;
    expectImage("avgPool", "x", x);
    const dtype = expectCompute("avgPool", { x });
    return [{ shape: pooled("avgPool", x, attrs), dtype }];
  },
  vjp: ({ inputs, attrs, cotangent }) => {
    const x = inputs[0] as Tensor;
    return [applyOne(avgPoolGradDef, [cotangent()], { ...attrs, inputSize: [x.dim(1), x.dim(2)] })];
  },
  lower: {
    kind: "kernel",
    call: (node, attrs) => ({
      schema: avgPoolSchema,
      params: poolParams(node.inputs[0] as Aval, node.outputs[0] as Aval, attrs),
      ...single(node),
    }),
  },
  reference: ([x], [aval], attrs) => {
    const to = pooled("avgPool", aval as Aval, attrs);
    const out = new Float64Array(sizeOf(to));
    eachPooled((aval as Aval).shape, to, attrs, (source, target) => {
      out[target] = (out[target] as number) + ((x as Float64Array)[source] as number);
    });
    return [out.map((total) => total / (attrs.kernel[0] * attrs.kernel[1]))];
  },
  samples: () => poolCases.map(([shape, attrs]) => ({ inputs: [{ shape }], attrs })),
});

/** Spreads each window's value evenly over the pixels that it covers. */
export const avgPoolGradDef: OpDef<PoolGradAttrs> = defineOp({
  name: "avgPoolGrad",
  effect: "pure",
  infer: (inputs, attrs) => {
    const op = "avgPoolGrad";
    expectCount(op, inputs, 1);
    const y = inputs[0] as Aval;
    expectImage(op, "y", y);
    const dtype = expectCompute(op, { y });
    const x = { shape: [y.shape[0] as number, ...attrs.inputSize, y.shape[3] as number], dtype };
    expectShape(op, `y for an image ${showShape(x.shape)}`, y, pooled(op, x, attrs));
    return [x];
  },
  vjp: ({ attrs: { kernel, stride, padLo, padHi }, cotangent }) => [
    applyOne(avgPoolDef, [cotangent()], { kernel, stride, padLo, padHi }),
  ],
  lower: {
    kind: "kernel",
    call: (node, attrs) => ({
      schema: avgPoolGradSchema,
      params: poolParams(node.outputs[0] as Aval, node.inputs[0] as Aval, attrs),
      ...single(node),
    }),
  },
  reference: ([y], [aval], attrs) => {
    const { shape } = aval as Aval;
    const image = [shape[0] as number, ...attrs.inputSize, shape[3] as number];
    const out = new Float64Array(sizeOf(image));
    const taps = attrs.kernel[0] * attrs.kernel[1];
    eachPooled(image, shape, attrs, (source, target) => {
      out[source] = (out[source] as number) + ((y as Float64Array)[target] as number) / taps;
    });
    return [out];
  },
  samples: () =>
    poolCases.map(([shape, attrs]) => ({
      inputs: [{ shape: pooled("avgPoolGrad", { shape, dtype: "f32" }, attrs) }],
      attrs: { ...attrs, inputSize: [shape[1] as number, shape[2] as number] },
    })),
});

/**
 * Resizes images by taking for each pixel (i, j) of the result the pixel (⌊i·H/Ho⌋, ⌊j·W/Wo⌋) of x.
 *
 * @param x [N, H, W, C], of a float type.
 * @param size [Ho, Wo].
 * @returns [N, Ho, Wo, C].
 * @throws ShapeError when x is not an image batch or size not a pair of positive integers.
 * @example
 * resizeNearest(ones([1, 4, 4, 3]), [8, 8]); // [1, 8, 8, 3]
 */
export function resizeNearest(x: Tensor, size: Pair): Tensor {
  checkTensor("resizeNearest", "x", x);
  return applyOne(resizeNearestDef, [x], { size: pairOf("resizeNearest", "size", size, 1) });
}

/** Options of {@link avgPool}. */
export interface PoolOptions {
  /** The window: a number or [height, width]. */
  readonly kernel: number | Pair;
  /** Step of the window. Default: the window itself. */
  readonly stride?: number | Pair;
  /** Zeros around the image: a number, [height, width], or [[top, bottom], [left, right]]. Default 0. */
  readonly padding?: number | Pair | readonly [Pair, Pair];
}

/**
 * The mean over windows. Padding counts as zeros, so a window always divides by its full size.
 *
 * @param x [N, H, W, C], of a float type.
 * @returns [N, Ho, Wo, C] with Ho = ⌊(H + padding − kernel) / stride⌋ + 1, padding that of both sides.
 * @throws ShapeError when the window does not fit.
 * @example
 * avgPool(ones([1, 8, 8, 3]), { kernel: 2 }); // [1, 4, 4, 3]
 */
export function avgPool(x: Tensor, options: PoolOptions): Tensor {
  checkTensor("avgPool", "x", x);
  checkOptions("avgPool", options, ["kernel", "stride", "padding"]);
  const kernel = pairOf("avgPool", "kernel", options.kernel, 1);
  const stride = pairOf("avgPool", "stride", options.stride ?? kernel, 1);
  return applyOne(avgPoolDef, [x], { kernel, stride, ...paddingOf("avgPool", options.padding ?? 0) });
}
