// Group normalisation with SiLU, one fused kernel; the peer has GroupNormalization, Sigmoid and Mul.

import { groupNorm } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, randomTensor, randomValues } from "../case.js";

const groups = 32;
const epsilon = 1e-5;

function groupNormCase(n: number, channels: number, size: number): KernelCase {
  const count = n * size * size * channels;
  return {
    name: `groupNorm+SiLU N${n} C${channels} ${size}²`,
    bytes: 2 * bytesPerFloat * count,
    bound: "copy",
    ours() {
      const x = randomTensor([n, size, size, channels], 1);
      const gamma = randomTensor([channels], 2);
      const beta = randomTensor([channels], 3);
      return ourContestant([x, gamma, beta], () => groupNorm(x, gamma, beta, { groups, eps: epsilon, silu: true }));
    },
    peer: () => ({
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
  };
}

export const normCases: readonly KernelCase[] = [groupNormCase(1, 320, 64), groupNormCase(16, 128, 32)];
