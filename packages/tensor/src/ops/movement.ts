// Operations that move elements without computing: most are views that cost nothing inside a program.

import { apply, applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import { recordOp } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { currentTrace } from "../core/trace.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Attrs, Aval } from "../ir/graph.js";
import {
  broadcastShapes,
  checkShape,
  resolveAxis,
  rowMajor,
  type Shape,
  sameShape,
  show,
  showShape,
  sizeOf,
} from "../shape.js";
import { defineOp, type View } from "./definition.js";
import { unbroadcast } from "./elementwise.js";
import { slice } from "./slicing.js";
import { gatherView, placeBoxes, wholeView } from "./views.js";

const first = (inputs: readonly Aval[]): Aval => inputs[0] as Aval;

/** Checks that an operand is a tensor. */
export function requireTensor(op: string, x: unknown): asserts x is Tensor {
  if (!(x instanceof Tensor)) throw new DTypeError(`${op}: expected a tensor, got ${show(x)}`);
}

const isDense = ({ shape, strides }: View): boolean => {
  const dense = rowMajor(shape);
  return shape.every((d, i) => d === 1 || strides[i] === dense[i]);
};

export const reshapeDef = defineOp<{ shape: Shape }>({
  name: "reshape",
  effect: "pure",
  infer: (inputs, { shape }) => {
    const x = first(inputs);
    if (sizeOf(shape) !== sizeOf(x.shape)) {
      throw new ShapeError(
        `reshape: ${showShape(x.shape)} has ${sizeOf(x.shape)} elements, ${showShape(shape)} needs ${sizeOf(shape)}`,
      );
    }
    return [{ shape, dtype: x.dtype }];
  },
  vjp: ({ inputs, cotangent }) => [reshape(cotangent(), (inputs[0] as Tensor).shape)],
  lower: {
    kind: "view",
    view: (input, _node, { shape }) =>
      isDense(input) ? { shape, offset: input.offset, strides: rowMajor(shape) } : null,
  },
  reference: ([x]) => [(x as Float64Array).slice()],
  samples: () => [
    { inputs: [{ shape: [2, 6] }], attrs: { shape: [3, 4] } },
    { inputs: [{ shape: [5] }], attrs: { shape: [1, 5, 1] } },
  ],
});

const transposeView = ({ shape, offset, strides }: View, perm: readonly number[]): View => ({
  shape: perm.map((axis) => shape[axis] as number),
  offset,
  strides: perm.map((axis) => strides[axis] as number),
});

const transposeDef = defineOp<{ perm: readonly number[] }>({
  name: "transpose",
  effect: "pure",
  infer: (inputs, { perm }) => [
    { shape: transposeView(wholeView(first(inputs)), perm).shape, dtype: first(inputs).dtype },
  ],
  vjp: ({ cotangent, attrs: { perm } }) => {
    const inverse = perm.map((_, i) => perm.indexOf(i));
    return [transpose(cotangent(), inverse)];
  },
  lower: { kind: "view", view: (input, _node, { perm }) => transposeView(input, perm) },
  reference: ([x], [aval], { perm }) => [gatherView(x as Float64Array, transposeView(wholeView(aval as Aval), perm))],
  samples: () => [
    { inputs: [{ shape: [3, 5] }], attrs: { perm: [1, 0] } },
    { inputs: [{ shape: [2, 3, 4] }], attrs: { perm: [2, 0, 1] } },
    { inputs: [{ shape: [2, 17, 33] }], attrs: { perm: [0, 2, 1] } },
  ],
});

const broadcastView = ({ shape, offset, strides }: View, to: Shape): View => {
  const lead = to.length - shape.length;
  return {
    shape: to,
    offset,
    strides: to.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : (strides[i - lead] as number))),
  };
};

