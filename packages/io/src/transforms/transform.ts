// What may be done to images on their way from the data set to the batch, as plain data: the loader's worker thread does it, and
// a saved run knows what it was.

import { checkObject, UsageError } from "@figment/tensor";
import type { ImageShape } from "../data/resample.js";

/** Pixels a side, or [height, width]. */
export type Size = number | readonly [height: number, width: number];

/**
 * One step of what a loader does to every image, plain data:
 * - `{ resize }`: to another size, whatever the proportions, by a triangle filter;
 * - `{ crop, at, padding }`: a part of that size, from the centre (default) or at random, of the image with `padding` black
 *   pixels around it;
 * - `{ flip }`: mirrored left to right with that probability;
 * - `{ normalize }`: (x / 255 − mean) / std by channel, in place of the loader's range; the last step.
 */
export type Transform =
  | { readonly resize: Size }
  | { readonly crop: Size; readonly at?: "center" | "random"; readonly padding?: number }
  | { readonly flip: number }
  | { readonly normalize: { readonly mean: readonly number[]; readonly std: readonly number[] } };

const maxSide = 4096;

const kinds = ["resize", "crop", "flip", "normalize"] as const;

/** Height and width of a size. */
export const sidesOf = (size: Size): readonly [number, number] =>
  Array.isArray(size) ? [size[0], size[1]] : [size as number, size as number];

/**
 * The shape of images after some transforms.
 *
 * @throws UsageError for a transform that is none, or does not fit images of this shape.
 */
export function transformedShape(shape: ImageShape, transforms: readonly Transform[]): ImageShape {
  if (!Array.isArray(transforms)) throw new UsageError("loader: transforms must be a list");
  return transforms.reduce<ImageShape>((from, transform, i) => {
    const fail = (message: string): never => {
      throw new UsageError(`loader: transform ${i + 1}, ${JSON.stringify(transform)}: ${message}`);
    };
    if (typeof transform !== "object" || transform === null || kinds.filter((kind) => kind in transform).length !== 1) {
      return fail(`expected an object with one of ${kinds.join(", ")}`);
    }
    if ("normalize" in transform && i < transforms.length - 1) fail("normalize must be the last step");
    return shapeAfter(from, transform, fail);
  }, shape);
}

function shapeAfter(
  [height, width, channels]: ImageShape,
  transform: Transform,
  fail: (message: string) => never,
): ImageShape {
  const allowed: Record<string, true> =
    "crop" in transform
      ? { crop: true, at: true, padding: true }
      : { [kinds.find((kind) => kind in transform) as string]: true };
  const unknown = Object.keys(transform).filter((key) => !allowed[key]);
  if (unknown.length > 0) fail(`unknown option ${unknown.join(", ")}`);
  if ("flip" in transform) {
    if (!(transform.flip >= 0 && transform.flip <= 1)) fail("the probability must be from 0 to 1");
    return [height, width, channels];
  }
  if ("normalize" in transform) {
    const { mean, std } = checkObject("loader", "normalize", transform.normalize, "mean", "std");
    for (const values of [mean, std]) {
      if (
        !Array.isArray(values) ||
        (values.length !== 1 && values.length !== channels) ||
        !values.every(Number.isFinite)
      ) {
        fail(`mean and std must have 1 number or ${channels}, as many as there are channels`);
      }
    }
    if (std.some((value) => value <= 0)) fail("std must be above 0");
    return [height, width, channels];
  }
  const [toHeight, toWidth] = sidesOf("resize" in transform ? transform.resize : transform.crop);
  for (const side of [toHeight, toWidth]) {
    if (!Number.isInteger(side) || side < 1 || side > maxSide) fail(`sides must be integers from 1 to ${maxSide}`);
  }
  if ("resize" in transform) return [toHeight, toWidth, channels];
  const { at = "center", padding = 0 } = transform;
  if (at !== "center" && at !== "random") fail('at must be "center" or "random"');
  if (!Number.isInteger(padding) || padding < 0 || padding > maxSide)
    fail(`padding must be an integer from 0 to ${maxSide}`);
  if (toHeight > height + 2 * padding || toWidth > width + 2 * padding) {
    fail(`the crop is larger than the image of ${height} × ${width}${padding > 0 ? ` with padding ${padding}` : ""}`);
  }
  return [toHeight, toWidth, channels];
}
