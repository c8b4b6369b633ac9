// Convolutions of image models: 3×3 forward and backward, strided, transposed, 1×1. Ours are channels-last, onnxruntime's
// channels-first, each in its own layout; it has its weights as constants, ours are captured.

import { conv2d, conv2dInputGrad, conv2dWeightGrad } from "@figment/tensor";
import { bytesPer, type KernelCase, nameIn, ourContestant, product, randomTensor, randomValues } from "../case.js";
import type { Contestant } from "../race.js";
import { type ConvWork, type Format, formats } from "../work.js";
import { capturingContestant } from "./compiled.js";

export type Pass = ConvWork["pass"];
export type Geometry = Omit<ConvWork, "kind" | "pass" | "outSize">;

const conv3 = { kernel: 3, stride: 1, padding: 1 } as const;
const shapes = {
  a: { n: 1, inChannels: 320, outChannels: 320, size: 64, ...conv3 },
  b: { n: 1, inChannels: 512, outChannels: 512, size: 32, ...conv3 },
  c: { n: 16, inChannels: 64, outChannels: 64, size: 32, ...conv3 },
  d: { n: 64, inChannels: 1, outChannels: 32, size: 28, kernel: 3, stride: 2, padding: 1 },
  // The convolution that shape e transposes: 16² → 8².
  e: { n: 32, inChannels: 128, outChannels: 256, size: 16, kernel: 4, stride: 2, padding: 1 },
  f: { n: 1, inChannels: 512, outChannels: 512, size: 64, ...conv3 },
  g: { n: 1, inChannels: 64, outChannels: 32, size: 256, ...conv3 },
  // Halving the resolution, and the shortcut of a residual block, as Stable Diffusion has them.
  strided: { n: 1, inChannels: 320, outChannels: 320, size: 64, kernel: 3, stride: 2, padding: 1 },
  pointwise: { n: 1, inChannels: 640, outChannels: 320, size: 64, kernel: 1, stride: 1, padding: 0 },
} satisfies Record<string, Geometry>;

type Label = keyof typeof shapes;

const passNames: Readonly<Record<Pass, string>> = {
  forward: "",
  data: " backward data",
  weight: " backward weight",
};

function describe(label: string, { n, inChannels, outChannels, size, kernel, stride }: Geometry, pass: Pass): string {
  const strides = stride > 1 ? ` stride ${stride}` : "";
  if (label !== "e")
    return `conv ${label}${passNames[pass]}: ${kernel}×${kernel} N${n} ${inChannels}→${outChannels} ${size}²${strides}`;
  // Shape e is a transposed convolution, and what is a derivative of the one is another pass of the other.
  const name = { data: "", forward: passNames.data, weight: passNames.weight }[pass];
  const [from, to] = [size / stride, size];
  return `conv e${name}: transposed ${kernel}×${kernel}${strides} N${n} ${outChannels}→${inChannels} ${from}²→${to}²`;
}

const ops: Readonly<Record<Pass, string>> = {
  forward: "conv2d",
  data: "conv2dInputGrad",
  weight: "conv2dWeightGrad",
};

/** A convolution's pass; weights are captured, as inference has them. */
export function convCase(label: string, shape: Geometry, pass: Pass, format: Format): KernelCase {
  const { n, inChannels, outChannels, size, kernel, stride, padding } = shape;
  const outSize = Math.floor((size + 2 * padding - kernel) / stride) + 1;
  const x = [n, size, size, inChannels];
  const w = [outChannels, kernel, kernel, inChannels];
  const y = [n, outSize, outSize, outChannels];
  return {
    name: nameIn(format, describe(label, shape, pass)),
    op: ops[pass],
    flops: 2 * product(y) * kernel * kernel * inChannels,
    bytes: bytesPer[format] * (product(x) + product(w) + product(y)),
    bound: "fma",
    format,
    work: { kind: "conv", pass, ...shape, outSize },
    ours: (): Contestant => {
      const options = { stride, padding };
      const image = randomTensor(pass === "data" ? y : x, 1, format);
      const other = randomTensor(pass === "weight" ? y : w, 2, format);
      if (pass === "weight")
        return ourContestant([image, other], () => conv2dWeightGrad(image, other, { kernelSize: kernel, ...options }));
      return capturingContestant(image, [other], (given) =>
        pass === "forward"
          ? conv2d(given, other, options)
          : conv2dInputGrad(given, other, { inputShape: x, ...options }),
      );
    },
    ...(format === "f32" && pass !== "weight" && { onnx: () => onnxConv(shape, pass, outSize) }),
  };
}

/** Conv, or ConvTranspose for the derivative by the image. */
function onnxConv(
  { n, inChannels, outChannels, size, kernel, stride, padding }: Geometry,
  pass: Pass,
  outSize: number,
) {
  const [x, y] = [
    [n, inChannels, size, size],
    [n, outChannels, outSize, outSize],
  ];
  const [input, output] = pass === "forward" ? [x, y] : [y, x];
  const w = [outChannels, inChannels, kernel, kernel];
  return {
    graph: {
      inputs: [{ name: "input", shape: input }],
      constants: [{ name: "w", shape: w, data: randomValues(product(w), 2) }],
      outputs: [{ name: "output", shape: output }],
      nodes: [
        {
          op: pass === "forward" ? "Conv" : "ConvTranspose",
          inputs: ["input", "w"],
          outputs: ["output"],
          ints: { strides: [stride, stride], pads: [padding, padding, padding, padding] },
        },
      ],
    },
    data: { input: randomValues(product(input), 1) },
  };
}

const passes: readonly (readonly [Label, Pass])[] = [
  ["a", "forward"],
  ["b", "forward"],
  ["c", "forward"],
  ["d", "forward"],
  ["e", "data"],
  ["f", "forward"],
  ["g", "forward"],
  ["c", "data"],
  ["c", "weight"],
  ["e", "forward"],
  ["e", "weight"],
  ...(["strided", "pointwise"] as const).flatMap((label) =>
    (["forward", "data", "weight"] as const).map((pass) => [label, pass] as const),
  ),
];

export const convCases: readonly KernelCase[] = passes.flatMap(([label, pass]) =>
  formats.map((format) => convCase(label, shapes[label], pass, format)),
);
