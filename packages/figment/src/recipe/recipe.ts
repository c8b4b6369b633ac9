// What a recipe is: a model of some family with the numbers to train it by, under a name. The families' packages hold
// models, losses and samplers; a recipe puts them together.

import { type Dataset, digits, openDataset } from "@figment/io";
import type { Module, TrainerHook, TrainingData, TrainingStep } from "@figment/nn";
import { type Json, type Precision, type Rng, type Stateful, type Tensor, UsageError } from "@figment/tensor";
import { countedRule, type FieldRule, type FieldRules, fieldsOf, type Settings } from "./config.js";

/** What every recipe's configuration has, whatever else it has. */
export type BaseConfig = {
  /** Updates in all. */
  readonly steps: number;
  /** Seed of weights, data order, noise and samples. */
  readonly seed: number;
  /** What convolutions, matrix products and attention multiply; "tf32" in the former two on GPUs that have it. */
  readonly precision: "f32" | "bf16" | "f16" | "tf32";
  /** A folder or file of data; null for the recipe's own. */
  readonly data: string | null;
  readonly saveEvery: number;
  readonly keep: number;
  readonly logEvery: number;
};

/** A recipe's own settings with those that all have. */
export type FullConfig<C> = Omit<C, keyof BaseConfig> & BaseConfig;

/** What models need to know of the images that they are trained on; kept with the weights. */
export interface ImageFacts {
  /** [H, W, C]; zeros for recipes without a data set of images. */
  readonly shape: readonly [height: number, width: number, channels: number];
  /** Names of the classes; none where there are none. */
  readonly classes: readonly string[];
}

/** How a model is used, whatever it is asked for. */
export interface AbilityOptions {
  /** Everything that is drawn comes from here. */
  readonly rng: Rng;
  readonly signal?: AbortSignal;
}

/** What can be asked of samples. */
export interface SamplingOptions extends AbilityOptions {
  /** Classes to draw, i32 [n]; without it one after another, for a model that has classes. */
  readonly label?: Tensor;
}

/** What can be asked of reconstructions. */
export interface ReconstructionOptions extends AbilityOptions {
  /** The classes of the images, i32 [n], for a model that is told them. */
  readonly label?: Tensor;
}

/** What can be asked of interpolations. */
export interface InterpolationOptions extends AbilityOptions {
  /** Pictures in a row, both ends included. */
  readonly frames: number;
  /** Rows. */
  readonly count: number;
  /** Ends of the rows, [2·count, H, W, C]: row i goes from image 2i to image 2i + 1. Without it between samples. */
  readonly images?: Tensor;
}

/** What a trained model can do. Each ability is optional; results are the caller's. Images are f32 within `range`. */
export interface Abilities {
  /** Values of black and white in images that go in and come out. Default [-1, 1]. */
  readonly range?: readonly [number, number];
  /** How many classes samples can be asked for. Default: those that the data has. */
  readonly classes?: number;
  /** n images [n, H, W, C]. */
  sample?(n: number, options: SamplingOptions): Promise<Tensor>;
  /** Images of the same shape as those given, as the model sees them. */
  reconstruct?(images: Tensor, options: ReconstructionOptions): Promise<Tensor>;
  /** Rows of pictures one after the other, [count·frames, H, W, C]. */
  interpolate?(options: InterpolationOptions): Promise<Tensor>;
  /** Numbers by name, units in the names, over a whole data set. */
  evaluate?(dataset: Dataset, options: AbilityOptions): Promise<Readonly<Record<string, number>>>;
}

/** What training is given. */
export interface TrainContext {
  /**
   * The data set to train on.
   *
   * @throws UsageError for a recipe without one.
   */
  readonly dataset: Dataset;
  /** The root of all randomness: fork streams from it, draw nothing. */
  readonly random: Rng;
}

/** What is done once training has ended. */
export interface FinishContext {
  /** A path in the run's folder. */
  file(name: string): string;
  readonly signal: AbortSignal;
}

/** A run that is about to begin or to go on. */
// biome-ignore lint/suspicious/noExplicitAny: step and data agree on a batch that nobody else needs to know
export interface Training<B extends Readonly<Record<string, Tensor>> = any> {
  readonly step: TrainingStep<B>;
  readonly data: TrainingData<B>;
  /** What checkpoints hold besides step and data, by name: random streams above all. */
  readonly state?: Readonly<Record<string, Stateful>>;
  readonly hooks?: readonly TrainerHook[];
  /** Images that one step looks at, for rates. */
  readonly imagesPerStep?: number;
  /** The modules whose weights are the result, by the names of `models`: moving averages, say. Default: `models`. */
  readonly trained?: Readonly<Record<string, Module>>;
  /** Pictures and measurements of the trained model; what it gives goes into summary.json. */
  finish?(context: FinishContext): Promise<Readonly<Record<string, Json>> | undefined>;
  /** Frees all that `train` has made. */
  dispose(): void;
}

/** A recipe's models, and what can be done with them. */
export interface Built extends Abilities {
  /** By name; not initialised. Their weights are what is saved. */
  readonly models: Readonly<Record<string, Module>>;
  /** Initialises the models from forks of `random`, and makes what trains them. */
  train(context: TrainContext): Training | Promise<Training>;
  /** Frees what was made besides the models. */
  dispose?(): void;
}

