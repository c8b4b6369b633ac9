// Updates of whole parameter sets in one sweep over memory: Adam (Kingma & Ba 2015), AdamW (Loshchilov &
// Hutter 2019), exponential moving averages, and the sum of squares behind gradient clipping. Operands are
// grouped by role: all parameters, then all gradients, and so on. No derivative flows through an update.

import { apply, applyOne, noAttrs } from "../core/apply.js";
import { Cell } from "../core/cell.js";
import { numberOperand, zeros } from "../core/create.js";
import { scope } from "../core/scope.js";
import { untaped } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Attrs, Aval, Node } from "../ir/graph.js";
import { type Shape, show } from "../shape.js";
import {
  checkBoolean,
  checkFinite,
  checkOptions,
  checkTensor,
  checkTensors,
  expectCompute,
  expectShape,
} from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type SampleInput } from "./definition.js";
import type { TensorLike } from "./elementwise.js";

const adamSchema = nativeSchema("adam", {
  count: "i32",
  decoupled: "i32",
  beta1: "f64",
  beta2: "f64",
  eps: "f64",
  weightDecay: "f64",
});
const emaUpdateSchema = nativeSchema("emaUpdate", { count: "i32" });
const sumSquaresSchema = nativeSchema("sumSquares", { count: "i32" });

/** The constants of Adam; `decoupled` decides whether weight decay acts on the weights (AdamW) or the gradient. */
export type AdamAttrs = {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly decoupled: boolean;
};

/** Operands of adam before the groups: lr, step, gradScale. */
const adamScalars = 3;
/** Groups of adam's inputs: parameters, gradients, first and second moments; the gradients have no output. */
const adamGroups = 4;

const whole = (avals: readonly Aval[]) => avals.map(({ shape }, index) => ({ index, dims: shape }));

/** Splits operands after the first `scalars` into equal groups. */
function groupsOf<T>(op: string, items: readonly T[], scalars: number, groups: number): readonly T[][] {
  const count = (items.length - scalars) / groups;
  if (!Number.isInteger(count) || count < 0)
    throw new ShapeError(`${op}: ${items.length} operands do not form ${groups} groups`);
  return Array.from({ length: groups }, (_, g) => items.slice(scalars + g * count, scalars + (g + 1) * count));
}

const shapeSets: readonly (readonly Shape[])[] = [[[1]], [[7], [3, 5], []], [[33, 65], [1000], [2, 3, 3, 4]], [[4099]]];

/** One sample input for each shape. */
const drawn = (shapes: readonly Shape[], range?: readonly [number, number]): SampleInput[] =>
  shapes.map((shape) => (range ? { shape, range } : { shape }));

const scalarSample = (lo: number, hi: number): SampleInput => ({ shape: [], range: [lo, hi] });

export const adamDef: OpDef<AdamAttrs> = defineOp({
  name: "adam",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs) => {
    const [lr, step, gradScale] = inputs as readonly [Aval, Aval, Aval];
    const [p, g, m, v] = groupsOf("adam", inputs, adamScalars, adamGroups) as [Aval[], Aval[], Aval[], Aval[]];
    for (const [name, aval] of Object.entries({ lr, step, gradScale })) expectShape("adam", name, aval, []);
    p.forEach((parameter, i) => {
      const roles = { parameter, gradient: g[i] as Aval, m: m[i] as Aval, v: v[i] as Aval };
      expectCompute("adam", { lr, step, gradScale, ...roles });
      for (const [role, aval] of Object.entries(roles)) expectShape("adam", `${role} ${i}`, aval, parameter.shape);
    });
    return [...p, ...m, ...v].map(({ shape, dtype }) => ({ shape, dtype }));
  },
  lower: {
    kind: "kernel",
    call: (node, { beta1, beta2, eps, weightDecay, decoupled }) => ({
      schema: adamSchema,
      params: { count: node.outputs.length / 3, decoupled: Number(decoupled), beta1, beta2, eps, weightDecay },
      inputs: whole(node.inputs),
      outputs: whole(node.outputs),
    }),
  },
  inPlace: ({ outputs }) => {
    const count = outputs.length / 3;
    return outputs.map((_, o) => {
      const group = Math.floor(o / count);
      return [o, adamScalars + (group === 0 ? 0 : group + 1) * count + (o % count)] as const;
    });
  },
  reference: (inputs, _avals, { beta1, beta2, eps, weightDecay, decoupled }) => {
    const [lr, step, gradScale] = inputs.slice(0, adamScalars).map((x) => x[0]) as [number, number, number];
    const [p, g, m, v] = groupsOf("adam", inputs, adamScalars, adamGroups) as Float64Array[][] as [
      Float64Array[],
      Float64Array[],
      Float64Array[],
      Float64Array[],
    ];
    const gradients = g.map((list, i) =>
      list.map((x, k) => x * gradScale + (decoupled ? 0 : weightDecay * ((p[i] as Float64Array)[k] as number))),
    );
    const blend = (beta: number, old: Float64Array, now: Float64Array): Float64Array =>
      old.map((x, k) => beta * x + (1 - beta) * (now[k] as number));
    const m1 = m.map((old, i) => blend(beta1, old, gradients[i] as Float64Array));
    const v1 = v.map((old, i) =>
      blend(
        beta2,
        old,
        (gradients[i] as Float64Array).map((x) => x * x),
      ),
    );
    const p1 = p.map((old, i) =>
      old.map((x, k) => {
        const denominator = Math.sqrt((v1[i] as Float64Array)[k] as number) / Math.sqrt(1 - beta2 ** step) + eps;
        const decayed = decoupled ? x - lr * weightDecay * x : x;
        return decayed - ((lr / (1 - beta1 ** step)) * ((m1[i] as Float64Array)[k] as number)) / denominator;
      }),
    );
    return [...p1, ...m1, ...v1];
  },
  samples: () =>
    shapeSets.map((shapes, i) => ({
      inputs: [
        scalarSample(1e-3, 1e-2),
        { shape: [], derive: ([lr]) => numberOperand("adam", 1 + 7 * i, (lr as Tensor).dtype) },
        scalarSample(0.5, 1),
        ...drawn(shapes),
        ...drawn(shapes),
        ...drawn(shapes),
        ...drawn(shapes, [0.01, 2]),
      ],
      attrs: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, decoupled: i % 2 === 0 },
    })),
});

