// The precision of products that are being traced or run: an attribute of each node, set from the compiled function
// that it belongs to and handed on to its derivative. Never a property of the process.

import { UsageError } from "../errors.js";
import type { Attrs } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { show } from "../shape.js";

/**
 * How exactly convolutions, matrix products and attention compute with f32 operands; sums are f32 and results stay f32 in
 * any case.
 *
 * - "highest": in f32, or as exactly: where the processor has bf16 matrix tiles (AMX), matrix products and convolutions take
 *   each f32 factor as the sum of three bf16 numbers, which it is without an error, and leave out three of the nine products
 *   of these, below 2⁻²⁴ of a term; factors that are not finite, or whose sizes within a few hundred terms of a sum lie more
 *   than 2⁹⁶ apart, are multiplied in f32.
 * - "bf16": factors rounded to bf16, 8 significant bits: relative error up to 2⁻⁸ of the sum of the terms' sizes, usually
 *   10⁻³ of the result.
 * - "fast": on such tiles, each f32 factor as the sum of two bf16 numbers, and three of the four products of these: relative
 *   error up to 2⁻¹⁶ of the sum of the terms' sizes, usually 5·10⁻⁶ of the result. Attention, and every product on other
 *   processors, are those of "highest", for there it is the fastest exact enough.
 *
 * Operands of other types (f64, bf16, f16) are taken as they are. There is no "f16" and no "tf32" here: on CPUs arithmetic
 * in either is no faster than f32; f16 tensors are storage, and are computed with in f32.
 */
export type Precision = "highest" | "fast" | "bf16";

const precisions: readonly Precision[] = ["highest", "fast", "bf16"];

/** Precisions that exist elsewhere, and why not here. */
const refused: Readonly<Record<string, string>> = {
  f16: 'CPUs compute with f16 in f32: store tensors as f16, or use "bf16"',
  tf32: 'it is a format of GPUs\' matrix units; "fast" is the nearest on CPUs',
};

let current: Precision = "highest";

/** Checks an option; undefined is allowed. */
export function checkPrecision(op: string, x: unknown): asserts x is Precision | undefined {
  if (x === undefined || precisions.includes(x as Precision)) return;
  const why = typeof x === "string" && Object.hasOwn(refused, x) ? ` (${refused[x]})` : "";
  const known = precisions.map((p) => `"${p}"`).join(", ");
  throw new UsageError(`${op}: precision must be one of ${known}, got ${show(x)}${why}`);
}

/** The precision at which products are computed now. */
export const currentPrecision = (): Precision => current;

/** Runs `fn` with products at a precision; undefined leaves it as it is. */
export function withPrecision<T>(precision: Precision | undefined, fn: () => T): T {
  const outer = current;
  current = precision ?? outer;
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/** The precision that a node's attributes say. */
export const precisionOf = (attrs: Attrs): Precision => (attrs.precision as Precision | undefined) ?? "highest";

/** The attributes of a node made now: products that are not at the highest precision say so. */
export function withPrecisionAttr<A extends Attrs>(def: OpDef<A>, attrs: A): A {
  if (current === "highest" || !def.factors) return attrs;
  return { ...attrs, precision: current };
}
