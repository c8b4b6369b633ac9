// Hopper's kernels at the samples of their ops' definitions, on the emulator with a Hopper GPU. Other sizes, and those of
// attention, are in cudaHopper.slow.test.ts.

import { describe } from "vitest";
import { emulateHopper } from "./support/cuda.ts";

if (emulateHopper()) {
  process.env.FIGMENT_TEST_VARIANTS = "wgmma";
  process.env.FIGMENT_TEST_OPS = "matmul,conv2d,conv2dInputGrad,conv2dWeightGrad,attention,attentionGrad";
  await import("./cudaParity.test.ts");
} else {
  describe.skip("Hopper's kernels on the emulator");
}
