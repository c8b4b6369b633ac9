// RMSProp of whole parameter sets in one sweep (Tieleman & Hinton 2012, lecture 6.5; the centred form: Graves 2013,
// eq. 38–45), in PyTorch's form with eps outside the root.

import type { Cell } from "../core/cell.js";
import { UsageError } from "../errors.js";
import { checkFinite, checkOptions } from "./checks.js";
import { defineOp, nativeSchema, type OpDef } from "./definition.js";
import {
  drawn,
  inferUpdate,
  type ParameterUpdate,
  scalarSample,
  shapeSets,
  updateCells,
  updateInPlace,
  updateReference,
  whole,
} from "./update.js";

const rmspropSchema = nativeSchema("rmsprop", {
  count: "i32",
  centered: "i32",
  buffered: "i32",
  alpha: "f64",
  eps: "f64",
  momentum: "f64",
  weightDecay: "f64",
});

/** The constants of RMSProp; without `buffered` there is no momentum. */
export type RmspropAttrs = {
  readonly alpha: number;
  readonly eps: number;
  readonly momentum: number;
  readonly weightDecay: number;
  readonly centered: boolean;
  readonly buffered: boolean;
};

/** Operands before the groups: lr, gradScale. */
const scalars = 2;
/** Groups of the inputs: parameters, gradients, mean squares, and means and momentum buffers if there are any. */
const groupsOf = ({ centered, buffered }: Pick<RmspropAttrs, "centered" | "buffered">): number =>
  3 + Number(centered) + Number(buffered);

export const rmspropDef: OpDef<RmspropAttrs> = defineOp({
  name: "rmsprop",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs, { centered, buffered }) => {
    const states = ["mean square", ...(centered ? ["mean"] : []), ...(buffered ? ["buffer"] : [])];
    return inferUpdate("rmsprop", inputs, ["lr", "gradScale"], states);
  },
  lower: {
    kind: "kernel",
    call: (node, attrs) => {
      const { centered, buffered, ...constants } = attrs;
      const count = node.outputs.length / (groupsOf(attrs) - 1);
      return {
        schema: rmspropSchema,
        params: { count, centered: Number(centered), buffered: Number(buffered), ...constants },
        inputs: whole(node.inputs),
        outputs: whole(node.outputs),
      };
    },
  },
  inPlace: (node) => updateInPlace(scalars, groupsOf(node.attrs as RmspropAttrs))(node),
  reference: (inputs, _avals, attrs) =>
    updateReference("rmsprop", inputs, scalars, groupsOf(attrs), ([lr = 0, gradScale = 0], p, g, states) => {
      const { alpha, eps, momentum, weightDecay, centered, buffered } = attrs;
      const [square = 0, ...others] = states;
      const gradient = g * gradScale + weightDecay * p;
      const square1 = alpha * square + (1 - alpha) * gradient * gradient;
      const means = centered ? [alpha * (others.shift() ?? 0) + (1 - alpha) * gradient] : [];
      const variance = means.reduce((rest, mean) => Math.max(0, rest - mean * mean), square1);
      const step = gradient / (Math.sqrt(variance) + eps);
      const buffers = buffered ? [momentum * (others.shift() ?? 0) + step] : [];
      return [p - lr * (buffers[0] ?? step), square1, ...means, ...buffers];
    }),
  samples: () =>
    shapeSets.map((shapes, i) => {
      const [centered, buffered] = [i % 2 === 1, i > 1];
      return {
        inputs: [
          scalarSample(1e-3, 1e-2),
          scalarSample(0.5, 1),
          ...drawn(shapes),
          ...drawn(shapes),
          // At least the square of the mean, as the statistics of any gradients are.
          ...drawn(shapes, [1, 2]),
          ...(centered ? drawn(shapes, [-0.5, 0.5]) : []),
          ...(buffered ? drawn(shapes) : []),
        ],
        attrs: { alpha: 0.95, eps: 1e-8, momentum: buffered ? 0.9 : 0, weightDecay: 0.01, centered, buffered },
      };
    }),
});

/** What {@link rmspropUpdate} works on. */
export interface RmspropUpdate extends ParameterUpdate {
  /** Moving averages of the squared gradients, changed in place. */
  readonly squares: readonly Cell[];
  /** Moving averages of the gradients, changed in place; given for the centred form. */
  readonly means?: readonly Cell[];
  /** Momentum buffers, changed in place; needed if there is momentum. */
  readonly buffers?: readonly Cell[];
  /** Decay of the averages. Default 0.99. */
  readonly alpha?: number;
  /** Added to the root. Default 1e-8. */
  readonly eps?: number;
  /** How much of the last step each step keeps. Default 0. */
  readonly momentum?: number;
}

const keys = [
  "cells",
  "grads",
  "squares",
  "means",
  "buffers",
  "lr",
  "gradScale",
  "alpha",
  "eps",
  "momentum",
  "weightDecay",
];

/**
 * One RMSProp step of a parameter set in one sweep: g ← g + λ·p, s ← α·s + (1 − α)·g², p ← p − lr·g / (√s + eps). With
 * `means` m the root is that of s − m², kept from falling below 0 by rounding; with momentum the step is μ times the last
 * one more.
 *
 * @throws ShapeError when lists or shapes differ; UsageError when momentum and buffers do not come together; DTypeError
 * when a value is not what it should be.
 * @example
 * const zero = () => new Cell({ shape: [2], initial: () => [0, 0] });
 * const [weight, squares] = [zero(), zero()];
 * rmspropUpdate({ cells: [weight], grads: [ones([2])], squares: [squares], lr: 0.1, alpha: 0.75 });
 * weight.value.at(0); // -0.2
 */
export function rmspropUpdate(update: RmspropUpdate): void {
  const op = "rmspropUpdate";
  checkOptions(op, update, keys);
  const { lr, gradScale = 1, squares, means, buffers } = update;
  const { alpha = 0.99, eps = 1e-8, momentum = 0, weightDecay = 0 } = update;
  for (const [name, x] of Object.entries({ alpha, eps, momentum, weightDecay })) checkFinite(op, name, x);
  const buffered = momentum !== 0;
  if (buffered !== (buffers !== undefined))
    throw new UsageError(`${op}: momentum ${momentum} ${buffered ? "needs" : "takes no"} buffers`);
  const attrs = { alpha, eps, momentum, weightDecay, centered: means !== undefined, buffered };
  const states = { squares, ...(means ? { means } : {}), ...(buffers ? { buffers } : {}) };
  updateCells(rmspropDef, attrs, { lr, gradScale }, update, states);
}
