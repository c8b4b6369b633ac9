// Diffusion models that are built in.

import { cifar10, digits, imageFolder, mnist, openDataset } from "@figment/io";
import { UsageError } from "@figment/tensor";
import type { Recipe } from "../../recipe/recipe.js";
import { folderOf } from "../data.js";
import { ddpmRecipe } from "./ddpm.js";
import { firstLightSettings } from "./settings.js";

/** What `npm start` trains. */
export const firstLight: Recipe = ddpmRecipe({
  name: "first-light",
  summary: "a small diffusion model of digits, or of any folder of images, in minutes",
  config: firstLightSettings,
  dataset: ({ data, size }) =>
    data === null ? digits({ size: size ?? 28 }) : openDataset(data, { size: size ?? undefined }),
});

/** Digits of MNIST, drawn by class: guidance is there to ask for one clearly. */
export const ddpmMnist: Recipe = ddpmRecipe({
  name: "ddpm-mnist",
  summary: "a diffusion model of MNIST's digits, by class and with guidance",
  config: {
    ...firstLightSettings,
    // What they reach, and how long a step takes, is in benchmarks/results.
    steps: 18_000,
    saveEvery: 1000,
    batch: 32,
    model: { channels: [48, 96], blocks: 1, patch: 2, dropout: 0 },
    optimizer: { lr: 2e-3, warmup: 200, clipNorm: 1 },
    ema: 0.999,
    labelDropout: 0.1,
    sampler: "ddim",
    sampleEvery: 2000,
  },
  dataset: async ({ data, size }, split) => mnist(await folderOf(data, "mnist"), { split, size: size ?? undefined }),
});

/** Emoji, or any folder of pictures in colour. */
export const ddpmEmoji: Recipe = ddpmRecipe({
  name: "ddpm-emoji",
  summary: "a diffusion model of emoji, or of any folder of pictures",
  config: {
    ...firstLightSettings,
    steps: 20_000,
    saveEvery: 1000,
    batch: 32,
    size: 32,
    model: { channels: [64, 128, 128], blocks: 1, patch: 2, dropout: 0.1 },
    optimizer: { lr: 1e-3, warmup: 500, clipNorm: 1 },
    ema: 0.9995,
    sampler: "ddim",
    sampleEvery: 2000,
  },
  dataset: ({ data, size }) => {
    if (data === null)
      throw new UsageError("--data must name a folder of pictures, such as the PNG files of Noto Emoji");
    return imageFolder(data, { size: size ?? 32, fit: "contain" });
  },
});

/**
 * CIFAR-10 with the rate, dropout, mirror images and average of Ho et al. 2020, appendix B, on a network a tenth as large and half
 * their batch; not yet trained to its end.
 */
export const cifar10Ddpm: Recipe = ddpmRecipe({
  name: "cifar10-ddpm",
  summary: "a diffusion model of CIFAR-10, by class and with guidance",
  config: {
    ...firstLightSettings,
    steps: 100_000,
    saveEvery: 1000,
    batch: 64,
    model: { channels: [64, 128, 128], blocks: 2, patch: 1, dropout: 0.1 },
    predict: "epsilon",
    optimizer: { lr: 2e-4, warmup: 5000, clipNorm: 1 },
    ema: 0.9999,
    flip: true,
    labelDropout: 0.1,
    sampler: "ddim",
    sampleEvery: 5000,
  },
  dataset: async ({ data }, split) => cifar10(await folderOf(data, "cifar10"), { split }),
});
