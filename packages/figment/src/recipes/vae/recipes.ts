// Autoencoders that are built in. Their steps and rates are chosen and not yet measured in whole runs.

import { ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder, LadderVAE, VAE } from "@figment/vae";
import type { Recipe } from "../../recipe/recipe.js";
import { latentRecipe } from "./latent.js";
import { latentSettings } from "./settings.js";
import { vqRecipe } from "./vq.js";

/** A dense encoder and its mirror image. */
const dense = (
  { latents, hidden }: { readonly latents: number; readonly hidden: readonly number[] },
  image: readonly [number, number, number],
  classes?: number,
): VAE =>
  new VAE({
    encoder: new DenseEncoder({ image, hidden, features: 2 * latents, classes }),
    decoder: new DenseDecoder({ latents, hidden: [...hidden].reverse(), image, classes }),
  });

/** A convolutional encoder and its mirror image. */
const conv = (
  {
    latents,
    ...model
  }: {
    readonly latents: number;
    readonly channels: readonly number[];
    readonly blocks: number;
    readonly hidden: number;
  },
  image: readonly [number, number, number],
): VAE =>
  new VAE({
    encoder: new ConvEncoder({ ...model, image, features: 2 * latents }),
    decoder: new ConvDecoder({ ...model, image, latents }),
  });

const denseModel = { latents: 32, hidden: [512, 512] };
const convModel = { latents: 32, channels: [32, 64], blocks: 0, hidden: 256 };

/** A VAE of dense layers. */
export const vaeMnist = latentRecipe({
  name: "vae-mnist",
  summary: "a dense VAE of binary digits",
  config: { ...latentSettings, steps: 60_000, optimizer: { ...latentSettings.optimizer, lr: 2e-3 }, model: denseModel },
  model: ({ model }, { shape }) => dense(model, shape),
});

export const convVaeMnist = latentRecipe({
  name: "conv-vae-mnist",
  summary: "a convolutional VAE of binary digits",
  config: { ...latentSettings, steps: 40_000, optimizer: { ...latentSettings.optimizer, lr: 2e-3 }, model: convModel },
  model: ({ model }, { shape }) => conv(model, shape),
});

export const betaVae = latentRecipe({
  name: "beta-vae",
  summary: "a convolutional VAE whose latents part: β-TC, or β-VAE with objective.kind=elbo",
  config: {
    ...latentSettings,
    steps: 20_000,
    objective: { ...latentSettings.objective, kind: "tc", beta: 6 },
    model: { ...convModel, latents: 10 },
  },
  model: ({ model }, { shape }) => conv(model, shape),
});

export const cvaeMnist = latentRecipe({
  name: "cvae-mnist",
  summary: "a dense VAE that is told the class, and draws the one that is asked for",
  config: { ...latentSettings, steps: 30_000, model: denseModel },
  conditional: true,
  model: ({ model }, { shape, classes }) => dense(model, shape, Math.max(1, classes.length)),
});

export const iwaeMnist = latentRecipe({
  name: "iwae-mnist",
  summary: "a dense VAE trained by the importance-weighted bound of five draws",
  config: {
    ...latentSettings,
    steps: 30_000,
    objective: { ...latentSettings.objective, kind: "iwae", k: 5 },
    model: denseModel,
  },
  model: ({ model }, { shape }) => dense(model, shape),
});

export const ladderVaeMnist = latentRecipe({
  name: "ladder-vae-mnist",
  summary: "a ladder VAE with three layers of latents",
  config: {
    ...latentSettings,
    steps: 40_000,
    objective: { ...latentSettings.objective, warmup: 10_000 },
    model: { latents: [32, 16, 8], hidden: [512, 256, 128] },
  },
  model: ({ model: { latents, hidden } }, { shape }) => new LadderVAE({ image: shape, latents, hidden }),
});

/** All of them, in the order of lists. */
export const autoencoders: readonly Recipe[] = [
  vaeMnist,
  convVaeMnist,
  betaVae,
  cvaeMnist,
  iwaeMnist,
  ladderVaeMnist,
  vqRecipe,
];
