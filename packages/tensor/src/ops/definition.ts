// What an operation is: one record holding its shape rule, its derivative, its meaning in terms of
// other operations, its lowering to native kernels, and the cases from which tests are generated.

import type { Tensor } from "../core/tensor.js";
import type { DType } from "../dtype.js";
import { UsageError } from "../errors.js";
import type { Attrs, Aval, Node } from "../ir/graph.js";
import { type Fields, type Schema, schema } from "../ir/schema.js";
import type { Shape } from "../shape.js";
import type { Opcode } from "./opcodes.js";

/** What a derivative rule is given. */
export interface VjpArgs<A> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: A;
  /** The cotangent of output i; zeros where nothing downstream used that output. */
  cotangent(i?: number): Tensor;
  /** Whether input i needs a cotangent; rules skip work for those that do not. */
  needs(i: number): boolean;
}

/** A strided look at a value: no data of its own. */
export interface View {
  readonly shape: Shape;
  /** Elements from the start of the underlying memory. */
  readonly offset: number;
  /** Elements between neighbours along each axis; 0 repeats. */
  readonly strides: readonly number[];
}

/** One operand of a kernel call: which input or output, seen with these dims (default: its own shape). */
export interface KernelOperand {
  readonly index: number;
  readonly dims: Shape;
}

/** A call of a native kernel. All operands are contiguous. */
export interface KernelCall {
  readonly schema: Schema;
  readonly params: Readonly<Record<string, number | readonly number[]>>;
  /** Bytes after the parameters, for a schema with a tail. */
  readonly tail?: Uint8Array;
  readonly inputs: readonly KernelOperand[];
  readonly outputs: readonly KernelOperand[];
}

/** How an op becomes native records. */
export type Lowering<A> =
  /** One instruction of the elementwise interpreter. */
  | { readonly kind: "elementwise"; readonly opcode: Opcode }
  /** No record at all: another look at the input. Null when this needs the input contiguous first. */
  | { readonly kind: "view"; view(input: View, node: Node, attrs: A): View | null }
  /** A constant tensor, `attrs.value` everywhere; folded into the elementwise code that reads it. */
  | { readonly kind: "constant" }
  /** Inputs copied into boxes of the output; `fill` first, where boxes leave room. */
  | { readonly kind: "assemble"; plan(node: Node, attrs: A): AssemblePlan }
  /** A body that runs several times, see `LoopAttrs`. */
  | { readonly kind: "loop" }
  /** One native kernel. With `halves` it takes bf16 and f16 as they are; otherwise such operands are cast to f32 and back. */
  | { readonly kind: "kernel"; readonly halves?: boolean; call(node: Node, attrs: A): KernelCall };

/** How `assemble` lays its inputs out: input i starts at `starts[i]` of the output, its neighbours `steps[i]` apart. */
export interface AssemblePlan {
  readonly fill?: number;
  readonly starts: readonly (readonly number[])[];
  /** Default 1 everywhere. */
  readonly steps?: readonly (readonly number[])[];
}

/** A case for tests and benchmarks: input shapes (and dtypes) with attributes. */
export interface Sample<A = Attrs> {
  readonly inputs: readonly SampleInput[];
  readonly attrs: A;
}

/** How one input of a sample is drawn. */
export interface SampleInput {
  readonly shape: Shape;
  /** Defaults to the float type under test. */
  readonly dtype?: DType;
  /** Uniform range of the draw, default [-2, 2]; integers are drawn from [lo, hi). */
  readonly range?: readonly [number, number];
  /** Computes this input from the ones before it instead of drawing it: for residuals, which must fit them. */
  derive?(inputs: readonly Tensor[]): Tensor;
}

