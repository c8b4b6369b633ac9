// Adversarial games on images as recipes: a generator and a critic of convolutions, a game by its rules, and the average of the
// generator as the result. Recipes differ in their settings.

import {
  type Critic,
  type CriticCondition,
  type CriticNorm,
  compileGame,
  DcganCritic,
  DcganGenerator,
  type GameRules,
  type Generator,
  generate,
  generateFrom,
  hinge,
  leastSquares,
  minimax,
  nonSaturating,
  type Objective,
  ResizeGenerator,
  wasserstein,
} from "@figment/gan";
import { mnist, saveGrid } from "@figment/io";
import { Adam, cosineLr, EMA, type HookContext, type Optimizer, RMSProp } from "@figment/nn";
import { type Rng, scope, stack, type Tensor, tensor, UsageError } from "@figment/tensor";
import { slerp } from "@figment/vae";
import { belowOneRule, betasRule, mostAtOnce, sampleEveryRule, widthRule, widthsRule } from "../../recipe/config.js";
import { cycledLabels } from "../../recipe/labels.js";
import {
  defineRecipe,
  type FullConfig,
  type ImageFacts,
  precisionOf,
  type Recipe,
  type RecipeDefinition,
} from "../../recipe/recipe.js";
import { folderOf } from "../data.js";
import { scaleFor } from "../pictures.js";
import { withStream } from "../streams.js";
import type { ImageGameSettings } from "./settings.js";

const objectives: Readonly<Record<string, (smoothing: number) => Objective>> = {
  minimax: (smoothing) => minimax({ smoothing }),
  nonSaturating: (smoothing) => nonSaturating({ smoothing }),
  hinge,
  leastSquares: () => leastSquares(),
  wasserstein,
};

const rules: RecipeDefinition<ImageGameSettings>["rules"] = {
  batch: { type: "integer", least: 1, most: mostAtOnce, help: "images of each kind in one of the critic's updates" },
  "generator.kind": {
    choices: ["dcgan", "resize"],
    help: "transposed convolutions, or repeated pixels and convolutions",
  },
  "generator.latents": widthRule,
  "generator.channels": { ...widthsRule, help: "from the smallest feature map on; each doubles the resolution" },
  "critic.channels": { ...widthsRule, help: "from the largest feature map on; each halves the resolution" },
  "critic.norm": { choices: ["batch", "layer", "spectral", "none"] },
  "critic.condition": { choices: ["channel", "projection", "auxiliary"], help: "how labels reach the critic" },
  labels: { help: "tell the players the classes" },
  "game.objective": { choices: Object.keys(objectives) },
  "game.smoothing": { least: 0, most: 0.999, help: "one-sided label smoothing" },
  "game.criticSteps": {
    type: "integer",
    least: 1,
    most: 1000,
    help: "updates of the critic for each of the generator",
  },
  "game.gradientPenalty": { type: "number", nullable: true, least: 0, help: "weight of WGAN-GP's penalty" },
  "game.r1": { type: "number", nullable: true, least: 0, help: "weight of R1" },
  "game.r1Every": {
    type: "integer",
    least: 1,
    most: 1000,
    help: "rounds for which R1 is asked once; a step plays as many",
  },
  "game.clipWeights": { type: "number", nullable: true, least: 0, help: "bound of the critic's weights" },
  "optimizer.kind": { choices: ["adam", "rmsprop"] },
  "optimizer.generatorLr": { least: 0 },
  "optimizer.criticLr": { least: 0 },
  "optimizer.betas": betasRule,
  "optimizer.floor": { least: 0, most: 1, help: "share of the rates that is left in the end" },
  ema: { ...belowOneRule, help: "decay of the generator's average" },
  sampleEvery: sampleEveryRule,
};

/** Images in a row of pictures. */
const columns = 10;

function playersOf(
  { generator: { kind, latents, channels: up }, critic, labels }: ImageGameSettings,
  { shape, classes }: ImageFacts,
): { generator: Generator; critic: Critic } {
  const [height, width, imageChannels] = shape;
  if (height !== width) throw new UsageError(`this recipe plays on square images, got ${height}×${width}`);
  if (labels && classes.length === 0) throw new UsageError("labels: the data set has no classes");
  const image = { imageSize: height, imageChannels, classes: labels ? classes.length : 0 };
  const options = { ...image, latents, channels: [...up] };
  return {
    generator: kind === "dcgan" ? new DcganGenerator(options) : new ResizeGenerator(options),
    critic: new DcganCritic({
      ...image,
      channels: [...critic.channels],
      norm: critic.norm as CriticNorm,
      minibatchStd: critic.minibatchStd,
      condition: critic.condition as CriticCondition,
    }),
  };
}

function rulesOf({ game }: ImageGameSettings): GameRules {
  const { objective, smoothing, criticSteps, gradientPenalty, r1, r1Every, clipWeights } = game;
  return {
    objective: (objectives[objective] as (smoothing: number) => Objective)(smoothing),
    criticSteps,
    ...(gradientPenalty === null ? {} : { gradientPenalty }),
    ...(r1 === null ? {} : { r1: { gamma: r1, every: r1Every } }),
    ...(clipWeights === null ? {} : { clipWeights }),
  };
}

