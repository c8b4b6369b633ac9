// Fusion patterns: short sequences that one kernel does better. All of them, in one table.

import { computeType, roundedTo } from "../dtype.js";
import { type Aval, type Graph, type GraphBuilder, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { type Activation, isActivation } from "../ops/activation.js";
import { addDef, mulDef } from "../ops/arithmetic.js";
import type { BiasActAttrs } from "../ops/biasAct.js";
import { type Epilogue, type EpilogueAttrs, epilogueOf, epilogueOperands } from "../ops/epilogue.js";
import { concatDef, reshapeDef } from "../ops/movement.js";
import { type PadAttrs, padDef, type SliceAttrs, sliceDef } from "../ops/slicing.js";
import { defaultDevice } from "../runtime/devices.js";
import { sameShape, sizeOf } from "../shape.js";
import { constantOf } from "./fold.js";

/** A pattern: looks at the last node of a sequence and, when it matches, gives the value that replaces it. */
interface Pattern {
  readonly name: string;
  match(node: Node, inputs: readonly Value[], uses: (value: Value) => number, builder: GraphBuilder): Value | undefined;
}

/** The matmul or convolution that makes a value, if nothing else reads it and nothing is added to its result. */
function ownProduct(value: Value | undefined, uses: number, reads: (value: Value) => number): Node | undefined {
  const maker = value?.node;
  if (!maker || !(maker.def.name === "conv2d" || maker.def.name === "matmul")) return undefined;
  return reads(value) === uses && !maker.attrs.addend ? maker : undefined;
}

/** The same if no activation has been applied. */
function plainProduct(value: Value | undefined, uses: number, reads: (value: Value) => number): Node | undefined {
  const maker = ownProduct(value, uses, reads);
  return maker?.attrs.activation === "none" ? maker : undefined;
}

/** A product with other operands of its epilogue, and attributes that they or its activation ask for. */
function refinished(
  maker: Node,
  others: Epilogue<Value>,
  attrs: Partial<EpilogueAttrs> & { readonly activation?: Activation },
  builder: GraphBuilder,
  path = "",
): Value {
  const operands = epilogueOperands({ ...epilogueOf(maker.inputs, maker.attrs), ...others });
  const inputs = [...maker.inputs.slice(0, 2), ...operands];
  return builder.node(maker.def, inputs, { ...maker.attrs, ...attrs }, maker.outputs, maker.path || path)
    .outputs[0] as Value;
}

/** Whether a product's bias can be computed anew: what 16 bits do not hold may be a number again once it is added to sums. */
const bendsBias = (maker: Node, { dtype }: Value): boolean =>
  !epilogueOf(maker.inputs, maker.attrs).bias || computeType(dtype) === dtype;

/** Whether a product can take a vector over its last axis as its bias, beside one that it may have. */
const takesBias = (maker: Node, product: Value, bias: Value): boolean =>
  bias.shape.length === 1 &&
  bias.shape[0] === product.shape.at(-1) &&
  bias.dtype === product.dtype &&
  bendsBias(maker, product);

/** What is to be added to the columns of a product that may have a bias already. */
function joinedBias(maker: Node, bias: Value, builder: GraphBuilder, path: string): Value {
  const { bias: own } = epilogueOf(maker.inputs, maker.attrs);
  return own ? (builder.node(addDef, [own, bias], {}, [bias], path).outputs[0] as Value) : bias;
}

/**
 * x·w (or conv) followed by multiplying by a vector over the last axis or by one number, as inference's batch norm and scaled
 * residuals do: the kernel scales on the way out, and a bias from before is scaled itself. Not aᵀ·b, as for addends.
 */
const scaleEpilogue: Pattern = {
  name: "scale epilogue",
  match(node, inputs, uses, builder) {
    if (node.def !== mulDef) return undefined;
    for (const [product, numbers] of [inputs, [...inputs].reverse()] as [Value, Value][]) {
      const maker = plainProduct(product, 1, uses);
      if (!maker || maker.attrs.scale || maker.attrs.transposeA || numbers.dtype !== product.dtype) continue;
      if (!bendsBias(maker, product)) continue;
      const [columns, count] = [product.shape.at(-1) as number, sizeOf(numbers.shape)];
      const vector = count === 1 || (count === columns && numbers.shape.at(-1) === columns);
      if (!vector || !sameShape((node.outputs[0] as Value).shape, product.shape)) continue;
      const scale = reshaped(numbers, { shape: [count], dtype: numbers.dtype }, builder, node.path);
      const { bias } = epilogueOf(maker.inputs, maker.attrs);
      const scaled = bias && (builder.node(mulDef, [bias, scale], {}, [bias], node.path).outputs[0] as Value);
      return refinished(maker, { scale, bias: scaled }, { scale: true }, builder, node.path);
    }
    return undefined;
  },
};

/** x·w (or conv) followed by adding a vector over the last axis: the kernel adds it on the way out. */
const biasEpilogue: Pattern = {
  name: "bias epilogue",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "add") return undefined;
    for (const [product, bias] of [inputs, [...inputs].reverse()] as Value[][]) {
      const maker = plainProduct(product, 1, uses);
      const output = node.outputs[0] as Value;
      if (!maker || !product || !bias || !takesBias(maker, product, bias)) continue;
      if (output.shape.length !== product.shape.length) continue;
      return refinished(maker, { bias: joinedBias(maker, bias, builder, node.path) }, {}, builder, node.path);
    }
    return undefined;
  },
};

