// Convolutions: seven forward shapes of image models (one strided, one transposed) and the backward pass of one.
// Ours are channels-last, the peer's channels-first, each in its own layout; the peer has its weights as constants.

import { conv2d, conv2dInputGrad, conv2dWeightGrad } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, product, randomTensor, randomValues } from "../case.js";

interface ConvShape {
  readonly label: string;
  readonly n: number;
  readonly inChannels: number;
  readonly outChannels: number;
  /** Input height and width. */
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

const conv3 = { kernel: 3, stride: 1, padding: 1 } as const;
const shapes: readonly ConvShape[] = [
  { label: "a", n: 1, inChannels: 320, outChannels: 320, size: 64, ...conv3 },
  { label: "b", n: 1, inChannels: 512, outChannels: 512, size: 32, ...conv3 },
  { label: "c", n: 16, inChannels: 64, outChannels: 64, size: 32, ...conv3 },
  { label: "d", n: 64, inChannels: 1, outChannels: 32, size: 28, kernel: 3, stride: 2, padding: 1 },
  { label: "f", n: 1, inChannels: 512, outChannels: 512, size: 64, ...conv3 },
  { label: "g", n: 1, inChannels: 64, outChannels: 32, size: 256, ...conv3 },
];

/** Sizes and work of a convolution; `outSize` is its output height and width. */
function geometry(shape: ConvShape) {
  const { n, inChannels, outChannels, size, kernel, stride, padding } = shape;
  const outSize = Math.floor((size + 2 * padding - kernel) / stride) + 1;
  const x = [n, size, size, inChannels];
  const w = [outChannels, kernel, kernel, inChannels];
  const y = [n, outSize, outSize, outChannels];
  const flops = 2 * product(y) * kernel * kernel * inChannels;
  const bytes = bytesPerFloat * (product(x) + product(w) + product(y));
  return { x, w, y, outSize, flops, bytes };
}

const describe = ({ label, n, inChannels, outChannels, size, kernel, stride }: ConvShape, kind = ""): string =>
  `conv ${label}${kind}: ${kernel}×${kernel} N${n} ${inChannels}→${outChannels} ${size}²${stride > 1 ? ` stride ${stride}` : ""}`;

function forward(shape: ConvShape): KernelCase {
  const { x, w, outSize, flops, bytes } = geometry(shape);
  const { n, inChannels, outChannels, size, kernel, stride, padding } = shape;
  return {
    name: describe(shape),
    op: "conv2d",
    flops,
    bytes,
    bound: "fma",
    ours() {
      const input = randomTensor(x, 1);
      const weights = randomTensor(w, 2);
      return ourContestant([input, weights], () => conv2d(input, weights, { stride, padding }));
    },
    peer: () => ({
      graph: {
        inputs: [{ name: "x", shape: [n, inChannels, size, size] }],
        constants: [{ name: "w", shape: [outChannels, inChannels, kernel, kernel], data: randomValues(product(w), 2) }],
        outputs: [{ name: "y", shape: [n, outChannels, outSize, outSize] }],
        nodes: [
          {
            op: "Conv",
            inputs: ["x", "w"],
            outputs: ["y"],
            ints: { strides: [stride, stride], pads: [padding, padding, padding, padding] },
          },
        ],
      },
      data: { x: randomValues(product(x), 1) },
    }),
  };
}

/** The transposed convolution, which is also the backward pass for the data. */
function transposed(shape: ConvShape, name: string): KernelCase {
  const { x, w, y, outSize, flops, bytes } = geometry(shape);
  const { n, inChannels, outChannels, size, kernel, stride, padding } = shape;
  return {
    name,
    op: "conv2dInputGrad",
    flops,
    bytes,
    bound: "fma",
    ours() {
      const small = randomTensor(y, 1);
      const weights = randomTensor(w, 2);
      return ourContestant([small, weights], () => conv2dInputGrad(small, weights, { inputShape: x, stride, padding }));
    },
    peer: () => ({
      graph: {
        inputs: [{ name: "y", shape: [n, outChannels, outSize, outSize] }],
        constants: [{ name: "w", shape: [outChannels, inChannels, kernel, kernel], data: randomValues(product(w), 2) }],
        outputs: [{ name: "x", shape: [n, inChannels, size, size] }],
        nodes: [
          {
            op: "ConvTranspose",
            inputs: ["y", "w"],
            outputs: ["x"],
            ints: { strides: [stride, stride], pads: [padding, padding, padding, padding] },
          },
        ],
      },
      data: { y: randomValues(product(y), 1) },
    }),
  };
}

function weightGradient(shape: ConvShape): KernelCase {
  const { x, y, flops, bytes } = geometry(shape);
  const { kernel, stride, padding } = shape;
  return {
    name: describe(shape, " backward weight"),
    op: "conv2dWeightGrad",
    flops,
    bytes,
    bound: "fma",
    ours() {
      const input = randomTensor(x, 1);
      const gradient = randomTensor(y, 2);
      return ourContestant([input, gradient], () =>
        conv2dWeightGrad(input, gradient, { kernelSize: kernel, stride, padding }),
      );
    },
  };
}

// Shape e is described by the convolution that it transposes: 128 → 256 channels, 16² → 8².
const e: ConvShape = {
  label: "e",
  n: 32,
  inChannels: 128,
  outChannels: 256,
  size: 16,
  kernel: 4,
  stride: 2,
  padding: 1,
};
const c = shapes.find(({ label }) => label === "c")!;

export const convCases: readonly KernelCase[] = [
  ...shapes.slice(0, 4).map(forward),
  transposed(e, "conv e: transposed 4×4 stride 2 N32 256→128 8²→16²"),
  ...shapes.slice(4).map(forward),
  transposed(c, describe(c, " backward data")),
  weightGradient(c),
];
