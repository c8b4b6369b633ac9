// A training run in a folder of its own: config.json says what is run; log.jsonl, events/, checkpoints/ and samples/ come as it
// goes; model.safetensors, loss.svg and summary.json when it has ended.

import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { type Dataset, makeFolder, saveLossCurve, withoutWaiting, writeJson } from "@figment/io";
import {
  type Interrupt,
  type LogRecord,
  listCheckpoints,
  onInterrupt,
  readLog,
  Trainer,
  type TrainerSummary,
} from "@figment/nn";
import { CheckpointError, defaultDevice, deviceInfo, type Json, setThreads, UsageError } from "@figment/tensor";
import { version } from "../version.js";
import { applyOverrides, checkSettings, differences, type Override, readOverride, type Settings } from "./config.js";
import { lockFolder } from "./folderLock.js";
import { type BaseConfig, type Built, freeSettings, type Recipe, type Training } from "./recipe.js";
import { configName, modelName, type Origin, saveTrained } from "./savedModel.js";
import { withTraining } from "./withTraining.js";

/** How a run is made. */
export interface RunOptions {
  /** The run's folder. Default: out/NAME. */
  readonly out?: string;
  /** Settings to replace, as texts "name=value" or as a command line gives them. */
  readonly overrides?: readonly (string | Override)[];
  /** Go on from the latest checkpoint in the folder, from step 0 before the first, with the settings that it was begun with. */
  readonly resume?: boolean;
  /** Begin anew where the folder has a run that has not ended. */
  readonly overwrite?: boolean;
  /** The file that the recipe came from, for one that is not built in. */
  readonly file?: string;
  readonly interrupt?: Interrupt;
  readonly threads?: number;
}

/** What summary.json holds. */
export type RunSummary = Readonly<Record<string, Json>>;

/** Where a recipe's runs go unless told otherwise. */
export const defaultOut = ({ name }: Pick<Recipe, "name">): string => path.join("out", name);

/**
 * Trains a recipe in a folder, as `figment train` does; gives the summary that it writes.
 *
 * @throws UsageError for settings that are not allowed, and where the folder has a run that was stopped or that goes on;
 *   CheckpointError when there is nothing to resume or it does not fit; what a Trainer throws.
 * @example
 * const recipe = await findRecipe("first-light");
 * const overrides = ["steps=2", "batch=2", "sampleSteps=2"];
 * const { finalLoss } = await runRecipe(recipe, { out: "out/short", overrides });
 */
export async function runRecipe(recipe: Recipe, options: RunOptions = {}): Promise<RunSummary> {
  const { out = defaultOut(recipe), overrides = [], resume = false, threads } = options;
  const interrupt = options.interrupt ?? onInterrupt();
  try {
    const begun = resume ? await settingsOfRun(recipe, out) : undefined;
    const config = await applyOverrides(
      begun ?? recipe.config,
      recipe.rules,
      overrides.map((override) => (typeof override === "string" ? readOverride(override) : override)),
    );
    if (threads !== undefined) setThreads(threads);
    return await withTraining(recipe, config, async ({ dataset, facts, built, training }) => {
      const origin: Origin = {
        recipe: recipe.name,
        ...(options.file ? { file: path.resolve(options.file) } : {}),
        config,
        facts,
      };
      const run = new Run(recipe, config, origin, out, built, training, interrupt.signal);
      // Not before all is made: what cannot be trained leaves no folder behind.
      await makeFolder(out);
      const lock = lockFolder(out);
      try {
        const goesOn = await run.open(resume, options.overwrite ?? false);
        run.announce(dataset, goesOn);
        return await run.complete(dataset, goesOn);
      } finally {
        await lock.release();
      }
    });
  } finally {
    interrupt.release();
  }
}

