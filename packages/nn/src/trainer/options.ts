// What a trainer is asked for, and what it tells in the end.

import { checkPath } from "@figment/io";
import {
  checkArray,
  checkFunction,
  checkObject,
  checkOptions,
  type Json,
  type Stateful,
  show,
  UsageError,
} from "@figment/tensor";
import { checkCounts } from "../checks.js";
import type { StepBatch, TrainingStep } from "../training.js";
import type { TrainerHook } from "./hooks.js";

/** Where batches come from: a loader, or anything that yields them and can be resumed. */
export type TrainingData<B extends StepBatch> = AsyncIterable<B> & Stateful;

/** Options of {@link Trainer}. */
export interface TrainerOptions<B extends StepBatch> {
  /** What makes an update. */
  readonly step: TrainingStep<B>;
  /** Yields one batch for each update. Where it ends says nothing: `steps` does. */
  readonly data: TrainingData<B>;
  /** Updates in all, those before a resumed checkpoint included. */
  readonly steps: number;
  /** The run's folder, for log, checkpoints and what hooks make. Default: nothing is written. */
  readonly out?: string;
  /** What to do where the folder has checkpoints: go on from the latest (true: there must be one), or begin anew. Default false. */
  readonly resume?: boolean | "auto";
  /** Steps between checkpoints; there is one at the end and after an interruption too. Default 500. */
  readonly saveEvery?: number;
  /** How many checkpoints are kept. Default 2. */
  readonly keep?: number;
  /** Steps between the lines of the log; the first and the last step have one too. Default 20. */
  readonly logEvery?: number;
  /** What else a checkpoint holds, by name: random streams above all. */
  readonly state?: Readonly<Record<string, Stateful>>;
  readonly hooks?: readonly TrainerHook[];
  /** JSON to keep in each checkpoint, asked for when it is made; `restore` gets it back. */
  readonly extra?: () => Json;
  /** Given the `extra` of the checkpoint that is resumed; throws when this run is another one. */
  readonly restore?: (extra: Json) => void;
  /** Ends the run after the step in progress: a checkpoint is saved, and `run()` rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The title of the progress bar, or false for none. Default "Training". */
  readonly progress?: string | false;
}

/** How a run went. */
export interface TrainerSummary {
  /** Updates made in all. */
  readonly steps: number;
  /** Seconds spent on them, in all sessions; hooks not included. */
  readonly seconds: number;
  /** Updates and seconds since this call of `run`. */
  readonly stepsHere: number;
  readonly secondsHere: number;
}

const known: Readonly<Record<keyof TrainerOptions<StepBatch>, true>> = {
  step: true,
  data: true,
  steps: true,
  out: true,
  resume: true,
  saveEvery: true,
  keep: true,
  logEvery: true,
  state: true,
  hooks: true,
  extra: true,
  restore: true,
  signal: true,
  progress: true,
};

/** Names of the trainer's own parts in a checkpoint. */
export const stepPart = "training";
export const dataPart = "data";

/** Refuses what no run can be made of. */
export function checkTrainerOptions<B extends StepBatch>(options: TrainerOptions<B>): void {
  checkOptions("Trainer", options, Object.keys(known));
  const { steps, saveEvery = 1, keep = 1, logEvery = 1, hooks = [], state = {}, resume, out } = options;
  checkFunction("Trainer", "step", options.step);
  checkObject("Trainer", "data", options.data, "captureState");
  checkObject("Trainer", "state", state);
  checkArray("Trainer", "hooks", hooks);
  if (out !== undefined) checkPath("Trainer", "out", out);
  checkCounts("Trainer", { steps, saveEvery, keep, logEvery });
  if (resume !== undefined && resume !== "auto" && typeof resume !== "boolean")
    throw new UsageError(`Trainer: resume must be true, false or "auto", got ${show(resume)}`);
  hooks.forEach(({ every }, i) => {
    checkCounts("Trainer", { [`every of hook ${i}`]: every });
  });
  for (const taken of [stepPart, dataPart])
    if (Object.hasOwn(state, taken)) throw new UsageError(`Trainer: the name "${taken}" in state is the trainer's own`);
  if (resume === true && out === undefined)
    throw new UsageError('Trainer: resume needs the folder "out" that the run was written to');
}
