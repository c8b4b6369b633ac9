// Reading what a batch was measured to be.

import type { Tensor } from "@figment/tensor";

/** A tensor's numbers, none without one; frees it. */
export async function taken(tensor: Tensor | undefined): Promise<number[]> {
  if (!tensor) return [];
  try {
    return [...(await tensor.data())];
  } finally {
    tensor.dispose();
  }
}
