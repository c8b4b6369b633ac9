// Updates of whole parameter sets in one sweep over memory: Adam (Kingma & Ba 2015), AdamW (Loshchilov &
// Hutter 2019), exponential moving averages, and the sum of squares behind gradient clipping. Operands are
// grouped by role (update.ts): all parameters, then all gradients, and so on. No derivative flows through an update.

import { apply, applyOne, noAttrs } from "../core/apply.js";
import { Cell } from "../core/cell.js";
import { numberOperand, zeros } from "../core/create.js";
import type { Tensor } from "../core/tensor.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Attrs, Aval, Node } from "../ir/graph.js";
import { show } from "../shape.js";
import {
  checkBoolean,
  checkFinite,
  checkOptions,
  checkTensor,
  checkTensors,
  expectCompute,
  expectShape,
  expectWide,
} from "./checks.js";
import { defineOp, nativeSchema, type OpDef } from "./definition.js";
import type { TensorLike } from "./elementwise.js";
import {
  checkCells,
  checkLength,
  drawn,
  groupsOf,
  inferUpdate,
  type ParameterUpdate,
  rewrite,
  scalarOperand,
  scalarSample,
  shapeSets,
  updateCells,
  updateInPlace,
  updateReference,
  whole,
} from "./update.js";

const adamSchema = nativeSchema("adam", {
  count: "i32",
  decoupled: "i32",
  averaged: "i32",
  beta1: "f64",
  beta2: "f64",
  eps: "f64",
  weightDecay: "f64",
});
const emaUpdateSchema = nativeSchema("emaUpdate", { count: "i32" });
const sumSquaresSchema = nativeSchema("sumSquares", { count: "i32" });

/**
 * The constants of Adam; `decoupled` decides whether weight decay acts on the weights (AdamW) or the gradient. With
 * `averaged`, averages of the new weights move as those of emaUpdate do (pass `averages`).
 */
export type AdamAttrs = {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly decoupled: boolean;
  readonly averaged: boolean;
};

/** Operands of adam before the groups: lr, step, gradScale, and the decay of averages if there are any. */
export const adamScalars = ({ averaged }: Pick<AdamAttrs, "averaged">): number => 3 + Number(averaged);
/** Groups of adam's inputs: parameters, gradients, first and second moments, averages; the gradients have no output. */
export const adamGroups = ({ averaged }: Pick<AdamAttrs, "averaged">): number => 4 + Number(averaged);

export const adamDef: OpDef<AdamAttrs> = defineOp({
  name: "adam",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs, { averaged }) =>
    inferUpdate(
      "adam",
      inputs,
      ["lr", "step", "gradScale", ...(averaged ? ["decay"] : [])],
      ["m", "v", ...(averaged ? ["average"] : [])],
    ),
  lower: {
    kind: "kernel",
    call: (node, attrs) => {
      const { decoupled, averaged, ...constants } = attrs;
      const count = node.outputs.length / (adamGroups(attrs) - 1);
      return {
        schema: adamSchema,
        params: { count, decoupled: Number(decoupled), averaged: Number(averaged), ...constants },
        inputs: whole(node.inputs),
        outputs: whole(node.outputs),
      };
    },
  },
  inPlace: (node) => {
    const attrs = node.attrs as AdamAttrs;
    return updateInPlace(adamScalars(attrs), adamGroups(attrs))(node);
  },
  reference: (inputs, _avals, attrs) => {
    const { beta1, beta2, eps, weightDecay, decoupled, averaged } = attrs;
    return updateReference(
      "adam",
      inputs,
      adamScalars(attrs),
      adamGroups(attrs),
      ([lr = 0, step = 0, gradScale = 0, decay = 0], p, g, [m = 0, v = 0, average = 0]) => {
        const gradient = g * gradScale + (decoupled ? 0 : weightDecay * p);
        const m1 = beta1 * m + (1 - beta1) * gradient;
        const v1 = beta2 * v + (1 - beta2) * gradient * gradient;
        const denominator = Math.sqrt(v1) / Math.sqrt(1 - beta2 ** step) + eps;
        const decayed = decoupled ? p - lr * weightDecay * p : p;
        const p1 = decayed - ((lr / (1 - beta1 ** step)) * m1) / denominator;
        return [p1, m1, v1, ...(averaged ? [decay * average + (1 - decay) * p1] : [])];
      },
    );
  },
  samples: () =>
    [false, true].flatMap((averaged) =>
      shapeSets.map((shapes, i) => ({
        inputs: [
          scalarSample(1e-3, 1e-2),
          { shape: [], derive: ([lr]) => numberOperand("adam", 1 + 7 * i, (lr as Tensor).dtype) },
          scalarSample(0.5, 1),
          ...(averaged ? [scalarSample(0.9, 1)] : []),
          ...drawn(shapes),
          ...drawn(shapes),
          ...drawn(shapes),
          ...drawn(shapes, [0.01, 2]),
          ...(averaged ? drawn(shapes) : []),
        ],
        attrs: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, decoupled: i % 2 === 0, averaged },
      })),
    ),
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
      expectWide("emaUpdate", { decay, target, source });
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

/** What {@link adamUpdate} works on. */
export interface AdamUpdate extends ParameterUpdate {
  /** First moments, changed in place. */
  readonly m: readonly Cell[];
  /** Second moments, changed in place. */
  readonly v: readonly Cell[];
  /** The number of this update, counted from 1. */
  readonly step: TensorLike;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly eps?: number;
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
  const { m, v, lr, step, gradScale = 1 } = update;
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, decoupled = true } = update;
  for (const [name, x] of Object.entries({ beta1, beta2, eps, weightDecay })) checkFinite(op, name, x);
  checkBoolean(op, "decoupled", decoupled);
  const attrs = { beta1, beta2, eps, weightDecay, decoupled, averaged: false };
  updateCells(adamDef, attrs, { lr, step, gradScale }, update, { m, v });
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
