import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { figment } from "./support/command.js";

const data = process.env.FIGMENT_DATA;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-data-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(!data)("figment train first-light on real data", () => {
  const run = async (
    source: string,
    ...more: string[]
  ): Promise<{ data: string; steps: number; finalLoss: number }> => {
    const out = path.join(folder, path.basename(source));
    const args = [
      "--data",
      path.join(data as string, source),
      "--out",
      out,
      "--steps",
      "5",
      "--batch",
      "16",
      "--sample-steps",
      "3",
      ...more,
    ];
    const { code, stderr } = await figment(["train", "first-light", ...args]);
    expect(code, stderr).toBe(0);
    return JSON.parse(await readFile(path.join(out, "summary.json"), "utf8"));
  };

  it("learns from MNIST's IDX files", async () => {
    expect(await run("mnist")).toMatchObject({ steps: 5, finalLoss: expect.any(Number) });
  });

  it("learns from MNIST at another size", async () => {
    expect((await run("mnist", "--size", "32")).steps).toBe(5);
  });

  it("learns from a folder of images, in colour", async () => {
    expect((await run("noto-emoji/72", "--size", "32")).steps).toBe(5);
  });
});

describe.skipIf(!data)("figment train ddpm-mnist", () => {
  it("learns labels and their absence, draws grids on the way, is evaluated, and draws by guidance", async () => {
    const out = path.join(folder, "ddpm-mnist");
    const run = async (...args: string[]): Promise<Record<string, unknown>> => {
      const { code, stdout, stderr } = await figment([...args, "--json"]);
      expect(code, stderr).toBe(0);
      return JSON.parse(stdout);
    };
    const source = path.join(data as string, "mnist");
    const short = [
      "--steps",
      "4",
      "--batch",
      "8",
      "--sample-steps",
      "2",
      "--sample-every",
      "2",
      "--set",
      "model.channels=8,16",
    ];
    await run("train", "ddpm-mnist", "--data", source, "--out", out, ...short);
    expect(await readdir(path.join(out, "samples"))).toEqual(["samples-000002.png", "samples-000004.png"]);
    const picture = path.join(out, "guided.png");
    const drawn = await run("sample", out, "--count", "4", "--label", "7", "--set", "guidance=3", "--out", picture);
    expect(drawn).toEqual({ file: picture, shape: [4, 28, 28, 1] });
    expect(await run("evaluate", out)).toMatchObject({ images: 10_000, denoisingLoss: expect.any(Number) });
  });

  it("says where its data should be when it is not told, and fetches nothing", async () => {
    vi.stubEnv("XDG_CACHE_HOME", path.join(folder, "cache"));
    const { code, stderr } = await figment(["train", "ddpm-mnist", "--out", path.join(folder, "nothing")]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/"figment data get mnist" fetch it/)]);
    vi.unstubAllEnvs();
  });
});
