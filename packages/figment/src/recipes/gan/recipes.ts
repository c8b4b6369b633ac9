// Adversarial games that are built in. Of those on images, whole runs of dcgan-mnist have been measured; steps and rates of
// the others are chosen.

import type { Recipe } from "../../recipe/recipe.js";
import { imageGameRecipe } from "./images.js";
import { ganGaussians } from "./points.js";
import { imageGameSettings as base } from "./settings.js";

const { generator, critic, game, optimizer } = base;

const dcganMnist = imageGameRecipe({
  name: "dcgan-mnist",
  summary: "DCGAN of digits: the non-saturating game, batch norm, an averaged generator",
  config: base,
});

const wganClipMnist = imageGameRecipe({
  name: "wgan-clip-mnist",
  summary: "the first Wasserstein GAN on digits: clipped weights, RMSProp, five updates of the critic",
  config: {
    ...base,
    steps: 12_000,
    saveEvery: 1000,
    logEvery: 50,
    generator: { ...generator, channels: [96, 48, 24] },
    critic: { ...critic, channels: [24, 48, 96] },
    game: { ...game, objective: "wasserstein", criticSteps: 5, clipWeights: 0.01 },
    optimizer: { ...optimizer, kind: "rmsprop", generatorLr: 1e-4, criticLr: 1e-4 },
  },
});

const wganGp = {
  ...base,
  steps: 7000,
  saveEvery: 500,
  logEvery: 20,
  generator: { ...generator, channels: [96, 48, 24] },
  critic: { ...critic, channels: [24, 48, 96], norm: "layer" },
  game: { ...game, objective: "wasserstein", criticSteps: 5, gradientPenalty: 10 },
  optimizer: { ...optimizer, generatorLr: 5e-4, criticLr: 5e-4, betas: [0, 0.9] },
};

const wganGpMnist = imageGameRecipe({
  name: "wgan-gp-mnist",
  summary: "WGAN-GP of digits: gradient penalty, layer norm, five updates of the critic",
  config: wganGp,
});

const cganMnist = imageGameRecipe({
  name: "cgan-mnist",
  summary: "conditional WGAN-GP of digits: asked for by label, judged by projection",
  config: { ...wganGp, labels: true },
});

/** All of them. */
export const games: readonly Recipe[] = [ganGaussians, dcganMnist, wganClipMnist, wganGpMnist, cganMnist];
