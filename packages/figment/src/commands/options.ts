// What options of several commands have in common.

import { UsageError } from "@figment/tensor";
import { type Override, readOverride } from "../recipe/config.js";

/** Reads an option that must be an integer of at least `lowest`. */
export function integerOption(name: string, lowest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < lowest)
      throw new UsageError(`--${name}: expected an integer of at least ${lowest}, got ${JSON.stringify(text)}`);
    return value;
  };
}

/** Gathers `--set name=value`, which may be given several times. */
export const setOption = (text: string, before: readonly Override[] = []): Override[] => [
  ...before,
  readOverride(text),
];

/** Reads a list of classes: "3" or "0,1,2". */
export function labelsOption(text: string): number[] {
  const labels = text.split(",").map(Number);
  if (labels.some((label) => !Number.isSafeInteger(label) || label < 0))
    throw new UsageError(`--label: expected classes such as 3 or 0,1,2, got ${JSON.stringify(text)}`);
  return labels;
}
