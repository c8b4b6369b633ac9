// The GPU of the tests: the plug-in on the emulator, or a real GPU's where FIGMENT_CUDA names one.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadBinding } from "@figment/native";

const emulated = fileURLToPath(new URL("../../../../cuda/lib/figment_cuda_emulated.so", import.meta.url));

/** The number of the device that kernels of the plug-in are tried on; undefined, with the reason, when there is none. */
export function cudaDevice(): { readonly index: number } | { readonly index?: undefined; readonly reason: string } {
  if (process.env.FIGMENT_CUDA === undefined && existsSync(emulated)) process.env.FIGMENT_CUDA = emulated;
  const device = loadBinding()
    .devices()
    .find(({ kind }) => kind === "cuda");
  if (device?.index !== undefined) return { index: device.index };
  return { reason: device === undefined ? "no CUDA device is listed" : "reason" in device ? device.reason : "" };
}
