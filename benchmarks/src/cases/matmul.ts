// Matrix products, both operands fresh on each call for ours and onnxruntime (neither may pack one ahead of time).

import { matmul } from "@figment/tensor";
import { bytesPer, type KernelCase, nameIn, ourContestant, randomTensor, randomValues } from "../case.js";
import { type Format, formats } from "../work.js";

export function matmulCase(m: number, k: number, n: number, format: Format): KernelCase {
  const size = m === k && k === n ? `${m}³` : `${m}×${k}×${n}`;
  return {
    name: nameIn(format, `matmul ${size}`),
    op: "matmul",
    flops: 2 * m * k * n,
    bytes: bytesPer[format] * (m * k + k * n + m * n),
    bound: "fma",
    format,
    work: { kind: "matmul", m, k, n },
    ours() {
      const a = randomTensor([m, k], 1, format);
      const b = randomTensor([k, n], 2, format);
      return ourContestant([a, b], () => matmul(a, b));
    },
    ...(format === "f32" && {
      onnx: () => ({
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
    }),
  };
}

const sizes = [
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [4096, 320, 1280],
] as const;

export const matmulCases: readonly KernelCase[] = sizes.flatMap(([m, k, n]) =>
  formats.map((format) => matmulCase(m, k, n, format)),
);
