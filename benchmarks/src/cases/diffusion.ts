// What a diffusion model does besides its network: noising of training images, and one step of a sampler, x₀ = clamp(c₀·x +
// c₁·ε): DDPM's with noise, x' = c₂·x₀ + c₄·x + c₃·z (Ho et al. 2020, eq. 7 and 11), and DDIM's without, x' = c₂·x₀ + c₅·ε
// (Song et al. 2021, eq. 12, σ = 0). onnxruntime has each as its chain of nodes.

import { addNoise, rng, samplerStep, tensor } from "@figment/tensor";
import {
  bytesPer,
  bytesPerFloat,
  type KernelCase,
  nameIn,
  ourContestant,
  product,
  randomTensor,
  randomValues,
} from "../case.js";
import { type Format, formats, type SamplerWork } from "../work.js";

const images = [
  { label: "64×32²×3", n: 64, size: 32, channels: 3 },
  { label: "1×64²×4", n: 1, size: 64, channels: 4 },
  { label: "16 MiB", n: 16, size: 256, channels: 4 },
] as const satisfies readonly Images[];

export interface Images {
  readonly label: string;
  readonly n: number;
  readonly size: number;
  readonly channels: number;
}

const scheduleSteps = 1000;

function noisingCase({ label, n: batch, size, channels }: Images): KernelCase {
  const shape = [batch, size, size, channels];
  const count = product(shape);
  const timesteps = Int32Array.from({ length: batch }, (_, index) => (index * 37) % scheduleSteps);
  return {
    name: `add_noise ${label}`,
    op: "addNoise",
    bytes: 3 * bytesPerFloat * count,
    bound: "copy",
    work: { kind: "addNoise", n: batch, size, channels, steps: scheduleSteps },
    ours() {
      const x = randomTensor(shape, 1);
      const noise = randomTensor(shape, 2);
      const t = tensor(timesteps, { shape: [batch], dtype: "i32" });
      const a = randomTensor([scheduleSteps], 3);
      const b = randomTensor([scheduleSteps], 4);
      return ourContestant([x, noise, t, a, b], () => addNoise(x, noise, t, a, b));
    },
    onnx: () => ({
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

// Coefficients of a step in the middle of a schedule.
const clean = { c0: 1.25, c1: -0.75 } as const;
const steps = {
  DDIM: { noise: "none", ...clean, c2: 0.85, c3: 0, c4: 0, c5: 0.5 },
  DDPM: { noise: "drawn", ...clean, c2: 0.02, c3: 0.1, c4: 0.98, c5: 0 },
} as const;

export function samplerCase(
  { label, n, size, channels }: Images,
  sampler: keyof typeof steps,
  format: Format,
): KernelCase {
  const shape = [n, size, size, channels];
  const count = product(shape);
  const work: SamplerWork = { kind: "samplerStep", n, size, channels, ...steps[sampler] };
  const { noise, c0, c1, c2, c3, c4, c5 } = work;
  return {
    name: nameIn(format, `${sampler} step${noise === "none" ? "" : " with noise"} ${label}`),
    op: "samplerStep",
    bytes: 3 * bytesPer[format] * count,
    bound: "copy",
    format,
    work,
    ours() {
      const [x, epsilon] = [randomTensor(shape, 1, format), randomTensor(shape, 2, format)];
      const coef = tensor([c0, c1, c2, c3, c4, c5, 0, 0, 0, 0, 0, 0]);
      const random = rng(1);
      return ourContestant([x, epsilon, coef, random], () =>
        samplerStep({ coef, random, tensors: [x, epsilon], clamp: [-1, 1], noise: noise === "drawn" }),
      );
    },
    ...(format === "f32" && noise === "none" && { onnx: () => onnxStep(shape, work) }),
  };
}

function onnxStep(shape: readonly number[], { c0, c1, c2, c5 }: SamplerWork) {
  const count = product(shape);
  const constants = Object.entries({ c0, c1, c2, c5, lo: -1, hi: 1 });
  return {
    graph: {
      inputs: [
        { name: "x", shape },
        { name: "epsilon", shape },
      ],
      constants: constants.map(([name, value]) => ({ name, shape: [], data: Float32Array.of(value) })),
      outputs: [{ name: "y", shape }],
      nodes: [
        { op: "Mul", inputs: ["x", "c0"], outputs: ["p"] },
        { op: "Mul", inputs: ["epsilon", "c1"], outputs: ["q"] },
        { op: "Add", inputs: ["p", "q"], outputs: ["raw"] },
        { op: "Clip", inputs: ["raw", "lo", "hi"], outputs: ["clean"] },
        { op: "Mul", inputs: ["clean", "c2"], outputs: ["r"] },
        { op: "Mul", inputs: ["epsilon", "c5"], outputs: ["s"] },
        { op: "Add", inputs: ["r", "s"], outputs: ["y"] },
      ],
    },
    data: { x: randomValues(count, 1), epsilon: randomValues(count, 2) },
  };
}

export const diffusionCases: readonly KernelCase[] = [
  ...images.map(noisingCase),
  ...(["DDIM", "DDPM"] as const).flatMap((sampler) =>
    images.flatMap((image) => formats.map((format) => samplerCase(image, sampler, format))),
  ),
];
