// The same work on the CPU and on the GPU of the tests.

import { withDevice } from "@figment/tensor";
import { expect } from "vitest";
import { cudaDevice } from "./cuda.ts";

const gpu = cudaDevice();

/** Whether there is a GPU to try. */
export const hasGpu = gpu.index !== undefined;

/** What work gives on the CPU and what it gives on the GPU. */
export async function onBoth<T>(work: () => T | Promise<T>): Promise<{ readonly cpu: T; readonly cuda: T }> {
  return { cpu: await withDevice("cpu", work), cuda: await withDevice("cuda", work) };
}

/** Expects numbers to be others but for rounding: within so much of the largest. */
export function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 2e-4): void {
  expect(actual.length).toBe(expected.length);
  const largest = Array.from(expected).reduce((most, x) => Math.max(most, Math.abs(x)), 1e-6);
  const off = Array.from(actual).reduce((most, x, i) => Math.max(most, Math.abs(x - (expected[i] as number))), 0);
  expect(off / largest).toBeLessThanOrEqual(tolerance);
}
