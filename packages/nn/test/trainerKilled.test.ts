// A process that trains is killed outright, repeatedly, at random moments: whatever it was doing, a whole checkpoint is there,
// and the run ends as one that was never killed.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { SafetensorsFile } from "@figment/io";
import { listCheckpoints, readLog } from "@figment/nn";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("support/killedRun.mjs", import.meta.url));
const steps = 400;
const kills = 10;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-killed-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  /** Null for a run that was killed. */
  readonly digest: string | null;
  /** From its beginning to its end, milliseconds. */
  readonly lasted: number;
}

/** Runs to the end, or for so many milliseconds from the beginning on. */
function run(out: string, life?: number): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, out, String(steps)], { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    let began: number | undefined;
    child.stdout.on("data", (text) => {
      told += text;
      if (began !== undefined) return;
      began = performance.now();
      if (life !== undefined) setTimeout(() => child.kill("SIGKILL"), life);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const lasted = performance.now() - (began ?? performance.now());
      if (signal === "SIGKILL") resolve({ digest: null, lasted });
      else if (code === 0) resolve({ digest: told.match(/digest (\w+)/)?.[1] ?? "none", lasted });
      else reject(new Error(`the run ended with code ${code}`));
    });
  });
}

const linesOf = async (out: string) => (await readLog(out)).map(({ seconds: _, ...line }) => line);

describe("a run whose process is killed", () => {
  it(`${kills} times ends with the state and the log of one that was not`, { timeout: 180_000 }, async () => {
    const whole = path.join(folder, "whole");
    const { digest: expected, lasted } = await run(whole);
    const out = path.join(folder, "killed");
    let killed = 0;
    let digest: string | null = null;
    let checkpoints = 0;
    for (let round = 0; round < kills && digest === null; round++) {
      // Shorter than the run, on fast machines too.
      ({ digest } = await run(out, (Math.random() * lasted) / 2));
      if (digest !== null) break;
      killed++;
      for (const file of await listCheckpoints(path.join(out, "checkpoints"))) {
        // Opening checks every byte range of the header.
        await using opened = await SafetensorsFile.open(file.path);
        expect(opened.metadata.has("figment.checkpoint")).toBe(true);
        checkpoints++;
      }
    }
    digest ??= (await run(out)).digest;
    console.log(`killed ${killed} times, ${checkpoints} checkpoints looked at`);
    expect(killed).toBeGreaterThan(0);
    expect(digest).toBe(expected);
    expect(await linesOf(out)).toEqual(await linesOf(whole));
  });
});
