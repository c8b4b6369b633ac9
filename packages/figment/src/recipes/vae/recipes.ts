// Autoencoders that are built in. Whole runs of vae-mnist, conv-vae-mnist and vqvae-mnist have been measured; steps and rates
// of the others are chosen.

import {
  CategoricalVAE,
  ConvDecoder,
  ConvEncoder,
  DenseDecoder,
  DenseEncoder,
  exponentialAnnealing,
  LadderVAE,
  type Likelihood,
  VAE,
} from "@figment/vae";
import { widthRule, widthsRule } from "../../recipe/config.js";
import type { Recipe } from "../../recipe/recipe.js";
import { latentRecipe } from "./latent.js";
import { convRules, denseRules, latentSettings, likelihoodOf } from "./settings.js";
import { vqRecipe } from "./vq.js";

/** A dense encoder and its mirror image. */
const dense = (
  { latents, hidden }: { readonly latents: number; readonly hidden: readonly number[] },
  { shape: image, likelihood, classes }: Facts,
): VAE =>
  new VAE({
    encoder: new DenseEncoder({ image, hidden, features: 2 * latents, classes }),
    decoder: new DenseDecoder({ latents, hidden: [...hidden].reverse(), image, classes, outputs: likelihood.outputs }),
    likelihood,
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
  { shape: image, likelihood }: Facts,
): VAE =>
  new VAE({
    encoder: new ConvEncoder({ ...model, image, features: 2 * latents }),
    decoder: new ConvDecoder({ ...model, image, latents, outputs: likelihood.outputs }),
    likelihood,
  });

/** What networks need to know besides their sizes. */
interface Facts {
  readonly shape: readonly [height: number, width: number, channels: number];
  readonly likelihood: Likelihood;
  /** Where they are told the class. */
  readonly classes?: number;
}

const denseModel = { latents: 32, hidden: [512, 512] };
const convVaeRules = { ...convRules, "model.latents": widthRule, "model.hidden": widthRule } as const;
const convModel = { latents: 32, channels: [32, 64], blocks: 0, hidden: 256 };

/** A VAE of dense layers. */
export const vaeMnist = latentRecipe({
  name: "vae-mnist",
  summary: "a dense VAE of binary digits",
  config: { ...latentSettings, steps: 60_000, optimizer: { ...latentSettings.optimizer, lr: 2e-3 }, model: denseModel },
  rules: denseRules,
  model: ({ model, ...config }, { shape }) => dense(model, { shape, likelihood: likelihoodOf(config) }),
});

export const convVaeMnist = latentRecipe({
  name: "conv-vae-mnist",
  summary: "a convolutional VAE of binary digits",
  config: { ...latentSettings, steps: 20_000, optimizer: { ...latentSettings.optimizer, lr: 2e-3 }, model: convModel },
  rules: convVaeRules,
  model: ({ model, ...config }, { shape }) => conv(model, { shape, likelihood: likelihoodOf(config) }),
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
  rules: convVaeRules,
  model: ({ model, ...config }, { shape }) => conv(model, { shape, likelihood: likelihoodOf(config) }),
});

export const cvaeMnist = latentRecipe({
  name: "cvae-mnist",
  summary: "a dense VAE that is told the class, and draws the one that is asked for",
  config: { ...latentSettings, steps: 30_000, model: denseModel },
  rules: denseRules,
  conditional: true,
  model: ({ model, ...config }, { shape, classes }) =>
    dense(model, { shape, likelihood: likelihoodOf(config), classes: Math.max(1, classes.length) }),
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
  rules: denseRules,
  model: ({ model, ...config }, { shape }) => dense(model, { shape, likelihood: likelihoodOf(config) }),
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
  rules: { "model.latents": widthsRule, "model.hidden": widthsRule },
  model: ({ model: { latents, hidden }, ...config }, { shape: image }) =>
    new LadderVAE({ image, latents, hidden, likelihood: likelihoodOf(config) }),
});

/** A VAE of categories, trained by Gumbel-softmax. */
export const discreteVaeMnist = latentRecipe({
  name: "discrete-vae-mnist",
  summary: "a dense VAE of categorical latents, relaxed by Gumbel-softmax",
  config: {
    ...latentSettings,
    steps: 30_000,
    model: { variables: 20, classes: 10, hidden: [512, 256], temperature: { lowest: 0.5, rate: 1e-4 } },
  },
  rules: {
    "model.variables": widthRule,
    "model.classes": { ...widthRule, least: 2, help: "values of each variable" },
    "model.hidden": widthsRule,
    "model.temperature.lowest": { least: 0.01, most: 1, help: "where the temperature's fall from 1 ends" },
    "model.temperature.rate": {
      least: 1e-9,
      most: 1,
      help: "the temperature is e to the minus this times the updates",
    },
  },
  model: ({ model: { variables, classes, hidden }, ...config }, { shape: image }) => {
    const [likelihood, latents] = [likelihoodOf(config), variables * classes];
    return new CategoricalVAE({
      encoder: new DenseEncoder({ image, hidden, features: latents }),
      decoder: new DenseDecoder({ image, hidden: [...hidden].reverse(), latents, outputs: likelihood.outputs }),
      ...{ variables, classes, likelihood },
    });
  },
  anneal: (model, updates, { model: { temperature } }) => {
    const { lowest: to, rate } = temperature;
    if (model instanceof CategoricalVAE) model.temperature.set(exponentialAnnealing({ to, rate })(updates));
  },
});

/** All of them, in the order of lists. */
export const autoencoders: readonly Recipe[] = [
  vaeMnist,
  convVaeMnist,
  betaVae,
  cvaeMnist,
  iwaeMnist,
  ladderVaeMnist,
  discreteVaeMnist,
  vqRecipe,
];