/** An operation. */
// biome-ignore lint/suspicious/noExplicitAny: definitions of all attribute types live in one table
export interface OpDef<A = any> {
  readonly name: string;
  /**
   * Only pure ops are merged, moved or dropped by passes. A check, and a collective, in which other devices take part, are
   * kept although nobody reads what they give.
   */
  readonly effect: "pure" | "random" | "barrier" | "state" | "check" | "collective";
  /**
   * The shape rule: avals of the outputs.
   *
   * @throws ShapeError or DTypeError naming the op, what was given, and the rule broken.
   */
  infer(inputs: readonly Aval[], attrs: A): readonly Aval[];
  /** Cotangents of the inputs, undefined where there is none. Without it, `decompose` is differentiated. */
  vjp?(args: VjpArgs<A>): readonly (Tensor | undefined)[];
  /** The op in terms of others; the meaning of its derivatives of higher order. Only the first outputs need be given. */
  decompose?(inputs: readonly Tensor[], attrs: A): readonly Tensor[];
  readonly lower: Lowering<A>;
  /** Pairs [output, input] that may share memory element for element. */
  readonly inPlace?: (node: Node) => readonly (readonly [number, number])[];
  /** The specification of cheap ops: float64, flat, row-major. */
  reference?(inputs: readonly Float64Array[], avals: readonly Aval[], attrs: A): readonly Float64Array[];
  samples?(): readonly Sample<A>[];
  /** Set for ops with no derivative (comparisons, random draws, updates). */
  readonly nondifferentiable?: boolean;
  /** Inputs whose products are summed: those that precision "bf16" rounds. The shape rule then takes `attrs.result`. */
  readonly factors?: readonly number[];
  /** Whether its kernel may store its first result, computed in f32, as a 16-bit type: the shape rule takes `attrs.result`. */
  readonly stores?: boolean;
  /** Inputs that its kernel reads in 16-bit types beside others of f32, as biases: the shape rule allows it with `attrs.result`. */
  readonly asStored?: readonly number[];
  /** Inputs of float type that carry no derivative all the same (residuals). */
  readonly hints?: readonly number[];
  /** Outputs that are residuals for the gradient and carry no derivative. */
  readonly residuals?: readonly number[];
  /** Whether its failure can depend on data (indices), so that the call's stack is worth keeping. */
  readonly canFail?: boolean;
}

const ops = new Map<string, OpDef>();
const schemas = new Map<string, Schema>();

function register<T>(kind: string, table: Map<string, T>, name: string, entry: T): void {
  if (table.has(name)) throw new UsageError(`${name}: ${kind} of that name exists already`);
  table.set(name, entry);
}

/**
 * Declares an op. Defining it is what makes it known: derivative checks, parity tests, fuzzing and the table of
 * operations in the documentation are generated from everything that has been defined. Packages of others define ops
 * in the same way; `examples/smooth` in the repository is one with a kernel of its own.
 *
 * @throws UsageError when an op of that name exists.
 * @example
 * const squaredDef = defineOp({
 *   name: "squared",
 *   effect: "pure",
 *   infer: ([x]) => [x as Aval],
 *   vjp: ({ inputs, cotangent }) => [cotangent().mul(2).mul(inputs[0] as Tensor)],
 *   lower: { kind: "elementwise", opcode: "square" },
 * });
 * const squared = (x: Tensor): Tensor => applyOne(squaredDef, [x], {});
 * grad((x: Tensor) => squared(x).sum())(tensor([3])).at(0); // 6
 */
export function defineOp<A extends Attrs>(def: OpDef<A>): OpDef<A> {
  register("an operation", ops, def.name, def);
  return def;
}

/**
 * Declares the parameter struct of a native op: fields in memory order, each at its natural alignment. The C++ struct of
 * an op of this repository is generated from it; kernels from outside declare the same one and its hash.
 *
 * @throws UsageError when the native op has one already.
 * @example
 * const { hash } = nativeSchema("smoothRows", { rows: "i64", cols: "i64", decay: "f64" });
 */
export function nativeSchema<const F extends Fields>(op: string, fields: F, tail = false): Schema<F> {
  const made = schema(op, fields, tail);
  register("a parameter struct", schemas, op, made);
  return made;
}

/**
 * The op of that name.
 *
 * @throws UsageError when there is none.
 */
export function definedOp(name: string): OpDef {
  const def = ops.get(name);
  if (!def) throw new UsageError(`no operation is named ${JSON.stringify(name)}`);
  return def;
}

/**
 * Every op that has been defined, in alphabetical order, those of other packages included: what tests, benchmarks and
 * documentation are generated from.
 *
 * @example
 * const [first] = definedOps(); // "abs"
 */
export const definedOps = (): readonly OpDef[] => sorted(ops);

/** Every parameter struct that has been declared, in alphabetical order. */
export const nativeSchemas = (): readonly Schema[] => sorted(schemas);

const sorted = <T>(table: ReadonlyMap<string, T>): readonly T[] =>
  [...table].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
