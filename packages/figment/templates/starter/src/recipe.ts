// The recipe: settings with their defaults, what trains the model, and what the trained model can do.

import { AdamW, compileStep, concat, cosineLr, defineRecipe, mse, scope, type Tensor } from "figment";
import { Autoencoder } from "./autoencoder.js";

export default defineRecipe({
  name: "NAME",
  summary: "an autoencoder of small images",
  config: {
    steps: 2000,
    batch: 64,
    model: { hidden: 256, latent: 16 },
    optimizer: { lr: 2e-3 },
  },
  rules: {
    batch: { type: "integer", least: 1, help: "images per training step" },
    "model.hidden": { type: "integer", least: 1 },
    "model.latent": { type: "integer", least: 1 },
    "optimizer.lr": { least: 0 },
  },
  build: ({ steps, batch, model: sizes, optimizer: { lr } }, { shape }) => {
    const model = new Autoencoder({ shape, ...sizes });
    return {
      models: { model },
      range: [0, 1],
      reconstruct: async (images) => scope(() => model.forward(images)),
      interpolate: async ({ rng, count, frames, images }) =>
        scope(() => {
          const ends = images ? model.encode(images) : rng.normal([2 * count, sizes.latent]);
          const rows = Array.from({ length: count * frames }, (_, i) => {
            const part = (i % frames) / (frames - 1);
            const first = 2 * Math.floor(i / frames);
            const [from, to] = [first, first + 1].map((row) => ends.slice([row, 0], [1, sizes.latent])) as [
              Tensor,
              Tensor,
            ];
            return from.mul(1 - part).add(to.mul(part));
          });
          return model.decode(concat(rows, 0));
        }),
      train: ({ dataset, random }) => {
        // Every stream is forked by name: what is drawn does not depend on the order of these lines.
        const [weights, order] = [random.fork("weights"), random.fork("data")];
        model.init(weights);
        const optimizer = new AdamW(model, { lr: cosineLr({ from: lr, steps }) });
        const step = compileStep(
          model,
          optimizer,
          (net: Autoencoder, { image }: { image: Tensor }) => mse(net.forward(image), image),
          { clipNorm: 1, checkFinite: "gradients" },
        );
        const data = dataset.loader({ batchSize: batch, steps, rng: order, range: [0, 1] });
        const dispose = (): void => {
          for (const part of [step, optimizer, weights, order]) part.dispose();
        };
        return { step, data, imagesPerStep: batch, dispose };
      },
    };
  },
});
