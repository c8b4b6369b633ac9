// The precision of products that are being traced or run: an attribute of each node, set from the compiled function
// that it belongs to and handed on to its derivative. Never a property of the process.

import { UsageError } from "../errors.js";
import type { Attrs } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { show } from "../shape.js";

/**
 * How exactly convolutions, matrix products and attention are computed: "highest" in the type of their operands; "bf16"
 * with f32 operands rounded to bf16 and sums in f32.
 */
export type Precision = "highest" | "bf16";

const precisions: readonly Precision[] = ["highest", "bf16"];

let current: Precision = "highest";

/** Checks an option; undefined is allowed. */
export function checkPrecision(op: string, x: unknown): asserts x is Precision | undefined {
  if (x === undefined || precisions.includes(x as Precision)) return;
  throw new UsageError(`${op}: precision must be ${precisions.map((p) => `"${p}"`).join(" or ")}, got ${show(x)}`);
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
