// Bilinear resizing of channels-last images [N,H,W,C], and its transpose, which is its derivative.

import { applyOne } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import type { Aval, Node } from "../ir/graph.js";
import { checkShape, type Shape, sizeOf } from "../shape.js";
import { checkBoolean, checkOptions, checkTensor, expectCompute, expectCount, type Pair, pairOf } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef } from "./definition.js";
import { expectImage, expectPixels, type Image, imageFields, imageParams } from "./images.js";

const bilinearFields = { ...imageFields, alignCorners: "i32" } as const;
const resizeBilinearSchema = nativeSchema("resizeBilinear", bilinearFields);
const resizeBilinearGradSchema = nativeSchema("resizeBilinearGrad", bilinearFields);

/** The size of the result, [height, width], and where the pixels lie. */
export type BilinearAttrs = { readonly size: Pair; readonly alignCorners: boolean };

/** How {@link resizeBilinear} places pixels. */
export interface ResizeBilinearOptions {
  /** Whether the centres of the corner pixels fall on each other, instead of the corners of the images. Default false. */
  readonly alignCorners?: boolean;
}

function inferResized(op: string, inputs: readonly Aval[], { size }: BilinearAttrs): readonly Aval[] {
  expectCount(op, inputs, 1);
  const x = inputs[0] as Aval;
  expectImage(op, "x", x);
  const dtype = expectCompute(op, { x });
  expectPixels(op, x);
  const [n, , , c] = x.shape as Image;
  const shape = [n, ...size, c];
  checkShape(op, shape);
  return [{ shape, dtype }];
}

/** A call on an image and its resized form. */
function callOf(schema: KernelCall["schema"], node: Node, image: Aval, resized: Aval, align: boolean): KernelCall {
  return {
    schema,
    params: { ...imageParams(image, resized), alignCorners: Number(align) },
    inputs: [{ index: 0, dims: (node.inputs[0] as Aval).shape }],
    outputs: [{ index: 0, dims: (node.outputs[0] as Aval).shape }],
  };
}

/** The elements around position i of `out`, with their weights. */
function tapsAt(i: number, length: number, out: number, align: boolean): [at: number, weight: number][] {
  const aligned = out > 1 ? (i * (length - 1)) / (out - 1) : 0;
  const place = Math.max(0, align ? aligned : ((i + 0.5) * length) / out - 0.5);
  const at = Math.min(Math.floor(place), length - 1);
  const weight = place - at;
  return [
    [at, 1 - weight],
    [Math.min(at + 1, length - 1), weight],
  ];
}

/** Visits each element of an image with each element of its resized form that it is part of, and its weight there. */
function eachPair(
  [n, h, w, c]: Image,
  [ho, wo]: Pair,
  align: boolean,
  visit: (source: number, target: number, weight: number) => void,
): void {
  for (let target = 0; target < n * ho * wo * c; target++) {
    const [channel, pixel] = [target % c, Math.floor(target / c)];
    const [j, row] = [pixel % wo, Math.floor(pixel / wo)];
    const image = Math.floor(row / ho);
    for (const [y, wy] of tapsAt(row % ho, h, ho, align))
      for (const [x, wx] of tapsAt(j, w, wo, align)) visit(((image * h + y) * w + x) * c + channel, target, wy * wx);
  }
}

const cases: readonly (readonly [Image, BilinearAttrs])[] = [
  [[1, 1, 1, 1], { size: [3, 2], alignCorners: false }],
  [[2, 3, 4, 3], { size: [6, 8], alignCorners: false }],
  [[1, 5, 3, 2], { size: [7, 4], alignCorners: true }],
  [[2, 6, 7, 1], { size: [3, 2], alignCorners: false }],
  [[1, 9, 8, 2], { size: [2, 3], alignCorners: true }],
  [[1, 3, 3, 5], { size: [1, 1], alignCorners: true }],
  [[2, 4, 3, 9], { size: [5, 3], alignCorners: false }],
  [[2, 7, 7, 33], { size: [14, 14], alignCorners: false }],
  [[1, 13, 11, 3], { size: [29, 40], alignCorners: true }],
];

