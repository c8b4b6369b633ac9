// VQ-VAE as a recipe: images as small images of code numbers, measured by what is lost and by how many codes are in use.

import { mnist } from "@figment/io";
import { scope } from "@figment/tensor";
import { evaluateCodes, VQVAE } from "@figment/vae";
import { widthRule } from "../../recipe/config.js";
import { defineRecipe } from "../../recipe/recipe.js";
import { folderOf } from "../data.js";
import { saveReconstructions } from "./pictures.js";
import { convRules, trainingRules, trainingSettings } from "./settings.js";
import { averagedTraining } from "./training.js";

const range = [-1, 1] as const;

/** A VQ-VAE of 512 codes. */
export const vqRecipe = defineRecipe({
  name: "vqvae-mnist",
  summary: "a VQ-VAE: digits as 7×7 numbers of 512 codes",
  config: {
    ...trainingSettings,
    steps: 2500,
    saveEvery: 500,
    optimizer: { ...trainingSettings.optimizer, clipNorm: 1 },
    model: { channels: [32, 64], blocks: 1, codes: 512, dim: 16, decay: 0.99, deadBelow: 0.1, commitment: 0.25 },
  },
  rules: {
    ...trainingRules,
    ...convRules,
    "model.codes": widthRule,
    "model.dim": { ...widthRule, help: "numbers in a code" },
    "model.decay": { least: 0, most: 1, help: "weight of the past in the codes' averages" },
    "model.commitment": { least: 0, help: "weight of the encoder's distance to its codes" },
    "model.deadBelow": { least: 0, help: "average use below which a code starts anew" },
  },
  dataset: async ({ data }, split) => mnist(await folderOf(data, "mnist"), { split }),
  build: (config, { shape }) => {
    const model = new VQVAE({ imageChannels: shape[2], ...config.model });
    return {
      models: { model },
      range,
      classes: 0,
      reconstruct: async (images) => scope(() => model.eval().reconstruct(images)),
      evaluate: async (dataset, { signal }) => {
        const { psnr, used, codes, perplexity, natsPerImage } = await evaluateCodes(model, dataset, { signal });
        return {
          psnrDb: psnr,
          codesUsed: used,
          codesUsedShare: used / codes,
          perplexity,
          codeNatsPerImage: natsPerImage,
        };
      },
      train: (context) => {
        const { average, ...made } = averagedTraining(model, config, context, {
          range,
          loss: ({ image }) => model.loss(image),
        });
        return {
          ...made,
          trained: { model: average },
          finish: async ({ file }) => {
            await saveReconstructions(file("reconstructions.png"), context.dataset, range, (images) =>
              average.reconstruct(images),
            );
            return undefined;
          },
        };
      },
    };
  },
});
