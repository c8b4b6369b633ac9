// Work that fills a GPU: the shapes of the CPU's cases at batches of 8 and more, and a few sizes that only memory bounds.

import { rng, type Tensor } from "@figment/tensor";
import { bytesPerFloat, type KernelCase, nameIn, ourContestant } from "../case.js";
import type { Format } from "../work.js";
import { type AttentionShape, forward, forwardBackward } from "./attention.js";
import { convCase, type Geometry, type Pass } from "./conv.js";
import { samplerCase } from "./diffusion.js";
import { matmulCase } from "./matmul.js";
import { groupNormCase } from "./norm.js";
import { randnCases } from "./small.js";

const conv3 = { kernel: 3, stride: 1, padding: 1 } as const;
const images: Readonly<Record<string, Geometry>> = {
  a: { n: 16, inChannels: 320, outChannels: 320, size: 64, ...conv3 },
  c: { n: 128, inChannels: 64, outChannels: 64, size: 32, ...conv3 },
  D: { n: 128, inChannels: 128, outChannels: 128, size: 32, ...conv3 },
  D2: { n: 128, inChannels: 256, outChannels: 256, size: 16, ...conv3 },
  f: { n: 8, inChannels: 512, outChannels: 512, size: 64, ...conv3 },
  g: { n: 8, inChannels: 64, outChannels: 32, size: 256, ...conv3 },
  d: { n: 512, inChannels: 1, outChannels: 32, size: 28, kernel: 3, stride: 2, padding: 1 },
  strided: { n: 16, inChannels: 320, outChannels: 320, size: 64, kernel: 3, stride: 2, padding: 1 },
  pointwise: { n: 16, inChannels: 640, outChannels: 320, size: 64, kernel: 1, stride: 1, padding: 0 },
};
const passes: readonly Pass[] = ["forward", "data", "weight"];

const attentions: readonly AttentionShape[] = [
  { label: "h", batch: 4, heads: 8, sequence: 4096, depth: 40 },
  { label: "i", batch: 16, heads: 8, sequence: 1024, depth: 64 },
  { label: "long", batch: 4, heads: 16, sequence: 8192, depth: 64 },
  { label: "j", batch: 128, heads: 4, sequence: 256, depth: 32 },
  { label: "wide", batch: 16, heads: 8, sequence: 1024, depth: 80 },
];

/** What memory allows at best, or the second-level cache where it holds both: the numbers of one array to another. */
const copyCase = (mebibytes: number): KernelCase => {
  const count = (mebibytes << 20) / bytesPerFloat;
  return {
    name: `copy ${mebibytes} MiB`,
    op: "elementwise",
    bytes: 2 * (mebibytes << 20),
    bound: "copy",
    work: { kind: "copy", count },
    ours() {
      const random = rng(1);
      const x = random.normal([count]);
      return ourContestant([x, random], (): Tensor => x.neg());
    },
  };
};

/** The case that says what products can reach. */
export const ceilingMatmul: KernelCase = matmulCase(8192, 8192, 8192, "bf16");
export const ceilingCopy: KernelCase = copyCase(512);

const formats: readonly Format[] = ["bf16", "f32"];
const sampled = [
  { label: "16 MiB", n: 16, size: 256, channels: 4 },
  { label: "256 MiB", n: 256, size: 256, channels: 4 },
] as const;

export const gpuCases: readonly KernelCase[] = [
  ceilingCopy,
  ceilingMatmul,
  copyCase(16),
  ...formats.map((format) => matmulCase(4096, 4096, 4096, format)),
  ...formats.map((format) => matmulCase(65536, 320, 1280, format)),
  ...Object.entries(images).flatMap(([label, shape]) => passes.map((pass) => convCase(label, shape, pass, "bf16"))),
  ...["a", "D"].flatMap((label) => passes.map((pass) => convCase(label, images[label]!, pass, "f32"))),
  ...attentions.map((shape) => forward(shape, "bf16")),
  ...attentions.map((shape) => forwardBackward(shape, "bf16")),
  forward(attentions[1]!, "f32"),
  ...formats.map((format) => groupNormCase(64, 320, 64, format)),
  ...formats.map((format) => groupNormCase(128, 128, 32, format)),
  ...sampled.flatMap((shape) => [samplerCase(shape, "DDIM", "f32"), samplerCase(shape, "DDPM", "f32")]),
  ...randnCases,
].map((work) => ({ ...work, name: work.name.includes("bf16") ? work.name : nameIn(work.format ?? "f32", work.name) }));
