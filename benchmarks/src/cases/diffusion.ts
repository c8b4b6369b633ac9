// What a diffusion model does besides its network: noising of training images and one step of a sampler (the DDPM
// posterior mean without noise: x₀ = clamp(c₀·x + c₁·ε), x' = c₂·x₀ + c₄·x). The peer has each as its chain of nodes.

import { addNoise, samplerStep, tensor } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, product, randomTensor, randomValues } from "../case.js";

const images = [
  { label: "64×32²×3", shape: [64, 32, 32, 3] },
  { label: "1×64²×4", shape: [1, 64, 64, 4] },
  { label: "16 MiB", shape: [16, 256, 256, 4] },
] as const;

const scheduleSteps = 1000;

function noisingCase(label: string, shape: readonly number[]): KernelCase {
  const batch = shape[0]!;
  const count = product(shape);
  const timesteps = Int32Array.from({ length: batch }, (_, index) => (index * 37) % scheduleSteps);
  return {
    name: `add_noise ${label}`,
    op: "addNoise",
    bytes: 3 * bytesPerFloat * count,
    bound: "copy",
    ours() {
      const x = randomTensor(shape, 1);
      const noise = randomTensor(shape, 2);
      const t = tensor(timesteps, { shape: [batch], dtype: "i32" });
      const a = randomTensor([scheduleSteps], 3);
      const b = randomTensor([scheduleSteps], 4);
      return ourContestant([x, noise, t, a, b], () => addNoise(x, noise, t, a, b));
    },
    peer: () => ({
      graph: {
        inputs: [
          { name: "x", shape },
          { name: "noise", shape },
          { name: "t", shape: [batch, 1, 1, 1], type: "i32" },
        ],
        constants: [
          { name: "a", shape: [scheduleSteps], data: randomValues(scheduleSteps, 3) },
          { name: "b", shape: [scheduleSteps], data: randomValues(scheduleSteps, 4) },
        ],
        outputs: [{ name: "y", shape }],
        nodes: [
          { op: "Gather", inputs: ["a", "t"], outputs: ["at"] },
          { op: "Gather", inputs: ["b", "t"], outputs: ["bt"] },
          { op: "Mul", inputs: ["x", "at"], outputs: ["left"] },
          { op: "Mul", inputs: ["noise", "bt"], outputs: ["right"] },
          { op: "Add", inputs: ["left", "right"], outputs: ["y"] },
        ],
      },
      data: { x: randomValues(count, 1), noise: randomValues(count, 2), t: timesteps },
    }),
  };
}

// Coefficients of a step in the middle of a schedule; positions as samplerStep documents them.
const c0 = 1.25;
const c1 = -0.75;
const c2 = 0.02;
const c4 = 0.98;

function samplerCase(label: string, shape: readonly number[]): KernelCase {
  const count = product(shape);
  return {
    name: `sampler step ${label}`,
    op: "samplerStep",
    bytes: 3 * bytesPerFloat * count,
    bound: "copy",
    ours() {
      const x = randomTensor(shape, 1);
      const epsilon = randomTensor(shape, 2);
      const coef = tensor([c0, c1, c2, 0, c4, 0, 0, 0, 0, 0, 0, 0]);
      return ourContestant([x, epsilon, coef], () => samplerStep({ coef, tensors: [x, epsilon], clamp: [-1, 1] }));
    },
    peer: () => ({
      graph: {
        inputs: [
          { name: "x", shape },
          { name: "epsilon", shape },
        ],
        constants: [
          { name: "c0", shape: [], data: Float32Array.of(c0) },
          { name: "c1", shape: [], data: Float32Array.of(c1) },
          { name: "c2", shape: [], data: Float32Array.of(c2) },
          { name: "c4", shape: [], data: Float32Array.of(c4) },
          { name: "lo", shape: [], data: Float32Array.of(-1) },
          { name: "hi", shape: [], data: Float32Array.of(1) },
        ],
        outputs: [{ name: "y", shape }],
        nodes: [
          { op: "Mul", inputs: ["x", "c0"], outputs: ["p"] },
          { op: "Mul", inputs: ["epsilon", "c1"], outputs: ["q"] },
          { op: "Add", inputs: ["p", "q"], outputs: ["raw"] },
          { op: "Clip", inputs: ["raw", "lo", "hi"], outputs: ["clean"] },
          { op: "Mul", inputs: ["clean", "c2"], outputs: ["r"] },
          { op: "Mul", inputs: ["x", "c4"], outputs: ["s"] },
          { op: "Add", inputs: ["r", "s"], outputs: ["y"] },
        ],
      },
      data: { x: randomValues(count, 1), epsilon: randomValues(count, 2) },
    }),
  };
}

export const diffusionCases: readonly KernelCase[] = [
  ...images.map(({ label, shape }) => noisingCase(label, shape)),
  ...images.map(({ label, shape }) => samplerCase(label, shape)),
];
