// Upsampling, FIR filtering and downsampling in one operation (Karras et al. 2020, "Analyzing and improving the image
// quality of StyleGAN"). Linear in the image: its transpose is the same operation with up and down exchanged and the
// filter turned around, so the derivative with respect to the image closes on itself. The derivative with respect to
// the filter goes through the decomposition: zeros in between, padding, a depthwise convolution.

import { applyOne } from "../core/apply.js";
import { zeros } from "../core/create.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { type Shape, show, showShape, sizeOf } from "../shape.js";
import {
  checkBoolean,
  checkOptions,
  checkTensor,
  expectCompute,
  expectCount,
  expectRank,
  type Pair,
  pairOf,
} from "./checks.js";
import { conv2d } from "./conv.js";
import { defineOp, nativeSchema, type OpDef, type VjpArgs } from "./definition.js";
import { flip } from "./flip.js";
import { gradientThrough } from "./fused.js";
import { expectImage, type Image, imageFields, imageParams } from "./images.js";
import { broadcastTo, reshape } from "./movement.js";
import { pad, slice } from "./slicing.js";

const upfirdn2dSchema = nativeSchema("upfirdn2d", {
  ...imageFields,
  kh: "i32",
  kw: "i32",
  up: ["i32", 2],
  down: ["i32", 2],
  padLo: ["i32", 2],
  padHi: ["i32", 2],
  flip: "i32",
});

/** Pairs are [height, width]; padding may be negative, which crops. `flip` keeps the filter as it is: correlation. */
export type Upfirdn2dAttrs = {
  readonly up: Pair;
  readonly down: Pair;
  readonly padLo: Pair;
  readonly padHi: Pair;
  readonly flip: boolean;
};

/** How {@link upfirdn2d} samples. */
export interface Upfirdn2dOptions {
  /** Factor of upsampling: a number or [height, width]. Default 1. */
  readonly up?: number | Pair;
  /** Factor of downsampling: a number or [height, width]. Default 1. */
  readonly down?: number | Pair;
  /**
   * Zeros around the upsampled image: a number, [height, width], or [[top, bottom], [left, right]]. Negative numbers
   * crop. Default 0.
   */
  readonly padding?: number | Pair | readonly [Pair, Pair];
  /** Whether to correlate with the filter instead of convolving: not to turn it around. Default false. */
  readonly flipFilter?: boolean;
}

/** Extent of the upsampled and padded image along one axis. */
const paddedExtent = (length: number, axis: 0 | 1, { up, padLo, padHi }: Upfirdn2dAttrs): number =>
  length * up[axis] + padLo[axis] + padHi[axis];

function resultShape(op: string, x: Shape, filter: Shape, attrs: Upfirdn2dAttrs): Shape {
  const [n, h, w, c] = x as Image;
  const [kh, kw] = filter as Pair;
  if (kh < 1 || kw < 1) throw new ShapeError(`${op}: the filter ${showShape(filter)} has no taps`);
  const [rows, columns] = [paddedExtent(h, 0, attrs), paddedExtent(w, 1, attrs)];
  if (rows < kh || columns < kw) {
    throw new ShapeError(
      `${op}: the ${kh}×${kw} filter does not fit into the image ${showShape(x)}, which is ${rows}×${columns} after upsampling and padding`,
    );
  }
  const extent = (room: number, axis: 0 | 1): number => Math.floor(room / attrs.down[axis]) + 1;
  return [n, extent(rows - kh, 0), extent(columns - kw, 1), c];
}

/** The attributes of the transpose, which takes the result of x and the filter back to x's shape. */
function transposed(x: Shape, y: Shape, filter: Shape, attrs: Upfirdn2dAttrs): Upfirdn2dAttrs {
  const { up, down, padLo } = attrs;
  const lo = (axis: 0 | 1): number => (filter[axis] as number) - 1 - padLo[axis];
  const hi = (axis: 0 | 1): number =>
    (x[axis + 1] as number) * up[axis] - (y[axis + 1] as number) * down[axis] + padLo[axis] - up[axis] + 1;
  return { up: down, down: up, padLo: [lo(0), lo(1)], padHi: [hi(0), hi(1)], flip: !attrs.flip };
}

