// Hopper's kernels at the samples of their ops' definitions, and norms at sizes for clusters of every number of blocks, on
// the emulator with a Hopper GPU. Other sizes, and those of attention, are in cudaHopper.slow.test.ts.

import { describe } from "vitest";
import { emulateHopper } from "./support/cuda.ts";

const products = "matmul,conv2d,conv2dInputGrad,conv2dWeightGrad,attention,attentionGrad";
const norms = "groupNorm,groupNormGrad,batchNorm,batchNormGrad";

if (emulateHopper()) {
  process.env.FIGMENT_TEST_VARIANTS = "wgmma,cluster";
  process.env.FIGMENT_TEST_OPS = `${products},${norms}`;
  for (const name of ["cudaParity", "cudaAttentionExtremes", "cudaNorms"]) await import(`./${name}.test.ts`);
} else {
  describe.skip("Hopper's kernels on the emulator");
}
