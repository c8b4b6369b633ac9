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
/** Longest life after the beginning, in milliseconds; shorter than the run. */
const longest = 500;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-killed-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs to the end, or for so long; gives the digest, or null for a run that was killed. */
function run(out: string, life?: number): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, out, String(steps)], { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    let armed = false;
    child.stdout.on("data", (text) => {
      told += text;
      if (life === undefined || armed) return;
      armed = true;
      setTimeout(() => child.kill("SIGKILL"), life);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (signal === "SIGKILL") resolve(null);
      else if (code === 0) resolve(told.match(/digest (\w+)/)?.[1] ?? "none");
      else reject(new Error(`the run ended with code ${code}`));
    });
  });
}

const linesOf = async (out: string) => (await readLog(out)).map(({ seconds: _, ...line }) => line);

describe("a run whose process is killed", () => {
  it(`${kills} times ends with the state and the log of one that was not`, { timeout: 180_000 }, async () => {
    const whole = path.join(folder, "whole");
    const expected = await run(whole);
    const out = path.join(folder, "killed");
    let killed = 0;
    let digest: string | null = null;
    let checkpoints = 0;
    for (let round = 0; round < kills && digest === null; round++) {
      digest = await run(out, Math.random() * longest);
      if (digest !== null) break;
      killed++;
      for (const file of await listCheckpoints(path.join(out, "checkpoints"))) {
        // Opening checks every byte range of the header.
        await using opened = await SafetensorsFile.open(file.path);
        expect(opened.metadata.has("figment.checkpoint")).toBe(true);
        checkpoints++;
      }
    }
    digest ??= await run(out);
    console.log(`killed ${killed} times, ${checkpoints} checkpoints looked at`);
    expect(killed).toBeGreaterThan(0);
    expect(digest).toBe(expected);
    expect(await linesOf(out)).toEqual(await linesOf(whole));
  });
});