const isZero = (value: Value | undefined): boolean =>
  value?.node?.def.lower.kind === "constant" && value.node.attrs.value === 0;

/** max(x·w (or conv), 0): the kernel applies it on the way out. */
const reluEpilogue: Pattern = {
  name: "ReLU epilogue",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "maximum") return undefined;
    for (const [product, zero] of [inputs, [...inputs].reverse()] as [Value, Value][]) {
      const maker = plainProduct(product, 1, uses);
      // Zeros may be of a shape that the product is repeated to.
      if (!maker || !isZero(zero) || !sameShape((node.outputs[0] as Value).shape, product.shape)) continue;
      return refinished(maker, {}, { activation: "relu" }, builder);
    }
    return undefined;
  },
};

/** y·sigmoid(y) of a product or convolution y: the kernel applies it on the way out. */
const siluEpilogue: Pattern = {
  name: "SiLU epilogue",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "mul") return undefined;
    for (const [product, gate] of [inputs, [...inputs].reverse()] as Value[][]) {
      const maker = plainProduct(product, 2, uses);
      if (maker && gate?.node?.def.name === "sigmoid" && gate.node.inputs[0] === product)
        return refinished(maker, {}, { activation: "silu" }, builder);
    }
    return undefined;
  },
};

/** What a node by this name that nobody else reads makes a value of: the other operand than one which `known` recognises. */
function operandBeside(
  value: Value | undefined,
  name: string,
  uses: (value: Value) => number,
  known: (operand: Value) => boolean,
): Value | undefined {
  if (!value || value.node?.def.name !== name || uses(value) !== 1) return undefined;
  const at = value.node.inputs.findIndex(known);
  return at < 0 ? undefined : value.node.inputs[1 - at];
}

/** The v of which a value that nobody else reads is gelu(v) = v/2·(1 + erf(v/√2)), as `gelu` traces it. */
function geluArgument(value: Value, uses: (value: Value) => number): Value | undefined {
  const is = (number: number) => (operand: Value) =>
    roundedTo(operand.dtype, constantOf(operand) ?? Number.NaN) === roundedTo(operand.dtype, number);
  const scaledBy = (number: number, scaled: Value | undefined) => operandBeside(scaled, "mul", uses, is(number));
  let argument: Value | undefined;
  const known = (operand: Value): boolean => {
    argument = scaledBy(0.5, operand);
    return argument !== undefined;
  };
  const erf = operandBeside(operandBeside(value, "mul", uses, known), "add", uses, is(1));
  if (erf?.node?.def.name !== "erf" || uses(erf) !== 1) return undefined;
  return scaledBy(Math.SQRT1_2, erf.node.inputs[0]) === argument ? argument : undefined;
}

