// CIFAR-10's own archive, cut to 1,000 and 200 images, is read in place.

import path from "node:path";
import { cifar10 } from "@figment/io";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const data = process.env.FIGMENT_DATA;

describe.skipIf(!data)("CIFAR-10 as published", () => {
  it("is read from its archive", async () => {
    const folder = path.join(data as string, "cifar10");
    const [train, test] = [await cifar10(folder), await cifar10(folder, { split: "test" })];
    expect([train.length, test.length]).toEqual([1000, 200]);
    // The first training image is a frog, the second a truck; so it is in every copy.
    expect([0, 1].map((i) => train.classes?.[train.get(i).label])).toEqual(["frog", "truck"]);
    expect([...train.get(0).image.subarray(0, 3)]).toEqual([59, 62, 63]);
    for await (const { image } of train.loader({ batchSize: 100, steps: 2, transforms: [{ flip: 0.5 }] })) {
      expect(image.shape).toEqual([100, 32, 32, 3]);
    }
  });
});
