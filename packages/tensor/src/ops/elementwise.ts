// Elementwise operations: one value per element, operands broadcast under NumPy's rule. Their float64
// references are their specification; on the device they are instructions of one interpreter.

import { applyOne, noAttrs } from "../core/apply.js";
import { numberOperand, zeros } from "../core/create.js";
import { composed } from "../core/scope.js";
import { follow } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { checkDType, type DType, isFloat, promote } from "../dtype.js";
import { DTypeError } from "../errors.js";
import type { Attrs, Aval } from "../ir/graph.js";
import { broadcastShapes, type Shape, sameShape, show, sizeOf } from "../shape.js";
import { checkTensor } from "./checks.js";
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
function zip(f: (...xs: number[]) => number, inputs: readonly Float64Array[], avals: readonly Aval[]): Float64Array {
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

const binarySamples = (range: readonly [number, number]): Sample<Attrs>[] =>
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

function comparison(name: Opcode, f: (a: number, b: number) => boolean): OpDef<Attrs> {
  return defineOp<Attrs>({
    name,
    effect: "pure",
    infer: ([a, b]) => [{ shape: broadcastShapes(name, (a as Aval).shape, (b as Aval).shape), dtype: "bool" }],
    lower: { kind: "elementwise", opcode: name },
    reference: (inputs, avals) => [zip((a, b) => (f(a as number, b as number) ? 1 : 0), inputs, avals)],
    samples: () => binarySamples([-2, 2]),
    nondifferentiable: true,
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

/** Where the larger operand was: ties share the derivative equally, as the subgradient of least norm. */
function extremumRule(args: VjpArgs<Attrs>, first: (a: Tensor, b: Tensor) => Tensor): Tensor[] {
  const [a, b] = pair(args);
  const c = args.cotangent();
  const share = select(eq(a, b), 0.5, cast(first(a, b), c.dtype));
  return [mul(c, share), mul(c, sub(1, share))];
}

const addDef = binary(
  "add",
  (a, b) => a + b,
  (args) => [args.cotangent(), args.cotangent()],
);
const subDef = binary(
  "sub",
  (a, b) => a - b,
  (args) => [args.cotangent(), args.needs(1) ? neg(args.cotangent()) : undefined],
);
const mulDef = binary(
  "mul",
  (a, b) => a * b,
  (args) => {
    const [a, b] = pair(args);
    return [args.needs(0) ? mul(args.cotangent(), b) : undefined, args.needs(1) ? mul(args.cotangent(), a) : undefined];
  },
);
const divDef = binary(
  "div",
  (a, b) => a / b,
  (args) => {
    const [, b] = pair(args);
    const scaled = div(args.cotangent(), b);
    return [scaled, args.needs(1) ? neg(mul(scaled, out(args))) : undefined];
  },
  [0.5, 2],
);
export const maximumDef = binary(
  "maximum",
  (a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.max(a, b)),
  (args) => extremumRule(args, gt),
);
export const minimumDef = binary(
  "minimum",
  (a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.min(a, b)),
  (args) => extremumRule(args, lt),
);

const negDef = unary(
  "neg",
  (x) => -x,
  (args) => [neg(args.cotangent())],
  [-2, 2],
  false,
);
const expDef = unary("exp", Math.exp, (args) => [mul(args.cotangent(), out(args))]);
const logDef = unary("log", Math.log, (args) => [div(args.cotangent(), x0(args))], [0.2, 3]);
const sqrtDef = unary("sqrt", Math.sqrt, (args) => [div(args.cotangent(), mul(out(args), 2))], [0.2, 3]);
const rsqrtDef = unary(
  "rsqrt",
  (x) => 1 / Math.sqrt(x),
  (args) => {
    const y = out(args);
    return [mul(args.cotangent(), mul(mul(square(y), y), -0.5))];
  },
  [0.2, 3],
);
const squareDef = unary(
  "square",
  (x) => x * x,
  (args) => [mul(args.cotangent(), mul(x0(args), 2))],
  [-2, 2],
  false,
);
const tanhDef = unary("tanh", Math.tanh, (args) => [mul(args.cotangent(), sub(1, square(out(args))))]);
const sigmoidDef = unary(
  "sigmoid",
  (x) => 1 / (1 + Math.exp(-x)),
  (args) => {
    const y = out(args);
    return [mul(args.cotangent(), mul(y, sub(1, y)))];
  },
);
const sinDef = unary("sin", Math.sin, (args) => [mul(args.cotangent(), cos(x0(args)))]);
const cosDef = unary("cos", Math.cos, (args) => [neg(mul(args.cotangent(), sin(x0(args))))]);

const eqDef = comparison("eq", (a, b) => a === b);
export const neDef = comparison("ne", (a, b) => a !== b);
const ltDef = comparison("lt", (a, b) => a < b);
const leDef = comparison("le", (a, b) => a <= b);
const gtDef = comparison("gt", (a, b) => a > b);
const geDef = comparison("ge", (a, b) => a >= b);

const selectDef = defineOp<Attrs>({
  name: "select",
  effect: "pure",
  infer: ([condition, a, b]) => {
    if ((condition as Aval).dtype !== "bool")
      throw new DTypeError(
        `select: the condition must be bool, got ${(condition as Aval).dtype}; make it with a comparison such as x.gt(0)`,
      );
    return [
      {
        shape: broadcastShapes("select", ...[condition, a, b].map((v) => (v as Aval).shape)),
        dtype: (a as Aval).dtype,
      },
    ];
  },
  vjp: (args) => {
    const [condition, a, b] = args.inputs as [Tensor, Tensor, Tensor];
    const c = args.cotangent();
    const none = zeros([], c.dtype);
    return [
      undefined,
      args.needs(1) ? unbroadcast(select(condition, c, none), a.shape) : undefined,
      args.needs(2) ? unbroadcast(select(condition, none, c), b.shape) : undefined,
    ];
  },
  lower: { kind: "elementwise", opcode: "select" },
  reference: (inputs, avals) => [zip((condition, a, b) => (condition ? a : b) as number, inputs, avals)],
  samples: () => [
    { inputs: [{ shape: [7], dtype: "bool" }, { shape: [7] }, { shape: [7] }], attrs: noAttrs },
    { inputs: [{ shape: [3, 1], dtype: "bool" }, { shape: [5] }, { shape: [] }], attrs: noAttrs },
  ],
});

export const castDef = defineOp<{ dtype: DType }>({
  name: "cast",
  effect: "pure",
  infer: ([x], { dtype }) => [{ shape: (x as Aval).shape, dtype }],
  vjp: ({ inputs, cotangent }) => {
    const [x] = inputs as [Tensor];
    return [isFloat(x.dtype) ? cast(cotangent(), x.dtype) : undefined];
  },
  lower: { kind: "elementwise", opcode: "cast" },
});

/** Copies memory; what the runtime uses to move contents, never part of a user's graph. */
export const identityDef: OpDef<Attrs> = {
  name: "identity",
  effect: "pure",
  infer: ([x]) => [x as Aval],
  lower: { kind: "elementwise", opcode: "cast" },
};

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

/** Whether operands need nothing made for them: tensors of one type that arithmetic is done in. */
function ready(items: readonly TensorLike[]): items is readonly Tensor[] {
  const [first] = items;
  return (
    first instanceof Tensor &&
    first.dtype !== "bool" &&
    first.dtype !== "u8" &&
    items.every((item) => item instanceof Tensor && item.dtype === first.dtype)
  );
}

/** Bools and bytes as i32; the rest as it is. */
const widened = (items: readonly TensorLike[]): readonly TensorLike[] =>
  items.map((item) =>
    item instanceof Tensor && (item.dtype === "bool" || item.dtype === "u8") ? cast(item, "i32") : item,
  );

/** Arithmetic on bools and bytes is done, and stays, in i32, so that it cannot wrap. */
export function arithmetic(def: OpDef<Attrs>, items: readonly TensorLike[]): Tensor {
  if (ready(items)) return applyOne(def, items, noAttrs);
  return composed(() => {
    return applyOne(def, operands(def.name, widened(items)), noAttrs);
  });
}

/** Functions of floats; a number takes the type of a tensor beside it. */
export function float(def: OpDef<Attrs>, items: readonly TensorLike[]): Tensor {
  return ready(items) || (items.length === 1 && items[0] instanceof Tensor)
    ? applyOne(def, items as readonly Tensor[], noAttrs)
    : composed(() => applyOne(def, operands(def.name, items), noAttrs));
}

/** Comparisons. A number may lie outside a small type's range, so that bools and bytes meet it in i32. */
function compare(def: OpDef<Attrs>, items: readonly TensorLike[]): Tensor {
  if (ready(items)) return applyOne(def, items, noAttrs);
  const withNumber = items.some((item) => !(item instanceof Tensor));
  return composed(() => applyOne(def, operands(def.name, withNumber ? widened(items) : items), noAttrs));
}

/**
 * a + b, elementwise with broadcasting.
 *
 * @example
 * add(tensor([1, 2]), 1).at(1); // 3
 */
export const add = (a: TensorLike, b: TensorLike): Tensor => arithmetic(addDef, [a, b]);
/**
 * a − b.
 *
 * @example
 * sub(tensor([5]), 2).at(0); // 3
 */
export const sub = (a: TensorLike, b: TensorLike): Tensor => arithmetic(subDef, [a, b]);
/**
 * a · b, elementwise.
 *
 * @example
 * mul(tensor([2, 3]), tensor([4, 5])).at(1); // 15
 */
export const mul = (a: TensorLike, b: TensorLike): Tensor => arithmetic(mulDef, [a, b]);
/**
 * a / b; for integers the quotient truncated toward zero.
 *
 * @example
 * div(tensor([7]), 2).at(0); // 3.5
 */
export const div = (a: TensorLike, b: TensorLike): Tensor => arithmetic(divDef, [a, b]);
/**
 * The larger operand; NaN if either is NaN. Where they are equal each gets half of the derivative.
 *
 * @example
 * maximum(tensor([1, 5]), 3).sum(); // 8
 */
export const maximum = (a: TensorLike, b: TensorLike): Tensor => arithmetic(maximumDef, [a, b]);
/**
 * The smaller operand; NaN if either is NaN. Where they are equal each gets half of the derivative.
 *
 * @example
 * minimum(tensor([1, 5]), 3).sum(); // 4
 */
export const minimum = (a: TensorLike, b: TensorLike): Tensor => arithmetic(minimumDef, [a, b]);
/**
 * −x.
 *
 * @example
 * neg(tensor([2])).at(0); // -2
 */
export const neg = (x: TensorLike): Tensor => arithmetic(negDef, [x]);
/**
 * eˣ.
 *
 * @example
 * exp(tensor([0])).at(0); // 1
 */
export const exp = (x: TensorLike): Tensor => float(expDef, [x]);
/**
 * Natural logarithm; −∞ at 0, NaN below.
 *
 * @example
 * log(tensor([1])).at(0); // 0
 */
export const log = (x: TensorLike): Tensor => float(logDef, [x]);
/**
 * √x; NaN below 0.
 *
 * @example
 * sqrt(tensor([9])).at(0); // 3
 */
export const sqrt = (x: TensorLike): Tensor => float(sqrtDef, [x]);
/**
 * 1/√x.
 *
 * @example
 * rsqrt(tensor([4])).at(0); // 0.5
 */
export const rsqrt = (x: TensorLike): Tensor => float(rsqrtDef, [x]);
/**
 * x².
 *
 * @example
 * square(tensor([3])).at(0); // 9
 */
export const square = (x: TensorLike): Tensor => arithmetic(squareDef, [x]);
/**
 * Hyperbolic tangent.
 *
 * @example
 * tanh(tensor([0])).at(0); // 0
 */
export const tanh = (x: TensorLike): Tensor => float(tanhDef, [x]);
/**
 * 1 / (1 + e⁻ˣ).
 *
 * @example
 * sigmoid(tensor([0])).at(0); // 0.5
 */
export const sigmoid = (x: TensorLike): Tensor => float(sigmoidDef, [x]);
/**
 * Sine of x in radians.
 *
 * @example
 * sin(tensor([0])).at(0); // 0
 */
export const sin = (x: TensorLike): Tensor => float(sinDef, [x]);
/**
 * Cosine of x in radians.
 *
 * @example
 * cos(tensor([0])).at(0); // 1
 */
export const cos = (x: TensorLike): Tensor => float(cosDef, [x]);
/**
 * a = b, as bool.
 *
 * @example
 * eq(tensor([1, 2]), 2).cast("i32").sum(); // 1
 */
export const eq = (a: TensorLike, b: TensorLike): Tensor => compare(eqDef, [a, b]);
/**
 * a ≠ b, as bool; true where either is NaN.
 *
 * @example
 * ne(tensor([1, 2, 3]), 2).cast("i32").sum(); // 2
 */
export const ne = (a: TensorLike, b: TensorLike): Tensor => compare(neDef, [a, b]);
/**
 * a < b, as bool.
 *
 * @example
 * lt(tensor([1, 2, 3]), 2).cast("i32").sum(); // 1
 */
export const lt = (a: TensorLike, b: TensorLike): Tensor => compare(ltDef, [a, b]);
/**
 * a ≤ b, as bool.
 *
 * @example
 * le(tensor([1, 2, 3]), 2).cast("i32").sum(); // 2
 */
export const le = (a: TensorLike, b: TensorLike): Tensor => compare(leDef, [a, b]);
/**
 * a > b, as bool.
 *
 * @example
 * gt(tensor([1, 2, 3]), 2).cast("i32").sum(); // 1
 */
export const gt = (a: TensorLike, b: TensorLike): Tensor => compare(gtDef, [a, b]);
/**
 * a ≥ b, as bool.
 *
 * @example
 * ge(tensor([1, 2, 3]), 2).cast("i32").sum(); // 2
 */
export const ge = (a: TensorLike, b: TensorLike): Tensor => compare(geDef, [a, b]);

/**
 * `a` where the bool `condition` holds, `b` elsewhere.
 *
 * @example
 * const x = tensor([-1, 4]);
 * select(gt(x, 0), x, 0).sum(); // 4
 */
export function select(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  if (!(condition instanceof Tensor))
    throw new DTypeError(`select: the condition must be a bool tensor, got ${show(condition)}`);
  return composed(() => {
    const [x, y] = operands("select", [a, b]) as [Tensor, Tensor];
    return applyOne(selectDef, [condition, x, y], noAttrs);
  });
}

/**
 * Converts the element type. Floats become integers by truncation toward zero; anything non-zero becomes true.
 * To its own type a tensor is another handle of the same memory.
 *
 * @example
 * cast(tensor([1.7]), "i32").at(0); // 1
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkDType("cast", dtype);
  checkTensor("cast", "x", x);
  return x.dtype === dtype ? follow(x) : applyOne(castDef, [x], { dtype });
}

/**
 * x · sigmoid(x), the sigmoid-weighted linear unit (Elfwing et al. 2017).
 *
 * @example
 * silu(tensor([0])).at(0); // 0
 */
export const silu = (x: Tensor): Tensor => composed(() => mul(x, sigmoid(x)));
/**
 * max(x, 0).
 *
 * @example
 * relu(tensor([-1, 2])).sum(); // 2
 */
export const relu = (x: Tensor): Tensor => maximum(x, 0);
/**
 * a + t·(b − a).
 *
 * @example
 * lerp(scalar(2), 6, 0.25); // 3
 */
export const lerp = (a: TensorLike, b: TensorLike, t: TensorLike): Tensor => composed(() => add(a, mul(t, sub(b, a))));
