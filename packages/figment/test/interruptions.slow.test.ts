// Runs that are stopped at random moments, politely (SIGINT) or not (SIGKILL), and go on: each ends with the very bytes of
// a run that was never stopped. FIGMENT_INTERRUPTIONS says how many times in all.

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { listCheckpoints, loadCheckpoint, readLog } from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withTraining } from "#recipe/withTraining";
import { figment } from "./support/command.js";
import { recipe } from "./support/firstLight.js";

const wanted = Number(process.env.FIGMENT_INTERRUPTIONS ?? 30);
/** A run is left to end after this many interruptions, and the next one begins. */
const perRun = 10;
/** Longest time from the first step to the stop, in milliseconds: beyond it the run may be over. */
const longest = 1200;
const settings = { steps: 60, batch: 8, sampleSteps: 4, saveEvery: 7 };
const command = [
  "train",
  "first-light",
  "--steps",
  "60",
  "--batch",
  "8",
  "--sample-steps",
  "4",
  "--save-every",
  "7",
  "--log-every",
  "3",
];
const results = ["model.safetensors", "samples.png", "denoising.png", "loss.svg"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-interruptions-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const checkpointsOf = (out: string) => listCheckpoints(path.join(out, "checkpoints"));

/** Loads every checkpoint of a run as the command would. */
async function loadAll(out: string): Promise<number> {
  const files = await checkpointsOf(out);
  for (const file of files) {
    await withTraining(recipe, { ...recipe.config, ...settings }, async ({ training: { step, state, data } }) => {
      await loadCheckpoint(file.path, { training: step, ...state, data });
      expect(step.count).toBe(file.step);
    });
  }
  return files.length;
}

/** The lines of a log without the time. */
const linesOf = async (out: string) => (await readLog(out)).map(({ seconds: _, ...line }) => line);

describe("a run that is stopped at random moments", () => {
  it(`ends as if it had not been, after ${wanted} interruptions`, { timeout: 120_000 + wanted * 30_000 }, async () => {
    const reference = path.join(folder, "reference");
    expect((await figment([...command, "--out", reference])).code).toBe(0);
    const counts = { SIGINT: 0, SIGKILL: 0, checkpoints: 0, runs: 0 };
    for (let done = 0; done < wanted; counts.runs++) {
      const out = path.join(folder, `run-${counts.runs}`);
      for (let stops = 0; ; ) {
        const resume = existsSync(path.join(out, "config.json")) ? ["--resume"] : [];
        const signal = Math.random() < 0.5 ? "SIGINT" : "SIGKILL";
        const last = stops >= perRun || done >= wanted;
        const stop = last ? {} : { interruptAfter: Math.random() * longest, signal: signal as NodeJS.Signals };
        const { code, stderr } = await figment([...command, "--out", out, ...resume], stop);
        if (code === 0) break;
        expect(code, stderr).toBe(signal === "SIGINT" ? 130 : null);
        stops++;
        done++;
        counts[signal]++;
        counts.checkpoints += await loadAll(out);
      }
      for (const name of results) {
        const [a, b] = await Promise.all([readFile(path.join(reference, name)), readFile(path.join(out, name))]);
        expect(a.equals(b), `${name} of run ${counts.runs}`).toBe(true);
      }
      expect(await linesOf(out)).toEqual(await linesOf(reference));
      await rm(out, { recursive: true });
    }
    console.log(
      `stopped ${counts.SIGINT} times by SIGINT, ${counts.SIGKILL} by SIGKILL, in ${counts.runs} runs; ` +
        `${counts.checkpoints} checkpoints loaded`,
    );
    expect(counts.SIGINT + counts.SIGKILL).toBe(wanted);
  });
});
