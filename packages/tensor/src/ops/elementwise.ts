// Elementwise operations: one value per element, operands broadcast under NumPy's rule. Their float64
// references are their specification; on the device they are instructions of one interpreter.

import { applyOne, noAttrs } from "../core/apply.js";
import { numberOperand } from "../core/create.js";
import { composed } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { type DType, isFloat, promote } from "../dtype.js";
import { DTypeError } from "../errors.js";
import type { Attrs, Aval } from "../ir/graph.js";
import { broadcastShapes, type Shape, sameShape, show, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { defineOp, type OpDef, type Sample, type VjpArgs } from "./definition.js";
import { reshape } from "./movement.js";
import type { Opcode } from "./opcodes.js";
import { sum } from "./reduce.js";

/** A tensor or a JavaScript number, which takes the other operand's dtype. */
export type TensorLike = Tensor | number;

type Unary = (x: number) => number;
type Binary = (a: number, b: number) => number;
type Rule = (args: VjpArgs<Attrs>) => readonly (Tensor | undefined)[];

/** Sums a cotangent over the axes along which an operand was broadcast. */
export function unbroadcast(cotangent: Tensor, shape: Shape): Tensor {
  if (sameShape(cotangent.shape, shape)) return cotangent;
  const lead = cotangent.rank - shape.length;
  const axes = cotangent.shape.flatMap((d, i) => (i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : []));
  return reshape(sum(cotangent, axes), shape);
}

function requireFloat(op: string, { dtype }: Aval): void {
  if (!isFloat(dtype))
    throw new DTypeError(`${op}: expected a float tensor, got ${dtype}; cast it first, for example x.cast("f32")`);
}

/** Declares an op of one operand. */
export function unary(
  name: Opcode,
  f: Unary,
  rule: Rule,
  range: readonly [number, number] = [-2, 2],
  float = true,
): OpDef<Attrs> {
  return defineOp<Attrs>({
    name,
    effect: "pure",
    infer: ([x]) => {
      if (float) requireFloat(name, x as Aval);
      return [x as Aval];
    },
    vjp: rule,
    lower: { kind: "elementwise", opcode: name },
    reference: ([x]) => [(x as Float64Array).map(f)],
    samples: () => [[1], [7], [3, 5], [2, 1, 67]].map((shape) => ({ inputs: [{ shape, range }], attrs: noAttrs })),
  });
}

/** Runs a float64 function over broadcast operands. */
export function zip(
  f: (...xs: number[]) => number,
  inputs: readonly Float64Array[],
  avals: readonly Aval[],
): Float64Array {
  const shape = broadcastShapes("reference", ...avals.map((aval) => aval.shape));
  const readers = avals.map((aval, k) => broadcastReader(inputs[k] as Float64Array, aval.shape, shape));
  return Float64Array.from({ length: sizeOf(shape) }, (_, i) => f(...readers.map((read) => read(i))));
}

function broadcastReader(data: Float64Array, from: Shape, to: Shape): (i: number) => number {
  const lead = to.length - from.length;
  return (i) => {
    let rest = i;
    let step = 1;
    let at = 0;
    for (let axis = to.length - 1; axis >= 0; axis--) {
      const extent = to[axis] as number;
      const index = rest % extent;
      rest = Math.floor(rest / extent);
      const own = axis >= lead ? (from[axis - lead] as number) : 1;
      if (own !== 1) at += index * step;
      step *= own;
    }
    return data[at] as number;
  };
}

const binaryShapes: readonly (readonly [Shape, Shape])[] = [
  [[1], [1]],
  [[7], [7]],
  [[3, 5], [5]],
  [
    [2, 1, 4],
    [3, 1],
  ],
  [[], [6]],
];

export const binarySamples = (range: readonly [number, number]): Sample<Attrs>[] =>
  binaryShapes.map(([a, b]) => ({
    inputs: [
      { shape: a, range },
      { shape: b, range },
    ],
    attrs: noAttrs,
  }));

/** Declares an op of two operands, which broadcast. */
export function binary(
  name: Opcode,
  f: Binary,
  rule: Rule,
  range: readonly [number, number] = [-2, 2],
  float = false,
): OpDef<Attrs> {
  return defineOp<Attrs>({
    name,
    effect: "pure",
    infer: ([a, b]) => {
      if (float) requireFloat(name, a as Aval);
      const shape = broadcastShapes(name, (a as Aval).shape, (b as Aval).shape);
      return [{ shape, dtype: (a as Aval).dtype }];
    },
    vjp: (args) => {
      const cotangents = rule(args);
      return cotangents.map((c, i) =>
        c && args.needs(i) ? unbroadcast(c, (args.inputs[i] as Tensor).shape) : undefined,
      );
    },
    lower: { kind: "elementwise", opcode: name },
    reference: (inputs, avals) => [zip(f as (...xs: number[]) => number, inputs, avals)],
    samples: () => binarySamples(range),
  });
}

/** The two operands that a rule is given. */
export const pair = ({ inputs }: VjpArgs<Attrs>): readonly [Tensor, Tensor] => [
  inputs[0] as Tensor,
  inputs[1] as Tensor,
];
/** The result that a rule is given. */
export const out = ({ outputs }: VjpArgs<Attrs>): Tensor => outputs[0] as Tensor;
/** The only operand that a rule is given. */
export const x0 = ({ inputs }: VjpArgs<Attrs>): Tensor => inputs[0] as Tensor;

/** Brings operands to one dtype: numbers take the tensors' type, integers and bools join floats. */
export function operands(op: string, items: readonly TensorLike[]): Tensor[] {
  const tensors = items.filter((item): item is Tensor => item instanceof Tensor);
  const bad = items.find((item) => !(item instanceof Tensor) && typeof item !== "number");
  if (bad !== undefined || items.some((item) => item === undefined))
    throw new DTypeError(`${op}: expected tensors or numbers, got ${show(bad)}`);
  const first = tensors[0];
  if (!first) return (items as number[]).map((item) => numberOperand(op, item, "f32"));
  const dtype = tensors.slice(1).reduce<DType>((type, x) => promote(op, type, x.dtype), first.dtype);
  return items.map((item) => (item instanceof Tensor ? toType(item, dtype) : numberOperand(op, item, dtype)));
}

const toType = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : cast(x, dtype));

