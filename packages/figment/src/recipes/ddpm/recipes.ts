// Diffusion models that are built in.

import { digits, imageFolder, mnist, openDataset } from "@figment/io";
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
    steps: 20_000,
    saveEvery: 1000,
    batch: 32,
    model: { channels: [48, 96], blocks: 1, patch: 2, dropout: 0 },
    optimizer: { lr: 1e-3, warmup: 500, clipNorm: 1 },
    ema: 0.9995,
    labelDropout: 0.1,
    sampler: "ddim",
    sampleEvery: 2000,
  },
  dataset: ({ data, size }, split) => mnist(folderOf("ddpm-mnist", data, "mnist"), { split, size: size ?? undefined }),
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
  dataset: ({ data, size }) => imageFolder(folderOf("ddpm-emoji", data, null), { size: size ?? 32, fit: "contain" }),
});
