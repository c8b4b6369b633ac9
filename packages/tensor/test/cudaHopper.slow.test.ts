// Hopper's kernels at every size that products, attention and norms are tried at, on the emulator with a Hopper GPU.

import { describe } from "vitest";
import { emulateHopper } from "./support/cuda.ts";

if (emulateHopper()) {
  process.env.FIGMENT_TEST_VARIANTS = "wgmma,cluster";
  for (const name of ["cudaParity", "cudaProducts", "cudaAttention", "cudaAttentionExtremes", "cudaNorms"])
    await import(`./${name}.test.ts`);
} else {
  describe.skip("Hopper's kernels on the emulator");
}
