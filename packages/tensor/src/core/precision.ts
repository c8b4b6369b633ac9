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
 * - "highest": in f32, or as exactly: where the processor has bf16 matrix tiles (AMX), matrix products, convolutions and
 *   attention take each f32 factor as the sum of three bf16 numbers, which it is without an error, and leave out three of the
 *   nine products of these, below 2⁻²⁴ of a term. Factors that are not finite, or of very different sizes, are multiplied in
 *   f32: where they lie more than 2⁹⁶ apart within a few hundred terms of a matrix product, or a part of a convolution's
 *   image, or beyond 2⁶⁰ or 2⁻⁶⁰ in attention.
 * - "bf16": factors rounded to bf16, 8 significant bits: relative error up to 2⁻⁷ of the sum of the terms' sizes, usually
 *   10⁻³ of the result.
 * - "f16": factors rounded to f16, 11 significant bits: relative error up to 2⁻¹⁰ of the sum of the terms' sizes, but those
 *   from 65520 on become infinite, and those below 6·10⁻⁵ lose digits, below 3·10⁻⁸ all. Optimisers scale the loss for it.
 *   Tensor cores of GPUs multiply it as fast as bf16; CPUs compute with its numbers in f32, slower than at "highest".
 * - "fast": on such tiles, each f32 factor as the sum of two bf16 numbers, and three of the four products of these: relative
 *   error up to 2⁻¹⁵ of the sum of the terms' sizes, usually 5·10⁻⁶ of the result. GPUs of compute capability 8.0 and later
 *   do the same. Attention, and every product elsewhere, are those of "highest", for there it is the fastest exact enough.
 * - "tf32": on GPUs of compute capability 8.0 and later, matrix products and convolutions round each f32 factor to 11
 *   significant bits, to nearest, ties away from zero, as tensor cores take them: relative error up to 2⁻¹⁰ of the sum of
 *   the terms' sizes, usually 3·10⁻⁴ of the result; factors from 2¹²⁸ − 2¹¹⁶ on become infinite. Everything else keeps
 *   f32's range. On CPUs, whose arithmetic in it would be no faster, on older GPUs, in attention, in convolutions whose
 *   several groups have fewer than eight channels, and where a product's sizes do not fit 31 bits, it is "highest": explain()
 *   names the kernel, "mma-tf32" or another. Never chosen unless asked for.
 *
 * Operands of other types (f64, bf16, f16) are taken as they are.
 */
export type Precision = "highest" | "fast" | "bf16" | "f16" | "tf32";

const precisions: readonly Precision[] = ["highest", "fast", "bf16", "f16", "tf32"];

let current: Precision = "highest";

/** Checks an option; undefined is allowed. */
export function checkPrecision(op: string, x: unknown): asserts x is Precision | undefined {
  if (x === undefined || precisions.includes(x as Precision)) return;
  const known = precisions.map((p) => `"${p}"`).join(", ");
  throw new UsageError(`${op}: precision must be one of ${known}, got ${show(x)}`);
}

/**
 * The precision at which products are computed now: that of the function that is being traced.
 *
 * @example
 * const f = compile((x: Tensor) => x.add(currentPrecision() === "bf16" ? 1 : 0), { precision: "bf16" });
 * f(tensor([1])).sum(); // 2
 */
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
