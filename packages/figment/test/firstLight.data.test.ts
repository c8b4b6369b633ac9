import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
