// Batches and weights come to the device that tensors are made on; files are written from any.

import path from "node:path";
import { digits, loadTensors, saveTensors } from "@figment/io";
import { assertNoLeaks, defaultDevice, tensor, withDevice } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { hasGpu, onBoth } from "../../tensor/test/support/onDevices.ts";
import { temporaryFolder } from "./support.js";

afterAll(assertNoLeaks);

describe.skipIf(!hasGpu)("on a GPU", () => {
  it("a loader's batches have the bits that they have on the CPU", async () => {
    const { cpu, cuda } = await onBoth(async () => {
      const dataset = await digits({ size: 8, count: 8, split: "train" });
      for await (const { image, label } of dataset.loader({ batchSize: 4, steps: 1, shuffle: false }))
        return { at: [image.device, label.device], image: await image.data(), label: await label.data() };
      return undefined;
    });
    expect([cpu?.at, cuda?.at]).toEqual([
      ["cpu", "cpu"],
      ["cuda:0", "cuda:0"],
    ]);
    expect([cuda?.image, cuda?.label]).toEqual([cpu?.image, cpu?.label]);
  });

  it("tensors are saved from it and loaded to it", async () => {
    const file = path.join(await temporaryFolder(), "x.safetensors");
    await withDevice("cuda", async () => {
      using x = tensor([1, 2, 3]);
      await saveTensors(file, { x });
    });
    const { cpu, cuda } = await onBoth(async () => {
      const { x } = await loadTensors(file);
      const found = { at: x?.device, expected: defaultDevice(), data: await x?.data() };
      x?.dispose();
      return found;
    });
    expect([cpu.at, cuda.at]).toEqual([cpu.expected, cuda.expected]);
    expect([cpu.data, cuda.data]).toEqual([Float32Array.of(1, 2, 3), Float32Array.of(1, 2, 3)]);
  });
});