/** Whether a value is one half of the columns of another. */
function isHalf(half: Value, index: number, whole: Value): boolean {
  if (half.node?.def !== sliceDef || half.node.inputs[0] !== whole) return false;
  const { starts, steps } = half.node.attrs as SliceAttrs;
  const columns = (whole.shape.at(-1) as number) / 2;
  const rest = sameShape(half.shape.slice(0, -1), whole.shape.slice(0, -1));
  return !steps && rest && half.shape.at(-1) === columns && starts.at(-1) === index * columns;
}

/**
 * u·gelu(v) of the halves (u, v) of a matrix product's columns (Shazeer 2020, GEGLU): the kernel stores no more than that. On
 * CPUs only, as fast kernels of GPUs finish each column by itself.
 */
const gegluEpilogue: Pattern = {
  name: "GEGLU epilogue",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "mul" || defaultDevice() !== "cpu") return undefined;
    for (const [value, activated] of [inputs, [...inputs].reverse()] as [Value, Value][]) {
      const gate = geluArgument(activated, uses);
      const whole = gate?.node?.inputs[0];
      if (!gate || !whole || !isHalf(value, 0, whole) || !isHalf(gate, 1, whole)) continue;
      if (!sameShape((node.outputs[0] as Value).shape, value.shape)) continue;
      if (uses(value) !== 1 || uses(gate) !== 2 || uses(whole) !== 2) continue;
      // Leading axes may be others than the product's.
      const reshaped = whole.node?.def === reshapeDef;
      const product = reshaped ? (whole.node?.inputs[0] as Value) : whole;
      const maker = plainProduct(product, reshaped ? 1 : 2, uses);
      if (maker?.def.name !== "matmul" || maker.attrs.scale || product.shape.at(-1) !== whole.shape.at(-1)) continue;
      const { dtype } = product;
      const shape = [...product.shape.slice(0, -1), value.shape.at(-1) as number];
      const attrs = { ...maker.attrs, activation: "geglu" };
      const gated = builder.node(maker.def, maker.inputs, attrs, [{ shape, dtype }], maker.path).outputs;
      if (!reshaped) return gated[0];
      return builder.node(reshapeDef, gated, { shape: value.shape }, node.outputs, node.path).outputs[0];
    }
    return undefined;
  },
};

/** biasAct of a product or convolution whose kernel can do as much: bias and activation on the way out. */
const biasActEpilogue: Pattern = {
  name: "biasAct epilogue",
  match(node, [product, bias], uses, builder) {
    if (node.def.name !== "biasAct") return undefined;
    const { activation, gain, limit } = node.attrs as BiasActAttrs;
    const epilogue = activation === "linear" ? "none" : activation;
    const maker = plainProduct(product, 1, uses);
    if (!maker || !product || !bias || !takesBias(maker, product, bias)) return undefined;
    if (gain !== 1 || limit >= 0 || !isActivation(epilogue)) return undefined;
    const all = { bias: joinedBias(maker, bias, builder, node.path) };
    return refinished(maker, all, { activation: epilogue }, builder, node.path);
  },
};

/** Whether a value lies in memory as it is, rather than being computed or copied where it is to be read. */
function isStored(value: Value, uses: (value: Value) => number): boolean {
  const { node } = value;
  if (node?.def === reshapeDef) return isStored(node.inputs[0] as Value, uses);
  const kind = node?.def.lower.kind;
  return !node || kind === "kernel" || (kind === "elementwise" && uses(value) > 1);
}

/** A value under another shape. */
const reshaped = (value: Value, { shape }: Aval, builder: GraphBuilder, path: string): Value =>
  sameShape(value.shape, shape)
    ? value
    : (builder.node(reshapeDef, [value], { shape }, [{ shape, dtype: value.dtype }], path).outputs[0] as Value);

/**
 * A product or convolution, which may be under another shape, plus what lies in memory (residuals, mostly): the kernel reads it
 * where it stores. Not to aᵀ·b, as CPUs' fast kernels that sum over many rows do not add.
 */
