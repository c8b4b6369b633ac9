// Training, for all families: batches in, one native call per step, results read back without waiting for them; logs,
// checkpoints and hooks on the way. A run that was stopped, by whatever, goes on as if it had not been.

import path from "node:path";
import { makeFolder } from "@figment/io";
import { CheckpointError, type Json, type Stateful, throwIfAborted, UsageError } from "@figment/tensor";
import type { StepBatch, StepResults } from "../training.js";
import { Checkpoints } from "./checkpoints.js";
import { hookContext } from "./hooks.js";
import { checkTrainerOptions, dataPart, stepPart, type TrainerOptions, type TrainerSummary } from "./options.js";
import { type Progress, showProgress } from "./progress.js";
import { readResults, showResults } from "./results.js";
import { type LogMark, RunLog } from "./runLog.js";
import { StopClock } from "./stopClock.js";

/** Steps that may be queued and not yet done: enough to keep the device busy, few enough to stop soon. */
const inFlight = 2;

/** Digits of a rate beside a progress bar, and decimals of seconds in the log. */
const rateDigits = 3;
const secondsDigits = 3;
const millisecond = 1e-3;

/** What the trainer keeps of itself in a checkpoint. */
interface Kept {
  readonly seconds: number;
  /** Whether hooks are due for the checkpoint's step. */
  readonly owed: boolean;
  readonly log: LogMark;
}

/**
 * Trains: drives a compiled step of any family over its data, logs to log.jsonl and to TensorBoard, keeps a rolling set of
 * checkpoints, runs hooks, and stops on request. Resuming is exact: weights, optimisers, averages, the order of the data,
 * random counters and the log are those of a run that was never stopped.
 *
 * @example
 * const trainer = new Trainer({ step, data: batches, steps: 4, out: "run", saveEvery: 2, progress: false });
 * const { steps } = await trainer.run();
 * steps; // 4
 */
export class Trainer<B extends StepBatch> {
  private readonly options: TrainerOptions<B>;
  private readonly signal: AbortSignal;
  private readonly checkpoints: Checkpoints | undefined;
  private log: RunLog | undefined;
  private progress: Progress | undefined;
  private clock = new StopClock();
  /** Updates made; the step's own count may have to ask the device. */
  private made = 0;
  private madeBefore = 0;
  private secondsBefore = 0;
  /** Whether hooks are due for the present step, and where the log was before they began. */
  private owed = false;
  private beforeHooks: LogMark | undefined;
  private running = false;

  /** @throws UsageError for options that there are not, and numbers that are no positive integers. */
  constructor(options: TrainerOptions<B>) {
    checkTrainerOptions(options);
    const { out, step, data, state, keep = 2, signal } = options;
    this.options = options;
    this.signal = signal ?? new AbortController().signal;
    const parts: Record<string, Stateful> = { [stepPart]: step, ...state, [dataPart]: data };
    if (out !== undefined) this.checkpoints = new Checkpoints(path.join(out, "checkpoints"), parts, keep);
  }

  /**
   * Trains to the last step. What is done already where a checkpoint is resumed is not done again.
   *
   * @throws CheckpointError when there is nothing to resume, or it does not fit; NonFiniteError naming step and number when
   *   something is no longer finite; UsageError when the data ends before the last step; the signal's reason when the run
   *   was stopped, after a checkpoint has been saved.
   */
  async run(): Promise<TrainerSummary> {
    if (this.running) throw new UsageError("Trainer: run() was called while another call of it goes on");
    this.running = true;
    try {
      this.clock = new StopClock();
      await this.open();
      await this.train();
      await this.save();
      if (this.signal.aborted) throw this.signal.reason;
      const { seconds: secondsHere } = this.clock;
      const seconds = this.secondsBefore + secondsHere;
      return { steps: this.made, seconds, stepsHere: this.made - this.madeBefore, secondsHere };
    } finally {
      this.progress?.stop();
      await this.log?.close();
      this.log = undefined;
      this.running = false;
    }
  }

  /** Restores the latest checkpoint or clears the folder, and opens the log. */
  private async open(): Promise<void> {
    const { out, step, steps, progress = "Training" } = this.options;
    if (out !== undefined && this.checkpoints) await this.openFolder(out, this.checkpoints);
    this.made = step.count;
    this.madeBefore = this.made;
    if (progress !== false && this.made < steps) this.progress = await showProgress(progress, this.made, steps);
  }

