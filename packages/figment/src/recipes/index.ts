// The recipes that are built in, in the order of lists.

import type { Recipe } from "../recipe/recipe.js";
import { cifar10Ddpm, ddpmEmoji, ddpmMnist, firstLight } from "./ddpm/recipes.js";
import { games } from "./gan/recipes.js";
import { autoencoders } from "./vae/recipes.js";

export const builtIn: readonly Recipe[] = [firstLight, ddpmMnist, ddpmEmoji, cifar10Ddpm, ...autoencoders, ...games];
