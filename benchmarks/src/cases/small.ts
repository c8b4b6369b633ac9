// Random numbers, and the cost of dispatching an operation that does next to nothing.

import { add, rng } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, randomTensor, randomValues } from "../case.js";

const normals = 2 ** 24;
const draws = 2 ** 22;
const tiny = 16;

const randn: KernelCase = {
  name: "randn 16 M",
  op: "randomNormal",
  bytes: bytesPerFloat * normals,
  bound: "copy",
  work: { kind: "randn", count: normals },
  ours() {
    const random = rng(1);
    return ourContestant([random], () => random.normal([normals]));
  },
  onnx: () => ({
    graph: {
      inputs: [],
      outputs: [{ name: "y", shape: [normals] }],
      nodes: [{ op: "RandomNormal", inputs: [], outputs: ["y"], ints: { shape: [normals] } }],
    },
    data: {},
  }),
};

const uniform: KernelCase = {
  name: "uniform 4 M",
  op: "randomUniform",
  bytes: bytesPerFloat * draws,
  bound: "copy",
  ours() {
    const random = rng(1);
    return ourContestant([random], () => random.uniform([draws]));
  },
};

const integers: KernelCase = {
  name: "randint 4 M",
  op: "randomInteger",
  bytes: bytesPerFloat * draws,
  bound: "copy",
  ours() {
    const random = rng(1);
    return ourContestant([random], () => random.randint([draws], 0, 1000));
  },
};

const eager: KernelCase = {
  name: "eager add of 16 elements",
  op: "elementwise",
  bytes: 3 * bytesPerFloat * tiny,
  bound: "none",
  ours() {
    const a = randomTensor([tiny], 1);
    const b = randomTensor([tiny], 2);
    return ourContestant([a, b], () => add(a, b));
  },
  onnx: () => ({
    graph: {
      inputs: [
        { name: "a", shape: [tiny] },
        { name: "b", shape: [tiny] },
      ],
      outputs: [{ name: "y", shape: [tiny] }],
      nodes: [{ op: "Add", inputs: ["a", "b"], outputs: ["y"] }],
    },
    data: { a: randomValues(tiny, 1), b: randomValues(tiny, 2) },
  }),
};

export const randnCases: readonly KernelCase[] = [randn];

export const smallCases: readonly KernelCase[] = [uniform, integers, eager];
