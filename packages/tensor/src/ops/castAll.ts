// Casts and copies of many tensors as one record: made by passes and by lowering only.

import { type DType, formatOf, isFloat, roundedTo } from "../dtype.js";
import { DTypeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { defineOp, nativeSchema, type OpDef, type Sample, type SampleInput } from "./definition.js";
import { shapeSets, whole } from "./update.js";

const castAllSchema = nativeSchema("castAll", { count: "i32" });

/** The types that the tensors get, one for each. */
export type CastAllAttrs = { readonly dtypes: readonly DType[] };

/** Whether the kernels convert one type to the other; from a type to itself they copy. */
export const castsTogether = (from: DType, to: DType): boolean =>
  from === to || [from, to].every((dtype) => isFloat(dtype) && dtype !== "f64");

export const castAllDef: OpDef<CastAllAttrs> = defineOp<CastAllAttrs>({
  name: "castAll",
  effect: "pure",
  nondifferentiable: true,
  infer: (inputs, { dtypes }) =>
    inputs.map(({ shape, dtype: from }, i): Aval => {
      const to = dtypes[i];
      if (to === undefined || !castsTogether(from, to))
        throw new DTypeError(`castAll: operand ${i} is ${from} and cannot be made ${to}: cast it by itself`);
      return { shape, dtype: to };
    }),
  lower: {
    kind: "kernel",
    halves: true,
    call: ({ inputs, outputs }) => ({
      schema: castAllSchema,
      params: { count: inputs.length },
      inputs: whole(inputs),
      outputs: whole(outputs),
    }),
  },
  reference: (inputs, _avals, { dtypes }) =>
    inputs.map((x, i) => {
      const dtype = dtypes[i] as DType;
      return x.map((value) => (dtype === "f32" ? Math.fround(value) : roundedTo(dtype, value)));
    }),
  samples: (): Sample<CastAllAttrs>[] =>
    shapeSets.map((shapes, i) => {
      const all = Object.keys(formatOf) as DType[];
      const floats = ["f32", "bf16", "f16"] as const;
      const inputs = shapes.flatMap((shape): SampleInput[] => [
        ...floats.map((dtype) => ({ shape, dtype })),
        ...all.map((dtype): SampleInput => ({ shape, dtype, ...(!isFloat(dtype) && { range: [0, 2] }) })),
      ]);
      const dtypes = shapes.flatMap((): DType[] => [
        ...floats.map((_, k) => floats[(k + 1 + (i % 2)) % 3] as DType),
        ...all,
      ]);
      return { inputs, attrs: { dtypes } };
    }),
});
