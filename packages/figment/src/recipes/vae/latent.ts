// Autoencoders with a bound on the evidence as recipes: a model, an objective, a moving average; measured by their bounds on
// binarised images and on grey ones.

import { type Dataset, mnist } from "@figment/io";
import type { Module } from "@figment/nn";
import { type Rng, scope, type Tensor, UsageError } from "@figment/tensor";
import {
  BernoulliLikelihood,
  type Bounds,
  betaTcLoss,
  binarise,
  evaluateBounds,
  importanceWeightedBound,
  interpolateLatents,
  type LatentModel,
  type Likelihood,
  linearAnnealing,
  negativeElbo,
  VAE,
} from "@figment/vae";
import { cycledLabels } from "../../recipe/labels.js";
import {
  type Abilities,
  type AbilityOptions,
  defineRecipe,
  type FullConfig,
  type ImageFacts,
  type Recipe,
  type RecipeDefinition,
  type TrainContext,
  type Training,
} from "../../recipe/recipe.js";
import { folderOf } from "../data.js";
import { withStream } from "../streams.js";
import { gridSide, saveLatents, saveReconstructions, saveSamples } from "./pictures.js";
import { type LatentSettings, latentRules } from "./settings.js";
import { averagedTraining, type Batch } from "./training.js";

/** What a recipe can train: any model of one or more layers of latents. */
export type Autoencoder = Module &
  LatentModel<unknown> & {
    readonly likelihood: Likelihood;
    sample(n: number, random: Rng, options?: { readonly label?: Tensor; readonly temperature?: number }): Tensor;
    reconstruct(x: Tensor, label?: Tensor): Tensor;
  };

/** What is particular to a recipe. */
export interface LatentRecipe<C extends LatentSettings> {
  readonly name: string;
  readonly summary: string;
  readonly config: C & RecipeDefinition<C>["config"];
  readonly rules?: RecipeDefinition<C>["rules"];
  /** Makes the model. */
  readonly model: (config: FullConfig<C>, facts: ImageFacts) => Autoencoder;
  /** Whether the model is told the classes. Default false. */
  readonly conditional?: boolean;
  /** Changes what depends on the updates made, such as a temperature, before each update. */
  readonly anneal?: (model: Autoencoder, updates: Tensor, config: FullConfig<C>) => void;
}

/** What one update is told and tells. */
interface Objective {
  readonly net: Autoencoder;
  readonly x: Tensor;
  readonly draws: Rng;
  readonly label: Tensor | undefined;
  readonly beta: Tensor;
  readonly datasetSize: number;
}

/** The loss of an objective by its name, and its parts: 0-d, nats per image. */
function lossOf(
  { kind, freeBits, k }: LatentSettings["objective"],
  { net, x, draws, label, beta, datasetSize }: Objective,
): { readonly loss: Tensor } & Readonly<Record<string, Tensor>> {
  if (kind === "iwae") return { loss: importanceWeightedBound(net, x, draws, { k, label }).mean().neg() };
  if (kind === "tc") {
    if (!(net instanceof VAE))
      throw new UsageError(
        'objective.kind: "tc" needs a model with one layer of Gaussian latents; "elbo" and "iwae" do not',
      );
    return betaTcLoss(net, x, draws, { datasetSize, beta, label });
  }
  return negativeElbo(net, x, draws, { beta, freeBits, label });
}

/** Bounds as numbers by name. */
const numbersOf = (prefix: string, { negativeElbo: elbo, reconstruction, kl, negativeIwae }: Bounds, k: number) => ({
  [`${prefix}NegativeElboNats`]: elbo.mean,
  [`${prefix}NegativeElboStandardErrorNats`]: elbo.standardError,
  [`${prefix}ReconstructionNats`]: reconstruction.mean,
  [`${prefix}KlNats`]: kl.mean,
  ...(negativeIwae ? { [`${prefix}NegativeIwae${k}Nats`]: negativeIwae.mean } : {}),
});

/** Makes a recipe of a model and its settings. */
export function latentRecipe<C extends LatentSettings>(definition: LatentRecipe<C>): Recipe {
  const { name, summary, config: defaults, rules, model: make, conditional = false, anneal } = definition;
  return defineRecipe({
    name,
    summary,
    config: defaults,
    rules: { ...latentRules, ...rules },
    dataset: async ({ data }, split) => mnist(await folderOf(data, "mnist"), { split }),
    build: (config, facts) => {
      const settings = config as unknown as FullConfig<LatentSettings>;
      if (settings.binarise && settings.likelihood !== "bernoulli")
        throw new UsageError(`binarise: expected false with the likelihood "${settings.likelihood}", got true`);
      const model = make(config as FullConfig<C>, facts);
      return {
        models: { model },
        ...abilitiesOf(model, settings, conditional ? facts.classes.length : 0),
        train: (context) =>
          train(model, settings, context, {
            classes: conditional ? facts.classes.length : 0,
            anneal: (updates) => anneal?.(model, updates, config as FullConfig<C>),
          }),
      };
    },
  });
}

