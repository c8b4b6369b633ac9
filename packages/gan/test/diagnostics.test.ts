// The grid of Gaussians and the diagnostics of collapse.

import {
  classHistogram,
  DcganGenerator,
  GaussianGrid,
  generate,
  modeCoverage,
  PointStream,
  scatter,
} from "@figment/gan";
import { assertNoLeaks, rng, scope, type Tensor, tensor, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

/** Runs `fn` with a tensor and frees it. */
async function using<T>(x: Tensor, fn: (x: Tensor) => Promise<T>): Promise<T> {
  try {
    return await fn(x);
  } finally {
    x.dispose();
  }
}

describe("the grid of 25 Gaussians", () => {
  const grid = new GaussianGrid();

  it("has its centres two apart around the origin", () => {
    expect(grid.modes).toHaveLength(25);
    expect(grid.modes[0]).toEqual([-4, -4]);
    expect(grid.modes[12]).toEqual([0, 0]);
    expect(grid.modes[24]).toEqual([4, 4]);
  });

  it("draws all modes about equally, 98.9 % of the points within 3σ of one", async () => {
    const n = 20_000;
    const random = rng(1);
    const report = await using(grid.sample(n, random), (x) => modeCoverage(x, grid));
    const expected = 1 - Math.exp(-4.5);
    expect(report.covered).toBe(25);
    expect(Math.abs(report.quality - expected)).toBeLessThan(5 * Math.sqrt((expected * (1 - expected)) / n));
    // Five deviations of a mode's count.
    for (const count of report.counts) expect(Math.abs(count - n / 25)).toBeLessThan(5 * Math.sqrt(n / 25));
    expect(report.imbalance).toBeLessThan(0.002);
    random.dispose();
  });

  it("varies along each axis by its scale", () => {
    const random = rng(2);
    const variance = scope(() => grid.sample(20_000, random).square().mean(0).dataSync());
    for (const value of variance) expect(Math.sqrt(value) / grid.scale).toBeCloseTo(1, 1);
    random.dispose();
  });

  it("varies by 1 when normalised, in the same proportions", () => {
    const normalised = grid.normalised();
    expect(normalised.scale).toBeCloseTo(1, 12);
    expect(normalised.deviation / normalised.spacing).toBeCloseTo(0.025, 12);
  });

  it("refuses lengths that are none", () => {
    expect(() => new GaussianGrid({ deviation: 0 })).toThrow(/deviation must be a positive number, got 0/);
    expect(() => new GaussianGrid({ side: 2.5 })).toThrow(/side/);
  });
});

describe("a stream of points", () => {
  const grid = new GaussianGrid();

  /** The next `count` batches. */
  const take = async (points: PointStream, count: number): Promise<number[][]> => {
    const batches: number[][] = [];
    for await (const { image } of points) {
      batches.push([...(await image.data())]);
      if (batches.length === count) break;
    }
    return batches;
  };

  it("stacks batches, and begins with others after another seed", async () => {
    const [a, b] = [rng(1), rng(2)];
    const stacked = new PointStream(grid, { batchSize: 4, stack: 3, rng: a });
    for await (const { image } of stacked) {
      expect(image.shape).toEqual([3, 4, 2]);
      break;
    }
    expect(await take(stacked, 1)).not.toEqual(
      await take(new PointStream(grid, { batchSize: 4, stack: 3, rng: b }), 1),
    );
    a.dispose();
    b.dispose();
  });

  it("goes on from a saved state with the batch that would have come next", async () => {
    const [a, b] = [rng(1), rng(2)];
    const [first, second] = [a, b].map((random) => new PointStream(grid, { batchSize: 4, rng: random })) as [
      PointStream,
      PointStream,
    ];
    await take(first, 2);
    const { cells, json } = first.captureState();
    scope(() => {
      const tensors = Object.fromEntries(Object.entries(cells).map(([path, cell]) => [path, cell.value]));
      second.restoreState({ tensors, json });
    });
    expect(await take(second, 2)).toEqual(await take(first, 2));
    a.dispose();
    b.dispose();
  });
});

describe("a picture of points", () => {
  it("has the first coordinate to the right, the second upwards, and more points brighter", async () => {
    const points = tensor([
      [-0.9, 0.9],
      [0.9, -0.9],
      [0.9, -0.9],
      [0.9, -0.9],
      [5, 0],
    ]);
    const picture = await using(points, (x) => scatter(x, { extent: 1, size: 2 }));
    const [topLeft, topRight, bottomLeft, bottomRight] = [...(await picture.data())];
    expect(picture.shape).toEqual([1, 2, 2, 1]);
    expect(topLeft).toBeCloseTo((2 * Math.log(2)) / Math.log(4) - 1, 6);
    expect([topRight, bottomLeft, bottomRight]).toEqual([-1, -1, 1]);
    picture.dispose();
  });

  it("refuses points of three dimensions", async () => {
    await expect(using(zeros([4, 3]), (x) => scatter(x, { extent: 1 }))).rejects.toThrow(
      /expected points \[N, 2\], got \[4, 3\]/,
    );
  });
});

describe("modeCoverage", () => {
  const mixture = {
    modes: [
      [0, 0],
      [10, 0],
      [0, 10],
    ],
    deviation: 1,
  };

  it("knows one mode drawn alone", async () => {
    const report = await using(zeros([8, 2]), (x) => modeCoverage(x, mixture));
    expect(report).toEqual({ covered: 1, quality: 1, counts: [8, 0, 0], imbalance: Math.log(3) });
  });

  it("counts a sample within 3σ as good and one beyond as none", async () => {
    const report = await using(
      tensor([
        [2.99, 0],
        [3.01, 0],
        [10, 2.9],
        [5, 5],
      ]),
      (x) => modeCoverage(x, mixture),
    );
    expect(report.counts).toEqual([1, 1, 0]);
    expect(report.quality).toBe(0.5);
  });

  it("asks for as many good samples of a mode as it is told", async () => {
    const x = tensor([
      [0, 0],
      [0, 0],
      [10, 0],
    ]);
    const report = await using(x, (samples) => modeCoverage(samples, mixture, { atLeast: 2 }));
    expect(report.covered).toBe(1);
  });

  it("refuses samples of another dimension", async () => {
    await expect(using(zeros([4, 3]), (x) => modeCoverage(x, mixture))).rejects.toThrow(/expected samples \[N, 2\]/);
  });
});

describe("classHistogram", () => {
  it("tells shares, missing classes and imbalance", async () => {
    const report = await using(tensor([1, 1, 3, 1], { dtype: "i32" }), (x) => classHistogram(x, 4));
    expect(report.shares).toEqual([0, 0.75, 0, 0.25]);
    expect(report.missing).toEqual([0, 2]);
    expect(report.imbalance).toBeCloseTo(0.75 * Math.log(3) + 0.25 * Math.log(1), 12);
  });

  it("is balanced when all classes are drawn alike", async () => {
    const report = await using(tensor([0, 1, 2], { dtype: "i32" }), (x) => classHistogram(x, 3));
    expect(report.imbalance).toBeCloseTo(0, 12);
  });

  it("refuses what are no classes", async () => {
    await expect(using(zeros([3]), (x) => classHistogram(x, 3))).rejects.toThrow(/expected i32 classes, got f32/);
    await expect(using(tensor([3], { dtype: "i32" }), (x) => classHistogram(x, 3))).rejects.toThrow(
      /classes 0 to 2, got 3/,
    );
  });
});

describe("generate", () => {
  it("draws the same samples whatever the batch size, in evaluation mode", async () => {
    const random = rng(3);
    const generator = new DcganGenerator({ latents: 4, imageSize: 8, channels: [4], classes: 3 }).init(random);
    const label = tensor([0, 1, 2, 0, 1], { dtype: "i32" });
    const draws: Float32Array[] = [];
    for (const batchSize of [2, 5]) {
      const stream = rng(9);
      const images = await generate(generator, { count: 5, rng: stream, label, batchSize });
      expect(images.shape).toEqual([5, 8, 8, 1]);
      draws.push((await images.data()) as Float32Array);
      images.dispose();
      stream.dispose();
    }
    expect(draws[0]).toEqual(draws[1]);
    const abort = new AbortController();
    abort.abort(new Error("enough"));
    await expect(generate(generator, { count: 5, rng: random, label, signal: abort.signal })).rejects.toThrow("enough");
    await expect(generate(generator, { count: 5, rng: random })).rejects.toThrow(/labels are given exactly/);
    await expect(generate(generator, { count: 4, rng: random, label })).rejects.toThrow(
      /expected labels \[4\], got \[5\]/,
    );
    label.dispose();
    generator.dispose();
    random.dispose();
  });
});