/** Zeros in between and around, or less of the image where the padding is negative; then a depthwise convolution. */
function decompose([x, filter]: readonly [Tensor, Tensor], attrs: Upfirdn2dAttrs): Tensor {
  const { up, down, padLo, padHi } = attrs;
  const channels = x.dim(3);
  // Each element and the zeros after it; the last one's zeros are padding.
  const zeros = (axis: 0 | 1, lo: Pair, last: number): number => Math.max(0, lo[axis] + last);
  const spread = pad(
    x,
    [0, zeros(0, padLo, 0), zeros(1, padLo, 0), 0],
    [0, zeros(0, padHi, up[0] - 1), zeros(1, padHi, up[1] - 1), 0],
    0,
    [0, up[0] - 1, up[1] - 1, 0],
  );
  const start = (axis: 0 | 1): number => Math.max(0, -padLo[axis]);
  const sizes = [x.dim(0), paddedExtent(x.dim(1), 0, attrs), paddedExtent(x.dim(2), 1, attrs), channels];
  const cropped = slice(spread, [0, start(0), start(1), 0], sizes);
  const taps = attrs.flip ? filter : flip(filter);
  const weights = broadcastTo(reshape(taps, [1, ...filter.shape, 1]), [channels, ...filter.shape, 1]);
  return conv2d(cropped, weights, { stride: down, groups: channels });
}

function imageGradient(
  [x, filter]: readonly Tensor[],
  [y]: readonly Tensor[],
  attrs: Upfirdn2dAttrs,
  dy: Tensor,
): Tensor {
  const [image, taps] = [x as Tensor, filter as Tensor];
  // No padding makes a convolution give an image without pixels.
  if (image.size === 0) return zeros(image.shape, image.dtype);
  return applyOne(upfirdn2dDef, [dy, taps], transposed(image.shape, (y as Tensor).shape, taps.shape, attrs));
}

function vjp({ inputs, outputs, attrs, cotangent, needs }: VjpArgs<Upfirdn2dAttrs>): (Tensor | undefined)[] {
  const [x, filter] = inputs as readonly [Tensor, Tensor];
  return [
    needs(0) ? imageGradient(inputs, outputs, attrs, cotangent()) : undefined,
    needs(1)
      ? gradientThrough(([taps]) => [decompose([x, taps as Tensor], attrs)], [filter], [cotangent()])[0]
      : undefined,
  ];
}

/** Visits (element of x, tap of the filter, element of the result) wherever a tap meets an element. */
function eachTap(
  x: Shape,
  filter: Shape,
  attrs: Upfirdn2dAttrs,
  visit: (from: number, tap: number, to: number) => void,
): void {
  const [, h, w, c] = x as Image;
  const [kh, kw] = filter as Pair;
  const [n, ho, wo] = resultShape("upfirdn2d", x, filter, attrs) as Image;
  const { up, down, padLo } = attrs;
  const element = (at: number, factor: number, length: number): number =>
    at >= 0 && at % factor === 0 && at / factor < length ? at / factor : -1;
  for (let to = 0; to < n * ho * wo * c; to++) {
    const position = Math.floor(to / c);
    const row = Math.floor(position / wo);
    for (let tap = 0; tap < kh * kw; tap++) {
      const [ky, kx] = [Math.floor(tap / kw), tap % kw];
      const i = element((row % ho) * down[0] + ky - padLo[0], up[0], h);
      const j = element((position % wo) * down[1] + kx - padLo[1], up[1], w);
      if (i < 0 || j < 0) continue;
      visit(((Math.floor(row / ho) * h + i) * w + j) * c + (to % c), attrs.flip ? tap : kh * kw - 1 - tap, to);
    }
  }
}

