// What PyTorch computes in where a case is in bf16.

import { deviceInfo } from "@figment/tensor";
import type { Format } from "../work.js";

const hasBf16 = deviceInfo("cpu").features.some((feature) => feature.endsWith("bf16"));

/**
 * The format that PyTorch is given on the CPU. Without instructions for bf16 it emulates them, down to a thousandth of the
 * rate of f32, so that f32 is what one would use there.
 */
export const torchFormat = (format: Format): Format => (hasBf16 ? format : "f32");

/** What is to be said of it, if anything. */
export const torchFormatNote: string | undefined = hasBf16
  ? undefined
  : "This processor has no instructions for bf16: where a case is in bf16, PyTorch computes in f32.";
