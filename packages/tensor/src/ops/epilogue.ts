// What products and convolutions do to their sums before they store them: activation(scale ⊙ (a·b) + bias) + addend. Fusion
// passes give it to them; each part is an operand behind the factors, if there is one.

import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { type Shape, sameShape, showShape } from "../shape.js";
import { type Activation, activate } from "./activation.js";
import { add, mul } from "./arithmetic.js";
import { expectCount, expectShape, type ProductAttrs } from "./checks.js";

/**
 * Attributes of products that have an epilogue: behind the factors come a scale, if they say so, a bias, if there is one operand
 * more, and an addend, if they say so.
 */
export type EpilogueAttrs = ProductAttrs & { readonly scale?: boolean; readonly addend?: boolean };

/** The operands of an epilogue. */
export interface Epilogue<T> {
  /** A number for each column of the result, or one for all. */
  readonly scale?: T | undefined;
  /** A number for each column. */
  readonly bias?: T | undefined;
  /** Of the result's shape. */
  readonly addend?: T | undefined;
}

/** The operands behind the factors by name. */
export function epilogueOf<T>(operands: readonly T[], { scale, addend }: EpilogueAttrs): Epilogue<T> {
  const rest = operands.slice(2);
  const [first, last] = [scale ? rest.shift() : undefined, addend ? rest.pop() : undefined];
  return { scale: first, bias: rest[0], addend: last };
}

/** The same in their order. */
export const epilogueOperands = <T>({ scale, bias, addend }: Epilogue<T>): T[] =>
  [scale, bias, addend].filter((operand) => operand !== undefined);

/** What parameter structs of kernels say of it. */
export const epilogueFields = { scale: "i32", bias: "i32", addend: "i32" } as const;
export const epilogueParams = ({ scale, bias, addend }: Epilogue<unknown>) => ({
  scale: Number(scale !== undefined),
  bias: Number(bias !== undefined),
  addend: Number(addend !== undefined),
});

/** Checks how many operands a product with an epilogue was given. */
export function expectOperands(op: string, inputs: readonly Aval[], { scale, addend }: EpilogueAttrs): void {
  const least = 2 + Number(scale ?? false) + Number(addend ?? false);
  expectCount(op, inputs, least, least + 1);
}

/** Checks the shapes of an epilogue's operands against the product's columns and the result. */
export function expectEpilogue(
  op: string,
  { scale, bias, addend }: Epilogue<Aval>,
  columns: number,
  result: Shape,
): void {
  if (scale && !sameShape(scale.shape, [1]) && !sameShape(scale.shape, [columns]))
    throw new ShapeError(`${op}: scale must have shape [${columns}] or [1], got ${showShape(scale.shape)}`);
  if (bias) expectShape(op, "bias", bias, [columns]);
  if (addend) expectShape(op, "addend", addend, result);
}

/** The same as operations one after another. */
export function finished(product: Tensor, { scale, bias, addend }: Epilogue<Tensor>, activation: Activation): Tensor {
  const y = activate(shifted(product, { scale, bias }), activation);
  return addend ? add(y, addend) : y;
}

/** Its affine part. */
export function shifted(product: Tensor, { scale, bias }: Epilogue<Tensor>): Tensor {
  const scaled = scale ? mul(product, scale) : product;
  return bias ? add(scaled, bias) : scaled;
}
