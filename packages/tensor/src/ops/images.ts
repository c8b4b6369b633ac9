// What operations from a channels-last image [N,H,W,C] to another share: their checks, and how kernels are told of the sizes.

import { ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { showShape } from "../shape.js";
import { expectRank } from "./checks.js";

/** The shape of an image. */
export type Image = readonly [n: number, h: number, w: number, c: number];

/** The sizes of an image of c channels and of the result, [n, ho, wo, …]. */
export const imageFields = { n: "i32", h: "i32", w: "i32", c: "i32", ho: "i32", wo: "i32" } as const;

export function imageParams(x: Aval, y: Aval) {
  const [n, h, w, c] = x.shape as Image;
  const [, ho, wo] = y.shape as Image;
  return { n, h, w, c, ho, wo };
}

/** Checks that an operand has the dimensions of images. */
export const expectImage = (op: string, name: string, x: Aval): void => expectRank(op, name, x, 4, "[N, H, W, C]");

export function expectPixels(op: string, { shape }: Aval): void {
  if (shape[1] === 0 || shape[2] === 0) throw new ShapeError(`${op}: the image ${showShape(shape)} has no pixels`);
}
