// Normalisation of rows: layer normalisation (Ba, Kiros & Hinton 2016, eq. 4) and root-mean-square
// normalisation (Zhang & Sennrich 2019, eq. 4) over the last axis, with one scale per column. The rows'
// statistics travel to the gradient as hints.

import { apply } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { computeType } from "../dtype.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import { epsOf, expectStatistics, shiftedGradient, statisticsOf } from "./affineNorm.js";
import { add, mul, rsqrt, square, sub } from "./arithmetic.js";
import {
  checkTensor,
  expectAffine,
  expectCompute,
  expectCount,
  expectShape,
  firstInPlace,
  type StoreAttrs,
} from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample, type SampleInput } from "./definition.js";
import { gradientThrough } from "./fused.js";
import { reshape } from "./movement.js";
import { mean } from "./reduce.js";

const rowFields = { rows: "i64", cols: "i64", eps: "f64" } as const;
const layerNormSchema = nativeSchema("layerNorm", rowFields);
const layerNormGradSchema = nativeSchema("layerNormGrad", rowFields);
const rmsNormSchema = nativeSchema("rmsNorm", rowFields);
const rmsNormGradSchema = nativeSchema("rmsNormGrad", rowFields);

/** What is added to the variance or to the mean square. */
export type RowNormAttrs = StoreAttrs & { readonly eps: number };

/** Options of {@link layerNorm} and {@link rmsNorm}. */
export interface RowNormOptions {
  /** Added to the variance (layerNorm) or to the mean square (rmsNorm). Default 1e-5. */
  readonly eps?: number;
}

const lastAxis = { keepDims: true } as const;

const rowsOf = (x: Shape): Shape => x.slice(0, -1);

/** Checks x and the vectors over its columns; gives the avals of y and of one statistic of the rows. */
function inferRows(op: string, x: Aval, columns: Readonly<Record<string, Aval>>, attrs: StoreAttrs = {}): [Aval, Aval] {
  const dtype = expectAffine(op, x, columns, attrs);
  if (x.shape.length < 1) throw new ShapeError(`${op}: x must be [..., C], got shape ${showShape(x.shape)}`);
  for (const [name, aval] of Object.entries(columns)) expectShape(op, name, aval, [x.shape.at(-1) as number]);
  return [
    { shape: x.shape, dtype: attrs.result ?? dtype },
    { shape: rowsOf(x.shape), dtype: computeType(dtype) },
  ];
}

/** What each operand of the kernels is: the rows themselves, a vector of columns, or a statistic of the rows. */
type Role = "rows" | "columns" | "statistic";

function rowCall(schema: KernelCall["schema"], inputs: readonly Role[], outputs: readonly Role[]) {
  return (node: Node, { eps }: RowNormAttrs): KernelCall => {
    const { shape } = node.inputs[0] as Aval;
    const [rows, cols] = [sizeOf(rowsOf(shape)), shape.at(-1) as number];
    const dims = { rows: [rows, cols], columns: [cols], statistic: [rows] };
    return {
      schema,
      params: { rows, cols, eps },
      inputs: inputs.map((role, index) => ({ index, dims: dims[role] })),
      outputs: outputs.map((role, index) => ({ index, dims: dims[role] })),
    };
  };
}

function decomposeLayer([x, gamma, beta]: readonly Tensor[], { eps }: RowNormAttrs): Tensor[] {
  const rows = rowsOf((x as Tensor).shape);
  const centre = mean(x as Tensor, -1, lastAxis);
  const centred = sub(x as Tensor, centre);
  const rstd = rsqrt(add(mean(square(centred), -1, lastAxis), eps));
  const y = add(mul(mul(centred, rstd), gamma as Tensor), beta as Tensor);
  return [y, reshape(centre, rows), reshape(rstd, rows)];
}

