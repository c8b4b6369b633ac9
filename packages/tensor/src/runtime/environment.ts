// What is wrong with the variables of the environment, all at once, before something stumbles over one of them. Those that
// the addon reads when it is loaded keep it from being loaded.

import { FigmentError, UsageError } from "../errors.js";
import { native } from "./binding.js";
import { deviceOfEnvironment } from "./devices.js";
import { checkTimelineFile } from "./timeline.js";
import { checkMeasurements, tuningMode } from "./tuning/index.js";

/**
 * What is wrong with `FIGMENT_DEVICE`, `FIGMENT_CUDA`, `FIGMENT_PROFILE`, `FIGMENT_TUNE` and `FIGMENT_TUNE_FILE`, a text for each; none where all of
 * them can be heeded or are not set. Nothing is changed.
 *
 * @example
 * for (const problem of environmentProblems()) console.error(problem);
 */
export function environmentProblems(): string[] {
  return [deviceOfEnvironment, checkPlugin, checkTimelineFile, tuningMode, checkNamedTuningFile].flatMap((check) => {
    try {
      check();
      return [];
    } catch (error) {
      if (error instanceof FigmentError) return [error.message];
      throw error;
    }
  });
}

/** A place in the cache folder that cannot be written costs a warning where somebody measures; one that was named is wrong. */
function checkNamedTuningFile(): void {
  if (process.env.FIGMENT_TUNE_FILE) checkMeasurements();
}

/** FIGMENT_CUDA must name a plug-in; one that finds no GPU here says so for itself. */
function checkPlugin(): void {
  const named = process.env.FIGMENT_CUDA;
  if (!named || named === "0") return;
  for (const found of native().devices()) {
    const reason = "reason" in found ? found.reason : "";
    if (reason.startsWith("FIGMENT_CUDA is")) throw new UsageError(reason);
    if (reason.startsWith(named)) throw new UsageError(`FIGMENT_CUDA names no plug-in that can be used: ${reason}`);
  }
}
