import { digits } from "@figment/io";
import { evaluateSamples, evaluationTable, gaussianBlur, realImages } from "@figment/metrics";
import { assertNoLeaks, full, rng, ShapeError, scope, type Tensor, tensor, UsageError, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const data = { train: digits({ count: 300, seed: 1 }), test: digits({ split: "test", count: 200, seed: 2 }) };
/** Means of blocks of 7×7 pixels. */
const features = (images: Tensor): Tensor => scope(() => images.avgPool({ kernel: 7 }).reshape([images.dim(0), -1]));
const random = rng(3);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

describe("evaluating samples", () => {
  const seen: string[] = [];
  const evaluation = evaluateSamples({
    data,
    features,
    count: 120,
    batchSize: 50,
    resamples: 20,
    sources: {
      "other real images": realImages(data.train, { seed: 5 }),
      blurred: realImages(data.train, { seed: 5, transform: (x) => scope(() => gaussianBlur(x, 3)) }),
      noise: (count) => random.normal([count, 28, 28, 1]),
    },
    progress: ({ name, done, total }) => seen.push(`${name} ${done}/${total}`),
  });

  it("puts real images near the floor, and what is damaged or no digit farther and farther", async () => {
    const { floor, rows, count, dims } = await evaluation;
    expect([count, dims, floor.ratio, floor.name]).toEqual([120, 16, 1, "training images"]);
    const [real, blurred, noise] = rows.map(({ ratio }) => ratio) as [number, number, number];
    expect(real).toBeLessThan(3);
    expect(blurred).toBeGreaterThan(2 * real);
    expect(noise).toBeGreaterThan(2 * blurred);
    expect(rows[2]).toMatchObject({ precision: 0, coverage: 0 });
    expect(rows[0]!.coverage).toBeGreaterThan(0.8);
    for (const { frechet, ratio } of rows) expect(ratio).toBe(frechet / floor.frechet);
  });

  it("gives intervals where resamples were asked for", async () => {
    const { rows } = await evaluation;
    for (const { frechet, interval } of rows) {
      expect(interval!.value).toBeCloseTo(frechet, 9);
      expect(interval!.low).toBeLessThan(interval!.high);
    }
  });

  it("tells how far it is, row by row", async () => {
    await evaluation;
    expect(seen.slice(0, 4)).toEqual([
      "test images 50/120",
      "test images 100/120",
      "test images 120/120",
      "training images 50/120",
    ]);
    expect(seen.at(-1)).toBe("noise 120/120");
  });

  it("is plain JSON, and a table with the floor first", async () => {
    const found = await evaluation;
    expect(JSON.parse(JSON.stringify(found))).toEqual(found);
    const lines = evaluationTable(found).split("\n");
    expect(lines).toHaveLength(6);
    expect(lines[0]).toContain("120 images each, 16 features");
    expect(lines[2]).toMatch(/^training images .* 1\.00 /);
    expect(lines[3]).toMatch(/^other real images +\d.* \[-?\d.*\]/);
  });

  it("refuses more images than there are, and sources that give others than asked for", async () => {
    const base = { data, features, sources: {} };
    await expect(evaluateSamples({ ...base, count: 201 })).rejects.toThrow("the data sets have 200");
    await expect(evaluateSamples({ ...base, count: 1 })).rejects.toThrow(UsageError);
    await expect(evaluateSamples({ ...base, data: undefined as never })).rejects.toThrow(UsageError);
    const short = { short: () => zeros([3, 28, 28, 1]) };
    await expect(evaluateSamples({ ...base, count: 20, sources: short })).rejects.toThrow("gave 3 images where 20");
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(evaluateSamples({ ...base, count: 20, signal })).rejects.toThrow("enough");
  });
});

describe("real images", () => {
  it("come each once, in order or shuffled by a seed, in the range that is asked for", async () => {
    const [plain, shuffled] = [realImages(data.train), realImages(data.train, { seed: 1, range: [0, 1] })];
    const [first, again] = [await plain(300, 0), await shuffled(300, 0)];
    const sorted = (x: Tensor) => scope(() => x.mean([1, 2, 3]).sort().values.dataSync());
    const [a, b] = [sorted(first), sorted(again)];
    for (const [i, x] of b.entries()) expect(2 * (x as number) - 1).toBeCloseTo(a[i] as number, 4);
    expect(again.dataSync()).not.toEqual(first.dataSync());
    const part = await shuffled(10, 290);
    scope(() => void expect(part.dataSync()).toEqual(again.slice([290, 0, 0, 0], [10, 28, 28, 1]).dataSync()));
    for (const owner of [first, again, part]) owner.dispose();
    await expect(plain(2, 299)).rejects.toThrow(UsageError);
  });
});

describe("gaussianBlur", () => {
  it("leaves what is constant and the sum of an inner dot, and spreads it by sigma in every channel", () => {
    scope(() => {
      const blurred = gaussianBlur(full([1, 6, 5, 2], 0.5), 1.2).dataSync();
      for (const x of blurred) expect(x).toBeCloseTo(0.5, 6);
      const dot = tensor(new Float32Array(41 * 41).fill(0).fill(1, 840, 841), { shape: [1, 41, 41, 1] });
      const spread = gaussianBlur(dot, 2).reshape([41, 41]);
      expect(spread.sum().itemSync()).toBeCloseTo(1, 5);
      const rows = spread.sum(1).dataSync() as Float32Array;
      const variance = rows.reduce((sum, x, i) => sum + x * (i - 20) ** 2, 0);
      expect(Math.sqrt(variance)).toBeCloseTo(2, 1);
    });
  });

  it("refuses a sigma that is none, and what are no images", () => {
    scope(() => {
      expect(() => gaussianBlur(zeros([1, 4, 4, 1]), 0)).toThrow(UsageError);
      expect(() => gaussianBlur(zeros([4, 4]), 1)).toThrow(ShapeError);
    });
  });
});