  private async openFolder(out: string, checkpoints: Checkpoints): Promise<void> {
    const { resume = false, restore, step } = this.options;
    await makeFolder(out);
    const found = resume === false ? undefined : await checkpoints.restore((message) => console.error(message));
    if (found === undefined) {
      if (resume === true) throw new CheckpointError(`${checkpoints.folder}: there is no checkpoint to go on from`);
      await checkpoints.clear();
      this.log = await RunLog.begin(out);
      return;
    }
    const { kept, extra } = (found ?? {}) as unknown as { readonly kept?: Kept; readonly extra: Json };
    if (!kept) throw new CheckpointError(`${checkpoints.folder}: the latest checkpoint is not that of a Trainer`);
    restore?.(extra);
    this.log = await RunLog.resume(out, kept.log, step.count);
    this.secondsBefore = kept.seconds;
    this.owed = kept.owed;
  }

  private async train(): Promise<void> {
    const { steps } = this.options;
    if (this.owed) await this.runHooks();
    if (this.made < steps && !this.signal.aborted) await this.makeUpdates();
    if (this.signal.aborted) return;
    if (this.made < steps)
      throw new UsageError(
        `Trainer: the data ended after ${this.made} of ${steps} steps; a loader with steps: ${steps} does not`,
      );
    if (this.owed) await this.runHooks();
  }

  private async makeUpdates(): Promise<void> {
    const { step, data, steps, saveEvery = 500 } = this.options;
    const pending: Promise<void>[] = [];
    let saving: Promise<void> | undefined;
    const settle = async (): Promise<void> => {
      await Promise.all([...pending.splice(0), saving]);
    };
    this.clock.start();
    try {
      for await (const batch of data) {
        pending.push(handled(this.take(this.made + 1, step(batch), pending.at(-1))));
        this.made++;
        this.owed = this.hooksDue().length > 0;
        if (pending.length >= inFlight) await pending.shift();
        if (this.signal.aborted || this.made === steps) break;
        if (this.owed) {
          await settle();
          await this.runHooks();
          if (this.signal.aborted) break;
        }
        if (this.made % saveEvery === 0) {
          // The log up to here belongs to the checkpoint. Its state is that of this moment; writing it takes its time.
          await settle();
          saving = handled(this.save());
        }
      }
      await settle();
    } finally {
      await Promise.allSettled([...pending, saving]);
      this.clock.stop();
    }
  }

  private hooksDue() {
    const { hooks = [], steps } = this.options;
    return hooks.filter(({ every }) => this.made % every === 0 || this.made === steps);
  }

  /** Runs the hooks of this step. Where they are interrupted they stay owed, and what they have logged is cut off. */
  private runHooks(): Promise<void> {
    this.beforeHooks = this.log?.mark();
    const context = hookContext(this.made, this.signal, this.options.out, this.log);
    return this.clock.without(async () => {
      try {
        for (const hook of this.hooksDue()) {
          throwIfAborted(this.signal);
          await hook.run(context);
        }
        throwIfAborted(this.signal);
        this.owed = false;
        this.beforeHooks = undefined;
      } catch (error) {
        if (!this.signal.aborted) throw error;
      }
    });
  }

  private async save(): Promise<void> {
    const { extra } = this.options;
    const kept: Kept = {
      seconds: this.secondsBefore + this.clock.seconds,
      owed: this.owed,
      log: this.beforeHooks ?? this.log?.mark() ?? {},
    };
    const json = { kept, extra: extra?.() ?? null } as unknown as Json;
    await Promise.all([this.checkpoints?.save(this.made, json), this.log?.sync()]);
  }

  /** Waits for what a step gave, shows it, and logs it when it is time; in the order of the steps, whichever is read first. */
  private async take(at: number, results: StepResults, before: Promise<void> | undefined): Promise<void> {
    const { step, steps, logEvery = 20 } = this.options;
    const values = await readResults(at, results, () => step.captureState());
    await before;
    const { seconds } = this.clock;
    if (at % logEvery === 0 || at === 1 || at === steps)
      await this.log?.scalars(at, values, {
        seconds: Number((this.secondsBefore + seconds).toFixed(secondsDigits)),
      });
    const rate = ((at - this.madeBefore) / Math.max(seconds, millisecond)).toPrecision(rateDigits);
    this.progress?.update(at, `${showResults(values)}  ${rate} steps/s`);
  }
}

/** A promise that is awaited in its turn: its failure is not unheard of until then. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