const addendEpilogue: Pattern = {
  name: "addend epilogue",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "add") return undefined;
    for (const [value, other] of [inputs, [...inputs].reverse()] as [Value, Value][]) {
      if (!sameShape(value.shape, other.shape) || !isStored(other, uses)) continue;
      const under = value.node?.def === reshapeDef && uses(value) === 1;
      const product = under ? (value.node?.inputs[0] as Value) : value;
      const maker = ownProduct(product, 1, uses);
      if (!maker || maker.attrs.activation === "geglu" || maker.attrs.transposeA) continue;
      const addend = reshaped(other, product, builder, node.path);
      const sums = refinished(maker, { addend }, { addend: true }, builder);
      return reshaped(sums, value, builder, node.path);
    }
    return undefined;
  },
};

/** Something put among zeros, which nothing else reads: what it is, and where in it it begins and ends. */
function amongZeros(value: Value | undefined, uses: (value: Value) => number) {
  const { def, attrs, inputs } = value?.node ?? {};
  if (!value || def !== padDef || uses(value) !== 1) return undefined;
  const { lo, hi, interior, value: filler } = attrs as PadAttrs;
  return interior || filler !== 0 ? undefined : { part: (inputs as readonly [Value])[0], lo, hi };
}

/** The sum of two neighbours among zeros, as derivatives by the parts of a split are: the neighbours joined, −0 kept. */
const partsJoined: Pattern = {
  name: "parts joined",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "add") return undefined;
    for (const [first, second] of [inputs, [...inputs].reverse()]) {
      const [a, b] = [amongZeros(first, uses), amongZeros(second, uses)];
      if (!a || !b || !sameShape((first as Value).shape, (second as Value).shape)) continue;
      const { shape } = first as Value;
      const axis = shape.findIndex((d, i) => (a.hi[i] as number) + (b.lo[i] as number) === d);
      if (axis < 0 || !shape.every((_, i) => i === axis || (a.lo[i] === b.lo[i] && a.hi[i] === b.hi[i]))) continue;
      const parts = [a.part, b.part].flatMap((part) => {
        const { node: maker } = part;
        return maker?.def === concatDef && maker.attrs.axis === axis && uses(part) === 1 ? maker.inputs : [part];
      });
      const joined = builder.node(concatDef, parts, { axis }, concatDef.infer(parts, { axis }), node.path).outputs;
      const attrs = { lo: a.lo, hi: a.hi.map((n, i) => (i === axis ? (b.hi[i] as number) : n)), value: 0 };
      const whole = attrs.lo.every((n) => n === 0) && attrs.hi.every((n) => n === 0);
      return whole ? joined[0] : builder.node(padDef, joined, attrs, node.outputs, node.path).outputs[0];
    }
    return undefined;
  },
};

/** The table. */
export const patterns: readonly Pattern[] = [
  scaleEpilogue,
  biasEpilogue,
  reluEpilogue,
  siluEpilogue,
  gegluEpilogue,
  biasActEpilogue,
  addendEpilogue,
  partsJoined,
];

/** Applies the patterns of the table. What they leave unused, dead code elimination removes. */
export function fusePatterns(graph: Graph): Graph {
  const uses = new Map<string, number>();
  const count = (value: Value): void => {
    if (value.node) uses.set(`${value.node.id}:${value.index}`, (uses.get(`${value.node.id}:${value.index}`) ?? 0) + 1);
  };
  for (const node of graph.nodes) node.inputs.forEach(count);
  graph.outputs.forEach(count);
  for (const { value } of graph.writes) count(value);
  const usesOfNew = new Map<Value, number>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    node.inputs.forEach((value, i) => {
      if (value.node) usesOfNew.set(inputs[i] as Value, uses.get(`${value.node.id}:${value.index}`) ?? 0);
    });
    const usesOf = (value: Value): number => usesOfNew.get(value) ?? 0;
    for (const pattern of patterns) {
      const replacement = pattern.match(node, inputs, usesOf, builder);
      if (!replacement) continue;
      // What only the pattern's own last node reads.
      for (const value of replacement.node?.inputs ?? []) if (!usesOfNew.has(value)) usesOfNew.set(value, 1);
      return [replacement];
    }
    return undefined;
  });
}
