// The judge of digits trained on all of MNIST, asked by the command about what trained models draw.

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks } from "figment";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { figment } from "./support/command.js";

const data = process.env.FIGMENT_DATA ?? "";
let home: string;
beforeAll(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), "figment-judge-"));
  vi.stubEnv("XDG_CACHE_HOME", home);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true, force: true });
  assertNoLeaks();
});

describe.skipIf(!data)("the judge of digits", () => {
  it("judges what a trained model draws, by the command", { timeout: 1_800_000 }, async () => {
    const out = path.join(home, "run");
    const folder = path.join(data, "mnist");
    const short = ["--steps", "4", "--batch", "8", "--sample-steps", "2", "--set", "model.channels=8,16"];
    expect((await figment(["train", "ddpm-mnist", "--data", folder, "--out", out, ...short])).code).toBe(0);
    const { code, stdout, stderr } = await figment(["evaluate", out, "--samples", "200", "--json"]);
    expect(code, stderr).toBe(0);
    const scores = JSON.parse(stdout);
    expect(scores).toMatchObject({ denoisingLoss: expect.any(Number), samples: 200 });
    // Noise is far from digits, however high the floor of 200 is, and agrees with labels by chance.
    expect(scores.frechetRatio).toBeGreaterThan(5);
    expect(scores.labelAgreement).toBeLessThan(0.3);
    expect(scores.digitShares.reduce((sum: number, share: number) => sum + share, 0)).toBeCloseTo(1, 6);
  });

  it("judges what a generator draws that is told no classes", { timeout: 1_800_000 }, async () => {
    const out = path.join(home, "game");
    const short = ["--steps", "2", "--set", "generator.channels=[4,2,2]", "--set", "critic.channels=[2,4,4]"];
    const trained = await figment(["train", "dcgan-mnist", "--data", path.join(data, "mnist"), "--out", out, ...short]);
    expect(trained.code, trained.stderr).toBe(0);
    const { code, stdout, stderr } = await figment(["evaluate", out, "--samples", "200", "--json"]);
    expect(code, stderr).toBe(0);
    const scores = JSON.parse(stdout);
    expect(scores.frechetRatio).toBeGreaterThan(5);
    expect(scores).not.toHaveProperty("labelAgreement");
  });
});