function decomposeRms([x, gamma]: readonly Tensor[], { eps }: RowNormAttrs): Tensor[] {
  const rrms = rsqrt(add(mean(square(x as Tensor), -1, lastAxis), eps));
  return [mul(mul(x as Tensor, rrms), gamma as Tensor), reshape(rrms, rowsOf((x as Tensor).shape))];
}

const cases: readonly (readonly [Shape, RowNormAttrs])[] = [
  [[4], { eps: 1e-5 }],
  [[2, 3, 5], { eps: 1e-3 }],
  [[7, 17], { eps: 1e-6 }],
  [[1, 1], { eps: 0.1 }],
  [[67, 128], { eps: 1e-5 }],
  [[600, 33], { eps: 1e-5 }],
  [[3, 5003], { eps: 1e-6 }],
];

const primals = (shape: Shape, columns: number): SampleInput[] => [
  { shape },
  ...new Array<SampleInput>(columns).fill({ shape: [shape.at(-1) as number] }),
];

const copyOf = ({ shape, dtype }: Aval): Aval => ({ shape, dtype });
const stored = ({ shape, dtype }: Aval, result = dtype): Aval => ({ shape, dtype: result });

export const layerNormDef: OpDef<RowNormAttrs> = defineOp({
  name: "layerNorm",
  effect: "pure",
  residuals: [1, 2],
  infer: (inputs, attrs) => {
    expectCount("layerNorm", inputs, 3);
    const [x, gamma, beta] = inputs as readonly [Aval, Aval, Aval];
    const [y, statistic] = inferRows("layerNorm", x, { gamma, beta }, attrs);
    return [y, statistic, statistic];
  },
  vjp: ({ inputs, outputs, attrs, cotangent }) => {
    const [x, gamma] = inputs as readonly [Tensor, Tensor];
    const [, centre, rstd] = outputs as readonly [Tensor, Tensor, Tensor];
    return apply(layerNormGradDef, [x, gamma, centre, rstd, cotangent()], attrs);
  },
  decompose: decomposeLayer,
  lower: {
    kind: "kernel",
    halves: true,
    call: rowCall(layerNormSchema, ["rows", "columns", "columns"], ["rows", "statistic", "statistic"]),
  },
  stores: true,
  asStored: [1, 2],
  inPlace: firstInPlace,
  samples: () => cases.map(([shape, attrs]) => ({ inputs: primals(shape, 2), attrs })),
});

export const layerNormGradDef: OpDef<RowNormAttrs> = defineOp({
  name: "layerNormGrad",
  effect: "pure",
  hints: [2, 3],
  infer: (inputs, { result }) => {
    const op = "layerNormGrad";
    expectCount(op, inputs, 5);
    const [x, gamma, centre, rstd, dy] = inputs as readonly [Aval, Aval, Aval, Aval, Aval];
    const [y, statistic] = inferRows(op, x, { gamma });
    expectCompute(op, { x, dy });
    expectStatistics(op, { mean: centre, rstd }, statistic);
    expectShape(op, "dy", dy, y.shape);
    return [stored(x, result), gamma, gamma].map(copyOf);
  },
  stores: true,
  decompose: shiftedGradient(decomposeLayer),
  lower: {
    kind: "kernel",
    halves: true,
    call: rowCall(
      layerNormGradSchema,
      ["rows", "columns", "statistic", "statistic", "rows"],
      ["rows", "columns", "columns"],
    ),
  },
  inPlace: () => [
    [0, 4],
    [0, 0],
  ],
  samples: (): Sample<RowNormAttrs>[] =>
    cases.map(([shape, attrs]) => {
      const residual = statisticsOf(layerNormDef, rowsOf(shape), attrs);
      return { inputs: [...primals(shape, 1), residual(1), residual(2), { shape }], attrs };
    }),
});

