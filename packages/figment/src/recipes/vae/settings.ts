// Settings that recipes of autoencoders have in common.

import { BernoulliLikelihood, DiscretisedLogisticLikelihood, GaussianLikelihood, type Likelihood } from "@figment/vae";
import {
  belowOneRule,
  countedRule,
  mostAtOnce,
  positiveRule,
  sampleEveryRule,
  widthRule,
  widthsRule,
} from "../../recipe/config.js";
import type { RecipeDefinition } from "../../recipe/recipe.js";

/** Of all autoencoders here: how they are trained. */
export const trainingSettings = {
  steps: 40_000,
  saveEvery: 2000,
  batch: 128,
  optimizer: { lr: 1e-3, warmup: 200, clipNorm: 200 },
  ema: 0.999,
  /** Steps between grids of pictures while training; null for none. */
  sampleEvery: null as number | null,
};

/** Of those with a bound on the evidence. */
export const latentSettings = {
  ...trainingSettings,
  /** What the decoder's output means. */
  likelihood: "bernoulli",
  /** Whether grey pixels are drawn black or white anew in each step; for the Bernoulli likelihood. */
  binarise: true,
  /** What is minimised; k draws in an importance-weighted bound, β and free bits otherwise. */
  objective: { kind: "elbo", beta: 1, warmup: 2000, freeBits: 0, k: 1 },
  /** Draws for each image in the bound that is measured. */
  evaluateK: 50,
};

export type TrainingSettings = typeof trainingSettings;
export type LatentSettings = typeof latentSettings;

export const trainingRules: RecipeDefinition<TrainingSettings>["rules"] = {
  batch: { type: "integer", least: 2, most: mostAtOnce, help: "images per training step" },
  "optimizer.lr": { least: 0, help: "the highest learning rate; it falls as a cosine" },
  "optimizer.warmup": countedRule,
  "optimizer.clipNorm": positiveRule,
  ema: { ...belowOneRule, help: "decay of the moving average" },
  sampleEvery: { ...sampleEveryRule, help: "steps between grids of pictures while training" },
};

/** Of dense models. */
export const denseRules = { "model.latents": widthRule, "model.hidden": widthsRule } as const;

/** Of convolutional models. */
export const convRules = {
  "model.channels": { ...widthsRule, help: "channels of each level, from full resolution down" },
  "model.blocks": { type: "integer", least: 0, most: 64, help: "residual blocks of each level" },
} as const;

export const latentRules: RecipeDefinition<LatentSettings>["rules"] = {
  ...trainingRules,
  likelihood: {
    choices: ["bernoulli", "gaussian", "pixel-gaussian", "logistic"],
    help: "of black and white pixels, grey ones with one learned variance or one for each, or bytes",
  },
  binarise: { help: "draw grey pixels black or white, anew in each step; with the Bernoulli likelihood" },
  "objective.kind": { choices: ["elbo", "tc", "iwae"], help: "the ELBO, β-TC, or k importance-weighted draws" },
  "objective.beta": { least: 0, help: "factor of the divergence, or of the total correlation" },
  "objective.warmup": { ...countedRule, help: "steps until β is reached" },
  "objective.freeBits": { least: 0, help: "nats of each latent that cost nothing" },
  "objective.k": { type: "integer", least: 1, most: mostAtOnce, help: "draws of the importance-weighted bound" },
  evaluateK: {
    type: "integer",
    least: 1,
    most: mostAtOnce,
    help: "draws for each image in the bound that is measured",
  },
};

/** The likelihood of a setting's name. */
export function likelihoodOf({ likelihood }: { readonly likelihood: string }): Likelihood {
  if (likelihood === "bernoulli") return new BernoulliLikelihood();
  if (likelihood === "logistic") return new DiscretisedLogisticLikelihood();
  return new GaussianLikelihood({ variance: likelihood === "gaussian" ? "shared" : "pixel" });
}