const broadcastToDef = defineOp<{ shape: Shape }>({
  name: "broadcastTo",
  effect: "pure",
  infer: (inputs, { shape }) => {
    const x = first(inputs);
    if (!sameShape(broadcastShapes("broadcastTo", x.shape, shape), shape)) {
      throw new ShapeError(`broadcastTo: ${showShape(x.shape)} does not broadcast to ${showShape(shape)}`);
    }
    return [{ shape, dtype: x.dtype }];
  },
  vjp: ({ inputs, cotangent }) => [unbroadcast(cotangent(), (inputs[0] as Tensor).shape)],
  lower: { kind: "view", view: (input, _node, { shape }) => broadcastView(input, shape) },
  reference: ([x], [aval], { shape }) => [gatherView(x as Float64Array, broadcastView(wholeView(aval as Aval), shape))],
  samples: () => [
    { inputs: [{ shape: [3, 1] }], attrs: { shape: [2, 3, 5] } },
    { inputs: [{ shape: [] }], attrs: { shape: [4] } },
  ],
});

export const concatDef = defineOp<{ axis: number }>({
  name: "concat",
  effect: "pure",
  infer: (inputs, { axis }) => {
    const { shape, dtype } = first(inputs);
    for (const x of inputs) {
      const fits = x.shape.length === shape.length && x.shape.every((d, i) => i === axis || d === shape[i]);
      if (!fits)
        throw new ShapeError(
          `concat: shapes ${inputs.map((v) => showShape(v.shape)).join(", ")} differ outside axis ${axis}`,
        );
      if (x.dtype !== dtype)
        throw new DTypeError(`concat: the parts are ${inputs.map((v) => v.dtype).join(", ")}; cast them to one dtype`);
    }
    const total = inputs.reduce((n, x) => n + (x.shape[axis] as number), 0);
    return [{ shape: shape.map((d, i) => (i === axis ? total : d)), dtype }];
  },
  vjp: ({ inputs, cotangent, needs, attrs: { axis } }) => {
    let at = 0;
    return inputs.map((x, i) => {
      const starts = x.shape.map((_, k) => (k === axis ? at : 0));
      at += x.shape[axis] as number;
      return needs(i) ? slice(cotangent(), starts, x.shape) : undefined;
    });
  },
  lower: { kind: "assemble", plan: (node, { axis }) => ({ starts: concatStarts(node.inputs, axis) }) },
  reference: (inputs, avals, { axis }) => {
    const { shape } = concatDef.infer(avals, { axis })[0] as Aval;
    const starts = concatStarts(avals, axis);
    const boxes = inputs.map((data, i) => ({
      data,
      shape: (avals[i] as Aval).shape,
      start: starts[i] as readonly number[],
    }));
    return [placeBoxes(shape, 0, boxes)];
  },
  samples: () => [
    { inputs: [{ shape: [2] }, { shape: [3] }], attrs: { axis: 0 } },
    { inputs: [{ shape: [2, 3, 4] }, { shape: [2, 1, 4] }, { shape: [2, 5, 4] }], attrs: { axis: 1 } },
    { inputs: [{ shape: [3, 2] }, { shape: [3, 7] }], attrs: { axis: 1 } },
  ],
});

function concatStarts(parts: readonly Aval[], axis: number): number[][] {
  let at = 0;
  return parts.map(({ shape }) => {
    const start = shape.map((_, k) => (k === axis ? at : 0));
    at += shape[axis] as number;
    return start;
  });
}

const barrierDef = defineOp<Attrs>({
  name: "barrier",
  effect: "barrier",
  infer: (inputs) => [first(inputs)],
  vjp: ({ cotangent }) => [cotangent()],
  lower: { kind: "view", view: (input) => input },
  reference: ([x]) => [(x as Float64Array).slice()],
});

/** The same value, which no pass may merge with another computation of it. */
export const barrier = (x: Tensor): Tensor => applyOne(barrierDef, [x], {});

