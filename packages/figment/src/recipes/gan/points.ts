// WGAN-GP on the grid of 25 Gaussians as a recipe: minutes, no data, and numbers that say what a picture only suggests.

import {
  compileGame,
  GaussianGrid,
  generate,
  MlpCritic,
  MlpGenerator,
  modeCoverage,
  PointStream,
  scatter,
  wasserstein,
} from "@figment/gan";
import { saveGrid } from "@figment/io";
import { Adam, cosineLr, EMA, type HookContext } from "@figment/nn";
import { concat, type Rng, type Tensor } from "@figment/tensor";
import { belowOneRule, betasRule, mostAtOnce, sampleEveryRule, widthRule, widthsRule } from "../../recipe/config.js";
import { defineRecipe, precisionOf, type Recipe } from "../../recipe/recipe.js";
import { withStream } from "../streams.js";

/** Points that numbers are taken over, and that pictures show. */
const pointCount = 10_000;

/** Pictures show so many times the scale of the data. */
const extent = 2;

/** The recipe `gan-gaussians`. */
export const ganGaussians: Recipe = defineRecipe({
  name: "gan-gaussians",
  summary: "WGAN-GP on a grid of 25 Gaussians: modes found, samples near them",
  dataset: null,
  config: {
    steps: 10_000,
    saveEvery: 1000,
    logEvery: 50,
    /** Points of each kind in one of the critic's updates. */
    batch: 256,
    side: 5,
    latents: 2,
    hidden: [128, 128, 128],
    criticSteps: 5,
    gradientPenalty: 0.1,
    /** Rate of both players, falling to 0 by half a cosine. */
    lr: 1e-3,
    betas: [0.5, 0.9],
    ema: 0.999,
    /** Steps between measurements and pictures while training; null for none. */
    sampleEvery: 1000 as number | null,
  },
  rules: {
    batch: { type: "integer", least: 1, most: mostAtOnce, help: "points of each kind in one of the critic's updates" },
    side: { type: "integer", least: 1, most: 256, help: "Gaussians along each axis" },
    latents: widthRule,
    hidden: widthsRule,
    criticSteps: { type: "integer", least: 1, most: 1000, help: "updates of the critic for each of the generator" },
    gradientPenalty: { least: 0, help: "weight of the penalty" },
    lr: { least: 0 },
    betas: betasRule,
    ema: { ...belowOneRule, help: "decay of the generator's average" },
    sampleEvery: { ...sampleEveryRule, help: "steps between measurements and pictures while training" },
  },
  build: (config) => {
    const { steps, batch, side, latents, hidden, criticSteps, gradientPenalty, lr, sampleEvery } = config;
    const grid = new GaussianGrid({ side }).normalised();
    const generator = new MlpGenerator({ latents, hidden: [...hidden] });
    const critic = new MlpCritic({ hidden: [...hidden] });
    const pointsOf = (net: MlpGenerator, count: number, rng: Rng, signal?: AbortSignal): Promise<Tensor> =>
      generate(net, { count, rng, batchSize: 2000, signal });
    /** The share of good samples, the modes found, and a picture of the points. */
    const measure = async (net: MlpGenerator, rng: Rng, signal?: AbortSignal) => {
      const points = await pointsOf(net, pointCount, rng, signal);
      try {
        const { covered, quality, imbalance } = await modeCoverage(points, grid);
        const picture = await scatter(points, { extent });
        return { scalars: { modes: covered, quality, imbalance }, picture };
      } finally {
        points.dispose();
      }
    };
    return {
      models: { generator, critic },
      /** Each image shows many points. */
      sample: async (n, { rng, signal }) => {
        const pictures: Tensor[] = [];
        try {
          for (let i = 0; i < n; i++) {
            const points = await pointsOf(generator, pointCount, rng, signal);
            pictures.push(await scatter(points, { extent }).finally(() => points.dispose()));
          }
          return concat(pictures, 0);
        } finally {
          for (const picture of pictures) picture.dispose();
        }
      },
      train: ({ random }) => {
        const streams = ["generator", "critic", "game", "points"].map((name) => random.fork(name));
        const [forGenerator, forCritic, play, draws] = streams as [Rng, Rng, Rng, Rng];
        generator.init(forGenerator);
        critic.init(forCritic);
        const [beta1 = 0.5, beta2 = 0.9] = config.betas;
        const adam = (updates: number) =>
          ({ lr: cosineLr({ from: lr, steps: updates }), betas: [beta1, beta2] }) as const;
        const generatorOptimizer = new Adam(generator, adam(steps));
        const criticOptimizer = new Adam(critic, adam(steps * criticSteps));
        const ema = new EMA(generator, { decay: config.ema });
        const step = compileGame(
          { generator, critic, generatorOptimizer, criticOptimizer, ema, random: play },
          { objective: wasserstein(), criticSteps, gradientPenalty },
          { precision: precisionOf(config) },
        );
        const { criticUpdates: stack } = step;
        const data = new PointStream(grid, { batchSize: batch, ...(stack > 1 ? { stack } : {}), rng: draws });
        const look = async ({ step: at, picture: save, scalars: log, signal }: HookContext): Promise<void> => {
          const { scalars, picture } = await withStream(random.fork("grid", at), (rng) =>
            measure(ema.model, rng, signal),
          );
          await log(scalars);
          await save("points", picture, { columns: 1 }).finally(() => picture.dispose());
        };
        return {
          step,
          data,
          hooks: sampleEvery === null ? [] : [{ every: sampleEvery, run: look }],
          trained: { generator: ema.model, critic },
          finish: async ({ file, signal }) => {
            const { scalars, picture } = await withStream(random.fork("samples"), (rng) =>
              measure(ema.model, rng, signal),
            );
            await saveGrid(file("samples.png"), picture, { columns: 1, padding: 0, scale: 2 }).finally(() =>
              picture.dispose(),
            );
            return scalars;
          },
          dispose: () => {
            for (const owner of [step, ema, generatorOptimizer, criticOptimizer, ...streams]) owner.dispose();
          },
        };
      },
    };
  },
});
