// The judge of digits trained on all of MNIST, and the distances over its features: they tell real digits from slightly damaged
// ones and from those that the public weights of a conditional WGAN-GP draw.

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks, evaluationTable } from "figment";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { judgeReferences } from "#digits";

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
  const title =
    "reads 99 % of MNIST's test images, and puts real images at the floor, damaged and generated ones far above";
  it(title, { timeout: 1_800_000 }, async () => {
    const { judgeAccuracy, references } = await judgeReferences({
      data: path.join(data, "mnist"),
      wganGp: path.join(data, "checkpoints", "cwgan-gp-mnist", "generator.pth"),
    });
    console.log(evaluationTable(references));
    expect(judgeAccuracy).toBeGreaterThanOrEqual(0.99);
    const [real, slightly, more, drawn] = references.rows.map(({ ratio }) => ratio) as [number, number, number, number];
    expect(real).toBeGreaterThan(0.7);
    expect(real).toBeLessThan(1.4);
    expect(slightly).toBeGreaterThan(2);
    expect(more).toBeGreaterThan(slightly);
    expect(drawn).toBeGreaterThan(10);
  });
});