const still = { up: [1, 1], down: [1, 1], padLo: [0, 0], padHi: [0, 0], flip: false } as const;
const cases: readonly (readonly [Image, Pair, Upfirdn2dAttrs])[] = [
  [[1, 1, 1, 1], [1, 1], still],
  [[2, 4, 5, 3], [3, 2], still],
  [[1, 3, 4, 2], [4, 4], { ...still, up: [2, 2], padLo: [2, 2], padHi: [1, 1] }],
  [[1, 6, 6, 2], [4, 4], { ...still, down: [2, 2], padLo: [1, 1], padHi: [1, 1], flip: true }],
  [[1, 5, 4, 1], [3, 5], { up: [3, 2], down: [2, 3], padLo: [1, 4], padHi: [5, 2], flip: false }],
  [[1, 7, 6, 1], [2, 3], { up: [1, 2], down: [1, 1], padLo: [-1, 2], padHi: [-2, -3], flip: true }],
  [[2, 5, 3, 9], [4, 1], { ...still, up: [2, 1], padLo: [2, 0], padHi: [1, 0] }],
  [[1, 3, 3, 2], [2, 2], { ...still, up: [4, 4], down: [3, 1], padLo: [5, 0], padHi: [0, 7] }],
  [[2, 16, 15, 33], [4, 4], { ...still, up: [2, 2], padLo: [2, 2], padHi: [1, 1] }],
  [[1, 17, 18, 64], [4, 4], { ...still, down: [2, 2], padLo: [1, 1], padHi: [1, 1] }],
  [[1, 33, 29, 3], [4, 4], { ...still, down: [2, 2], padLo: [1, 1], padHi: [1, 1], flip: true }],
  [[1, 16, 20, 3], [4, 4], { ...still, up: [2, 2], padLo: [2, 2], padHi: [1, 1] }],
];

export const upfirdn2dDef: OpDef<Upfirdn2dAttrs> = defineOp({
  name: "upfirdn2d",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectCount("upfirdn2d", inputs, 2);
    const [x, filter] = inputs as readonly [Aval, Aval];
    const dtype = expectCompute("upfirdn2d", { x, filter });
    expectImage("upfirdn2d", "x", x);
    expectRank("upfirdn2d", "filter", filter, 2, "[kH, kW]");
    return [{ shape: resultShape("upfirdn2d", x.shape, filter.shape, attrs), dtype }];
  },
  vjp,
  decompose: (inputs, attrs) => [decompose(inputs as readonly [Tensor, Tensor], attrs)],
  lower: {
    kind: "kernel",
    call: (node, { flip: correlate, ...geometry }) => {
      const [x, filter] = node.inputs as readonly Aval[] as readonly [Aval, Aval];
      const [kh, kw] = filter.shape as Pair;
      const y = node.outputs[0] as Aval;
      return {
        schema: upfirdn2dSchema,
        params: { ...imageParams(x, y), kh, kw, ...geometry, flip: Number(correlate) },
        inputs: node.inputs.map((input, index) => ({ index, dims: input.shape })),
        outputs: [{ index: 0, dims: y.shape }],
      };
    },
  },
  reference: ([x, filter], [image, taps], attrs) => {
    const [from, weights] = [(image as Aval).shape, (taps as Aval).shape];
    const out = new Float64Array(sizeOf(resultShape("upfirdn2d", from, weights, attrs)));
    eachTap(from, weights, attrs, (source, tap, to) => {
      out[to] =
        (out[to] as number) + ((x as Float64Array)[source] as number) * ((filter as Float64Array)[tap] as number);
    });
    return [out];
  },
  samples: () => cases.map(([shape, filter, attrs]) => ({ inputs: [{ shape }, { shape: filter }], attrs })),
});

/**
 * Bound of factors, padding and sides, so that those of the transpose fit 32 bits as well: its padding is a sum of a few
 * of them.
 */
