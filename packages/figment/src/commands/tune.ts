// figment tune: measures on this machine which kernels run the calls of recipes fastest, and keeps it for later programs.

import { DataError } from "@figment/io";
import { onInterrupt, showProgress } from "@figment/nn";
import {
  AbortError,
  checkTuningFile,
  rng,
  setThreads,
  settled,
  type TunableCall,
  type TunedCall,
  throwIfAborted,
  tunableCalls,
  tunableCallsOf,
  UsageError,
} from "@figment/tensor";
import { Command } from "commander";
import { applyOverrides, type Override } from "../recipe/config.js";
import type { Recipe } from "../recipe/recipe.js";
import { findRecipe, recipes } from "../recipe/registry.js";
import { withTraining } from "../recipe/withTraining.js";
import { exitCodesHelp } from "./exitCodes.js";
import { deviceFlag, integerOption, pathOption, setOption, threadsFlag, useDevice } from "./options.js";

interface TuneFlags {
  readonly all?: boolean;
  readonly shapes?: string | boolean;
  readonly again?: boolean;
  readonly samples: number;
  readonly threads?: number;
  readonly device?: string;
  readonly set?: readonly Override[];
  readonly json?: boolean;
}

/** The `tune` subcommand. */
export const tuneCommand = (): Command =>
  new Command("tune")
    .summary("measure on this machine which kernels run recipes fastest; later programs use them")
    .description(
      "measure on this machine which kernels run a recipe's training and sampling fastest; later programs use them\n\n" +
        "Calls that were measured before are not measured again. Ctrl-C keeps what has been measured.",
    )
    .argument("[recipes...]", "their names or files (default: first-light)")
    .option("--all", "all recipes that are built in and whose data are here")
    .option(
      "--shapes [file]",
      "the calls of a table of measurements (default: the shipped one) in place of recipes",
      pathOption("shapes"),
    )
    .option("--again", "measure what was measured before, too")
    .option("--samples <n>", "images that are sampled at once", integerOption("samples", 1), 64)
    .option(...deviceFlag)
    .option(...threadsFlag)
    .option("--set <name=value>", "replace a setting of the recipe", setOption)
    .option("--json", "print one JSON object")
    .addHelpText("after", exitCodesHelp)
    .action(async (names: readonly string[], flags: TuneFlags) => {
      const { threads, device, json } = flags;
      const chosen = await chosenRecipes(names, flags);
      if (threads !== undefined) setThreads(threads);
      useDevice(device);
      const calls = await callsOf(chosen, flags);
      if (calls.some(({ known }) => flags.again || !known)) checkTuningFile();
      const interrupt = onInterrupt();
      try {
        const tuned = await measureAll(calls, flags, interrupt.signal);
        if (json) console.log(JSON.stringify({ recipes: chosen.map(({ name }) => name), calls: tuned }, null, 2));
        else console.log(tuningTable(tuned).join("\n"));
      } finally {
        interrupt.release();
      }
    });

/** The recipes to tune; none where the shapes of a table are asked for. */
async function chosenRecipes(names: readonly string[], { all, shapes }: TuneFlags): Promise<Recipe[]> {
  const ways = [names.length > 0, all, shapes].filter(Boolean);
  if (ways.length > 1) throw new UsageError("tune: name recipes, or say --all, or --shapes");
  if (shapes) return [];
  if (all) return Object.values(recipes);
  return Promise.all((names.length > 0 ? names : ["first-light"]).map(findRecipe));
}

const callsOf = (chosen: readonly Recipe[], flags: TuneFlags): TunableCall[] | Promise<TunableCall[]> => {
  if (flags.shapes) return tunableCallsOf(...(typeof flags.shapes === "string" ? [flags.shapes] : []));
  return tunableCalls(async () => {
    for (const recipe of chosen) {
      try {
        await useOnce(recipe, flags);
      } catch (error) {
        if (!flags.all || !(error instanceof UsageError || error instanceof DataError)) throw error;
        // Its data are not on this machine.
        console.error(`${recipe.name} is left out: ${error.message}`);
      }
    }
  });
};

/** Sampling is stopped after this long, milliseconds: by then the programs of its steps have been made. */
const samplingTime = 5000;

/** Makes the programs of a recipe: those of a training step and of sampling. */
async function useOnce(recipe: Recipe, { samples, set = [] }: TuneFlags): Promise<void> {
  const config = await applyOverrides(recipe.config, recipe.rules, set);
  await withTraining(recipe, config, async ({ built, training }) => {
    for await (const batch of training.data) {
      training.step(batch);
      await settled();
      break;
    }
    if (!built.sample) return;
    const enough = new AbortError("the programs are made");
    const random = rng(config.seed);
    try {
      const images = await built.sample(samples, { rng: random, signal: abortAfter(samplingTime, enough) });
      images.dispose();
    } catch (error) {
      if (error !== enough) throw error;
    } finally {
      random.dispose();
    }
  });
}

function abortAfter(milliseconds: number, reason: Error): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), milliseconds).unref();
  return controller.signal;
}

/** Measures calls one after the other; the signal stops between two of them. */
async function measureAll(
  calls: readonly TunableCall[],
  { again }: TuneFlags,
  signal: AbortSignal,
): Promise<TunedCall[]> {
  const progress = await showProgress("Measuring", 0, calls.length);
  const tuned: TunedCall[] = [];
  try {
    for (const [i, call] of calls.entries()) {
      // A signal of the system is only heard between turns of the event loop.
      await new Promise(setImmediate);
      throwIfAborted(signal);
      const found = again ? call.measure() : (call.known ?? call.measure());
      if (found) tuned.push(found);
      progress?.update(i + 1, call.op);
    }
  } finally {
    progress?.stop();
  }
  return tuned;
}

const columns = ["op", "shapes", "estimated", "fastest", "ratio"] as const;

/** Lines of a table of what was found, the largest gains first. */
function tuningTable(calls: readonly TunedCall[]): string[] {
  const rows = calls
    .toSorted((a, b) => b.ratio - a.ratio)
    .map(({ op, shapes, estimated, winner, ratio }) => [op, shapes, estimated, winner, ratio.toFixed(2)]);
  const lines = [[...columns], ...rows];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => (line[i] as string).length)));
  const text = lines.map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i] as number))
      .join("  ")
      .trimEnd(),
  );
  const gained = calls.filter(({ winner, estimated }) => winner !== estimated).length;
  return [...text, `${calls.length} calls, ${gained} of which run on another kernel than by estimate`];
}
