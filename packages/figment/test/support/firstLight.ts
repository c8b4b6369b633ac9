// The recipe of `npm start` from within a test: runs of it, and its training loop alone.

import { type Recipe, type RunSummary, recipes, runRecipe, type Tensor, type TrainingStep } from "figment";
import { withTraining } from "#recipe/withTraining";

export const recipe = recipes["first-light"] as Recipe;

type Settings = Readonly<Record<string, unknown>>;

/** Trains it in a folder. */
export const firstLight = (out: string, settings: Settings = {}): Promise<RunSummary> =>
  runRecipe(recipe, {
    out,
    overrides: Object.entries(settings).map(([path, value]) => `${path}=${value}`),
  });

/** Trains it on the digits without a folder, and lends the step, the losses and a way to draw to `look`. */
export function trained<T>(
  settings: Settings & { readonly steps: number },
  look: (step: TrainingStep, losses: readonly number[], draw: (out: string) => Promise<unknown>) => T | Promise<T>,
): Promise<T> {
  const config = { ...recipe.config, ...settings } as Recipe["config"];
  return withTraining(recipe, config, async ({ training: { step, data, finish } }) => {
    const losses: number[] = [];
    for await (const batch of data) losses.push((step(batch).loss as Tensor).itemSync());
    const { signal } = new AbortController();
    return look(step, losses, async (out) => finish?.({ file: (name) => `${out}-${name}`, signal }));
  });
}
