// Diffusion models that are built in.

import { digits, openDataset } from "@figment/io";
import type { Recipe } from "../../recipe/recipe.js";
import { ddpmRecipe } from "./ddpm.js";
import { firstLightSettings } from "./settings.js";

/** What `npm start` trains. */
export const firstLight: Recipe = ddpmRecipe({
  name: "first-light",
  summary: "a small diffusion model of digits, or of any folder of images, in minutes",
  config: firstLightSettings,
  dataset: ({ data, size }) =>
    data === null ? digits({ size: size ?? 28 }) : openDataset(data, { size: size ?? undefined }),
});
