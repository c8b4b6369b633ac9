// Which recipes there are: those built in, by name, and those in files of the user's, by path.

import { stat } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { UsageError } from "@figment/tensor";
import { builtIn } from "../recipes/index.js";
import { parts } from "../version.js";
import type { Recipe } from "./recipe.js";

/**
 * The recipes that are built in, by name.
 *
 * @example
 * recipes["first-light"]?.summary;
 */
export const recipes: Readonly<Record<string, Recipe>> = Object.fromEntries(
  builtIn.map((recipe) => [recipe.name, recipe]),
);

const endings = [".js", ".mjs", ".ts", ".mts"];

/**
 * A built-in recipe by its name, or one from a file (.js, .mjs, .ts, .mts) whose default export it is.
 *
 * @throws UsageError for a name that there is not, and for a file that gives no recipe.
 * @example
 * const recipe = await findRecipe("first-light");
 * recipe.config.steps; // 3200
 */
export async function findRecipe(nameOrFile: string): Promise<Recipe> {
  const known = Object.hasOwn(recipes, nameOrFile) ? recipes[nameOrFile] : undefined;
  if (known) return known;
  if (!endings.includes(path.extname(nameOrFile)))
    throw new UsageError(
      `there is no recipe ${JSON.stringify(nameOrFile)}; there are ${Object.keys(recipes).join(", ")}, and files ending in ${endings.join(" ")}`,
    );
  const file = path.resolve(nameOrFile);
  if (!(await stat(file).catch(() => undefined))?.isFile())
    throw new UsageError(`${nameOrFile}: there is no such recipe file`);
  const exported = await importFile(file);
  if (!isRecipe(exported.default))
    throw new UsageError(`${nameOrFile}: the default export is no recipe; export default defineRecipe({ … })`);
  return exported.default;
}

function isRecipe(x: unknown): x is Recipe {
  const recipe = x as Partial<Recipe> | null | undefined;
  return typeof recipe?.name === "string" && typeof recipe.build === "function" && typeof recipe.config === "object";
}

/** Loads a module; TypeScript through jiti, as Node 20 reads none. */
async function importFile(file: string): Promise<{ readonly default?: unknown }> {
  if (!file.endsWith("ts")) return import(pathToFileURL(file).href);
  const { createJiti } = await import("jiti");
  // The recipe's tensors must be those of this process, wherever its file lies.
  const modules = await Promise.all(parts.map(async (name) => [name, await import(name)] as const));
  const virtualModules = { figment: await import("../index.js"), ...Object.fromEntries(modules) };
  const jiti = createJiti(import.meta.url, { virtualModules, fsCache: false });
  return { default: await jiti.import(file, { default: true }) };
}
