// Attention of numbers that are not finite, on every kernel of the GPU.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, scope, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe } from "vitest";
import type { OpDef } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import { type Bench, list, testLargeScores, testNotFinite } from "./support/attentionExtremes.ts";
import { cudaDevice, triedVariants } from "./support/cuda.ts";

const binding = loadBinding();
const { index } = cudaDevice();

/** Emulated kernels are slow: of the problems some serve. */
const thorough = process.env.FIGMENT_TEST_ALL === "1" || process.env.FIGMENT_TEST_CUDA === "1";

const run =
  (device: number): Bench["run"] =>
  (def, inputs, attrs, variant) => {
    const prepared = inputs.map((x) => ({ shape: x.shape, dtype: x.dtype, data: x.dataSync() }));
    return onDevice(device, () =>
      scope(() => {
        const operands = prepared.map(({ data, shape, dtype }) => tensor(data, { shape, dtype }));
        return runNode(def as OpDef, operands, attrs, { variant }).map(list);
      }),
    );
  };

if (index === undefined) {
  describe.skip("attention's extremes on the GPU");
} else {
  beforeAll(() => binding.setPoison(true, index));
  afterAll(() => {
    binding.setPoison(false, index);
    assertNoLeaks();
  });
  const bench: Bench = {
    kernels: [...new Set([...triedVariants("attention", index), ...triedVariants("attentionGrad", index)])],
    formats: (kernel) => (/mma/.test(kernel) ? ["bf16", "f16"] : ["f32", "bf16", "f16"]),
    run: run(index),
    sparse: thorough ? 1 : 5,
  };
  testNotFinite(bench);
  testLargeScores(bench);
}
