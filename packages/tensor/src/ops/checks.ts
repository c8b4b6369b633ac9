// Validation shared by the op definitions: arguments that come from JavaScript, and the avals that shape
// rules are given. Every message says which op, what was given and what was expected.

import type { Precision } from "../core/precision.js";
import { Tensor } from "../core/tensor.js";
import { computeType, type DType, isFloat, isHalf } from "../dtype.js";
import { DTypeError, ShapeError, UsageError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { sameShape, show, showShape } from "../shape.js";
import type { Epilogue } from "./epilogue.js";

/** Two numbers, for the height and the width. */
export type Pair = readonly [number, number];

const largest = 2 ** 31 - 1;

const describe = ({ shape, dtype }: Aval): string => `${dtype} ${showShape(shape)}`;

/**
 * Checks that an argument is a tensor.
 *
 * @throws DTypeError naming the argument and what it is.
 * @example
 * checkTensor("blur", "x", zeros([2]));
 */
export function checkTensor(op: string, name: string, x: unknown): asserts x is Tensor {
  if (!(x instanceof Tensor)) throw new DTypeError(`${op}: expected a tensor for ${name}, got ${show(x)}`);
}

/** Checks that an argument is a list of tensors. */
export function checkTensors(op: string, name: string, xs: unknown): asserts xs is readonly Tensor[] {
  if (!Array.isArray(xs)) throw new DTypeError(`${op}: expected an array of tensors for ${name}, got ${show(xs)}`);
  for (let i = 0; i < xs.length; i++) if (!(xs[i] instanceof Tensor)) checkTensor(op, `${name}[${i}]`, xs[i]);
}

/**
 * Checks that options are an object with known keys, so that a misspelt option is not ignored.
 *
 * @throws UsageError naming the unknown option.
 * @example
 * checkOptions("blur", { radius: 2 }, ["radius", "edge"]);
 */
export function checkOptions(op: string, options: unknown, known: readonly string[]): void {
  if (options === null || typeof options !== "object" || Array.isArray(options)) {
    throw new UsageError(`${op}: expected options { ${known.join(", ")} }, got ${show(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new UsageError(`${op}: unknown option ${JSON.stringify(key)}; the options are ${known.join(", ")}`);
    }
  }
}

/**
 * Checks that an argument is an object, such as options, a model or a stream, and has what is asked of it.
 *
 * @param members what it must have.
 * @returns the argument.
 * @throws UsageError naming the argument, what it is or lacks, and what was expected.
 * @example
 * const { radius = 2 } = checkObject("blur", "options", { radius: 3 });
 * radius; // 3
 */
export function checkObject<T>(owner: string, name: string, x: T, ...members: readonly string[]): T {
  const expected = members.length > 0 ? `${name} with ${members.join(", ")}` : name;
  if ((typeof x !== "object" && typeof x !== "function") || x === null)
    throw new UsageError(`${owner}: expected ${expected}, got ${show(x)}`);
  const missing = members.find((member) => (x as Readonly<Record<string, unknown>>)[member] === undefined);
  if (missing !== undefined) throw new UsageError(`${owner}: expected ${expected}, got ${show(x)} without ${missing}`);
  return x;
}

/**
 * Checks that an argument is a function.
 *
 * @throws UsageError naming the argument and what it is.
 * @example
 * checkFunction("blur", "kernel", (x: number) => Math.exp(-x * x));
 */
export function checkFunction(owner: string, name: string, x: unknown): void {
  if (typeof x !== "function") throw new UsageError(`${owner}: expected a function as ${name}, got ${show(x)}`);
}

/**
 * Checks that an argument is an array, whatever of.
 *
 * @throws UsageError naming the argument and what it is.
 * @example
 * checkArray("blur", "radii", [1, 2]);
 */
export function checkArray(owner: string, name: string, x: unknown): void {
  if (!Array.isArray(x)) throw new UsageError(`${owner}: expected an array as ${name}, got ${show(x)}`);
}

/** Checks an integer within [lo, 2³¹). */
export function checkInteger(op: string, name: string, x: unknown, lo: number): asserts x is number {
  if (typeof x !== "number" || !Number.isInteger(x) || x < lo || x > largest) {
    const bound = typeof x === "number" && x > largest ? " and below 2³¹" : "";
    throw new ShapeError(`${op}: ${name} must be an integer ≥ ${lo}${bound}, got ${show(x)}`);
  }
}

/** Checks a finite number. */
export function checkFinite(op: string, name: string, x: unknown): asserts x is number {
  if (typeof x !== "number" || !Number.isFinite(x)) {
    throw new DTypeError(`${op}: ${name} must be a finite number, got ${show(x)}`);
  }
}

/** Checks a boolean. */
export function checkBoolean(op: string, name: string, x: unknown): asserts x is boolean {
  if (typeof x !== "boolean") throw new DTypeError(`${op}: ${name} must be true or false, got ${show(x)}`);
}

/** A number for both axes, or one for each of [height, width]. */
export function pairOf(op: string, name: string, x: unknown, lo: number): Pair {
  if (typeof x === "number") {
    checkInteger(op, name, x, lo);
    return [x, x];
  }
  if (!Array.isArray(x) || x.length !== 2) {
    throw new ShapeError(`${op}: ${name} must be an integer or a pair [height, width], got ${show(x)}`);
  }
  const [h, w] = x as unknown[];
  checkInteger(op, name, h, lo);
  checkInteger(op, name, w, lo);
  return [h, w];
}

/** Padding as a number, [height, width], or [[top, bottom], [left, right]]. */
export function paddingOf(op: string, x: unknown): { readonly padLo: Pair; readonly padHi: Pair } {
  if (Array.isArray(x) && x.length === 2 && Array.isArray(x[0]) && Array.isArray(x[1])) {
    const [top, bottom] = pairOf(op, "padding", x[0], 0);
    const [left, right] = pairOf(op, "padding", x[1], 0);
    return { padLo: [top, left], padHi: [bottom, right] };
  }
  if (Array.isArray(x) && x.some((item) => Array.isArray(item))) {
    throw new ShapeError(
      `${op}: padding must be an integer, [height, width] or [[top, bottom], [left, right]], got ${show(x)}`,
    );
  }
  const pad = pairOf(op, "padding", x, 0);
  return { padLo: pad, padHi: pad };
}

/** Checks how many operands a shape rule was given. */
export function expectCount(op: string, inputs: readonly Aval[], lo: number, hi = lo): void {
  if (inputs.length >= lo && inputs.length <= hi) return;
  throw new ShapeError(`${op}: expected ${lo === hi ? lo : `${lo} to ${hi}`} operands, got ${inputs.length}`);
}

/** Checks an operand's number of dimensions; `layout` names them, such as "[N, H, W, C]". */
export function expectRank(op: string, name: string, aval: Aval, rank: number, layout: string): void {
  if (aval.shape.length === rank) return;
  throw new ShapeError(`${op}: ${name} must be ${layout}, got shape ${showShape(aval.shape)}`);
}

/** Checks an operand's shape. */
export function expectShape(op: string, name: string, aval: Aval, shape: readonly number[]): void {
  if (sameShape(aval.shape, shape)) return;
  throw new ShapeError(`${op}: ${name} must have shape ${showShape(shape)}, got ${showShape(aval.shape)}`);
}

/** Checks an operand's element type. */
export function expectDType(op: string, name: string, aval: Aval, dtype: DType): void {
  if (aval.dtype === dtype) return;
  throw new DTypeError(`${op}: ${name} must be ${dtype}, got ${describe(aval)}; cast it first`);
}

/**
 * Checks that operands have one float type, which it gives. Kernels that do not take bf16 and f16 run between casts to
 * and from f32, which passes/formats.ts inserts.
 */
export function expectCompute(op: string, operands: Readonly<Record<string, Aval>>): DType {
  const entries = Object.entries(operands);
  const dtype = entries[0]?.[1].dtype as DType;
  for (const [name, aval] of entries) {
    if (!isFloat(aval.dtype)) {
      throw new DTypeError(`${op} computes with floats; ${name} is ${describe(aval)}: cast it first`);
    }
    if (aval.dtype !== dtype) {
      throw new DTypeError(`${op}: ${entries[0]?.[0]} is ${dtype} and ${name} is ${aval.dtype}: cast one of them`);
    }
  }
  return dtype;
}

/** Attributes that passes give to products: how exactly they are computed, and the type of results of 16-bit factors. */
export type ProductAttrs = { readonly precision?: Precision; readonly result?: DType };

/** The number in kernel parameters of each precision that kernels are told of; the others are theirs of "highest". */
const precisionCodes: Readonly<Partial<Record<Precision, number>>> = { fast: 1, tf32: 2 };

/** How exactly a product multiplies, as parameter structs say it. */
export const precisionCode = ({ precision = "highest" }: ProductAttrs): number => precisionCodes[precision] ?? 0;

/** The first result may take the place of the first operand where both have one type. */
export const firstInPlace = ({ inputs, outputs }: Node): readonly (readonly [number, number])[] =>
  inputs[0]?.dtype === outputs[0]?.dtype ? [[0, 0]] : [];

/** Attribute that passes give to norms and softmax: the type in which f32 results are stored. */
export type StoreAttrs = { readonly result?: DType };

/** Where passes have chosen the type of the results, vectors beside f32 are read in the type that they are stored in. */
const readAsStored = ({ dtype }: Aval, { result }: StoreAttrs): boolean =>
  result !== undefined && isFloat(dtype) && computeType(dtype) === "f32";

/** Checks that x and the vectors that scale and shift it have one float type; gives that of x. */
export function expectAffine(
  op: string,
  x: Aval,
  vectors: Readonly<Record<string, Aval>>,
  attrs: StoreAttrs = {},
): DType {
  const others = Object.entries(vectors).filter(([, aval]) => !readAsStored(aval, attrs));
  return expectCompute(op, { x, ...Object.fromEntries(others) });
}

/** The factors of a product of two. */
export const factorsOf = (node: Node): readonly [Aval, Aval] => node.inputs as unknown as readonly [Aval, Aval];

/** Checks that the factors of products have one float type; gives that of the results, which what finishes them has too. */
export function expectProduct(
  op: string,
  factors: Readonly<Record<string, Aval>>,
  attrs: ProductAttrs,
  others: Epilogue<Aval> = {},
): DType {
  const own = expectCompute(op, factors);
  const dtype = attrs.result ?? own;
  for (const [name, aval] of Object.entries(others) as [string, Aval | undefined][]) {
    if (aval && aval.dtype !== dtype && !readAsStored(aval, attrs))
      throw new DTypeError(`${op}: the result is ${dtype} and ${name} is ${describe(aval)}: cast one of them`);
  }
  return dtype;
}

/** Checks that operands have one float type of at least 32 bits: what optimisers keep, which small updates must not leave. */
export function expectWide(op: string, operands: Readonly<Record<string, Aval>>): DType {
  for (const [name, aval] of Object.entries(operands)) {
    if (isHalf(aval.dtype)) {
      throw new DTypeError(
        `${op} keeps its state in f32 or f64; ${name} is ${describe(aval)}: keep parameters in f32 and cast where they are used`,
      );
    }
  }
  return expectCompute(op, operands);
}