/**
 * The same elements in row-major order under another shape. Costs nothing.
 *
 * @param shape may hold -1 once, for the extent that makes the sizes equal.
 *
 * @example
 * reshape(ones([2, 6]), [3, -1]); // [3, 4]
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  requireTensor("reshape", x);
  const target = resolveReshape(x, shape);
  return view(x, target);
}

/** The elements of x under another shape: no work, but a handle of its own. */
function view(x: Tensor, target: Shape): Tensor {
  const attrs = { shape: target };
  if (currentTrace()) return sameShape(target, x.shape) ? x : applyOne(reshapeDef, [x], attrs);
  reshapeDef.infer([x], attrs);
  const output = x.alias(target);
  recordOp(reshapeDef, [x], attrs, [output]);
  return output;
}

function resolveReshape(x: Tensor, shape: Shape): Shape {
  if (!Array.isArray(shape)) throw new ShapeError(`reshape: expected a shape such as [2, -1], got ${show(shape)}`);
  const open = shape.indexOf(-1);
  const known = shape.filter((_, i) => i !== open);
  checkShape("reshape", known);
  if (open < 0) return [...shape];
  const rest = sizeOf(known);
  if (rest === 0 || x.size % rest !== 0)
    throw new ShapeError(
      `reshape: no extent in place of -1 makes ${showShape(shape)} hold the ${x.size} elements of ${showShape(x.shape)}`,
    );
  return shape.map((d, i) => (i === open ? x.size / rest : d));
}

/**
 * Reorders dimensions: output axis i is input axis `perm[i]`. Default: reversed.
 *
 * @example
 * transpose(ones([2, 3, 4]), [0, 2, 1]); // [2, 4, 3]
 */
export function transpose(x: Tensor, perm?: readonly number[]): Tensor {
  requireTensor("transpose", x);
  const order = perm ?? Array.from({ length: x.rank }, (_, i) => x.rank - 1 - i);
  if (!Array.isArray(order))
    throw new ShapeError(`transpose: expected a permutation such as [1, 0], got ${show(perm)}`);
  const axes = order.map((axis) => resolveAxis("transpose", axis, x.rank));
  if (axes.length !== x.rank || new Set(axes).size !== x.rank) {
    throw new ShapeError(`transpose: ${show(order)} is no permutation of the ${x.rank} axes of ${showShape(x.shape)}`);
  }
  return applyOne(transposeDef, [x], { perm: axes });
}

/**
 * Repeats along axes of extent 1 and along new leading axes.
 *
 * @example
 * broadcastTo(ones([1, 3]), [2, 3]); // [2, 3]
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  requireTensor("broadcastTo", x);
  checkShape("broadcastTo", shape);
  return sameShape(x.shape, shape) ? view(x, shape) : applyOne(broadcastToDef, [x], { shape: [...shape] });
}

/**
 * Joins tensors along an existing axis.
 *
 * @example
 * concat([ones([1, 3]), zeros([2, 3])]); // [3, 3]
 */
export function concat(parts: readonly Tensor[], axis = 0): Tensor {
  if (!Array.isArray(parts) || parts.length === 0)
    throw new ShapeError("concat: expected at least one tensor in an array");
  for (const part of parts) requireTensor("concat", part);
  const [head] = parts as [Tensor];
  if (head.rank === 0) throw new ShapeError("concat: scalars have no axis to join along; use stack");
  return apply(concatDef, parts, { axis: resolveAxis("concat", axis, head.rank) })[0] as Tensor;
}

/**
 * Joins tensors of equal shape along a new axis.
 *
 * @example
 * stack([ones([3]), zeros([3])]); // [2, 3]
 */
export function stack(parts: readonly Tensor[], axis = 0): Tensor {
  if (!Array.isArray(parts) || parts.length === 0)
    throw new ShapeError("stack: expected at least one tensor in an array");
  for (const part of parts) requireTensor("stack", part);
  const at = resolveAxis("stack", axis, (parts[0] as Tensor).rank + 1);
  return composed(() =>
    concat(
      parts.map((part) => reshape(part, part.shape.toSpliced(at, 0, 1))),
      at,
    ),
  );
}