export const emaUpdateDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "emaUpdate",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs) => {
    const decay = inputs[0] as Aval;
    const [targets, sources] = groupsOf("emaUpdate", inputs, 1, 2) as [Aval[], Aval[]];
    expectShape("emaUpdate", "decay", decay, []);
    targets.forEach((target, i) => {
      const source = sources[i] as Aval;
      expectCompute("emaUpdate", { decay, target, source });
      expectShape("emaUpdate", `source ${i}`, source, target.shape);
    });
    return targets.map(({ shape, dtype }) => ({ shape, dtype }));
  },
  lower: {
    kind: "kernel",
    call: (node) => ({
      schema: emaUpdateSchema,
      params: { count: node.outputs.length },
      inputs: whole(node.inputs),
      outputs: whole(node.outputs),
    }),
  },
  inPlace: ({ outputs }) => outputs.map((_, o) => [o, 1 + o] as const),
  reference: (inputs) => {
    const decay = inputs[0]?.[0] as number;
    const [targets, sources] = groupsOf("emaUpdate", inputs, 1, 2) as [Float64Array[], Float64Array[]];
    return targets.map((target, i) =>
      target.map((t, k) => decay * t + (1 - decay) * ((sources[i] as Float64Array)[k] as number)),
    );
  },
  samples: () =>
    shapeSets.map((shapes) => ({ inputs: [scalarSample(0.9, 1), ...drawn(shapes), ...drawn(shapes)], attrs: noAttrs })),
});

export const sumSquaresDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "sumSquares",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs) => {
    if (inputs.length === 0) throw new ShapeError("sumSquares: expected at least one operand");
    const dtype = expectCompute("sumSquares", Object.fromEntries(inputs.map((aval, i) => [`operand ${i}`, aval])));
    return [{ shape: [], dtype }];
  },
  lower: {
    kind: "kernel",
    call: (node: Node) => ({
      schema: sumSquaresSchema,
      params: { count: node.inputs.length },
      inputs: whole(node.inputs),
      outputs: whole(node.outputs),
    }),
  },
  reference: (inputs) => [
    Float64Array.of(inputs.reduce((total, x) => total + x.reduce((sum, value) => sum + value * value, 0), 0)),
  ],
  samples: () => shapeSets.map((shapes) => ({ inputs: drawn(shapes), attrs: noAttrs })),
});

/** What {@link adamUpdate} works on. Lists correspond entry by entry. */
export interface AdamUpdate {
  /** Parameters, changed in place. */
  readonly cells: readonly Cell[];
  /** Their gradients. */
  readonly grads: readonly Tensor[];
  /** First moments, changed in place. */
  readonly m: readonly Cell[];
  /** Second moments, changed in place. */
  readonly v: readonly Cell[];
  /** Learning rate: a number (frozen into compiled programs) or a 0-d tensor. */
  readonly lr: TensorLike;
  /** The number of this update, counted from 1. */
  readonly step: TensorLike;
  /** Factor of the gradients, for clipping and loss scaling. Default 1. */
  readonly gradScale?: TensorLike;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly eps?: number;
  /** Default 0. */
  readonly weightDecay?: number;
  /** Decay the weights directly (AdamW) instead of through the gradient. Default true. */
  readonly decoupled?: boolean;
}

const adamKeys = [
  "cells",
  "grads",
  "m",
  "v",
  "lr",
  "step",
  "gradScale",
  "beta1",
  "beta2",
  "eps",
  "weightDecay",
  "decoupled",
];