/**
 * Operands for which no memory has to be made: tensors of one type that arithmetic is done in, and the numbers beside them,
 * which take it and travel with the call. Undefined for others.
 */
export function ready(op: string, items: readonly TensorLike[]): readonly Tensor[] | undefined {
  let dtype: DType | undefined;
  for (const item of items) {
    if (typeof item === "number") continue;
    if (!(item instanceof Tensor) || item.dtype === "bool" || item.dtype === "u8") return undefined;
    dtype ??= item.dtype;
    if (item.dtype !== dtype) return undefined;
  }
  if (dtype === undefined) return undefined;
  const type = dtype;
  return items.map((item) => (typeof item === "number" ? numberOperand(op, item, type) : item));
}

/** Bools and bytes as i32; the rest as it is. */
export const widened = (items: readonly TensorLike[]): readonly TensorLike[] =>
  items.map((item) =>
    item instanceof Tensor && (item.dtype === "bool" || item.dtype === "u8") ? cast(item, "i32") : item,
  );

/** Arithmetic on bools and bytes is done, and stays, in i32, so that it cannot wrap. */
export function arithmetic(def: OpDef<Attrs>, items: readonly TensorLike[]): Tensor {
  const known = ready(def.name, items);
  if (known) return applyOne(def, known, noAttrs);
  return composed(() => applyOne(def, operands(def.name, widened(items)), noAttrs));
}

/** Functions of floats; a number takes the type of a tensor beside it. */
export function float(def: OpDef<Attrs>, items: readonly TensorLike[]): Tensor {
  const [first] = items;
  if (items.length === 1 && first instanceof Tensor) return applyOne(def, [first], noAttrs);
  const known = ready(def.name, items);
  if (known) return applyOne(def, known, noAttrs);
  return composed(() => applyOne(def, operands(def.name, items), noAttrs));
}