/** What a trained model can do, told one of `classes` if there are some. */
function abilitiesOf(model: Autoencoder, { evaluateK: k }: LatentSettings, classes: number): Abilities {
  const conditional = classes > 0;
  const binary = model.likelihood instanceof BernoulliLikelihood;
  return {
    range: model.likelihood.range,
    classes,
    sample: async (n, { rng, label }) =>
      scope(() => model.eval().sample(n, rng, conditional ? { label: label ?? cycledLabels(n, classes) } : {})),
    reconstruct: async (images, { label }) => {
      if (conditional && !label) throw new UsageError("reconstruct: this model needs the label of each image");
      return scope(() => model.eval().reconstruct(images, conditional ? label : undefined));
    },
    ...(model instanceof VAE && !conditional
      ? {
          interpolate: async ({ rng, frames, count, images }) =>
            scope(() => {
              const ends = images ?? model.eval().sample(2 * count, rng);
              const pairs = ends.reshape([count, 2, ...ends.shape.slice(1)]);
              const side = (which: 0 | 1): Tensor =>
                pairs
                  .slice([0, which, 0, 0, 0], [count, 1, ...ends.shape.slice(1)])
                  .reshape([count, ...ends.shape.slice(1)]);
              return interpolateLatents(model, side(0), side(1), { steps: frames });
            }),
        }
      : {}),
    evaluate: async (dataset: Dataset, { rng, signal }: AbilityOptions) => {
      const options = { rng, k, conditional, signal };
      const grey = await evaluateBounds(model, dataset, options);
      if (!binary) return { ...numbersOf("grey", grey, k), bitsPerDim: grey.bitsPerDim };
      const binarised = await evaluateBounds(model, dataset, { ...options, binarise: true });
      return { ...numbersOf("binarised", binarised, k), ...numbersOf("grey", grey, k) };
    },
  };
}

/** What is particular to a training. */
interface Particulars {
  /** How many classes the model is told of. */
  readonly classes: number;
  readonly anneal: (updates: Tensor) => void;
}

/** Initialises a model and makes what trains it. */
function train(
  model: Autoencoder,
  config: FullConfig<LatentSettings>,
  context: TrainContext,
  { classes, anneal }: Particulars,
): Training<Batch> {
  const { objective, sampleEvery } = config;
  const { dataset, random } = context;
  const conditional = classes > 0;
  const draws = random.fork("training");
  const rise = linearAnnealing({ from: 0, to: objective.beta, steps: objective.warmup });
  const { range } = model.likelihood;
  const { average: net, ...made } = averagedTraining(model, config, context, {
    range,
    parts: { draws },
    loss: ({ image, label }, updates) => {
      anneal(updates);
      return lossOf(objective, {
        net: model,
        x: config.binarise ? binarise(image, draws) : image,
        draws,
        label: conditional ? label : undefined,
        beta: rise(updates),
        datasetSize: dataset.length,
      });
    },
  });
  const samples = (stream: Rng): Tensor =>
    scope(() => net.sample(gridSide ** 2, stream, conditional ? { label: cycledLabels(gridSide ** 2, classes) } : {}));
  return {
    ...made,
    hooks:
      sampleEvery === null
        ? []
        : [
            {
              every: sampleEvery,
              run: ({ step: at, picture }) =>
                withStream(random.fork("grid", at), async (stream) => {
                  const images = samples(stream);
                  await picture("samples", images, { columns: gridSide, range }).finally(() => images.dispose());
                }),
            },
          ],
    trained: { model: net },
    finish: async ({ file }) => {
      await withStream(random.fork("samples"), async (stream) => {
        const images = samples(stream);
        await saveSamples(file("samples.png"), images, range).finally(() => images.dispose());
      });
      await saveReconstructions(file("reconstructions.png"), dataset, range, (images, label) =>
        net.reconstruct(images, conditional ? label : undefined),
      );
      if (net instanceof VAE && !conditional) await saveLatents(file, net, dataset);
      return undefined;
    },
  };
}
