import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { DataError, digits } from "@figment/io";
import { extractFeatures, type MnistClassifierOptions, mnistClassifier } from "@figment/metrics";
import { assertNoLeaks, full, NonFiniteError, ShapeError, scope, UsageError, zeros } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const data = { train: digits({ count: 1500, seed: 1 }), test: digits({ split: "test", count: 300, seed: 2 }) };
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(path.join(os.tmpdir(), "figment-classifier-"));
});
afterAll(async () => {
  await rm(cache, { recursive: true, force: true });
  assertNoLeaks();
});
const train = (options: Partial<MnistClassifierOptions> = {}) =>
  mnistClassifier({ data, cache, minAccuracy: 0.5, ...options });

/** Logits of fixed images. */
const answers = async (options: Partial<MnistClassifierOptions> = {}): Promise<number[]> => {
  const classifier = await train(options);
  const images = zeros([3, 28, 28, 1]);
  const logits = classifier.logits(images);
  const numbers = [...(await logits.data())];
  for (const owner of [classifier, images, logits]) owner.dispose();
  return numbers;
};

describe("the classifier of digits", () => {
  it("learns what it is shown, tells how far it is, and is read from the cache afterwards", async () => {
    const reports: number[] = [];
    const first = await train({ progress: ({ step, total }) => reports.push(step / total) });
    expect(first.cached).toBe(false);
    expect(first.accuracy).toBeGreaterThan(0.5);
    expect(reports.at(-1)).toBe(1);
    expect(reports).toEqual([...reports].sort((a, b) => a - b));
    const second = await train({ progress: () => expect.unreachable() });
    expect([second.cached, second.accuracy]).toEqual([true, first.accuracy]);
    for (const classifier of [first, second]) classifier.dispose();
  });

  it("is the same for the same seed, cached or not, and another for another", async () => {
    const known = await answers();
    expect(await answers({ cache: false })).toEqual(known);
    expect(await answers({ seed: 1 })).not.toEqual(known);
    expect((await readdir(cache)).filter((file) => file.endsWith(".safetensors"))).toHaveLength(2);
  });

  it("is trained anew where its file is damaged, or the images are others", async () => {
    const known = await answers();
    const [file] = await readdir(cache);
    for (const name of await readdir(cache)) await writeFile(path.join(cache, name), "not a model");
    expect(await answers()).toEqual(known);
    expect(file).toBeDefined();
    expect(await answers({ data: { ...data, train: digits({ count: 1499, seed: 1 }) } })).not.toEqual(known);
  });

  it("gives features from zero on, logits and labels of as many images as it is given", async () => {
    const classifier = await train();
    const images = full([7, 28, 28, 1], -1);
    const set = await extractFeatures(images, classifier.features, { batchSize: 3 });
    expect([set.count, set.dims]).toEqual([7, 500]);
    expect(Math.min(...set.data)).toBe(0);
    expect(Math.max(...set.data)).toBeGreaterThan(0);
    scope(() => void expect(classifier.logits(images).shape).toEqual([7, 10]));
    const labels = await classifier.classify(images);
    expect(new Set(labels).size).toBe(1);
    for (const owner of [classifier, images]) owner.dispose();
  });

  it("reads rightly as often as it says", async () => {
    const classifier = await train();
    let right = 0;
    for await (const { image, label } of data.test.loader({ batchSize: 100, shuffle: false })) {
      const [guesses, labels] = [await classifier.classify(image), await label.data()];
      right += guesses.filter((guess, i) => guess === labels[i]).length;
    }
    expect(right / 300).toBe(classifier.accuracy);
    classifier.dispose();
  });

  it("stops when it is told to, and keeps nothing then", async () => {
    const before = await readdir(cache);
    const stop = new AbortController();
    const progress = () => stop.abort(new Error("enough"));
    await expect(train({ seed: 9, signal: stop.signal, progress })).rejects.toThrow("enough");
    await expect(train({ signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
    expect(await readdir(cache)).toEqual(before);
  });

  it("refuses to judge when it reads too little", async () => {
    await expect(train({ minAccuracy: 1 })).rejects.toThrow(
      /reads \d+\.\d+ % of the test images, less than the 100.00 %/,
    );
  });

  it("refuses images of other shapes and data that is no such thing", async () => {
    const classifier = await train();
    const nan = full([1, 28, 28, 1], Number.NaN);
    scope(() => {
      expect(() => classifier.features(zeros([2, 28, 28]))).toThrow(ShapeError);
      expect(() => classifier.logits(zeros([2, 32, 32, 1]))).toThrow(ShapeError);
    });
    await expect(classifier.classify(nan)).rejects.toThrow(NonFiniteError);
    for (const owner of [classifier, nan]) owner.dispose();
    await expect(train({ data: "/nowhere" })).rejects.toThrow(DataError);
    await expect(
      train({ data: { train: digits({ count: 9 }), test: digits({ count: 9, size: 32 }) } }),
    ).rejects.toThrow(DataError);
    await expect(train({ data: undefined as unknown as string })).rejects.toThrow(UsageError);
    await expect(train({ minAccuracy: 2 })).rejects.toThrow(UsageError);
    await expect(train({ seed: 0.5 })).rejects.toThrow(UsageError);
  });
});
