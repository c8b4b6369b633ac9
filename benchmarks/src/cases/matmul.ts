// Matrix products, both operands fresh on each call (the peer may not pack one ahead of time).

import { matmul } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, randomTensor, randomValues } from "../case.js";

function matmulCase(m: number, k: number, n: number): KernelCase {
  return {
    name: m === k && k === n ? `matmul ${m}³` : `matmul ${m}×${k}×${n}`,
    op: "matmul",
    flops: 2 * m * k * n,
    bytes: bytesPerFloat * (m * k + k * n + m * n),
    bound: "fma",
    ours() {
      const a = randomTensor([m, k], 1);
      const b = randomTensor([k, n], 2);
      return ourContestant([a, b], () => matmul(a, b));
    },
    peer: () => ({
      graph: {
        inputs: [
          { name: "a", shape: [m, k] },
          { name: "b", shape: [k, n] },
        ],
        outputs: [{ name: "y", shape: [m, n] }],
        nodes: [{ op: "MatMul", inputs: ["a", "b"], outputs: ["y"] }],
      },
      data: { a: randomValues(m * k, 1), b: randomValues(k * n, 2) },
    }),
  };
}

export const matmulCases: readonly KernelCase[] = [
  matmulCase(512, 512, 512),
  matmulCase(1024, 1024, 1024),
  matmulCase(2048, 2048, 2048),
  matmulCase(4096, 320, 1280),
];
