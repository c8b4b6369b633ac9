// MNIST's files and a folder of emoji, as published.

import { join } from "node:path";
import { mnist, openDataset } from "@figment/io";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const data = process.env.FIGMENT_DATA;

describe.skipIf(!data)("data as published", () => {
  it("is read in full from MNIST's files", async () => {
    const folder = join(data as string, "mnist");
    const [train, test] = await Promise.all([mnist(folder), mnist(folder, { split: "test" })]);
    expect([train.length, train.shape, test.length]).toEqual([60_000, [28, 28, 1], 10_000]);
    expect(Array.from({ length: 10 }, (_, i) => train.get(i).label)).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    expect(Array.from({ length: 10 }, (_, i) => test.get(i).label)).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    expect((await openDataset(folder, { size: 32 })).shape).toEqual([32, 32, 1]);
  });

  it("is decoded on the loader's worker from a folder of emoji", async () => {
    const set = await openDataset(join(data as string, "noto-emoji/72"), { size: 24 });
    expect([set.length, set.shape]).toEqual([3583, [24, 24, 3]]);
    const loader = set.loader({ batchSize: 32, steps: 4 });
    for await (const { image } of loader) {
      const values = await image.data();
      expect(Math.max(...values)).toBe(1);
      expect(Math.min(...values)).toBeLessThan(0);
    }
    expect(loader.position).toBe(4);
  });
});
