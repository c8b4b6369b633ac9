// The cases from which the convolutions' tests and benchmarks are generated: pointwise, strided, dilated,
// grouped and depthwise, with lopsided padding, and sizes with tails.

import type { Shape } from "../shape.js";
import type { Activation } from "./activation.js";
import type { Pair } from "./checks.js";
import type { Conv2dAttrs, Conv2dInputGradAttrs, Conv2dWeightGradAttrs } from "./conv.js";
import type { ConvGeometry } from "./convGeometry.js";
import type { Sample } from "./definition.js";
import { epilogueOperands } from "./epilogue.js";

/** Image [N,H,W,C], output channels and kernel, with a geometry; sides of 1 where nothing else is said. */
interface Case extends ConvGeometry {
  readonly image: readonly [number, number, number, number];
  readonly channels: number;
  readonly kernel: Pair;
  /** A number for each channel of the result, or one for all. */
  readonly scale?: "each" | "all";
  readonly bias?: boolean;
  readonly addend?: boolean;
  readonly activation?: Activation;
}

const plain: ConvGeometry = { stride: [1, 1], padLo: [0, 0], padHi: [0, 0], dilation: [1, 1], groups: 1 };
const same = { padLo: [1, 1], padHi: [1, 1] } as const;

const cases: readonly Case[] = [
  { ...plain, image: [1, 1, 1, 1], channels: 1, kernel: [1, 1] },
  { ...plain, image: [2, 5, 4, 3], channels: 2, kernel: [1, 1] },
  { ...plain, ...same, image: [1, 5, 6, 2], channels: 3, kernel: [3, 3], bias: true },
  { ...plain, ...same, image: [2, 7, 5, 2], channels: 3, kernel: [3, 3], stride: [2, 2] },
  { ...plain, image: [1, 7, 8, 2], channels: 2, kernel: [2, 3], stride: [2, 3], padLo: [0, 1], padHi: [1, 2] },
  { ...plain, image: [1, 5, 6, 3], channels: 2, kernel: [1, 1], stride: [2, 3] },
  { ...plain, image: [1, 9, 7, 2], channels: 3, kernel: [3, 2], dilation: [2, 3], padLo: [2, 0], padHi: [1, 1] },
  { ...plain, ...same, image: [1, 4, 5, 4], channels: 6, kernel: [3, 3], groups: 2, bias: true },
  { ...plain, ...same, image: [2, 4, 4, 5], channels: 5, kernel: [3, 3], groups: 5 },
  { ...plain, image: [1, 5, 5, 1], channels: 4, kernel: [5, 5], padLo: [2, 2], padHi: [2, 2] },
  { ...plain, ...same, image: [1, 5, 4, 3], channels: 5, kernel: [3, 3], bias: true, activation: "silu" },
  { ...plain, image: [1, 3, 3, 2], channels: 3, kernel: [1, 1], bias: true, activation: "relu" },
  { ...plain, ...same, image: [2, 28, 28, 1], channels: 32, kernel: [3, 3], bias: true },
  { ...plain, ...same, image: [2, 14, 14, 32], channels: 64, kernel: [3, 3], bias: true },
  { ...plain, ...same, image: [3, 13, 11, 19], channels: 35, kernel: [3, 3] },
  { ...plain, ...same, image: [2, 14, 14, 33], channels: 31, kernel: [3, 3], stride: [2, 2], bias: true },
  { ...plain, image: [2, 9, 9, 64], channels: 48, kernel: [1, 1], bias: true },
  { ...plain, ...same, image: [1, 17, 16, 24], channels: 40, kernel: [3, 3], groups: 4, activation: "silu" },
  { ...plain, ...same, image: [1, 15, 13, 37], channels: 37, kernel: [3, 3], groups: 37 },
  { ...plain, ...same, image: [1, 9, 8, 6], channels: 12, kernel: [3, 2], groups: 3, stride: [2, 1], bias: true },
  { ...plain, ...same, image: [2, 13, 12, 34], channels: 34, kernel: [3, 3], groups: 17 },
  { ...plain, ...same, image: [1, 12, 11, 40], channels: 20, kernel: [3, 3], groups: 10, activation: "silu" },
  { ...plain, ...same, image: [1, 10, 9, 18], channels: 54, kernel: [3, 3], groups: 18, dilation: [1, 2] },
  { ...plain, ...same, image: [2, 6, 5, 320], channels: 97, kernel: [3, 3], bias: true, activation: "silu" },
  { ...plain, ...same, image: [1, 41, 43, 16], channels: 16, kernel: [3, 3] },
  { ...plain, image: [1, 12, 12, 4], channels: 320, kernel: [4, 4], stride: [4, 4] },
  { ...plain, image: [2, 6, 9, 5], channels: 17, kernel: [3, 3], padLo: [0, 3], padHi: [2, 0], bias: true },
  { ...plain, image: [1, 33, 33, 24], channels: 133, kernel: [1, 2], stride: [2, 2], padLo: [0, 1] },
  { ...plain, image: [1, 8, 8, 64], channels: 256, kernel: [1, 1], groups: 2 },
];

