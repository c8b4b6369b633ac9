// The geometry that the convolutions share: stride, padding, dilation and groups, what they make of the sizes of images, and
// how kernels are told of it. Ho = ⌊(H + padLo + padHi − dilation·(kH − 1) − 1) / stride⌋ + 1, and likewise Wo.

import { ShapeError } from "../errors.js";
import { type Shape, show, showShape } from "../shape.js";
import { checkInteger, type Pair, type ProductAttrs, paddingOf, pairOf, precisionCode } from "./checks.js";
import { imageFields } from "./images.js";

/** What every kernel of a convolution is told. */
export const convFields = {
  ...imageFields,
  o: "i32",
  kh: "i32",
  kw: "i32",
  stride: ["i32", 2],
  padLo: ["i32", 2],
  padHi: ["i32", 2],
  dilation: ["i32", 2],
  groups: "i32",
  precision: "i32",
} as const;

/** What the three primitives share. Pairs are [height, width]. */
export type ConvGeometry = {
  readonly stride: Pair;
  readonly padLo: Pair;
  readonly padHi: Pair;
  readonly dilation: Pair;
  readonly groups: number;
};

/** Options common to the convolutions. */
export interface ConvOptions {
  /** Step of the window: a number or [height, width]. Default 1. */
  readonly stride?: number | Pair;
  /** Zeros around the image: a number, [height, width], or [[top, bottom], [left, right]]. Default 0. */
  readonly padding?: number | Pair | readonly [Pair, Pair];
  /** Distance between taps: a number or [height, width]. Default 1. */
  readonly dilation?: number | Pair;
  /** Channel groups convolved separately; divides input and output channels. Default 1. */
  readonly groups?: number;
}

export const geometryKeys = ["stride", "padding", "dilation", "groups"];
export const weightLayout = "[O, kH, kW, C / groups]";

/** The geometry that options say. */
export function geometryOf(op: string, options: ConvOptions): ConvGeometry {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  checkInteger(op, "groups", groups, 1);
  return {
    stride: pairOf(op, "stride", stride, 1),
    ...paddingOf(op, padding),
    dilation: pairOf(op, "dilation", dilation, 1),
    groups,
  };
}

/** Extent of the result along one axis; 0 or less where the window does not fit. */
function outputExtent(
  axis: 0 | 1,
  input: number,
  kernel: number,
  { stride, padLo, padHi, dilation }: ConvGeometry,
): number {
  const room = input + padLo[axis] + padHi[axis] - dilation[axis] * (kernel - 1) - 1;
  return room < 0 ? 0 : Math.floor(room / stride[axis]) + 1;
}

/** Image, weight and result shapes, checked to belong together. */
export interface ConvShapes {
  readonly x: Shape;
  readonly w: Shape;
  readonly y: Shape;
}

/** The shape of the result; whatever does not fit is a ShapeError. */
export function resultShape(op: string, x: Shape, w: Shape, geometry: ConvGeometry): Shape {
  const [n = 0, h = 0, width = 0, c = 0] = x;
  const [o = 0, kh = 0, kw = 0, perGroup = 0] = w;
  const { groups } = geometry;
  if (kh < 1 || kw < 1) throw new ShapeError(`${op}: weights ${showShape(w)} have no taps`);
  if (c !== perGroup * groups || o % groups !== 0) {
    throw new ShapeError(
      `${op}: image ${showShape(x)} and weights ${showShape(w)} do not fit with ${groups} group${groups === 1 ? "" : "s"}: weights must be ${weightLayout} with C = ${c}, and groups must divide O`,
    );
  }
  const ho = outputExtent(0, h, kh, geometry);
  const wo = outputExtent(1, width, kw, geometry);
  if (ho < 1 || wo < 1) {
    const { padLo, padHi, dilation } = geometry;
    throw new ShapeError(
      `${op}: the ${kh}×${kw} window with dilation ${show([...dilation])} does not fit into the image ${showShape(x)} with padding [[${padLo[0]}, ${padHi[0]}], [${padLo[1]}, ${padHi[1]}]]`,
    );
  }
  return [n, ho, wo, o];
}

/** The parameters of a kernel, apart from its own. */
export const convParams = ({ x, w, y }: ConvShapes, attrs: ConvGeometry & ProductAttrs) => ({
  n: x[0] as number,
  h: x[1] as number,
  w: x[2] as number,
  c: x[3] as number,
  ho: y[1] as number,
  wo: y[2] as number,
  o: y[3] as number,
  kh: w[1] as number,
  kw: w[2] as number,
  stride: attrs.stride,
  padLo: attrs.padLo,
  padHi: attrs.padHi,
  dilation: attrs.dilation,
  groups: attrs.groups,
  precision: precisionCode(attrs),
});

/** The geometry alone of attributes that have more. */
export const geometryOnly = ({ stride, padLo, padHi, dilation, groups }: ConvGeometry): ConvGeometry => ({
  stride,
  padLo,
  padHi,
  dilation,
  groups,
});