export const resizeBilinearDef: OpDef<BilinearAttrs> = defineOp({
  name: "resizeBilinear",
  effect: "pure",
  infer: (inputs, attrs) => inferResized("resizeBilinear", inputs, attrs),
  vjp: ({ inputs, cotangent, attrs: { alignCorners } }) => {
    const x = inputs[0] as Tensor;
    return [applyOne(resizeBilinearGradDef, [cotangent()], { size: [x.dim(1), x.dim(2)], alignCorners })];
  },
  lower: {
    kind: "kernel",
    call: (node, { alignCorners }) =>
      callOf(resizeBilinearSchema, node, node.inputs[0] as Aval, node.outputs[0] as Aval, alignCorners),
  },
  reference: ([x], [aval], { size, alignCorners }) => {
    const image = (aval as Aval).shape as Image;
    const out = new Float64Array(sizeOf([image[0], ...size, image[3]]));
    eachPair(image, size, alignCorners, (source, target, weight) => {
      out[target] = (out[target] as number) + weight * ((x as Float64Array)[source] as number);
    });
    return [out];
  },
  samples: () => cases.map(([shape, attrs]) => ({ inputs: [{ shape }], attrs })),
});

/** Adds each pixel of the resized image to those that it was blended from. `size` is that of the result. */
export const resizeBilinearGradDef: OpDef<BilinearAttrs> = defineOp({
  name: "resizeBilinearGrad",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectCount("resizeBilinearGrad", inputs, 1);
    const y = inputs[0] as Aval;
    expectImage("resizeBilinearGrad", "y", y);
    const dtype = expectCompute("resizeBilinearGrad", { y });
    return [{ shape: [y.shape[0] as number, ...attrs.size, y.shape[3] as number], dtype }];
  },
  vjp: ({ inputs, cotangent, attrs: { alignCorners } }) => {
    const y = inputs[0] as Tensor;
    return [applyOne(resizeBilinearDef, [cotangent()], { size: [y.dim(1), y.dim(2)], alignCorners })];
  },
  lower: {
    kind: "kernel",
    call: (node, { alignCorners }) =>
      callOf(resizeBilinearGradSchema, node, node.outputs[0] as Aval, node.inputs[0] as Aval, alignCorners),
  },
  reference: ([y], [aval], { size, alignCorners }) => {
    const [n, ho, wo, c] = (aval as Aval).shape as Image;
    const image: Image = [n, ...size, c];
    const out = new Float64Array(sizeOf(image as Shape));
    eachPair(image, [ho, wo], alignCorners, (source, target, weight) => {
      out[source] = (out[source] as number) + weight * ((y as Float64Array)[target] as number);
    });
    return [out];
  },
  samples: () =>
    cases.map(([[n, h, w, c], { size, alignCorners }]) => ({
      inputs: [{ shape: [n, ...size, c] }],
      attrs: { size: [h, w], alignCorners },
    })),
});

/**
 * Resizes images, each pixel blended from the four around its place: pixel i of a side of length `in` that becomes
 * `out` lies at (i + ½)·in/out − ½, not before the first centre; with `alignCorners` at i·(in − 1)/(out − 1). As
 * PyTorch's `interpolate` with mode "bilinear"; shrinking does not smooth.
 *
 * @param x [N, H, W, C], of a float type.
 * @param size [Ho, Wo].
 * @returns [N, Ho, Wo, C].
 * @throws ShapeError when x is not an image batch or size not a pair of positive integers.
 * @example
 * resizeBilinear(ones([1, 4, 4, 3]), [8, 8]); // [1, 8, 8, 3]
 */
export function resizeBilinear(x: Tensor, size: Pair, options: ResizeBilinearOptions = {}): Tensor {
  checkTensor("resizeBilinear", "x", x);
  checkOptions("resizeBilinear", options, ["alignCorners"]);
  const { alignCorners = false } = options;
  checkBoolean("resizeBilinear", "alignCorners", alignCorners);
  return applyOne(resizeBilinearDef, [x], { size: pairOf("resizeBilinear", "size", size, 1), alignCorners });
}
