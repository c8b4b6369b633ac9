import { type Batch, type Dataset, type LoaderOptions, openSource, type Transform } from "@figment/io";
import { assertNoLeaks, CheckpointError, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { Pipeline } from "#transforms/pipeline";

afterAll(() => assertNoLeaks());

const fixtures = new URL("./fixtures/datasets.mjs", import.meta.url).href;
/** Images [2,3,1] whose bytes count up by 40 from their index. */
const plain = (length: number): Promise<Dataset> =>
  openSource({ module: fixtures, open: "plain", options: { length } });

async function collect(
  data: Dataset,
  options: LoaderOptions,
): Promise<{ shape: readonly number[]; image: number[] }[]> {
  const copies: { shape: readonly number[]; image: number[] }[] = [];
  const copy = async ({ image }: Batch) => ({ shape: image.shape, image: [...(await image.data())] });
  for await (const batch of data.loader(options)) copies.push(await copy(batch));
  return copies;
}

/** What transforms make of an image whose pixels are 1, 2, 3, …. */
function apply(
  shape: readonly [number, number, number],
  transforms: readonly Transform[],
  draw = { epoch: 0, item: 0 },
): number[] {
  const pipeline = new Pipeline(shape, transforms, [0, 255], [7, 8]);
  const image = Uint8Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i + 1);
  const out = new Float32Array(pipeline.shape.reduce((a, b) => a * b));
  pipeline.run(image, draw.epoch, draw.item, out);
  return [...out];
}

describe("a transform", () => {
  it("crops the centre, with black around it where there is padding", () => {
    expect(apply([4, 4, 1], [{ crop: 2 }])).toEqual([6, 7, 10, 11]);
    expect(apply([2, 2, 1], [{ crop: 4, padding: 1 }])).toEqual([0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0]);
    expect(apply([2, 3, 2], [{ crop: [1, 2] }])).toEqual([1, 2, 3, 4]);
  });

  it("crops at random: every place is met, and the pixels stay in order", () => {
    const places = Array.from({ length: 200 }, (_, item) =>
      apply([3, 3, 1], [{ crop: 2, at: "random" }], { epoch: 0, item }),
    );
    const corners = new Set(places.map(([first]) => first));
    expect([...corners].sort()).toEqual([1, 2, 4, 5]);
    for (const [a = 0, b, c, d] of places) expect([b, c, d]).toEqual([a + 1, a + 3, a + 4]);
    const padded = Array.from({ length: 200 }, (_, item) =>
      apply([1, 1, 1], [{ crop: 1, at: "random", padding: 1 }], { epoch: 0, item }),
    );
    expect(new Set(padded.flat())).toEqual(new Set([0, 1]));
  });

  it("mirrors as often as it is told to", () => {
    const shape = [1, 3, 2] as const;
    expect(apply(shape, [{ flip: 1 }])).toEqual([5, 6, 3, 4, 1, 2]);
    expect(apply(shape, [{ flip: 0 }])).toEqual([1, 2, 3, 4, 5, 6]);
    const mirrored = Array.from(
      { length: 1000 },
      (_, item) => apply(shape, [{ flip: 0.2 }], { epoch: 3, item })[0] === 5,
    );
    expect(Math.abs(mirrored.filter(Boolean).length - 200)).toBeLessThan(60);
  });

  it("resizes by averaging, whatever the proportions", () => {
    expect(apply([2, 2, 1], [{ resize: 1 }])).toEqual([3]);
    expect(apply([1, 2, 3], [{ resize: [1, 2] }])).toEqual([1, 2, 3, 4, 5, 6]);
    expect(apply([2, 2, 2], [{ resize: [1, 2] }])).toEqual([3, 4, 5, 6]);
    expect(apply([1, 1, 1], [{ resize: [2, 3] }])).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it("normalises each channel by mean and deviation, in place of the range", () => {
    const values = apply([1, 1, 3], [{ normalize: { mean: [0, 0.5, 1 / 255], std: [1, 0.25, 2 / 255] } }]);
    const expected = [1 / 255, (2 / 255 - 0.5) / 0.25, 1];
    for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i] as number, 6);
  });

  it("is drawn from the seed, the epoch, the item and its place, and from nothing else", () => {
    const transforms: Transform[] = [{ crop: 3, at: "random", padding: 2 }, { flip: 0.5 }];
    const all = (epoch: number) =>
      Array.from({ length: 50 }, (_, item) => apply([4, 4, 1], transforms, { epoch, item }));
    expect(all(0)).toEqual(all(0));
    expect(all(0)).not.toEqual(all(1));
  });
});