/** What {@link defineRecipe} takes. */
export interface RecipeDefinition<C extends Settings & { readonly steps: number }> {
  /** How the command knows it: small letters, digits and dashes. */
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** All settings with their defaults, as plain JSON; `steps` among them, others that all recipes have where they differ. */
  readonly config: C;
  /** What is allowed for settings, by dotted path, and what they are for. */
  readonly rules?: FieldRules;
  /**
   * Opens the data set, or the part of it that is for evaluation. Default: what `data` names, else the embedded digits. null
   * for recipes that make their own data.
   */
  readonly dataset?: ((config: FullConfig<C>, split: "train" | "test") => Dataset | Promise<Dataset>) | null;
  /** Makes the models of a configuration, for images that the facts describe. */
  readonly build: (config: FullConfig<C>, facts: ImageFacts) => Built;
}

/** A recipe as the commands know it. */
export interface Recipe {
  readonly name: string;
  readonly summary: string;
  readonly config: Settings & BaseConfig;
  readonly rules: FieldRules;
  readonly dataset: ((config: Settings & BaseConfig, split: "train" | "test") => Dataset | Promise<Dataset>) | null;
  readonly build: (config: Settings & BaseConfig, facts: ImageFacts) => Built;
}

/** Optimisers, whose schedules a run's steps are told, count to here. */
const mostSteps = 2 ** 24;

const baseConfig: Omit<BaseConfig, "steps"> = {
  seed: 0,
  precision: "f32",
  data: null,
  saveEvery: 500,
  keep: 2,
  logEvery: 20,
};

const baseRules: Readonly<Record<keyof BaseConfig, FieldRule>> = {
  steps: { ...countedRule, most: mostSteps, help: "training steps" },
  seed: { type: "integer", least: 0, help: "seed of weights, data order, noise and samples" },
  precision: { choices: ["f32", "bf16", "f16", "tf32"], help: "what products multiply (tf32 on GPUs); sums are f32" },
  data: { type: "string", help: "a folder of data: MNIST's IDX files, or images" },
  saveEvery: { ...countedRule, help: "steps between checkpoints, for runs that are killed" },
  keep: { ...countedRule, help: "checkpoints to keep" },
  logEvery: { ...countedRule, help: "steps between lines of the log" },
};

/**
 * The precision of compiled programs that a configuration stands for.
 *
 * @example
 * const { config } = await findRecipe("first-light");
 * compile((x: Tensor) => x.matmul(x), { precision: precisionOf(config) });
 */
export const precisionOf = ({ precision }: Pick<BaseConfig, "precision">): Precision =>
  precision === "f32" ? "highest" : precision;

/** Settings that a run may change when it goes on: they change no result. */
export const freeSettings: readonly (keyof BaseConfig)[] = ["data", "saveEvery", "keep", "logEvery"];

/** Whether a value is what recipes may be called, and so no path of a file. */
export const isRecipeName = (name: unknown): name is string =>
  typeof name === "string" && /^[a-z0-9][a-z0-9-]*$/.test(name);

const defaultDataset = ({ data }: BaseConfig): Dataset | Promise<Dataset> =>
  data === null ? digits() : openDataset(data);

/**
 * Makes a recipe: what `figment train NAME` trains, and what `figment sample` and its like use afterwards. A file whose
 * default export is a recipe can be trained by its path.
 *
 * @throws UsageError for a name that is none, a rule without a setting, or a setting of null without a type.
 * @example
 * const recipe = defineRecipe({
 *   name: "flat",
 *   summary: "one layer that gives digits back",
 *   config: { steps: 100, batch: 16, optimizer: { lr: 1e-3 } },
 *   rules: { batch: { type: "integer", least: 1, help: "images per step" } },
 *   build: ({ steps, batch, optimizer }, { shape: [height, width] }) => {
 *     const model = new Linear(height * width, height * width);
 *     const flat = (image: Tensor) => image.reshape([-1, height * width]);
 *     return {
 *       models: { model },
 *       reconstruct: async (images) => scope(() => model.forward(flat(images)).reshape(images.shape)),
 *       train: ({ dataset, random }) => {
 *         model.init(random.fork("weights"));
 *         const adam = new AdamW(model, optimizer);
 *         const loss = (net: Linear, { image }: { image: Tensor }) => mse(net.forward(flat(image)), flat(image));
 *         const step = compileStep(model, adam, loss);
 *         const data = dataset.loader({ batchSize: batch, steps, rng: random.fork("data") });
 *         const dispose = () => [step, adam].forEach((part) => part.dispose());
 *         return { step, data, dispose };
 *       },
 *     };
 *   },
 * });
 * recipe.name; // "flat"
 */
export function defineRecipe<const N extends string, C extends Settings & { readonly steps: number }>(
  definition: RecipeDefinition<C> & { readonly name: N },
): Recipe {
  const { name, summary, rules = {}, dataset = defaultDataset, build } = definition;
  if (!isRecipeName(name))
    throw new UsageError(
      `defineRecipe: a name is made of small letters, digits and dashes, got ${JSON.stringify(name)}`,
    );
  // The recipe's own settings come first in lists.
  const config = { ...definition.config, ...baseConfig, ...definition.config } as unknown as Settings & BaseConfig;
  const allRules = { ...baseRules, ...rules };
  const fields = fieldsOf(config, allRules);
  for (const path of Object.keys(rules))
    if (!fields.some((field) => field.path === path))
      throw new UsageError(
        `${name}: the rule for ${JSON.stringify(path)} has no setting; there are ${fields.map((f) => f.path).join(", ")}`,
      );
  for (const { path, initial, rule } of fields)
    if (initial === null && !rule.type && !rule.choices)
      throw new UsageError(
        `${name}: the setting ${JSON.stringify(path)} is null by default; a rule must give its type`,
      );
  return {
    name,
    summary,
    config,
    rules: allRules,
    // Configurations are checked against the defaults before they come here.
    dataset: dataset as Recipe["dataset"],
    build: build as unknown as Recipe["build"],
  };
}
