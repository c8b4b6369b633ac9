// The GPU of the tests: the plug-in on the emulator, or a real GPU's where FIGMENT_CUDA names one.

import { fileURLToPath } from "node:url";
import { loadBinding } from "@figment/native";

const emulated = fileURLToPath(new URL("../../../../cuda/lib/figment_cuda_emulated.so", import.meta.url));

/**
 * The number of the device that kernels of the plug-in are tried on; undefined where FIGMENT_CUDA=0 says to leave them out.
 *
 * @throws Error, with the reason, when there is none: the build makes the emulated one on every machine.
 */
export function cudaDevice(): { readonly index?: number } {
  if (process.env.FIGMENT_CUDA === "0") return {};
  process.env.FIGMENT_CUDA ??= emulated;
  const device = loadBinding()
    .devices()
    .find(({ kind }) => kind === "cuda");
  if (device?.index !== undefined) return { index: device.index };
  throw new Error(`no GPU to try kernels on, not even an emulated one (npm run build makes it): ${device?.reason}`);
}

/**
 * The kernels of an op that are tried on the device: all, or those with any of FIGMENT_TEST_VARIANTS in their names.
 *
 * @throws Error from the addon when there is no such device.
 */
export const triedVariants = (op: string, index: number): string[] =>
  loadBinding()
    .variants(op, index)
    .map(({ name }) => name)
    .filter((name) => (process.env.FIGMENT_TEST_VARIANTS ?? "").split(",").some((part) => name.includes(part)));

/** Where the emulator runs kernels: makes its GPU a Hopper one. False where tests try a real GPU, or none. */
export function emulateHopper(): boolean {
  if (process.env.FIGMENT_CUDA !== undefined && process.env.FIGMENT_CUDA !== emulated) return false;
  process.env.FIGMENT_EMULATED_GPU = "hopper";
  return true;
}
