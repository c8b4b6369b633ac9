// Resampling of images: bilinear and nearest-neighbour resizing, max and average pooling, StyleGAN's filtered up- and
// downsampling, a reversal. The peer has Resize, MaxPool and AveragePool.

import { avgPool, flip, maxPool, resizeBilinear, resizeNearest, tensor, upfirdn2d } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, product, randomTensor, randomValues } from "../case.js";

type Image = readonly [n: number, h: number, w: number, c: number];

const shapeOf = ([n, h, w, c]: Image): string => `N${n} C${c} ${h}×${w}`;
const channelsFirst = ([n, h, w, c]: Image): number[] => [n, c, h, w];

function bilinearCase(image: Image, size: readonly [number, number]): KernelCase {
  const result: Image = [image[0], ...size, image[3]];
  return {
    op: "resizeBilinear",
    name: `resizeBilinear ${shapeOf(image)} → ${size[0]}×${size[1]}`,
    bytes: bytesPerFloat * (product(image) + product(result)),
    bound: "copy",
    ours() {
      const x = randomTensor(image);
      return ourContestant([x], () => resizeBilinear(x, size));
    },
    onnx: () => ({
      graph: {
        inputs: [{ name: "x", shape: channelsFirst(image) }],
        constants: [
          { name: "scales", shape: [4], data: Float32Array.of(1, 1, size[0] / image[1], size[1] / image[2]) },
        ],
        outputs: [{ name: "y", shape: channelsFirst(result) }],
        nodes: [
          {
            op: "Resize",
            inputs: ["x", "", "scales"],
            outputs: ["y"],
            strings: { mode: "linear", coordinate_transformation_mode: "half_pixel" },
          },
        ],
      },
      data: { x: randomValues(product(image)) },
    }),
  };
}

function nearestCase(image: Image, size: readonly [number, number]): KernelCase {
  const result: Image = [image[0], ...size, image[3]];
  return {
    name: `resizeNearest ${shapeOf(image)} → ${size[0]}×${size[1]}`,
    op: "resizeNearest",
    bytes: bytesPerFloat * (product(image) + product(result)),
    bound: "copy",
    ours() {
      const x = randomTensor(image);
      return ourContestant([x], () => resizeNearest(x, size));
    },
  };
}

function avgPoolCase(image: Image): KernelCase {
  const [n, h, w, c] = image;
  const result: Image = [n, h / 2, w / 2, c];
  return {
    name: `avgPool 2×2 ${shapeOf(image)}`,
    op: "avgPool",
    bytes: bytesPerFloat * (product(image) + product(result)),
    bound: "copy",
    ours() {
      const x = randomTensor(image);
      return ourContestant([x], () => avgPool(x, { kernel: 2 }));
    },
    onnx: () => ({
      graph: {
        inputs: [{ name: "x", shape: channelsFirst(image) }],
        outputs: [{ name: "y", shape: channelsFirst(result) }],
        nodes: [{ op: "AveragePool", inputs: ["x"], outputs: ["y"], ints: { kernel_shape: [2, 2], strides: [2, 2] } }],
      },
      data: { x: randomValues(product(image)) },
    }),
  };
}

function maxPoolCase(image: Image): KernelCase {
  const [n, h, w, c] = image;
  const result: Image = [n, h / 2, w / 2, c];
  return {
    op: "maxPool",
    name: `maxPool 2×2 ${shapeOf(image)}`,
    bytes: bytesPerFloat * (product(image) + product(result)),
    bound: "copy",
    ours() {
      const x = randomTensor(image);
      return ourContestant([x], () => maxPool(x, { kernel: 2 }));
    },
    onnx: () => ({
      graph: {
        inputs: [{ name: "x", shape: channelsFirst(image) }],
        outputs: [{ name: "y", shape: channelsFirst(result) }],
        nodes: [{ op: "MaxPool", inputs: ["x"], outputs: ["y"], ints: { kernel_shape: [2, 2], strides: [2, 2] } }],
      },
      data: { x: randomValues(product(image)) },
    }),
  };
}

/** StyleGAN's [1, 3, 3, 1] filter, separable, up or down by 2. */
function upfirdnCase(image: Image, direction: "up" | "down"): KernelCase {
  const [n, h, w, c] = image;
  const result: Image = direction === "up" ? [n, 2 * h, 2 * w, c] : [n, h / 2, w / 2, c];
  const padding: readonly [readonly [number, number], readonly [number, number]] =
    direction === "up"
      ? [
          [2, 1],
          [2, 1],
        ]
      : [
          [1, 1],
          [1, 1],
        ];
  return {
    op: "upfirdn2d",
    name: `upfirdn2d ${direction} 2, 4×4 taps, ${shapeOf(image)}`,
    bytes: bytesPerFloat * (product(image) + product(result)),
    bound: "copy",
    ours() {
      const x = randomTensor(image);
      const taps = [1, 3, 3, 1];
      const filter = tensor(taps.map((a) => taps.map((b) => (a * b) / 64)));
      return ourContestant([x, filter], () => upfirdn2d(x, filter, { [direction]: 2, padding }));
    },
  };
}

function flipCase(image: Image, axis: number): KernelCase {
  return {
    op: "flip",
    name: `flip axis ${axis} of ${shapeOf(image)}`,
    bytes: 2 * bytesPerFloat * product(image),
    bound: "copy",
    ours() {
      const x = randomTensor(image);
      return ourContestant([x], () => flip(x, axis));
    },
  };
}

export const imageCases: readonly KernelCase[] = [
  bilinearCase([16, 32, 32, 64], [64, 64]),
  bilinearCase([16, 64, 64, 3], [128, 128]),
  nearestCase([16, 32, 32, 64], [64, 64]),
  maxPoolCase([16, 64, 64, 64]),
  avgPoolCase([16, 64, 64, 64]),
  upfirdnCase([8, 64, 64, 64], "up"),
  upfirdnCase([8, 64, 64, 64], "down"),
  upfirdnCase([8, 128, 128, 3], "up"),
  flipCase([16, 64, 64, 64], 2),
];
