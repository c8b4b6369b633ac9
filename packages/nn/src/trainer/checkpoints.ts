// The checkpoints of a run: a rolling set of files, named by their steps. Each is written atomically, and an older one goes
// only when a newer one is in place; so there is a whole one at every moment after the first.

import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { type CheckpointParts, loadCheckpoint, saveCheckpoint } from "@figment/io";
import { CheckpointError, type Json } from "@figment/tensor";

const prefix = "step-";
const suffix = ".safetensors";
/** The name of one that was being written. */
const unfinished = /^\.step-\d+\.safetensors\..*\.tmp$/;
/** Digits of the step in a name, so that names sort as steps do. */
const digits = 8;

/** A checkpoint on disk. */
export interface CheckpointFile {
  readonly step: number;
  readonly path: string;
}

/**
 * The checkpoints in a folder, the latest first; none where there is no such folder.
 *
 * @param folder the `checkpoints` folder of a run.
 * @example
 * const files = await listCheckpoints("nowhere/checkpoints");
 * files.length; // 0
 */
export async function listCheckpoints(folder: string): Promise<CheckpointFile[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name)
    .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
    .map((name) => ({ step: Number(name.slice(prefix.length, -suffix.length)), path: path.join(folder, name) }))
    .filter(({ step }) => Number.isSafeInteger(step))
    .sort((a, b) => b.step - a.step);
}

/** A folder of checkpoints of which the latest few are kept. */
export class Checkpoints {
  constructor(
    readonly folder: string,
    private readonly parts: CheckpointParts,
    private readonly keep: number,
  ) {}

  /** Saves the state of this moment; older files go when it is in place. */
  async save(step: number, extra: Json): Promise<void> {
    const name = `${prefix}${String(step).padStart(digits, "0")}${suffix}`;
    await saveCheckpoint(path.join(this.folder, name), this.parts, extra);
    const older = (await listCheckpoints(this.folder)).filter((file) => file.step < step);
    for (const file of older.slice(this.keep - 1)) await rm(file.path, { force: true });
  }

  /**
   * Restores the latest checkpoint. One that is damaged is passed over, told of and removed, if an older one is whole; one
   * whose writing was cut short is removed.
   *
   * @returns its `extra`; undefined where there is no checkpoint.
   * @throws CheckpointError when none can be used: what is wrong with the latest.
   */
  async restore(tell: (message: string) => void): Promise<Json | undefined> {
    await this.removeUnfinished();
    const failures: { readonly file: CheckpointFile; readonly error: CheckpointError }[] = [];
    for (const file of await listCheckpoints(this.folder)) {
      try {
        const extra = await loadCheckpoint(file.path, this.parts);
        for (const { file: damaged, error } of failures) {
          tell(`${error.message}\nGoing on from ${file.path} instead.`);
          await rm(damaged.path, { force: true });
        }
        return extra;
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        failures.push({ file, error });
      }
    }
    if (failures[0]) throw failures[0].error;
    return undefined;
  }

  /** Removes all of them. */
  async clear(): Promise<void> {
    await this.removeUnfinished();
    for (const file of await listCheckpoints(this.folder)) await rm(file.path, { force: true });
  }

  /** Removes what a run that was killed while it saved has left. */
  private async removeUnfinished(): Promise<void> {
    const names = await readdir(this.folder).catch((): string[] => []);
    for (const name of names) if (unfinished.test(name)) await rm(path.join(this.folder, name), { force: true });
  }
}
