// Runs that end before their time, and what the folder that they leave is good for.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { DataError, startOfProcess } from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lockFolder } from "#recipe/folderLock";
import { makeZombie } from "../../io/test/zombie.js";
import { figment } from "./support/command.js";
import { flatRecipe } from "./support/flatRecipe.js";

let folder: string;
let recipe: string;
const inFolder = (name: string): string => path.join(folder, name);
const weightsOf = (out: string) => readFile(path.join(out, "model.safetensors"));
const settings = ["--steps", "6", "--save-every", "2", "--log-every", "1"];
const train = (...args: string[]) => figment(["train", recipe, "--threads", "1", ...args]);

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-stopped-"));
  recipe = inFolder("flat.ts");
  await writeFile(recipe, flatRecipe("ts"));
  expect((await train("--out", inFolder("whole"))).code).toBe(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A run that was killed after its first steps, before it saved anything. */
async function killedEarly(name: string): Promise<string> {
  const out = inFolder(name);
  const endless = ["train", recipe, "--threads", "1", "--out", out, "--steps", "10000000", "--log-every", "1000"];
  const { code } = await figment([...endless, "--save-every", "100000000"], { interruptAfter: 200, signal: "SIGKILL" });
  expect(code).toBeNull();
  expect(existsSync(path.join(out, "config.json"))).toBe(true);
  expect(existsSync(path.join(out, "checkpoints"))).toBe(false);
  return out;
}

const fromStart =
  /: the run here was stopped before it saved a checkpoint, so training starts from step 0; one is saved every 2 steps/;

describe("a run that was killed before its first checkpoint", () => {
  it("begins from step 0 with --resume, says so, and ends like one that was never stopped", async () => {
    const out = await killedEarly("resumed");
    const { code, stderr } = await train("--out", out, "--resume", ...settings);
    expect([code, stderr]).toEqual([0, expect.stringMatching(fromStart)]);
    expect(stderr).toMatch(/^Learning/m);
    expect((await weightsOf(out)).equals(await weightsOf(inFolder("whole")))).toBe(true);
  });

  it("begins anew without --resume, and says so", async () => {
    const out = await killedEarly("anew");
    const { code, stderr } = await train("--out", out);
    expect([code, stderr]).toEqual([0, expect.stringMatching(fromStart)]);
    expect((await train("--out", out)).stderr, "where the run had ended").not.toMatch(/step 0/);
  });

  it("keeps what it left where it has ended and its checkpoints are gone", async () => {
    const out = inFolder("whole");
    await rm(path.join(out, "checkpoints"), { recursive: true });
    const before = await readdir(out);
    const { code, stderr } = await train("--out", out, "--resume");
    expect([code, stderr]).toEqual([3, expect.stringMatching(/CheckpointError: .*has ended and left no checkpoint/)]);
    expect(await readdir(out)).toEqual(before);
  });
});

describe("the lock of a folder", () => {
  it.runIf(process.platform === "linux")("is not held by a run that was killed and is a zombie", async () => {
    using zombie = await makeZombie();
    const out = inFolder("zombie");
    await mkdir(out);
    await writeFile(path.join(out, "run.lock"), `${zombie.pid} ${startOfProcess(zombie.pid)}`);
    expect((await train("--out", out)).code).toBe(0);
    expect(await readdir(out)).not.toContain("run.lock");
  });

  it.each(["99999999999999999999999", "9007199254740992", "1099511627776", "-1", "hello", "\0\0\0\0"])(
    "that says %j is of no run",
    async (text) => {
      const out = await mkdtemp(inFolder("nonsense-"));
      await writeFile(path.join(out, "run.lock"), text);
      await lockFolder(out).release();
      expect(await readdir(out)).toEqual([]);
    },
  );

  it.skipIf(process.platform === "win32")("that is a pipe is of no run, and keeps nobody waiting", async () => {
    const out = await mkdtemp(inFolder("pipe-"));
    execFileSync("mkfifo", [path.join(out, "run.lock"), path.join(out, "config.json")]);
    const { code, stderr } = await figment(["train", "first-light", "--out", out, "--resume"]);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/config\.json: it is not JSON/)]);
  });

  it.runIf(process.platform === "linux")("that is a device without an end is of no run", async () => {
    const out = await mkdtemp(inFolder("endless-"));
    await symlink("/dev/zero", path.join(out, "run.lock"));
    await lockFolder(out).release();
    expect(await readdir(out)).toEqual([]);
  });

  it("that names nobody is removed after whoever was killed while he removed it", async () => {
    const out = await mkdtemp(inFolder("turn-"));
    for (const name of ["run.lock", "run.lock.turn"]) await writeFile(path.join(out, name), "1 0");
    await lockFolder(out).release();
    expect(await readdir(out)).toEqual([]);
  });

  it("that cannot be read is left alone", async () => {
    const out = await mkdtemp(inFolder("unreadable-"));
    await mkdir(path.join(out, "run.lock"));
    expect(() => lockFolder(out)).toThrow(DataError);
    expect(() => lockFolder(out)).toThrow(/run\.lock: cannot be read: EISDIR/);
    expect(await readdir(out)).toEqual(["run.lock"]);
  });

  it("is taken by one of several that find it left behind", async () => {
    const lock = new URL("../dist/recipe/folderLock.js", import.meta.url).href;
    // Each waits for the same moment, tries, and keeps what it got until all have tried.
    const source = `
      import { lockFolder } from ${JSON.stringify(lock)};
      const [out, at] = process.argv.slice(1);
      while (Date.now() < Number(at));
      try {
        lockFolder(out);
        console.log("taken");
      } catch (error) {
        console.log(error.name);
      }
      process.stdin.resume();
    `;
    for (const left of [undefined, "", "1 0"]) {
      const out = await mkdtemp(inFolder("contended-"));
      if (left !== undefined) await writeFile(path.join(out, "run.lock"), left);
      const at = String(Date.now() + 700);
      const args = ["--input-type=module", "-e", source, out, at];
      const children = [1, 2, 3, 4].map(() => spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] }));
      const said = await Promise.all(
        children.map(async ({ stdout }) => String((await once(stdout, "data"))[0]).trim()),
      );
      expect(said.toSorted()).toEqual(["UsageError", "UsageError", "UsageError", "taken"]);
      for (const child of children) child.stdin.end();
      await Promise.all(children.map((child) => child.exitCode ?? once(child, "close")));
      expect(await readdir(out)).toEqual(["run.lock"]);
    }
  });
});
