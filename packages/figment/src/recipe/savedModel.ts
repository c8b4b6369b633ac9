// Trained models as files: safetensors with the weights under their own names, and in the metadata the recipe's name, its
// configuration and what it needs to know of the images, so that the model can be built again from the file alone.

import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { checkPath, loadModel, SafetensorsFile, saveModel, withoutWaiting } from "@figment/io";
import type { Module } from "@figment/nn";
import {
  CheckpointError,
  type Device,
  defaultDevice,
  type Json,
  type SavedState,
  type Stateful,
  type StateToRestore,
  UsageError,
} from "@figment/tensor";
import { applyOverrides, checkSettings, type Override, type Settings } from "./config.js";
import { type BaseConfig, type Built, type ImageFacts, isRecipeName, type Recipe } from "./recipe.js";
import { findRecipe } from "./registry.js";

const recipeKey = "figment.recipe";

/** Names of the files of a run. */
export const modelName = "model.safetensors";
export const configName = "config.json";

/** What a model's file says of where it comes from. */
export interface Origin {
  readonly recipe: string;
  /** In config.json: the recipe's file, for one that is not built in. */
  readonly file?: string;
  readonly config: Settings;
  readonly facts: ImageFacts;
}

/** The states of several modules as one: a single module keeps its names, several are told apart by theirs. */
export function together(modules: Readonly<Record<string, Module>>): Stateful {
  const names = Object.keys(modules);
  const [only] = Object.values(modules);
  if (names.length === 1 && only) return only;
  return {
    captureState: (): SavedState => {
      const states = Object.entries(modules).map(([name, module]) => [name, module.captureState().cells] as const);
      const cells = states.flatMap(([name, own]) => Object.entries(own).map(([at, cell]) => [`${name}.${at}`, cell]));
      return { cells: Object.fromEntries(cells), json: null };
    },
    restoreState: ({ tensors }: StateToRestore) => {
      const unknown = Object.keys(tensors).filter((name) => !names.some((part) => name.startsWith(`${part}.`)));
      if (unknown.length > 0) throw new CheckpointError(`unexpected: ${unknown.join(", ")}`);
      for (const [name, module] of Object.entries(modules)) {
        const own = Object.entries(tensors).filter(([at]) => at.startsWith(`${name}.`));
        const inside = Object.fromEntries(own.map(([at, tensor]) => [at.slice(name.length + 1), tensor]));
        module.restoreState({ tensors: inside, json: null });
      }
    },
  };
}

/** Saves trained modules with their origin. */
export function saveTrained(file: string, modules: Readonly<Record<string, Module>>, origin: Origin): Promise<void> {
  return saveModel(file, together(modules), { metadata: { [recipeKey]: JSON.stringify(origin) } });
}

/** A trained model that was opened again. */
export interface OpenedModel extends Built {
  readonly recipe: Recipe;
  readonly config: Settings & BaseConfig;
  readonly facts: ImageFacts;
  /** How many classes samples can be asked for; 0 where the model is told none. */
  readonly classes: number;
  /** The file that the weights came from. */
  readonly file: string;
  /** Where the models lie: the device that tensors were made on when the file was opened. */
  readonly device: Device;
  /** Frees the models. */
  dispose(): void;
}

/** How a model is opened. */
export interface OpenOptions {
  /** The recipe's file, for one that is not built in. Default: as the run's folder says. */
  readonly recipe?: string;
  /** Settings to replace, as texts by dotted path: { sampleSteps: "100" }. */
  readonly set?: Readonly<Record<string, string>>;
}

/**
 * Opens a trained model, from its file or from the folder of the run that trained it: weights, recipe and configuration.
 *
 * @param target a file model.safetensors that a recipe has written, or a run's folder.
 * @throws CheckpointError when there is no such file, it was not made by a recipe, or the weights do not fit.
 * @throws UsageError for a target that is no path, a recipe that is not known, or settings that are not allowed.
 * @example
 * const model = await openModel("out/first-light");
 * const images = await model.sample?.(16, { rng: rng(0) }); // [16, 28, 28, 1]
 * model.dispose();
 */
export async function openModel(
  target: string,
  { recipe: recipeFile, set = {} }: OpenOptions = {},
): Promise<OpenedModel> {
  checkPath("openModel", "target", target);
  const folder = await stat(target).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const file = folder ? path.join(target, modelName) : target;
  if (folder && !(await exists(file)))
    throw new CheckpointError(
      `${target}: there is no ${modelName} in this folder; a run writes it when it has ended (figment train … --resume)`,
    );
  const origin = await readOrigin(file);
  const recipe = await findRecipe(recipeFile ?? (await fileOfRun(path.dirname(file), origin)) ?? origin.recipe);
  if (recipe.name !== origin.recipe)
    throw new CheckpointError(`${file}: it was made by the recipe ${origin.recipe}, not by ${recipe.name}`);
  const saved = await checkSettings(file, origin.config, recipe.config, recipe.rules);
  const overrides = Object.entries(set).map(([at, text]): Override => ({ path: at, text, label: `--set ${at}` }));
  const config = await applyOverrides(saved, recipe.rules, overrides);
  const built = recipe.build(config, origin.facts);
  const dispose = (): void => {
    built.dispose?.();
    for (const module of Object.values(built.models)) module.dispose();
  };
  try {
    await loadModel(file, together(built.models));
  } catch (error) {
    dispose();
    throw error;
  }
  for (const module of Object.values(built.models)) module.eval();
  const { facts } = origin;
  const device = defaultDevice();
  return { ...built, classes: built.classes ?? facts.classes.length, recipe, config, facts, file, device, dispose };
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** What a model's file says of its origin. */
export async function readOrigin(file: string): Promise<Origin> {
  await using opened = await SafetensorsFile.open(file);
  const text = opened.metadata.get(recipeKey);
  if (text === undefined)
    throw new CheckpointError(
      `${file}: no recipe made this file: its metadata have no "${recipeKey}"; load it with loadModel`,
    );
  const origin = parse(text) as Partial<Origin> | null;
  const { recipe, config, facts } = origin ?? {};
  // A name and no path: a file of weights says what it needs, and never which code is run.
  if (!isRecipeName(recipe) || !config || !Array.isArray(facts?.shape) || !Array.isArray(facts?.classes))
    throw new CheckpointError(`${file}: the metadata "${recipeKey}" are damaged`);
  return origin as Origin;
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return null;
  }
}

/** The file of a run's recipe, where it has one; it is only believed about the run's own model. */
async function fileOfRun(folder: string, { recipe }: Origin): Promise<string | undefined> {
  const text = await readFile(path.join(folder, configName), { encoding: "utf8", flag: withoutWaiting }).catch(
    () => "null",
  );
  const run = parse(text) as Partial<Origin> | null;
  return run?.recipe === recipe && typeof run.file === "string" ? run.file : undefined;
}

/** Refuses an ability that a model does not have. */
export function ability<K extends "sample" | "reconstruct" | "interpolate" | "evaluate">(
  model: OpenedModel,
  name: K,
): NonNullable<Built[K]> {
  const found = model[name];
  if (!found) throw new UsageError(`the models of ${model.recipe.name} cannot ${name}`);
  return found.bind(model) as NonNullable<Built[K]>;
}
