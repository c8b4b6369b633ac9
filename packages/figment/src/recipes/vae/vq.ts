// VQ-VAE as a recipe: images as small images of code numbers, measured by what is lost and by how many codes are in use.

import { mnist } from "@figment/io";
import { Adam, compileTraining, EMA, warmupCosineLr } from "@figment/nn";
import { scope, type Tensor } from "@figment/tensor";
import { evaluateCodes, VQVAE } from "@figment/vae";
import { defineRecipe, precisionOf } from "../../recipe/recipe.js";
import { folderOf } from "../data.js";
import { saveReconstructions } from "./pictures.js";
import { trainingRules, trainingSettings } from "./settings.js";

type Batch = { readonly image: Tensor; readonly label: Tensor };

const range = [-1, 1] as const;

/** A VQ-VAE of 512 codes. */
export const vqRecipe = defineRecipe({
  name: "vqvae-mnist",
  summary: "a VQ-VAE: digits as 7×7 numbers of 512 codes",
  config: {
    ...trainingSettings,
    steps: 10_000,
    optimizer: { ...trainingSettings.optimizer, clipNorm: 1 },
    model: { channels: [32, 64], blocks: 1, codes: 512, dim: 16, decay: 0.99, deadBelow: 0.1, commitment: 0.25 },
  },
  rules: {
    ...trainingRules,
    "model.codes": { type: "integer", least: 1 },
    "model.dim": { type: "integer", least: 1, help: "numbers in a code" },
    "model.decay": { least: 0, most: 1, help: "weight of the past in the codes' averages" },
    "model.deadBelow": { least: 0, help: "average use below which a code starts anew" },
  },
  dataset: async ({ data }, split) => mnist(await folderOf(data, "mnist"), { split }),
  build: (config, { shape }) => {
    const model = new VQVAE({ imageChannels: shape[2], ...config.model });
    return {
      models: { model },
      range,
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
      train: ({ dataset, random }) => {
        const {
          steps,
          batch,
          optimizer: { lr, warmup, clipNorm },
        } = config;
        const weights = random.fork("weights");
        model.init(weights);
        weights.dispose();
        const rate = warmupCosineLr({
          peak: lr,
          warmup: Math.min(warmup, Math.floor(steps / 10) + 1),
          total: Math.max(steps, 3),
        });
        const optimizer = new Adam(model, { lr: rate });
        const average = new EMA(model, { decay: config.ema });
        const step = compileTraining(
          { model, optimizer, average },
          ({ image }: Batch) => {
            const told: Record<string, Tensor> = {};
            const loss = optimizer.minimize(
              () => {
                const { loss: value, ...parts } = model.loss(image);
                Object.assign(told, parts);
                return value;
              },
              { clipNorm },
            );
            average.update();
            return { loss, ...told };
          },
          { precision: precisionOf(config) },
        );
        const imagesPerStep = Math.min(batch, dataset.length);
        const order = random.fork("data");
        const data = dataset.loader({ batchSize: imagesPerStep, steps, rng: order, range });
        order.dispose();
        return {
          step,
          data,
          imagesPerStep,
          trained: { model: average.model },
          finish: async ({ file }) => {
            await saveReconstructions(file("reconstructions.png"), dataset, range, (images) =>
              average.model.reconstruct(images),
            );
            return undefined;
          },
          dispose: () => {
            for (const part of [step, optimizer, average]) part.dispose();
          },
        };
      },
    };
  },
});
