// Normalisations and biasAct, each one fused kernel. The peer has GroupNormalization with Sigmoid and Mul, and
// LayerNormalization; it trains nothing, so it has no batch statistics.

import { batchNorm, biasAct, groupNorm, layerNorm, rmsNorm } from "@figment/tensor";
import {
  bytesPer,
  bytesPerFloat,
  type KernelCase,
  nameIn,
  ourContestant,
  randomTensor,
  randomValues,
} from "../case.js";
import { type Format, formats } from "../work.js";

const groups = 32;
const epsilon = 1e-5;

export function groupNormCase(n: number, channels: number, size: number, format: Format): KernelCase {
  const count = n * size * size * channels;
  return {
    op: "groupNorm",
    name: nameIn(format, `groupNorm+SiLU N${n} C${channels} ${size}²`),
    bytes: 2 * bytesPer[format] * count,
    bound: "copy",
    format,
    work: { kind: "groupNorm", n, channels, size, groups, epsilon },
    ours() {
      const x = randomTensor([n, size, size, channels], 1, format);
      const gamma = randomTensor([channels], 2, format);
      const beta = randomTensor([channels], 3, format);
      return ourContestant([x, gamma, beta], () => groupNorm(x, gamma, beta, { groups, eps: epsilon, silu: true }));
    },
    ...(format === "f32" && {
      onnx: () => ({
        graph: {
          inputs: [{ name: "x", shape: [n, channels, size, size] }],
          constants: [
            { name: "gamma", shape: [channels], data: randomValues(channels, 2) },
            { name: "beta", shape: [channels], data: randomValues(channels, 3) },
          ],
          outputs: [{ name: "y", shape: [n, channels, size, size] }],
          nodes: [
            {
              op: "GroupNormalization",
              inputs: ["x", "gamma", "beta"],
              outputs: ["normal"],
              ints: { num_groups: groups },
              floats: { epsilon },
            },
            { op: "Sigmoid", inputs: ["normal"], outputs: ["gate"] },
            { op: "Mul", inputs: ["normal", "gate"], outputs: ["y"] },
          ],
        },
        data: { x: randomValues(count, 1) },
      }),
    }),
  };
}

function layerNormCase(rows: number, channels: number): KernelCase {
  const count = rows * channels;
  return {
    op: "layerNorm",
    name: `layerNorm ${rows}×${channels}`,
    bytes: 2 * bytesPerFloat * count,
    bound: "copy",
    ours() {
      const x = randomTensor([rows, channels], 1);
      const gamma = randomTensor([channels], 2);
      const beta = randomTensor([channels], 3);
      return ourContestant([x, gamma, beta], () => layerNorm(x, gamma, beta, { eps: epsilon }));
    },
    onnx: () => ({
      graph: {
        inputs: [{ name: "x", shape: [rows, channels] }],
        constants: [
          { name: "gamma", shape: [channels], data: randomValues(channels, 2) },
          { name: "beta", shape: [channels], data: randomValues(channels, 3) },
        ],
        outputs: [{ name: "y", shape: [rows, channels] }],
        nodes: [{ op: "LayerNormalization", inputs: ["x", "gamma", "beta"], outputs: ["y"], floats: { epsilon } }],
      },
      data: { x: randomValues(count, 1) },
    }),
  };
}

function batchNormCase(n: number, channels: number, size: number): KernelCase {
  const shape = [n, size, size, channels];
  return {
    op: "batchNorm",
    name: `batchNorm, training N${n} C${channels} ${size}²`,
    // The statistics need all of x before the first result.
    bytes: 3 * bytesPerFloat * n * size * size * channels,
    bound: "copy",
    ours() {
      const x = randomTensor(shape, 1);
      const gamma = randomTensor([channels], 2);
      const beta = randomTensor([channels], 3);
      return ourContestant([x, gamma, beta], () => {
        const { y, mean, variance } = batchNorm(x, gamma, beta, { eps: epsilon });
        return [y, mean, variance];
      });
    },
  };
}

function biasActCase(n: number, channels: number, size: number): KernelCase {
  return {
    op: "biasAct",
    name: `biasAct, leaky ReLU N${n} C${channels} ${size}²`,
    bytes: 2 * bytesPerFloat * n * size * size * channels,
    bound: "copy",
    ours() {
      const x = randomTensor([n, size, size, channels], 1);
      const bias = randomTensor([channels], 2);
      const options = { activation: "leakyRelu", gain: Math.SQRT2, clamp: 256 } as const;
      return ourContestant([x, bias], () => biasAct(x, bias, options));
    },
  };
}

function rmsNormCase(rows: number, channels: number): KernelCase {
  return {
    name: `rmsNorm ${rows}×${channels}`,
    op: "rmsNorm",
    bytes: 2 * bytesPerFloat * rows * channels,
    bound: "copy",
    ours() {
      const x = randomTensor([rows, channels], 1);
      const gamma = randomTensor([channels], 2);
      return ourContestant([x, gamma], () => rmsNorm(x, gamma, { eps: epsilon }));
    },
  };
}

export const groupNormCases: readonly KernelCase[] = formats.flatMap((format) => [
  groupNormCase(1, 320, 64, format),
  groupNormCase(16, 128, 32, format),
]);

export const normCases: readonly KernelCase[] = [
  layerNormCase(4096, 320),
  rmsNormCase(4096, 320),
  batchNormCase(16, 128, 32),
  biasActCase(16, 128, 32),
];
