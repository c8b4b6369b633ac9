// The recipe of `npm start` from within a test: runs of it, and its training loop alone.

import { digits, type Recipe, type RunSummary, recipes, rng, runRecipe, type Tensor, type TrainingStep } from "figment";

export const recipe = recipes["first-light"] as Recipe;

type Settings = Readonly<Record<string, unknown>>;

/** Trains it in a folder. */
export const firstLight = (out: string, settings: Settings = {}): Promise<RunSummary> =>
  runRecipe(recipe, {
    out,
    overrides: Object.entries(settings).map(([path, value]) => `${path}=${value}`),
  });

/** Trains it on the digits without a folder, lends the step, the losses and a way to draw to `look`, and frees everything. */
export async function trained<T>(
  settings: Settings & { readonly steps: number },
  look: (step: TrainingStep, losses: readonly number[], draw: (out: string) => Promise<unknown>) => T | Promise<T>,
): Promise<T> {
  const config = { ...recipe.config, ...settings } as Recipe["config"];
  const dataset = digits();
  const built = recipe.build(config, { shape: dataset.shape, classes: dataset.classes ?? [] });
  const random = rng(config.seed);
  const { step, data, finish, dispose } = await built.train({ dataset, random });
  const losses: number[] = [];
  const { signal } = new AbortController();
  try {
    for await (const batch of data) losses.push((step(batch).loss as Tensor).itemSync());
    const draw = async (out: string) => finish?.({ file: (name) => `${out}-${name}`, signal });
    return await look(step, losses, draw);
  } finally {
    dispose();
    built.dispose?.();
    for (const model of Object.values(built.models)) model.dispose();
    random.dispose();
  }
}
