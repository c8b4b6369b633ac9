// The single door through which every operation goes: into the graph while a function is traced, to
// the device otherwise; and onto the tapes in both cases.

import type { Attrs } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { runEager } from "../runtime/eager.js";
import { withPrecisionAttr } from "./precision.js";
import { recordOp } from "./tape.js";
import type { Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";

/** Attributes of ops that have none. */
export const noAttrs: Attrs = Object.freeze({});

/** Applies an op to tensors and gives its outputs. */
export function apply<A extends Attrs>(def: OpDef<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
  const trace = currentTrace();
  const own = withPrecisionAttr(def, attrs);
  const outputs = trace ? trace.apply(def, inputs, own) : runEager(def, inputs, own);
  recordOp(def, inputs, own, outputs);
  return outputs;
}

/** Applies an op that has one output. */
export function applyOne<A extends Attrs>(def: OpDef<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  return apply(def, inputs, attrs)[0] as Tensor;
}
