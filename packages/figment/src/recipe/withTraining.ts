// A recipe's data set opened, its models built and what trains them made, for as long as somebody uses them.

import type { Dataset } from "@figment/io";
import { rng, UsageError } from "@figment/tensor";
import type { Settings } from "./config.js";
import type { BaseConfig, Built, ImageFacts, Recipe, Training } from "./recipe.js";

/** Everything that a run is made of. */
export interface Prepared {
  /** Undefined for recipes that make their own data. */
  readonly dataset: Dataset | undefined;
  readonly facts: ImageFacts;
  readonly built: Built;
  readonly training: Training;
}

/** Lends `use` what a recipe trains with these settings, and frees all of it. */
export async function withTraining<T>(
  recipe: Recipe,
  config: Settings & BaseConfig,
  use: (prepared: Prepared) => Promise<T>,
): Promise<T> {
  const dataset = (await recipe.dataset?.(config, "train")) ?? undefined;
  const facts: ImageFacts = { shape: dataset?.shape ?? [0, 0, 0], classes: dataset?.classes ?? [] };
  const built = recipe.build(config, facts);
  const random = rng(config.seed);
  let training: Training | undefined;
  try {
    training = await built.train({
      get dataset() {
        if (!dataset) throw new UsageError(`${recipe.name}: this recipe has no data set`);
        return dataset;
      },
      random,
    });
    return await use({ dataset, facts, built, training });
  } finally {
    training?.dispose();
    built.dispose?.();
    for (const module of Object.values(built.models)) module.dispose();
    random.dispose();
  }
}
