// The order of elements along an axis: sort, argsort, and the first few of each row.

import { apply } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { resolveAxis, type Shape, show, showShape, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { checkBoolean, checkInteger, checkOptions, checkTensor, expectCount } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { transpose } from "./movement.js";
import { scatterAddAlongDef } from "./takeAlong.js";

const sortSchema = nativeSchema("sort", { rows: "i64", cols: "i64", count: "i64", descending: "i32" });

/** How many of each row's first elements are wanted, and in which order. */
export type SortAttrs = { readonly count: number; readonly descending: boolean };

/** Elements in order, and where they stood: i32. */
export interface Sorted {
  readonly values: Tensor;
  readonly indices: Tensor;
}

/** How elements are ordered. */
export interface SortOptions {
  /** Negative counts from the end. Default −1. */
  readonly axis?: number;
  /** The greatest first. Default false. */
  readonly descending?: boolean;
}

/** Which elements come first. */
export interface TopkOptions {
  /** The greatest when true, the least when false. Default true. */
  readonly largest?: boolean;
}

/** Rows, their length, how many of their elements are wanted; ranges of few integers have ties. */
const cases: readonly (readonly [Shape, number, boolean])[] = [
  [[1], 1, false],
  [[5], 5, true],
  [[3, 7], 7, false],
  [[2, 3, 5], 2, true],
  [[4, 33], 33, true],
  [[7, 100], 9, true],
  [[7, 100], 9, false],
  [[3, 1000], 1000, false],
  [[2, 5003], 40, true],
  [[2, 5003], 2000, false],
  [[1, 140001], 140001, false],
];

function inferSort(inputs: readonly Aval[], { count }: SortAttrs): Aval[] {
  expectCount("sort", inputs, 1);
  const { shape, dtype } = inputs[0] as Aval;
  if (shape.length < 1) throw new ShapeError(`sort: expected [..., N], got shape ${showShape(shape)}`);
  if (!isFloat(dtype) && dtype !== "i32")
    throw new DTypeError(`sort orders floats or i32, got ${dtype} ${showShape(shape)}: cast it first`);
  if (!Number.isInteger(count) || count < 0 || count > (shape.at(-1) as number))
    throw new ShapeError(`sort: rows of ${showShape(shape)} do not have ${show(count)} elements`);
  const sorted = [...shape.slice(0, -1), count];
  return [
    { shape: sorted, dtype },
    { shape: sorted, dtype: "i32" },
  ];
}

export const sortDef: OpDef<SortAttrs> = defineOp<SortAttrs>({
  name: "sort",
  effect: "pure",
  // Places have no derivative.
  residuals: [1],
  infer: inferSort,
  vjp: ({ inputs, outputs, cotangent }) => {
    const axis = (inputs[0] as Tensor).rank - 1;
    const size = (inputs[0] as Tensor).dim(-1);
    return [apply(scatterAddAlongDef, [cotangent(0), outputs[1] as Tensor], { axis, size })[0]];
  },
  lower: {
    kind: "kernel",
    call: (node: Node, { count, descending }) => {
      const { shape } = node.inputs[0] as Aval;
      const [rows, cols] = [sizeOf(shape.slice(0, -1)), shape.at(-1) as number];
      return {
        schema: sortSchema,
        params: { rows, cols, count, descending: Number(descending) },
        inputs: [{ index: 0, dims: [rows, cols] }],
        outputs: [0, 1].map((index) => ({ index, dims: [rows, count] })),
      };
    },
  },
  reference: ([x], [aval], { count, descending }) => {
    const cols = (aval as Aval).shape.at(-1) as number;
    const rows = cols === 0 ? 0 : (x as Float64Array).length / cols;
    const values = new Float64Array(rows * count);
    const indices = new Float64Array(rows * count);
    for (let r = 0; r < rows; r++) {
      const row = (x as Float64Array).subarray(r * cols, (r + 1) * cols);
      const last = (value: number): number => Number(Number.isNaN(value));
      const order = Array.from(row.keys()).sort((i, j) => {
        const [a, b] = [row[i] as number, row[j] as number];
        return last(a) - last(b) || (descending ? b - a : a - b) || 0;
      });
      for (let k = 0; k < count; k++) {
        indices[r * count + k] = order[k] as number;
        values[r * count + k] = row[order[k] as number] as number;
      }
    }
    return [values, indices];
  },
  samples: (): Sample<SortAttrs>[] => [
    // Far from each other, so that finite differences do not change the order.
    ...cases.map(([shape, count, descending]) => ({
      inputs: [{ shape, range: [-1000, 1000] as const }],
      attrs: { count, descending },
    })),
    ...cases.map(([shape, count, descending]) => ({
      inputs: [{ shape, dtype: "i32" as const, range: [-9, 9] as const }],
      attrs: { count, descending },
    })),
  ],
});

/** The first `count` along the last axis, whatever the dtype. */
function ordered(x: Tensor, attrs: SortAttrs): Sorted {
  const comparable = isFloat(x.dtype) || x.dtype === "i32";
  const operand = comparable ? x : cast(x, "i32");
  const [values, indices] = apply(sortDef, [operand], attrs) as readonly [Tensor, Tensor];
  return { values: comparable ? values : cast(values, x.dtype), indices };
}

function sortAlong(op: string, x: Tensor, options: SortOptions): Sorted {
  checkTensor(op, "x", x);
  checkOptions(op, options, ["axis", "descending"]);
  const { axis = -1, descending = false } = options;
  checkBoolean(op, "descending", descending);
  const resolved = resolveAxis(op, axis, x.rank);
  const attrs = { count: x.dim(resolved), descending };
  const perm = Array.from({ length: x.rank }, (_, i) => i);
  if (resolved === x.rank - 1) return ordered(x, attrs);
  [perm[resolved], perm[x.rank - 1]] = [x.rank - 1, resolved];
  const { values, indices } = ordered(transpose(x, perm), attrs);
  return { values: transpose(values, perm), indices: transpose(indices, perm) };
}

/**
 * Elements in order along an axis, with the places where they stood. Equal elements keep their order, zeros of both
 * signs are equal, and NaN comes last, ascending or descending. The values' derivative goes to where they stood.
 *
 * @param x at least one dimension.
 * @returns `values` and `indices` (i32), both of x's shape: values = takeAlong(x, indices, axis).
 * @throws ShapeError when the axis is out of range.
 * @example
 * sort(tensor([3, 1, 2])).values.at(0); // 1
 * sort(tensor([3, 1, 2]), { descending: true }).indices.at(1); // 2
 */
export const sort = (x: Tensor, options: SortOptions = {}): Sorted => composed(() => sortAlong("sort", x, options));

/**
 * The places of elements in order along an axis: what {@link sort} gives as indices.
 *
 * @param x at least one dimension.
 * @returns i32 of x's shape.
 * @throws ShapeError when the axis is out of range.
 * @example
 * argsort(tensor([3, 1, 2])).at(0); // 1
 */
export const argsort = (x: Tensor, options: SortOptions = {}): Tensor =>
  composed(() => sortAlong("argsort", x, options).indices);

/**
 * The k greatest elements of each row, greatest first, with their places; or the k least, least first. Ties and NaN
 * as in {@link sort}: the first of equal elements comes first, NaN last.
 *
 * @param x [..., N].
 * @param k from 0 to N.
 * @returns `values` and `indices` (i32), both [..., k].
 * @throws ShapeError when rows have fewer than k elements.
 * @example
 * topk(tensor([[1, 9, 4], [7, 2, 8]]), 2).indices; // [2, 2]
 * topk(tensor([1, 9, 4]), 2).values.at(1); // 4
 */
export function topk(x: Tensor, k: number, options: TopkOptions = {}): Sorted {
  checkTensor("topk", "x", x);
  checkOptions("topk", options, ["largest"]);
  const { largest = true } = options;
  checkBoolean("topk", "largest", largest);
  checkInteger("topk", "k", k, 0);
  if (x.rank < 1 || k > x.dim(-1))
    throw new ShapeError(`topk: rows of ${showShape(x.shape)} do not have ${k} elements`);
  return composed(() => ordered(x, { count: k, descending: largest }));
}
