// Labels that samples are drawn for.

import { type Tensor, tensor, UsageError } from "@figment/tensor";

/** Labels i32 [n]: the given classes one after another, or all of so many; undefined where there are none. */
export function cycledLabels(n: number, classes: number | readonly number[]): Tensor | undefined {
  const many = typeof classes === "number" ? classes : classes.length;
  if (many === 0) return undefined;
  const at = (i: number): number => (typeof classes === "number" ? i : (classes[i] as number));
  return tensor(Int32Array.from({ length: n }, (_, i) => at(i % many)));
}

/**
 * Refuses to draw classes that a model of so many does not know.
 *
 * @param owner what the message begins with.
 * @throws UsageError naming the first that is not known, or that none is given.
 */
export function checkAsked(owner: string, classes: readonly number[], known: number): void {
  const unknown = classes.find((one) => !(Number.isInteger(one) && one >= 0 && one < known));
  if (unknown !== undefined || classes.length === 0)
    throw new UsageError(`${owner}: the model knows ${known} classes, got ${unknown ?? "none"}`);
}
