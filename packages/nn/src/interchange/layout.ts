// How a cell's values lie in PyTorch, where images and weights have their channels first. Layers say it of their own
// cells (`Module.torchMember`); everything that reads or writes foreign weights asks them. Imports tensors only.

import { checkArray, checkObject, checkTensor, sizeOf, type Tensor, UsageError } from "@figment/tensor";

/**
 * theirs = ours.reshape(split).transpose(axes).reshape(shape), row by row as written; each part may be left out.
 * The other way is derived from it.
 */
export interface TorchLayout {
  /** What our axes are split into before they are permuted. Default: our shape. */
  readonly split?: readonly number[];
  /** Axis i of PyTorch's tensor is this one of ours. Default: the same order. */
  readonly axes?: readonly number[];
  /** PyTorch's shape. Default: what permuting gives. */
  readonly shape?: readonly number[];
}

/** What a module says of one of its members, be it a cell or another module. */
export interface TorchMember {
  /** What PyTorch's counterpart calls it; "" for a module whose members belong to its parent there. */
  readonly name: string;
  /** Other names that it has in files. */
  readonly aliases?: readonly string[];
  /** Of a cell. Default: as it is. */
  readonly layout?: TorchLayout;
  /** Of a module: what names its own members have in place of those that it gives them. */
  readonly members?: Readonly<Record<string, { readonly name: string; readonly aliases?: readonly string[] }>>;
}

/**
 * Convolution weights [O,kH,kW,I] as [O,I,kH,kW], and images [N,H,W,C] as [N,C,H,W].
 *
 * @example
 * toTorch(zeros([1, 4, 5, 3]), channelsFirst); // [1, 3, 4, 5]
 */
export const channelsFirst: TorchLayout = { axes: [0, 3, 1, 2] };

/** Sizes of an image whose pixels a vector lists: [height, width, channels]. */
export type ImageSize = readonly [height: number, width: number, channels: number];

/**
 * The layout of a cell some of whose axes list the pixels of an image, channels last here and first there.
 *
 * @param shape ours.
 * @param images for each axis the image that it lists, or undefined.
 * @throws UsageError when an axis has another number of elements than its image.
 * @example
 * const layout = flattenedImages([8], [[2, 2, 2]]);
 * toTorch(tensor([0, 1, 2, 3, 4, 5, 6, 7]), layout).at(1); // 2
 */
export function flattenedImages(shape: readonly number[], images: readonly (ImageSize | undefined)[]): TorchLayout {
  checkArray("flattenedImages", "shape", shape);
  checkArray("flattenedImages", "images", images);
  const split: number[] = [];
  const axes: number[] = [];
  shape.forEach((size, axis) => {
    const image = images[axis];
    const at = split.length;
    if (!image) {
      split.push(size);
      axes.push(at);
      return;
    }
    if (sizeOf(image) !== size)
      throw new UsageError(
        `an image of ${image.join("×")} has ${sizeOf(image)} elements, the axis that lists it ${size}`,
      );
    split.push(...image);
    axes.push(at + 2, at, at + 1);
  });
  return { split, axes, shape };
}

/**
 * The layout of a vector that lists some of a matrix's axes, when the matrix itself has a layout: how the singular
 * vectors of a convolution lie.
 *
 * @param shape of the matrix's cell, ours.
 * @param kept which of its axes the vector lists.
 */
export function vectorAlong(
  shape: readonly number[],
  { split: parts = shape, axes }: TorchLayout,
  kept: readonly number[],
): TorchLayout {
  const owners = axesOfParts(parts, shape);
  const order = axes ?? parts.map((_, i) => i);
  const listed = parts.flatMap((_, part) => (kept.includes(owners[part] as number) ? [part] : []));
  const split = listed.map((part) => parts[part] as number);
  return {
    split,
    axes: order.filter((part) => listed.includes(part)).map((part) => listed.indexOf(part)),
    shape: [sizeOf(split)],
  };
}

/** For each part of a split shape the axis that it comes from; those of size 1 may be said to come from a neighbour. */
function axesOfParts(parts: readonly number[], shape: readonly number[]): number[] {
  let axis = 0;
  let seen = 1;
  return parts.map((part) => {
    if (seen === shape[axis] && part !== 1) {
      do axis++;
      while (shape[axis] === 1);
      seen = 1;
    }
    seen *= part;
    return axis;
  });
}

const permuted = (sizes: readonly number[], axes: readonly number[] | undefined): readonly number[] =>
  axes ? axes.map((axis) => sizes[axis] as number) : sizes;

/** The shape that a cell has in PyTorch. */
export const shapeInTorch = (shape: readonly number[], layout: TorchLayout): readonly number[] =>
  layout.shape ?? permuted(layout.split ?? shape, layout.axes);

/**
 * Our values as PyTorch has them.
 *
 * @example
 * toTorch(zeros([8, 5, 5, 3]), channelsFirst); // [8, 3, 5, 5]
 */
export function toTorch(ours: Tensor, layout: TorchLayout): Tensor {
  checkTensor("toTorch", "ours", ours);
  checkObject("toTorch", "layout", layout);
  const { split = ours.shape, axes, shape = permuted(split, axes) } = layout;
  const parts = ours.reshape(split);
  return (axes ? parts.transpose(axes) : parts).reshape(shape);
}

/**
 * PyTorch's values as we have them, in our shape.
 *
 * @example
 * fromTorch(zeros([1, 3, 4, 5]), channelsFirst, [1, 4, 5, 3]); // [1, 4, 5, 3]
 */
export function fromTorch(theirs: Tensor, layout: TorchLayout, shape: readonly number[]): Tensor {
  checkTensor("fromTorch", "theirs", theirs);
  checkObject("fromTorch", "layout", layout);
  const { split = shape, axes } = layout;
  const parts = theirs.reshape(permuted(split, axes));
  const inverse = axes?.map((_, axis) => axes.indexOf(axis));
  return (inverse ? parts.transpose(inverse) : parts).reshape(shape);
}