/**
 * One Adam or AdamW update of a parameter set in one sweep, with PyTorch's formula:
 * p ← p − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps).
 *
 * @throws ShapeError when lists or shapes differ; DTypeError when a value is not what it should be.
 * @example
 * const zero = () => new Cell({ shape: [2], initial: () => [0, 0] });
 * const [weight, m, v] = [zero(), zero(), zero()];
 * adamUpdate({ cells: [weight], grads: [ones([2])], m: [m], v: [v], lr: 0.1, step: 1 });
 * weight.value.at(0); // -0.1
 */
export function adamUpdate(update: AdamUpdate): void {
  const op = "adamUpdate";
  checkOptions(op, update, adamKeys);
  const { cells, grads, m, v, lr, step, gradScale = 1 } = update;
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, decoupled = true } = update;
  for (const [name, x] of Object.entries({ beta1, beta2, eps, weightDecay })) checkFinite(op, name, x);
  checkBoolean(op, "decoupled", decoupled);
  for (const [name, list] of Object.entries({ cells, m, v })) checkCells(op, name, list);
  checkTensors(op, "grads", grads);
  for (const [name, list] of Object.entries({ grads, m, v })) checkLength(op, name, list, cells);
  const first = cells[0];
  if (!first) return;
  const scalars = Object.entries({ lr, step, gradScale });
  rewrite([...cells, ...m, ...v], (read) =>
    apply(
      adamDef,
      [
        ...scalars.map(([name, x]) => scalarOperand(op, name, x, first)),
        ...cells.map(read),
        ...grads,
        ...m.map(read),
        ...v.map(read),
      ],
      { beta1, beta2, eps, weightDecay, decoupled },
    ),
  );
}

/**
 * Moves averages toward their sources in one sweep: target ← decay · target + (1 − decay) · source.
 *
 * @param decay a number (frozen into compiled programs) or a 0-d tensor.
 * @param targets cells, changed in place.
 * @param sources cells or tensors of the targets' shapes.
 * @throws ShapeError when lists or shapes differ; DTypeError when a value is not what it should be.
 * @example
 * const average = new Cell({ shape: [1], initial: () => [0] });
 * emaUpdate(0.75, [average], [ones([1])]);
 * average.value.at(0); // 0.25
 */
export function emaUpdate(decay: TensorLike, targets: readonly Cell[], sources: readonly (Cell | Tensor)[]): void {
  const op = "emaUpdate";
  checkCells(op, "targets", targets);
  if (!Array.isArray(sources))
    throw new DTypeError(`${op}: expected an array of cells or tensors for sources, got ${show(sources)}`);
  checkLength(op, "sources", sources, targets);
  sources.forEach((source, i) => {
    if (!(source instanceof Cell)) checkTensor(op, `sources[${i}]`, source);
  });
  const first = targets[0];
  if (!first) return;
  rewrite(targets, (read) =>
    apply(
      emaUpdateDef,
      [
        scalarOperand(op, "decay", decay, first),
        ...targets.map(read),
        ...sources.map((source: Cell | Tensor) => (source instanceof Cell ? read(source) : source)),
      ],
      noAttrs,
    ),
  );
}

/**
 * Σ x² over all elements of all tensors: the square of their global norm. Has no derivative.
 *
 * @returns a 0-d tensor; zero for no tensors.
 * @example
 * sqrt(sumSquares([tensor([3]), tensor([4])])); // 5
 */
export function sumSquares(tensors: readonly Tensor[]): Tensor {
  checkTensors("sumSquares", "tensors", tensors);
  return tensors.length === 0 ? zeros([]) : applyOne(sumSquaresDef, tensors, noAttrs);
}

/** Computes new values of cells from old ones and stores them. */
function rewrite(cells: readonly Cell[], compute: (read: (cell: Cell) => Tensor) => readonly Tensor[]): void {
  untaped(() =>
    scope(() => {
      const reads: Tensor[] = [];
      const values = compute((cell) => {
        const value = cell.value;
        reads.push(value);
        return value;
      });
      // Handles to the old values would make each cell keep them when it is overwritten.
      for (const read of reads) read.dispose();
      cells.forEach((cell, i) => {
        cell.set(values[i] as Tensor);
      });
    }),
  );
}

function scalarOperand(op: string, name: string, x: unknown, { dtype }: Cell): Tensor {
  if (typeof x === "number") return numberOperand(op, x, dtype);
  if (!(x instanceof Tensor))
    throw new DTypeError(`${op}: expected a number or a 0-d tensor for ${name}, got ${show(x)}`);
  expectShape(op, name, x, []);
  return x;
}

function checkCells(op: string, name: string, list: unknown): asserts list is readonly Cell[] {
  if (!Array.isArray(list) || !list.every((item) => item instanceof Cell)) {
    throw new DTypeError(`${op}: expected an array of cells for ${name}, got ${show(list)}`);
  }
}

function checkLength(op: string, name: string, list: readonly unknown[], cells: readonly Cell[]): void {
  if (list.length !== cells.length) {
    throw new ShapeError(`${op}: ${name} has ${list.length} entries for ${cells.length} cells`);
  }
}
