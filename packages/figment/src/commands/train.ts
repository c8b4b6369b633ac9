// figment train: trains a recipe, built in or from a file. The recipe's own settings become options.

import { Command } from "commander";
import { describeField, type Field, fieldsOf, type Override } from "../recipe/config.js";
import type { Recipe } from "../recipe/recipe.js";
import { findRecipe, recipes } from "../recipe/registry.js";
import { defaultOut, runRecipe } from "../recipe/run.js";
import { exitCodesHelp } from "./exitCodes.js";
import { deviceFlag, pathOption, setOption, threadsFlag, useDevice } from "./options.js";

/** The `train` subcommand. */
export const trainCommand = (): Command =>
  new Command("train")
    .summary("train a recipe, in a folder of its own")
    .description(
      "train a recipe, in a folder of its own\n\n" +
        "Ctrl-C saves a checkpoint; --resume goes on from it, bit for bit as if it had never stopped.",
    )
    .usage("RECIPE [options]")
    .argument("[recipe]", "its name, or a file (.js, .mjs, .ts) whose default export it is")
    .argument("[options...]", "figment train RECIPE --help shows them")
    .option("--list", "list the recipes that are built in")
    .option("--json", "with --list: as JSON")
    .addHelpText("after", exitCodesHelp)
    .passThroughOptions()
    .action(
      async (name: string | undefined, rest: string[], { list, json }: { list?: boolean; json?: boolean }, command) => {
        if (list) console.log(json ? JSON.stringify(describeRecipes(), null, 2) : listRecipes());
        else if (name === undefined) command.help({ error: true });
        else
          await recipeCommand(name, await findRecipe(name))
            .copyInheritedSettings(command)
            .parseAsync(rest, { from: "user" });
      },
    );

const describeRecipes = () => Object.values(recipes).map(({ name, summary, config }) => ({ name, summary, config }));

function listRecipes(): string {
  const width = Math.max(...Object.keys(recipes).map((name) => name.length));
  return Object.values(recipes)
    .map(({ name, summary }) => `${name.padEnd(width)}  ${summary}`)
    .join("\n");
}

const dashed = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

interface RunFlags extends Readonly<Record<string, unknown>> {
  readonly out: string;
  readonly set?: readonly Override[];
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly threads?: number;
  readonly device?: string;
  readonly json?: boolean;
}

/** The command of one recipe: settings at the top of its tree are options, the others go by --set. */
function recipeCommand(named: string, recipe: Recipe): Command {
  const fields = fieldsOf(recipe.config, recipe.rules);
  const isOption = ({ path }: Field): boolean => !path.includes(".");
  const command = new Command(`figment train ${named}`)
    .description(`train ${recipe.name}: ${recipe.summary}`)
    .option("--out <folder>", "where the results go", pathOption("out"), defaultOut(recipe))
    .option("--resume", "go on from the latest checkpoint in the folder, or from step 0 before the first")
    .option("--overwrite", "begin anew where the folder has a run that was stopped")
    .option(...deviceFlag)
    .option(...threadsFlag)
    .option("--set <name=value>", "replace any setting, those below among them; may be given several times", setOption)
    .option("--json", "print the summary as JSON");
  for (const { path, initial, rule } of fields.filter(isOption)) {
    const help = `${rule.help ?? path} (default: ${JSON.stringify(initial)})`;
    command.option(`--${dashed(path)} <value>`, help);
  }
  const deeper = fields.filter((field) => !isOption(field));
  const lines = deeper.map(
    (field) => `  ${field.path}=${JSON.stringify(field.initial)}  ${field.rule.help ?? describeField(field)}`,
  );
  if (lines.length > 0) command.addHelpText("after", `\nSettings for --set:\n${lines.join("\n")}`);
  command.addHelpText("after", exitCodesHelp);
  return command.action(async (flags: RunFlags) => {
    const { out, resume, overwrite, threads, device, json, set = [] } = flags;
    useDevice(device);
    const given = fields
      .filter((field) => isOption(field) && flags[field.path] !== undefined)
      .map(({ path }): Override => ({ path, text: String(flags[path]), label: `--${dashed(path)}` }));
    const file = recipe === recipes[named] ? undefined : named;
    const summary = await runRecipe(recipe, { out, resume, overwrite, threads, overrides: [...given, ...set], file });
    if (json) console.log(JSON.stringify(summary, null, 2));
  });
}