const most = 2 ** 28;

function checkBounds(op: string, x: Tensor, { up, down, padLo, padHi }: Upfirdn2dAttrs): void {
  const sides = ([0, 1] as const).map((axis) => x.dim(1 + axis) * up[axis]);
  const largest = Math.max(...sides, ...up, ...down, ...padLo, ...padHi);
  if (largest > most) {
    throw new ShapeError(
      `${op}: factors, padding and the sides of the upsampled image are at most ${most}, got ${largest}`,
    );
  }
}

/** Padding that may be negative, as lists for the start and the end of each axis. */
function signedPadding(op: string, x: unknown): { readonly padLo: Pair; readonly padHi: Pair } {
  const least = -most;
  if (Array.isArray(x) && x.length === 2 && x.every((item) => Array.isArray(item))) {
    const [[top, bottom], [left, right]] = x.map((side) => pairOf(op, "padding", side, least)) as [Pair, Pair];
    return { padLo: [top, left], padHi: [bottom, right] };
  }
  if (Array.isArray(x) && x.some((item) => Array.isArray(item))) {
    throw new ShapeError(
      `${op}: padding must be an integer, [height, width] or [[top, bottom], [left, right]], got ${show(x)}`,
    );
  }
  const both = pairOf(op, "padding", x, least);
  return { padLo: both, padHi: both };
}

/**
 * Upsamples an image by putting up − 1 zeros after each element, pads it, convolves each channel with `filter`, and
 * keeps every down-th element (Karras et al. 2020). One pass: no zero is stored. With up = 2, to keep the brightness,
 * the filter should sum to 4 (2 for each axis).
 *
 * @param x [N, H, W, C], of a float type.
 * @param filter [kH, kW]; or [k], a separable filter, applied along the height and then along the width.
 * @returns [N, Ho, Wo, C] with Ho = ⌊(H·up + padding − kH) / down⌋ + 1, padding that of both sides.
 * @throws ShapeError when the filter does not fit into the padded image, or a factor, a padding or a side of the
 * upsampled image is beyond 2²⁸.
 * @example
 * const filter = tensor([1, 3, 3, 1]).div(4);
 * upfirdn2d(ones([1, 8, 8, 3]), filter, { up: 2, padding: [[2, 1], [2, 1]] }); // [1, 16, 16, 3]
 */
export function upfirdn2d(x: Tensor, filter: Tensor, options: Upfirdn2dOptions = {}): Tensor {
  const op = "upfirdn2d";
  checkTensor(op, "x", x);
  checkTensor(op, "filter", filter);
  checkOptions(op, options, ["up", "down", "padding", "flipFilter"]);
  const { up = 1, down = 1, padding = 0, flipFilter = false } = options;
  checkBoolean(op, "flipFilter", flipFilter);
  const attrs = {
    up: pairOf(op, "up", up, 1),
    down: pairOf(op, "down", down, 1),
    ...signedPadding(op, padding),
    flip: flipFilter,
  };
  expectImage(op, "x", x);
  checkBounds(op, x, attrs);
  if (filter.rank !== 1) return applyOne(upfirdn2dDef, [x, filter], attrs);
  return composed(() => {
    const along = (axis: 0 | 1): Upfirdn2dAttrs => {
      const only = (pair: Pair, otherwise: number): Pair => (axis === 0 ? [pair[0], otherwise] : [otherwise, pair[1]]);
      return {
        up: only(attrs.up, 1),
        down: only(attrs.down, 1),
        padLo: only(attrs.padLo, 0),
        padHi: only(attrs.padHi, 0),
        flip: flipFilter,
      };
    };
    const rows = applyOne(upfirdn2dDef, [x, reshape(filter, [filter.size, 1])], along(0));
    return applyOne(upfirdn2dDef, [rows, reshape(filter, [1, filter.size])], along(1));
  });
}
