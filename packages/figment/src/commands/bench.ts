// figment bench: how fast a recipe trains here, and where the time goes.

import { setThreads, UsageError } from "@figment/tensor";
import { Command } from "commander";
import { applyOverrides, type Override } from "../recipe/config.js";
import { findRecipe } from "../recipe/registry.js";
import { withTraining } from "../recipe/withTraining.js";
import { exitCodesHelp } from "./exitCodes.js";
import { deviceFlag, integerOption, setOption, threadsFlag, useDevice } from "./options.js";

interface BenchFlags {
  readonly runs: number;
  readonly threads?: number;
  readonly device?: string;
  readonly set?: readonly Override[];
  readonly json?: boolean;
}

/** The `bench` subcommand. */
export const benchCommand = (): Command =>
  new Command("bench")
    .description("measure a recipe's training step on this machine, kernel by kernel")
    .argument("[recipe]", "its name or file", "first-light")
    .option("--runs <n>", "steps to time", integerOption("runs", 1), 20)
    .option(...deviceFlag)
    .option(...threadsFlag)
    .option("--set <name=value>", "replace a setting", setOption)
    .option("--json", "print one JSON object")
    .addHelpText("after", exitCodesHelp)
    .action(async (name: string, { runs, threads, device, set = [], json }: BenchFlags) => {
      if (threads !== undefined) setThreads(threads);
      useDevice(device);
      const recipe = await findRecipe(name);
      const config = await applyOverrides(recipe.config, recipe.rules, set);
      const { profile, imagesPerStep } = await withTraining(recipe, config, async ({ training }) => {
        const { step, data, imagesPerStep } = training;
        for await (const batch of data) return { profile: await step.profile(runs, batch), imagesPerStep };
        throw new UsageError(`${recipe.name}: there are no batches`);
      });
      const stepsPerSecond = 1e6 / profile.micros;
      const rates = { stepsPerSecond, ...(imagesPerStep ? { imagesPerSecond: stepsPerSecond * imagesPerStep } : {}) };
      if (json) console.log(JSON.stringify({ recipe: recipe.name, ...rates, ...profile }, null, 2));
      else {
        console.log(String(profile));
        for (const [rate, value] of Object.entries(rates)) console.log(`${rate}  ${value.toPrecision(4)}`);
      }
    });