/** Forward passes that scale their sums or add an image to their results, beside those of the cases above. */
const finished: readonly Case[] = [
  { ...plain, image: [1, 5, 4, 3], channels: 5, kernel: [3, 3], addend: true },
  {
    ...plain,
    ...same,
    image: [2, 5, 6, 33],
    channels: 19,
    kernel: [3, 3],
    bias: true,
    activation: "silu",
    addend: true,
  },
  { ...plain, ...same, image: [2, 14, 13, 64], channels: 65, kernel: [3, 3], bias: true, addend: true },
  { ...plain, ...same, image: [2, 7, 8, 200], channels: 40, kernel: [3, 3], stride: [2, 2], addend: true },
  { ...plain, ...same, image: [1, 11, 12, 40], channels: 60, kernel: [3, 3], groups: 4, bias: true, addend: true },
  { ...plain, ...same, image: [1, 9, 8, 12], channels: 12, kernel: [3, 3], groups: 12, bias: true, addend: true },
  { ...plain, image: [3, 6, 5, 96], channels: 64, kernel: [1, 1], bias: true, addend: true },
  { ...plain, image: [1, 5, 4, 3], channels: 5, kernel: [3, 3], scale: "each" },
  {
    ...plain,
    ...same,
    image: [2, 5, 6, 33],
    channels: 19,
    kernel: [3, 3],
    scale: "each",
    bias: true,
    activation: "relu",
    addend: true,
  },
  { ...plain, ...same, image: [2, 14, 13, 64], channels: 65, kernel: [3, 3], scale: "all", bias: true, addend: true },
  { ...plain, ...same, image: [2, 7, 8, 200], channels: 40, kernel: [3, 3], stride: [2, 2], scale: "each" },
  { ...plain, ...same, image: [1, 11, 12, 40], channels: 60, kernel: [3, 3], groups: 4, scale: "each", bias: true },
  { ...plain, ...same, image: [1, 9, 8, 12], channels: 12, kernel: [3, 3], groups: 12, scale: "each", bias: true },
  { ...plain, image: [3, 6, 5, 96], channels: 64, kernel: [1, 1], scale: "all", addend: true },
];

const geometryOf = ({ stride, padLo, padHi, dilation, groups }: Case): ConvGeometry => ({
  stride,
  padLo,
  padHi,
  dilation,
  groups,
});

function shapesOf({ image, channels, kernel, stride, padLo, padHi, dilation, groups }: Case) {
  const extent = (axis: 0 | 1): number =>
    Math.floor(
      (image[axis === 0 ? 1 : 2] + padLo[axis] + padHi[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis],
    ) + 1;
  return {
    x: image,
    w: [channels, ...kernel, image[3] / groups],
    y: [image[0], extent(0), extent(1), channels],
  };
}

export const convSamples = {
  conv2d: (): Sample<Conv2dAttrs>[] =>
    [...cases, ...finished].map((item) => {
      const { x, w, y } = shapesOf(item);
      const { channels, scale, bias, addend, activation = "none" } = item;
      const epilogue = {
        scale: scale && [scale === "each" ? channels : 1],
        bias: bias ? [channels] : undefined,
        addend: addend ? y : undefined,
      };
      return {
        inputs: [x, w, ...epilogueOperands<Shape>(epilogue)].map((shape) => ({ shape })),
        attrs: { ...geometryOf(item), activation, ...(scale && { scale: true }), ...(addend && { addend }) },
      };
    }),
  inputGrad: (): Sample<Conv2dInputGradAttrs>[] =>
    cases.map((item) => {
      const { w, y } = shapesOf(item);
      return {
        inputs: [{ shape: y }, { shape: w }],
        attrs: { ...geometryOf(item), inputSize: [item.image[1], item.image[2]] },
      };
    }),
  weightGrad: (): Sample<Conv2dWeightGradAttrs>[] =>
    cases.map((item) => {
      const { x, y } = shapesOf(item);
      return { inputs: [{ shape: x }, { shape: y }], attrs: { ...geometryOf(item), kernelSize: item.kernel } };
    }),
};