/** The settings that the run in a folder was begun with. */
async function settingsOfRun(recipe: Recipe, out: string): Promise<(Settings & BaseConfig) | undefined> {
  const file = path.join(out, configName);
  const text = await readFile(file, { encoding: "utf8", flag: withoutWaiting }).catch(() => {
    throw new CheckpointError(`${file}: there is no run here whose checkpoint one could go on from`);
  });
  let run: Partial<Origin> | null;
  try {
    run = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${file}: it is not JSON`, { cause });
  }
  if (run?.recipe !== recipe.name)
    throw new CheckpointError(`${out}: the run here is of the recipe ${run?.recipe}, not of ${recipe.name}`);
  return checkSettings(file, run.config ?? null, recipe.config, recipe.rules);
}

class Run {
  constructor(
    private readonly recipe: Recipe,
    private readonly config: Settings & BaseConfig,
    private readonly origin: Origin,
    private readonly out: string,
    private readonly built: Built,
    private readonly training: Training,
    private readonly signal: AbortSignal,
  ) {}

  /** Whether the run goes on from a checkpoint. If not, clears the folder of an older run's results, and says in it what is run. */
  async open(resume: boolean, overwrite: boolean): Promise<boolean> {
    const [latest] = await listCheckpoints(this.file("checkpoints"));
    if (latest && resume) return true;
    const [begun, ended] = [configName, summaryName].map((name) => existsSync(this.file(name)));
    if (ended && resume)
      throw new CheckpointError(`${this.out}: the run here has ended and left no checkpoint that one could go on from`);
    if (latest && !ended && !overwrite)
      throw new UsageError(
        `${this.out}: there is a run that was stopped at step ${latest.step}; add --resume to go on, or --overwrite to begin anew`,
      );
    if (begun && !ended && !latest)
      console.error(
        `${this.out}: the run here was stopped before it saved a checkpoint, so training starts from step 0; ` +
          `one is saved every ${this.config.saveEvery} steps (--save-every).`,
      );
    for (const name of [modelName, summaryName]) await rm(this.file(name), { force: true });
    await writeJson(this.file(configName), { ...this.origin, ...deviceFacts(), figment: version });
    return false;
  }

  announce(dataset: Dataset | undefined, goesOn: boolean): void {
    const { steps, seed, precision } = this.config;
    const [h, w, c] = this.origin.facts.shape;
    const of = dataset ? `${dataset.name}, ${dataset.length} images of ${h}×${w}×${c}, with ` : "";
    console.error(
      `${goesOn ? "Going on with" : "Learning"} ${of}${this.recipe.name}: ${(this.parameters / 1e6).toFixed(2)} M parameters, ` +
        `${steps} steps, seed ${seed}, ${placeOf()}, ${precision}).`,
    );
  }

  /** Trains to the end, and leaves what a run leaves. */
  async complete(dataset: Dataset | undefined, goesOn: boolean): Promise<RunSummary> {
    const began = performance.now();
    const trained = await this.train(goesOn);
    // Where the recipe lies on this machine is the run's business, not the model's.
    const { file: _, ...origin } = this.origin;
    await saveTrained(this.file(modelName), this.training.trained ?? this.built.models, origin);
    const log = await readLog(this.out);
    const losses = log.filter(({ loss }) => loss !== undefined) as (LogRecord & { readonly loss: number })[];
    if (losses.length > 0)
      await saveLossCurve(this.file("loss.svg"), losses, {
        title: `Training loss of ${this.recipe.name}${dataset ? ` on ${dataset.name}` : ""}`,
      });
    const { signal, file } = { signal: this.signal, file: (name: string) => this.file(name) };
    const found = await this.training.finish?.({ file, signal });
    const seconds = (performance.now() - began) / 1000;
    const summary = { ...this.summarise(dataset, trained, losses, seconds), ...found };
    await writeJson(this.file(summaryName), summary);
    console.error(`\nDone in ${Math.round(seconds)} s. Look into ${this.out}.`);
    return summary;
  }

  private async train(goesOn: boolean): Promise<TrainerSummary> {
    const { step, data, state, hooks } = this.training;
    const { steps, saveEvery, keep, logEvery } = this.config;
    const trainer = new Trainer({
      step,
      data,
      steps,
      out: this.out,
      resume: goesOn,
      saveEvery,
      keep,
      logEvery,
      ...(state ? { state } : {}),
      ...(hooks ? { hooks } : {}),
      extra: () => ({ recipe: this.recipe.name, config: this.config, device: deviceFacts().device }),
      restore: (extra) => this.compare(extra),
      signal: this.signal,
    });
    try {
      return await trainer.run();
    } catch (error) {
      if (this.signal.aborted)
        console.error(`\nStopped at step ${step.count} and saved; the same command with --resume goes on.`);
      throw error;
    }
  }

  /** Refuses the checkpoint of a run with other settings, which would be neither one run nor the other. */
  private compare(extra: Json): void {
    const saved = extra as { readonly recipe?: string; readonly config?: Settings; readonly device?: Json } | null;
    if (saved?.recipe !== this.recipe.name || !saved.config)
      throw new CheckpointError(`${this.out}: the checkpoint is not one of ${this.recipe.name}`);
    const kinds = [saved.device ?? "cpu", defaultDevice()].map((device) => String(device).split(":")[0]);
    if (kinds[0] !== kinds[1])
      console.error(
        `The run was begun on ${kinds[0]}; on ${kinds[1]} it goes on with other rounding, so not with the same bits.`,
      );
    const other = differences(saved.config, this.config, freeSettings);
    if (other.length === 0) return;
    const shown = other.map(
      (name) => `${name} ${JSON.stringify(saved.config?.[name])}, not ${JSON.stringify(this.config[name])}`,
    );
    throw new CheckpointError(
      `${this.out}: the checkpoint was made with ${shown.join(" and ")}; go on with the same settings, or begin in another folder`,
    );
  }

  private summarise(
    dataset: Dataset | undefined,
    { steps, seconds: trainingSeconds, stepsHere, secondsHere }: TrainerSummary,
    losses: readonly { readonly loss: number }[],
    seconds: number,
  ): RunSummary {
    const { imagesPerStep } = this.training;
    const rate = stepsHere / Math.max(secondsHere, 1e-9);
    const last = losses.slice(-Math.max(1, Math.ceil(losses.length / 10)));
    const finalLoss = last.reduce((sum, { loss }) => sum + loss, 0) / last.length;
    return {
      recipe: this.recipe.name,
      ...(dataset ? { data: dataset.name } : {}),
      config: this.config,
      steps,
      parameters: this.parameters,
      seconds: round(seconds, 2),
      trainingSeconds: round(trainingSeconds, 2),
      stepsPerSecond: round(rate, 3),
      ...(imagesPerStep === undefined ? {} : { imagesPerSecond: round(rate * imagesPerStep, 1) }),
      ...(last.length > 0 ? { finalLoss } : {}),
      ...deviceFacts(),
      precision: this.config.precision,
    };
  }

  private get parameters(): number {
    return Object.values(this.built.models).reduce((sum, module) => sum + module.parameterCount, 0);
  }

  private file(name: string): string {
    return path.join(this.out, name);
  }
}

/** Where a run computes: what it leaves in its files. */
function deviceFacts(): { readonly device: string; readonly [fact: string]: string | number } {
  const about = deviceInfo();
  const { device, name, isa } = about;
  return { device, deviceName: name, isa, ...("threads" in about ? { threads: about.threads } : {}) };
}

/** The same in a line for people: "2 threads (avx2", "on cuda:0 (NVIDIA H100, sm90a". */
function placeOf(): string {
  const about = deviceInfo();
  return "threads" in about
    ? `${about.threads} threads (${about.isa}`
    : `on ${about.device} (${about.name}, ${about.isa}`;
}

const summaryName = "summary.json";
const round = (x: number, digits: number): number => Number(x.toFixed(digits));
