// What happens beside training now and then: pictures of what the model does, evaluations. Hooks see a step that is
// complete; what they make goes to the run's folder and its log.

import { readFile } from "node:fs/promises";
import path from "node:path";
import { type GridOptions, imageGrid, writeImage } from "@figment/io";
import { type Tensor, UsageError } from "@figment/tensor";
import type { RunLog } from "./runLog.js";

/** What a hook is given. */
export interface HookContext {
  /** Updates made so far. */
  readonly step: number;
  /** Aborted when the run is to stop: long work passes it on. */
  readonly signal: AbortSignal;
  /**
   * A path in the run's folder.
   *
   * @throws UsageError when the run has no folder.
   */
  file(name: string): string;
  /** Logs numbers by name; without a folder nothing happens. */
  scalars(values: Readonly<Record<string, number>>): Promise<void>;
  /**
   * Saves images [N,H,W,C] (C = 1, 3 or 4) as a grid, samples/NAME-STEP.png, and shows it to TensorBoard; without a folder
   * nothing happens. Takes no ownership.
   */
  picture(name: string, images: Tensor, options?: GridOptions): Promise<void>;
}

/**
 * Work to be done every so many steps, and after the last one. A hook must not change what training goes by: it draws from
 * streams of its own. One that is interrupted runs again, from its beginning, when the run goes on.
 */
export interface TrainerHook {
  readonly every: number;
  run(context: HookContext): Promise<void> | void;
}

/** Digits of the step in the names of pictures. */
const digits = 6;

/** The context of a step. */
export function hookContext(
  step: number,
  signal: AbortSignal,
  out: string | undefined,
  log: RunLog | undefined,
): HookContext {
  const file = (name: string): string => {
    if (out === undefined) throw new UsageError(`Trainer: a hook asks for the file ${name}, but the run has no "out"`);
    return path.join(out, name);
  };
  return {
    step,
    signal,
    file,
    scalars: async (values) => log?.scalars(step, values),
    picture: async (name, images, options) => {
      if (!log) return;
      const grid = await imageGrid(images, options);
      const target = file(`samples/${name}-${String(step).padStart(digits, "0")}.png`);
      await writeImage(target, grid);
      await log.picture(step, name, { ...grid, png: await readFile(target) });
    },
  };
}