function optimizersOf(
  { steps, game, optimizer }: FullConfig<ImageGameSettings>,
  players: { readonly generator: Generator; readonly critic: Critic },
): { generatorOptimizer: Optimizer; criticOptimizer: Optimizer } {
  const rounds = steps * (game.r1 === null ? 1 : game.r1Every);
  const make = (network: Generator | Critic, rate: number, updates: number): Optimizer => {
    const lr = cosineLr({ from: rate, to: rate * optimizer.floor, steps: updates });
    const [beta1 = 0.5, beta2 = 0.999] = optimizer.betas;
    return optimizer.kind === "rmsprop"
      ? new RMSProp(network, { lr })
      : new Adam(network, { lr, betas: [beta1, beta2] });
  };
  return {
    generatorOptimizer: make(players.generator, optimizer.generatorLr, rounds),
    criticOptimizer: make(players.critic, optimizer.criticLr, rounds * game.criticSteps),
  };
}

/** Rows of pictures between pairs of latents, along arcs. */
async function interpolate(net: Generator, random: Rng, count: number, frames: number, signal?: AbortSignal) {
  const ends = [0, 1].map(() => random.normal([count, net.latents])) as [Tensor, Tensor];
  const latents = scope(() => {
    const ways = Array.from({ length: frames }, (_, i) => slerp(...ends, i / Math.max(1, frames - 1)));
    return stack(ways, 1).reshape([count * frames, net.latents]);
  });
  const label =
    net.classes > 0
      ? tensor(Int32Array.from({ length: count * frames }, (_, i) => Math.floor(i / frames) % net.classes))
      : undefined;
  try {
    return await generateFrom(net, latents, { label, signal });
  } finally {
    for (const owned of [...ends, latents, label]) owned?.dispose();
  }
}

/** A recipe for a game on MNIST's digits, or other sets in its files, with these settings. */
export function imageGameRecipe(
  definition: Pick<RecipeDefinition<ImageGameSettings>, "name" | "summary" | "config">,
): Recipe {
  return defineRecipe({
    ...definition,
    rules,
    dataset: async ({ data }, split) => mnist(await folderOf(data, "mnist"), { split }),
    build: (config, facts) => {
      const { generator, critic } = playersOf(config, facts);
      const draw = async (
        net: Generator,
        n: number,
        rng: Rng,
        given?: Tensor,
        signal?: AbortSignal,
      ): Promise<Tensor> => {
        const label = given ? undefined : cycledLabels(n, net.classes);
        return generate(net, { count: n, rng, label: given ?? label, signal }).finally(() => label?.dispose());
      };
      return {
        models: { generator, critic },
        classes: generator.classes,
        sample: (n, { rng, label, signal }) => draw(generator, n, rng, label, signal),
        interpolate: ({ rng, count, frames, signal }) => interpolate(generator, rng, count, frames, signal),
        train: ({ dataset, random }) => {
          const streams = ["generator", "critic", "game", "data"].map((name) => random.fork(name));
          const [forGenerator, forCritic, play, order] = streams as [Rng, Rng, Rng, Rng];
          generator.init(forGenerator);
          critic.init(forCritic);
          const optimizers = optimizersOf(config, { generator, critic });
          const ema = new EMA(generator, { decay: config.ema });
          const players = { generator, critic, ...optimizers, ema, random: play };
          const step = compileGame(players, rulesOf(config), { precision: precisionOf(config) });
          const { criticUpdates: stack } = step;
          const batchSize = Math.min(config.batch, dataset.length);
          const data = dataset.loader({
            batchSize,
            steps: config.steps,
            rng: order,
            ...(stack > 1 ? { stack } : {}),
          });
          const drawGrid = ({ step: at, picture, signal }: HookContext): Promise<void> =>
            withStream(random.fork("grid", at), async (rng) => {
              const images = await draw(ema.model, columns ** 2, rng, undefined, signal);
              await picture("samples", images, { columns }).finally(() => images.dispose());
            });
          return {
            step,
            data,
            hooks: config.sampleEvery === null ? [] : [{ every: config.sampleEvery, run: drawGrid }],
            imagesPerStep: batchSize * stack,
            trained: { generator: ema.model, critic },
            finish: ({ file, signal }) =>
              withStream(random.fork("samples"), async (rng) => {
                const images = await draw(ema.model, columns ** 2, rng, undefined, signal);
                const scale = scaleFor(columns, facts.shape[0]);
                await saveGrid(file("samples.png"), images, { columns, scale }).finally(() => images.dispose());
                return undefined;
              }),
            dispose: () => {
              for (const owner of [step, ema, ...Object.values(optimizers), ...streams]) owner.dispose();
            },
          };
        },
      };
    },
  });
}