export const rmsNormDef: OpDef<RowNormAttrs> = defineOp({
  name: "rmsNorm",
  effect: "pure",
  residuals: [1],
  infer: (inputs, attrs) => {
    expectCount("rmsNorm", inputs, 2);
    const [x, gamma] = inputs as readonly [Aval, Aval];
    return inferRows("rmsNorm", x, { gamma }, attrs);
  },
  vjp: ({ inputs, outputs, attrs, cotangent }) =>
    apply(rmsNormGradDef, [...inputs, outputs[1] as Tensor, cotangent()], attrs),
  decompose: decomposeRms,
  lower: { kind: "kernel", halves: true, call: rowCall(rmsNormSchema, ["rows", "columns"], ["rows", "statistic"]) },
  stores: true,
  asStored: [1],
  inPlace: firstInPlace,
  samples: () => cases.map(([shape, attrs]) => ({ inputs: primals(shape, 1), attrs })),
});

export const rmsNormGradDef: OpDef<RowNormAttrs> = defineOp({
  name: "rmsNormGrad",
  effect: "pure",
  hints: [2],
  infer: (inputs, { result }) => {
    const op = "rmsNormGrad";
    expectCount(op, inputs, 4);
    const [x, gamma, rrms, dy] = inputs as readonly [Aval, Aval, Aval, Aval];
    const [y, statistic] = inferRows(op, x, { gamma });
    expectCompute(op, { x, dy });
    expectStatistics(op, { rrms }, statistic);
    expectShape(op, "dy", dy, y.shape);
    return [stored(x, result), gamma].map(copyOf);
  },
  stores: true,
  decompose: ([x, gamma, , dy], attrs) =>
    gradientThrough((list) => decomposeRms(list, attrs).slice(0, 1), [x, gamma] as Tensor[], [dy]),
  lower: {
    kind: "kernel",
    halves: true,
    call: rowCall(rmsNormGradSchema, ["rows", "columns", "statistic", "rows"], ["rows", "columns"]),
  },
  inPlace: () => [
    [0, 3],
    [0, 0],
  ],
  samples: (): Sample<RowNormAttrs>[] =>
    cases.map(([shape, attrs]) => {
      const residual: SampleInput = {
        shape: rowsOf(shape),
        derive: (inputs) => apply(rmsNormDef, inputs.slice(0, 2), attrs)[1] as Tensor,
      };
      return { inputs: [...primals(shape, 1), residual, { shape }], attrs };
    }),
});

/**
 * Layer normalisation over the last axis: (x − mean) / √(variance + eps) · gamma + beta, with each row's mean
 * and biased variance (Ba, Kiros & Hinton 2016, eq. 4).
 *
 * @param x [..., C], of a float type.
 * @param gamma [C].
 * @param beta [C].
 * @returns x's shape.
 * @throws ShapeError when x has no dimensions or gamma and beta are not [C]; DTypeError for other types.
 * @example
 * layerNorm(tensor([1, 3]), ones([2]), zeros([2]), { eps: 0 }).at(0); // -1
 */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, options: RowNormOptions = {}): Tensor {
  const op = "layerNorm";
  checkTensor(op, "x", x);
  checkTensor(op, "gamma", gamma);
  checkTensor(op, "beta", beta);
  const eps = epsOf(op, options);
  return composed(() => apply(layerNormDef, [x, gamma, beta], { eps })[0] as Tensor);
}

/**
 * Root-mean-square normalisation over the last axis: x / √(mean(x²) + eps) · gamma (Zhang & Sennrich 2019, eq. 4).
 *
 * @param x [..., C], of a float type.
 * @param gamma [C].
 * @returns x's shape.
 * @throws ShapeError when x has no dimensions or gamma is not [C]; DTypeError for other types.
 * @example
 * rmsNorm(tensor([1, 7]), ones([2]), { eps: 0 }).at(1); // 1.4
 */
export function rmsNorm(x: Tensor, gamma: Tensor, options: RowNormOptions = {}): Tensor {
  const op = "rmsNorm";
  checkTensor(op, "x", x);
  checkTensor(op, "gamma", gamma);
  const eps = epsOf(op, options);
  return composed(() => apply(rmsNormDef, [x, gamma], { eps })[0] as Tensor);
}
