// What tests of runs on a GPU share: the device, and tensors that are disposed of after each test. Results that nobody has
// written hold a pattern there.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, scope, type Tensor, withDevice } from "@figment/tensor";
import { afterAll, afterEach, beforeAll } from "vitest";
import { cudaDevice } from "./cuda.ts";

export const gpu = cudaDevice();
export const index = gpu.index ?? 0;
export const binding = loadBinding();

let made: { dispose(): void }[] = [];
export const keep = <T extends { dispose(): void }>(item: T): T => {
  made.push(item);
  return item;
};
beforeAll(() => {
  if (gpu.index !== undefined) binding.setPoison(true, index);
});
afterEach(() => {
  for (const item of made.reverse()) item.dispose();
  made = [];
});
afterAll(() => {
  if (gpu.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});

export const list = (x: Tensor): number[] => [...(x.dataSync() as Float32Array)];
export const onGpu = <T>(fn: () => T): T => withDevice("cuda", () => scope(fn));