describe("a loader with transforms", () => {
  const transforms: readonly Transform[] = [{ resize: [4, 6] }, { crop: 4, at: "random", padding: 1 }, { flip: 0.5 }];

  it("gives batches of the new shape, the same on the worker as on the calling thread", async () => {
    const data = await plain(20);
    const worker = await collect(data, { batchSize: 5, epochs: 2, seed: 4, transforms });
    expect(worker.map(({ shape }) => shape)).toEqual(Array.from({ length: 8 }, () => [5, 4, 4, 1]));
    expect(await collect(data, { batchSize: 5, epochs: 2, seed: 4, transforms, prefetch: 0 })).toEqual(worker);
    expect(await collect(data, { batchSize: 5, epochs: 2, seed: 5, transforms })).not.toEqual(worker);
  });

  it("goes on after a restored state with the very batches that would have come", async () => {
    const data = await plain(20);
    const options: LoaderOptions = { batchSize: 5, epochs: 3, seed: 6, transforms };
    const whole = await collect(data, options);
    const first = data.loader(options);
    let seen = 0;
    for await (const _ of first) if (++seen === 5) break;
    const resumed = data.loader(options);
    resumed.restoreState({ tensors: {}, json: first.captureState().json });
    const rest: number[][] = [];
    for await (const { image } of resumed) rest.push([...(await image.data())]);
    expect(rest).toEqual(whole.slice(5).map(({ image }) => image));
    const other = data.loader({ ...options, transforms: [{ flip: 0.5 }] });
    expect(() => other.restoreState({ tensors: {}, json: first.captureState().json })).toThrow(CheckpointError);
  });

  it.each([
    ["is none", { blur: 3 }, /expected an object with one of resize, crop, flip, normalize/],
    ["is two at once", { flip: 0.5, resize: 3 }, /expected an object with one of/],
    ["has an option that it does not know", { resize: 3, at: "random" }, /unknown option at/],
    ["has no such probability", { flip: 2 }, /must be from 0 to 1/],
    ["has no such size", { resize: 0 }, /sides must be integers from 1 to 4096/],
    ["crops more than there is", { crop: 3 }, /the crop is larger than the image of 2 × 3/],
    ["crops nowhere", { crop: 1, at: "left" }, /at must be "center" or "random"/],
    ["pads by a fraction", { crop: 1, padding: 0.5 }, /padding must be an integer/],
    ["normalises other channels", { normalize: { mean: [0, 0], std: [1, 1] } }, /1 number or 1/],
    ["divides by zero", { normalize: { mean: [0], std: [0] } }, /std must be above 0/],
  ])("refuses a transform that %s", async (_claim, transform, message) => {
    const data = await plain(4);
    expect(() => data.loader({ batchSize: 2, transforms: [transform as unknown as Transform] })).toThrow(message);
  });

  it("refuses to normalise before the end, or beside a range", async () => {
    const data = await plain(4);
    const normalize = { normalize: { mean: [0], std: [1] } };
    expect(() => data.loader({ batchSize: 2, transforms: [normalize, { flip: 0.5 }] })).toThrow(
      /must be the last step/,
    );
    expect(() => data.loader({ batchSize: 2, transforms: [normalize], range: [0, 1] })).toThrow(UsageError);
  });
});
