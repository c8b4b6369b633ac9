// Activations after group and batch norms are the norms' own: kernels apply them where they store. So are their derivatives,
// whose kernels find the slopes anew from what was normalised, and no pass of its own reads or writes the values between.

import { type Graph, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { readersOf } from "../ir/readers.js";
import type { NormActivationAttrs } from "../ops/activation.js";
import { followedBy } from "../ops/affineNorm.js";
import { batchNormDef, batchNormGradDef } from "../ops/batchNorm.js";
import type { OpDef } from "../ops/definition.js";
import { groupNormDef, groupNormGradDef } from "../ops/norm.js";
import { sameShape } from "../shape.js";
import { beside, type Derivative, derivativeOf } from "./derivatives.js";
import { constantOf } from "./fold.js";

/** Derivatives and what they are of. Operands: x, gamma, beta, and of derivatives two statistics and dy. */
const norms: ReadonlyMap<OpDef, OpDef> = new Map<OpDef, OpDef>([
  [groupNormGradDef as OpDef, groupNormDef as OpDef],
  [batchNormGradDef as OpDef, batchNormDef as OpDef],
]);
const forwards: ReadonlySet<OpDef> = new Set(norms.values());

const isLinear = (node: Node): boolean => node.attrs.activation === "linear";

/** Gives norms the activations after them, and their derivatives those before. */
export function activateNorms(graph: Graph): Graph {
  const readers = readersOf(graph);
  const soleReader = (value: Value, reader: Node): boolean =>
    (readers.get(value) ?? []).every((node) => node === reader);
  const results = new Map<Value, Value>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    const { def, attrs, outputs, path } = node;
    const made = results.get(outputs[0] as Value);
    if (made) return [made];
    if (forwards.has(def) && isLinear(node)) {
      const [y] = outputs as readonly [Value];
      const after = activationOf(y, new Set(readers.get(y)), soleReader);
      if (!after) return undefined;
      const activated = builder.node(def, inputs, { ...attrs, ...after.attrs }, outputs, path).outputs;
      results.set(after.result, activated[0] as Value);
      return activated;
    }
    const norm = norms.get(def);
    const before = norm && isLinear(node) && derivativeOf(inputs.at(-1) as Value);
    if (!before || !isOf(before, norm, inputs)) return undefined;
    return builder.node(def, [...inputs.slice(0, -1), before.cotangent], { ...attrs, ...before.attrs }, outputs, path)
      .outputs;
  });
}

/** The activation that all readers of y are, and its result. */
function activationOf(
  y: Value,
  readers: ReadonlySet<Node | null>,
  soleReader: (value: Value, reader: Node) => boolean,
): { attrs: NormActivationAttrs; result: Value } | undefined {
  const named = (name: string): Node | undefined => [...readers].find((node) => node?.def.name === name) ?? undefined;
  const resultOf = ({ outputs: [result] }: Node, attrs: NormActivationAttrs) =>
    // Constants may be of shapes that y is repeated to.
    result && sameShape(result.shape, y.shape) ? { attrs, result } : undefined;
  const [maximum, sigmoid, mul, gt, select] = ["maximum", "sigmoid", "mul", "gt", "select"].map(named);
  if (maximum && readers.size === 1)
    return constantOf(beside(maximum, y)) === 0 ? resultOf(maximum, followedBy("relu")) : undefined;
  const product = mul?.outputs[0];
  if (!mul || !product) return undefined;
  if (sigmoid && readers.size === 2) {
    const [gate] = sigmoid.outputs as readonly [Value];
    return beside(mul, y) === gate && soleReader(gate, mul) ? resultOf(mul, followedBy("silu")) : undefined;
  }
  const slope = constantOf(beside(mul, y));
  if (!gt || !select || readers.size !== 3 || slope === undefined || constantOf(gt.inputs[1]) !== 0) return undefined;
  const [condition] = gt.outputs as readonly [Value];
  const chosen = [condition, y, product].every((value, i) => select.inputs[i] === value);
  if (!chosen || !soleReader(condition, select) || !soleReader(product, select)) return undefined;
  return resultOf(select, followedBy("leakyRelu", slope));
}

/** Whether a derivative is by the activation of the norm whose operands and statistics these are. */
function isOf({ attrs, result, cotangent }: Derivative, norm: OpDef | undefined, operands: readonly Value[]): boolean {
  const { node } = result;
  if (!node || node.def !== norm || result.index !== 0 || !sameShape(cotangent.shape, result.shape)) return false;
  const { activation, slope } = node.attrs as NormActivationAttrs;
  if (activation !== attrs.activation || slope !== attrs.slope) return false;
  return [...node.inputs, ...node.outputs.slice(1, 3)].every((value, i) => operands[i] === value);
}
