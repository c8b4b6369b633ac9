import { extractFeatures, FeatureSet } from "@figment/metrics";
import { DTypeError, NonFiniteError, ones, ShapeError, type Tensor, tensor, UsageError, zeros } from "@figment/tensor";
import { describe, expect, it } from "vitest";

const images = tensor(
  Float32Array.from({ length: 28 }, (_, i) => i),
  { shape: [7, 2, 2, 1] },
);
const flat = (x: Tensor): Tensor => x.reshape([x.dim(0), -1]);

describe("extracting features", () => {
  it("goes over one tensor in batches, and flattens", async () => {
    const sizes: number[] = [];
    const done: number[] = [];
    const watch = (x: Tensor): Tensor => {
      sizes.push(x.dim(0));
      return x.mul(2);
    };
    const set = await extractFeatures(images, watch, { batchSize: 3, onProgress: (n) => done.push(n) });
    expect([sizes, done]).toEqual([
      [3, 3, 1],
      [3, 6, 7],
    ]);
    expect([set.count, set.dims]).toEqual([7, 4]);
    expect([...set.data]).toEqual(Array.from({ length: 28 }, (_, i) => 2 * i));
  });

  it("takes batches as loaders give them, and extractors that wait", async () => {
    async function* batches() {
      yield { image: ones([2, 2, 2, 1]), label: zeros([2]) };
      yield zeros([1, 2, 2, 1]);
    }
    const set = await extractFeatures(batches(), async (x) => flat(x));
    expect([...set.data]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
  });

  it("stops when it is told to", async () => {
    const stop = new AbortController();
    const onProgress = () => stop.abort(new Error("enough"));
    await expect(extractFeatures(images, flat, { batchSize: 2, signal: stop.signal, onProgress })).rejects.toThrow(
      "enough",
    );
  });

  it("keeps what an extractor gives back unchanged", async () => {
    const own = ones([2, 3]);
    await extractFeatures([own], (x) => x);
    expect(own.disposed).toBe(false);
  });

  it("refuses no images, other rows than images, features that change their length, NaN and what is no image", async () => {
    let width = 1;
    const growing = (x: Tensor): Tensor => zeros([x.dim(0), width++]);
    const wrong: [Promise<unknown>, new (...args: never[]) => Error][] = [
      [extractFeatures([], flat), UsageError],
      [extractFeatures(images, () => zeros([1, 3])), ShapeError],
      [extractFeatures(images, growing, { batchSize: 2 }), ShapeError],
      [extractFeatures(images, (x) => flat(x).div(0)), NonFiniteError],
      [extractFeatures([5] as unknown as Tensor[], flat), DTypeError],
      [extractFeatures(images, flat, { batchSize: 0 }), UsageError],
      [extractFeatures(images, null as never), UsageError],
    ];
    for (const [call, type] of wrong) await expect(call).rejects.toThrow(type);
  });
});

describe("a set of features", () => {
  it("names the first number that is none", () => {
    expect(() => new FeatureSet([0, 1, 2, Number.NaN], 2)).toThrow("feature 1 of row 1 is NaN");
    expect(() => new FeatureSet([0, 1, 2], 2)).toThrow(ShapeError);
    expect(() => new FeatureSet([], 0)).toThrow(UsageError);
  });

  it("reads floats of two and more dimensions alone", async () => {
    await expect(FeatureSet.from(zeros([3]))).rejects.toThrow(ShapeError);
    await expect(FeatureSet.from(zeros([0, 3]))).rejects.toThrow(ShapeError);
    await expect(FeatureSet.from(zeros([3, 1], "i32"))).rejects.toThrow(DTypeError);
  });

  it("selects rows in order, again and again", () => {
    const set = new FeatureSet([1, 2, 3, 4, 5, 6], 2);
    expect([...set.select([2, 0, 2]).data]).toEqual([5, 6, 1, 2, 5, 6]);
    expect(() => set.select([3])).toThrow(UsageError);
  });

  it("joins sets of the same dimensions", () => {
    const [a, b] = [new FeatureSet([1, 2], 1), new FeatureSet([3], 1)];
    expect([...FeatureSet.concat([a, b]).data]).toEqual([1, 2, 3]);
    expect(() => FeatureSet.concat([a, new FeatureSet([1, 2], 2)])).toThrow(ShapeError);
    expect(() => FeatureSet.concat([])).toThrow(UsageError);
  });
});
