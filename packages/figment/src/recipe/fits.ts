// Whether images that are asked for can exist at all: told before anything is made for them.

import { type Device, memory, OutOfMemoryError, showShape } from "@figment/tensor";
import type { ImageFacts } from "./recipe.js";

const bytesPerNumber = 4;

/**
 * Refuses more images than device memory could hold, whatever else it holds.
 *
 * @throws OutOfMemoryError saying what they would take.
 */
export function checkFits(what: string, n: number, { shape }: ImageFacts, device?: Device): void {
  const { limit } = memory(device);
  const bytes = shape.reduce((product, extent) => product * extent, n) * bytesPerNumber;
  if (bytes > limit)
    throw new OutOfMemoryError(
      `${what}: ${n} images of ${showShape(shape)} take ${bytes} bytes; the limit of device memory is ${limit}`,
    );
}
