// Comparisons, which give bools, and the choice by them.

import { applyOne, noAttrs } from "../core/apply.js";
import { zeros } from "../core/create.js";
import { composed } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { DTypeError } from "../errors.js";
import type { Attrs, Aval } from "../ir/graph.js";
import { broadcastShapes, show } from "../shape.js";
import { defineOp, type OpDef } from "./definition.js";
import { binarySamples, operands, ready, type TensorLike, unbroadcast, widened, zip } from "./elementwise.js";
import type { Opcode } from "./opcodes.js";

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

/** Comparisons. A number may lie outside a small type's range, so that bools and bytes meet it in i32. */
function compare(def: OpDef<Attrs>, items: readonly TensorLike[]): Tensor {
  const known = ready(def.name, items);
  if (known) return applyOne(def, known, noAttrs);
  const withNumber = items.some((item) => !(item instanceof Tensor));
  return composed(() => applyOne(def, operands(def.name, withNumber ? widened(items) : items), noAttrs));
}

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
