// Cases made from the definitions, so that a new operation has its own: each elementwise operation alone over a million
// numbers, and each operation with a kernel that no case written by hand is about, at the largest of its samples.

import {
  apply,
  bytesOf,
  definedOps,
  isFloat,
  type Node,
  type OpDef,
  type Sample,
  scope,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { type KernelCase, ourContestant, product, randomValues } from "../case.js";

const elements = 2 ** 20;
const defaultRange = [-2, 2] as const;

/** Draws the inputs of a sample; those that fit others are computed from them. */
function operandsOf({ inputs }: Sample): readonly Tensor[] {
  const made: Tensor[] = [];
  inputs.forEach(({ shape, dtype = "f32", range = defaultRange, derive }, i) => {
    const [lo, hi] = dtype === "bool" ? [0, 2] : range;
    const values = randomValues(product(shape), i + 1).map((x) => lo + ((x + 1) / 2) * (hi - lo));
    made.push(
      derive ? scope(() => derive(made)) : tensor(isFloat(dtype) ? values : values.map(Math.floor), { shape, dtype }),
    );
  });
  return made;
}

/** The native operation that runs an operation at a sample, and the bytes that it reads and writes. */
function workOf(def: OpDef, { inputs: given, attrs }: Sample): Pick<KernelCase, "op" | "bytes"> {
  const inputs = given.map(({ shape, dtype = "f32" }) => ({ shape, dtype }));
  const outputs = def.infer(inputs, attrs);
  const bytes = [...inputs, ...outputs].reduce((sum, { shape, dtype }) => sum + product(shape) * bytesOf[dtype], 0);
  // Lowering looks at nothing else of a node.
  const node = { def, attrs, inputs, outputs } as unknown as Node;
  return { op: def.lower.kind === "kernel" ? def.lower.call(node, attrs).schema.op : "elementwise", bytes };
}

function caseOf(def: OpDef, sample: Sample): KernelCase {
  const work = workOf(def, sample);
  const shapes = sample.inputs.slice(0, 2).map(({ shape }) => shape.join("×"));
  return {
    name: `${work.op === def.name ? "" : `${work.op} `}${def.name} ${shapes.join(" ")}`,
    ...work,
    bound: "copy",
    ours() {
      const tensors = operandsOf(sample);
      return ourContestant(tensors, () => apply(def, tensors, sample.attrs));
    },
  };
}

const sizeOf = ({ inputs }: Sample): number => inputs.reduce((sum, { shape }) => sum + product(shape), 0);

/** The cases of the elementwise operations, and of those whose kernel is not among the native operations timed already. */
export function generatedCases(timed: ReadonlySet<string>): readonly KernelCase[] {
  return definedOps().flatMap((def) => {
    const samples = def.samples?.() ?? [];
    const [first] = samples;
    if (!first) return [];
    if (def.lower.kind === "elementwise")
      return [caseOf(def, { ...first, inputs: first.inputs.map((input) => ({ ...input, shape: [elements] })) })];
    if (def.lower.kind !== "kernel" || timed.has(workOf(def, first).op)) return [];
    return [
      caseOf(
        def,
        samples.reduce((most, sample) => (sizeOf(sample) > sizeOf(most) ? sample : most)),
      ),
    ];
  });
}
