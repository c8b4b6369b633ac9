// Stochastic gradient descent of whole parameter sets in one sweep, with momentum (Polyak 1964) and Nesterov's
// look-ahead (Sutskever et al. 2013, eq. 3–4, in PyTorch's form with the learning rate outside the buffer).

import type { Cell } from "../core/cell.js";
import { UsageError } from "../errors.js";
import { checkBoolean, checkFinite, checkOptions } from "./checks.js";
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

const sgdSchema = nativeSchema("sgd", {
  count: "i32",
  buffered: "i32",
  nesterov: "i32",
  momentum: "f64",
  weightDecay: "f64",
});

/** The constants of gradient descent; without `buffered` there is no momentum. */
export type SgdAttrs = {
  readonly momentum: number;
  readonly buffered: boolean;
  readonly nesterov: boolean;
  readonly weightDecay: number;
};

/** Operands before the groups: lr, gradScale. */
const scalars = 2;
/** Groups of the inputs: parameters, gradients, and momentum buffers if there are any. */
const groupsOf = (buffered: boolean): number => (buffered ? 3 : 2);

export const sgdDef: OpDef<SgdAttrs> = defineOp({
  name: "sgd",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs, { buffered }) => inferUpdate("sgd", inputs, ["lr", "gradScale"], buffered ? ["buffer"] : []),
  lower: {
    kind: "kernel",
    call: (node, { momentum, buffered, nesterov, weightDecay }) => ({
      schema: sgdSchema,
      params: {
        count: node.outputs.length / (groupsOf(buffered) - 1),
        buffered: Number(buffered),
        nesterov: Number(nesterov),
        momentum,
        weightDecay,
      },
      inputs: whole(node.inputs),
      outputs: whole(node.outputs),
    }),
  },
  inPlace: (node) => updateInPlace(scalars, groupsOf(Boolean(node.attrs.buffered)))(node),
  reference: (inputs, _avals, { momentum, buffered, nesterov, weightDecay }) =>
    updateReference("sgd", inputs, scalars, groupsOf(buffered), ([lr = 0, gradScale = 0], p, g, [b = 0]) => {
      const gradient = g * gradScale + weightDecay * p;
      if (!buffered) return [p - lr * gradient];
      const b1 = momentum * b + gradient;
      return [p - lr * (nesterov ? gradient + momentum * b1 : b1), b1];
    }),
  samples: () =>
    shapeSets.map((shapes, i) => {
      const buffered = i > 0;
      return {
        inputs: [
          scalarSample(1e-2, 1e-1),
          scalarSample(0.5, 1),
          ...drawn(shapes),
          ...drawn(shapes),
          ...(buffered ? drawn(shapes) : []),
        ],
        attrs: { momentum: buffered ? 0.9 : 0, buffered, nesterov: i > 1, weightDecay: 0.01 },
      };
    }),
});

/** What {@link sgdUpdate} works on. */
export interface SgdUpdate extends ParameterUpdate {
  /** Momentum buffers, changed in place; needed if there is momentum. */
  readonly buffers?: readonly Cell[];
  /** How much of the last step each step keeps. Default 0. */
  readonly momentum?: number;
  /** Step from where the momentum leads. Default false. */
  readonly nesterov?: boolean;
}

const keys = ["cells", "grads", "buffers", "lr", "gradScale", "momentum", "nesterov", "weightDecay"];

/**
 * One step of gradient descent of a parameter set in one sweep: g ← g + λ·p, b ← μ·b + g, and p ← p − lr·b, with
 * Nesterov p ← p − lr·(g + μ·b), without momentum p ← p − lr·g.
 *
 * @throws ShapeError when lists or shapes differ; UsageError when momentum and buffers do not come together or
 * Nesterov's form is asked for without them; DTypeError when a value is not what it should be.
 * @example
 * const zero = () => new Cell({ shape: [2], initial: () => [0, 0] });
 * const [weight, buffer] = [zero(), zero()];
 * sgdUpdate({ cells: [weight], grads: [ones([2])], buffers: [buffer], lr: 0.1, momentum: 0.9, nesterov: true });
 * weight.value.at(0); // -0.19
 */
export function sgdUpdate(update: SgdUpdate): void {
  const op = "sgdUpdate";
  checkOptions(op, update, keys);
  const { lr, gradScale = 1, buffers, momentum = 0, nesterov = false, weightDecay = 0 } = update;
  checkFinite(op, "momentum", momentum);
  checkFinite(op, "weightDecay", weightDecay);
  checkBoolean(op, "nesterov", nesterov);
  const buffered = momentum !== 0;
  if (buffered !== (buffers !== undefined))
    throw new UsageError(`${op}: momentum ${momentum} ${buffered ? "needs" : "takes no"} buffers`);
  if (nesterov && !buffered) throw new UsageError(`${op}: nesterov needs momentum, got ${momentum}`);
  const attrs = { momentum, buffered, nesterov, weightDecay };
  updateCells(sgdDef, attrs, { lr, gradScale }, update, buffers ? { buffers } : {});
}
