// figment tune: measures the calls of a recipe, keeps what it has measured, and measures nothing twice.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { figment } from "./support/command.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-tune-"));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(({ task }) => {
  vi.stubEnv("FIGMENT_TUNE_FILE", path.join(folder, `${task.id}.json`));
});
afterEach(() => vi.unstubAllEnvs());

const settings = ["batch=2", "sampleSteps=2", "size=8", "model.channels=[32]"].flatMap((text) => ["--set", text]);
const small = [...settings, "--samples", "1"];

interface Tuned {
  readonly recipes: readonly string[];
  readonly calls: readonly {
    readonly op: string;
    readonly shapes: string;
    readonly estimated: string;
    readonly winner: string;
    readonly ratio: number;
    readonly threads: number;
    readonly micros: Readonly<Record<string, number>>;
  }[];
}

const tune = async (...args: string[]): Promise<Tuned> => {
  const { code, stdout, stderr } = await figment(["tune", "first-light", ...small, "--json", ...args]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Tuned;
};

const kept = async (): Promise<Record<string, { variant: string }>> =>
  JSON.parse(await readFile(process.env.FIGMENT_TUNE_FILE ?? "", "utf8")).machines[0].calls;

/** A table with one call, of another machine. */
async function tableOfElsewhere() {
  const from = path.join(folder, "elsewhere.json");
  const shape = "f32[1,5,5,64] f32[64,3,3,64] -> f32[1,5,5,64]";
  const key = `conv2d ${shape} : 1 5 5 64 5 5 64 3 3 1 1 1 1 1 1 1 1 1 0 0 0 0 0 0`;
  const machine = { cpu: "Elsewhere", family: "Maker 1.1", isa: "avx512", cores: 64, version: "0.1.0" };
  const calls = { [key]: { variant: "other", threads: 4, micros: { other: 1 } } };
  await writeFile(from, JSON.stringify({ format: "figment-tuning", version: 1, machines: [{ machine, calls }] }));
  return { from, shape, key };
}

describe("figment tune", () => {
  it("measures what a recipe's training and sampling run on, keeps it, and measures nothing twice", async () => {
    const { recipes, calls } = await tune("--threads", "1");
    expect(recipes).toEqual(["first-light"]);
    const convolutions = calls.filter(({ op }) => op === "conv2d");
    const batches = new Set(convolutions.map(({ shapes }) => /^f32\[(\d+)/.exec(shapes)?.[1]));
    expect(batches).toEqual(new Set(["1", "2"]));
    for (const { estimated, winner, ratio, threads, micros } of calls) {
      expect(threads).toBe(1);
      expect(micros[winner]).toBeGreaterThan(0);
      expect(ratio).toBeCloseTo((micros[estimated] as number) / (micros[winner] as number), 6);
      if (winner !== estimated) expect(ratio).toBeGreaterThan(1.05);
    }
    const table = await kept();
    expect(Object.keys(table)).toHaveLength(calls.length);
    expect(await tune("--threads", "2")).toEqual({ recipes, calls });
    expect(await kept()).toEqual(table);
  });

  it("shows a table, and its kernels run afterwards", async () => {
    const { code, stdout } = await figment(["tune", "first-light", ...small]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^op +shapes +estimated +fastest +ratio$/m);
    expect(stdout).toMatch(/^conv2d +f32\[2,\d+,\d+,\d+\] .* \d+\.\d\d$/m);
    expect(stdout).toMatch(/^\d+ calls, \d+ of which run on another kernel than by estimate$/m);
    const bench = await figment(["bench", "first-light", "--runs", "1", ...settings, "--json"]);
    const { records } = JSON.parse(bench.stdout) as { records: { op: string; variant: string; reason: string }[] };
    const measured = records.filter(({ reason }) => reason === "measured").map(({ variant }) => variant);
    const variants = Object.values(await kept()).map(({ variant }) => variant);
    expect(measured.length).toBeGreaterThan(0);
    for (const variant of measured) expect(variants).toContain(variant);
  });

  it("keeps what it has measured when it is interrupted, and ends with 130", async () => {
    const cli = fileURLToPath(new URL("../bin/figment.js", import.meta.url));
    const child = spawn(process.execPath, [cli, "tune", "first-light", ...small, "--again"], { stdio: "ignore" });
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    const poll = setInterval(async () => {
      const found = await kept().catch(() => ({}));
      if (Object.keys(found).length === 0) return;
      clearInterval(poll);
      child.kill("SIGINT");
    }, 5);
    const code = await ended;
    clearInterval(poll);
    expect(code).toBe(130);
    expect(Object.keys(await kept()).length).toBeGreaterThan(0);
  });

  it("measures anew with --again, on as many threads as it is told", async () => {
    await tune("--threads", "1");
    const { calls } = await tune("--again", "--threads", "2");
    expect(new Set(calls.map(({ threads }) => threads))).toEqual(new Set([2]));
  });

  it("measures the calls of a table without running what they come from", async () => {
    const { from, shape, key } = await tableOfElsewhere();
    const { code, stdout } = await figment(["tune", "--shapes", from, "--json"]);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as Tuned).calls.map(({ shapes }) => shapes)).toEqual([shape]);
    expect(Object.keys(await kept())).toEqual([key]);
    for (const [file, why] of [
      [path.join(folder, "nowhere.json"), "there is no such file"],
      [folder, "it is a folder"],
    ]) {
      const { code, stderr } = await figment(["tune", "--shapes", file as string]);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`UsageError: ${file}: ${why}; expected `)]);
    }
  });

  it("refuses before it measures where it could not keep what it finds", async () => {
    const { from } = await tableOfElsewhere();
    const file = path.join(folder, "damaged.json");
    await writeFile(file, "{");
    for (const [place, why] of [
      [folder, /it is a folder/],
      [file, /it is not JSON/],
      [`${file}/x`, /cannot be written/],
    ] as const) {
      vi.stubEnv("FIGMENT_TUNE_FILE", place);
      const { code, stdout, stderr } = await figment(["tune", "--shapes", from]);
      expect([code, stdout, stderr]).toEqual([2, "", expect.stringMatching(why)]);
      expect(stderr).toContain("UsageError: measurements cannot be kept (FIGMENT_TUNE_FILE says where): ");
    }
    expect(await readFile(file, "utf8")).toBe("{");
  });

  it("refuses --all beside named recipes, and recipes that there are not", async () => {
    expect((await figment(["tune", "--all", "first-light"])).code).toBe(2);
    expect((await figment(["tune", "no-such-recipe"])).code).toBe(2);
  });
});
