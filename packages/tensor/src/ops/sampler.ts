// Diffusion arithmetic, one pass over memory each: noising with per-sample coefficients picked by timestep
// (Ho et al. 2020, eq. 4), and the step shared by linear samplers (DDPM, DDIM, DPM-Solver++, …).

import { apply, applyOne, noAttrs } from "../core/apply.js";
import type { Cell } from "../core/cell.js";
import type { Tensor } from "../core/tensor.js";
import { DTypeError, ShapeError, UsageError } from "../errors.js";
import type { Attrs, Aval, Value } from "../ir/graph.js";
import { type Shape, show, showShape, sizeOf } from "../shape.js";
import { mul } from "./arithmetic.js";
import { cast } from "./cast.js";
import {
  checkBoolean,
  checkFinite,
  checkOptions,
  checkTensor,
  checkTensors,
  expectCompute,
  expectCount,
  expectDType,
  expectShape,
} from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type SampleInput, type VjpArgs } from "./definition.js";
import { gather, scatterAdd } from "./indexing.js";
import { reshape } from "./movement.js";
import { advancedState, normalStream } from "./philox.js";
import { expectState, stateSample, stateWords } from "./random.js";
import { sum } from "./reduce.js";

const addNoiseSchema = nativeSchema("addNoise", { n: "i64", inner: "i64", steps: "i64" });
const samplerStepSchema = nativeSchema("samplerStep", {
  size: "i64",
  tensors: "i32",
  noise: "i32",
  clamp: "i32",
  lo: "f32",
  hi: "f32",
});

const allButFirst = (x: Tensor): number[] => Array.from({ length: x.rank - 1 }, (_, i) => i + 1);

/** coefficients[t] with trailing axes of extent 1, so that it scales whole samples. */
const picked = (coefficients: Tensor, t: Tensor, like: Tensor): Tensor =>
  reshape(gather(coefficients, t), [t.dim(0), ...allButFirst(like).map(() => 1)]);

function addNoiseVjp({ inputs, cotangent, needs }: VjpArgs<Attrs>): (Tensor | undefined)[] {
  const [x0, noise, t, a, b] = inputs as readonly [Tensor, Tensor, Tensor, Tensor, Tensor];
  const dy = cotangent();
  const toCoefficient = (value: Tensor, coefficients: Tensor): Tensor => {
    const perSample = value.rank > 1 ? sum(mul(value, dy), allButFirst(value)) : mul(value, dy);
    return scatterAdd(perSample, t, coefficients.dim(0));
  };
  return [
    needs(0) ? mul(dy, picked(a, t, x0)) : undefined,
    needs(1) ? mul(dy, picked(b, t, x0)) : undefined,
    undefined,
    needs(3) ? toCoefficient(x0, a) : undefined,
    needs(4) ? toCoefficient(noise, b) : undefined,
  ];
}

/** Shape of x0 and number of timesteps. */
const noiseCases: readonly (readonly [Shape, number])[] = [
  [[1], 1],
  [[3], 5],
  [[2, 3, 4], 7],
  [[5, 7, 5, 3], 10],
  [[4, 28, 28, 1], 1000],
  [[2, 4099], 3],
];

export const addNoiseDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "addNoise",
  effect: "pure",
  canFail: true,
  infer: (inputs) => {
    const op = "addNoise";
    expectCount(op, inputs, 5);
    const [x0, noise, t, a, b] = inputs as readonly [Aval, Aval, Aval, Aval, Aval];
    const dtype = expectCompute(op, { x0, noise, a, b });
    expectDType(op, "t", t, "i32");
    if (x0.shape.length < 1) throw new ShapeError(`${op}: x0 must be [N, ...], got shape ${showShape(x0.shape)}`);
    expectShape(op, "noise", noise, x0.shape);
    expectShape(op, "t", t, x0.shape.slice(0, 1));
    if (a.shape.length !== 1) throw new ShapeError(`${op}: a must be [steps], got shape ${showShape(a.shape)}`);
    expectShape(op, "b", b, a.shape);
    return [{ shape: x0.shape, dtype }];
  },
  vjp: addNoiseVjp,
  lower: {
    kind: "kernel",
    call: (node) => {
      const [x0, , , a] = node.inputs as readonly [Value, Value, Value, Value];
      const n = x0.shape[0] as number;
      const inner = sizeOf(x0.shape.slice(1));
      const steps = a.shape[0] as number;
      const rows = [n, inner];
      return {
        schema: addNoiseSchema,
        params: { n, inner, steps },
        inputs: [rows, rows, [n], [steps], [steps]].map((dims, index) => ({ index, dims })),
        outputs: [{ index: 0, dims: rows }],
      };
    },
  },
  inPlace: () => [
    [0, 0],
    [0, 1],
  ],
  reference: ([x0, noise, t, a, b], [aval]) => {
    const inner = sizeOf((aval as Aval).shape.slice(1));
    return [
      (x0 as Float64Array).map((x, i) => {
        const step = (t as Float64Array)[Math.floor(i / inner)] as number;
        return (
          ((a as Float64Array)[step] as number) * x +
          ((b as Float64Array)[step] as number) * ((noise as Float64Array)[i] as number)
        );
      }),
    ];
  },
  samples: () =>
    noiseCases.map(([shape, steps]) => ({
      inputs: [
        { shape },
        { shape },
        { shape: shape.slice(0, 1), dtype: "i32", range: [0, steps] },
        { shape: [steps] },
        { shape: [steps] },
      ],
      attrs: noAttrs,
    })),
});

/** Whether the prediction of x₀ is clamped, to [lo, hi], and whether noise is added. */
export type SamplerStepAttrs = { readonly clamp: readonly [number, number] | null; readonly noise: boolean };

/** Coefficients of a step: two of x₀, that of x₀ in the result, that of the noise, then one for each tensor. */
const coefficientCount = 12;
const firstTensorCoefficient = 4;
const mostTensors = 6;
/** The tensors among a step's operands: the coefficients come before them, the random state, where noise is drawn, behind. */
const tensorsOf = <T>(inputs: readonly T[], { noise }: SamplerStepAttrs): readonly T[] =>
  inputs.slice(1, noise ? -1 : undefined);

function stepReference(inputs: readonly Float64Array[], attrs: SamplerStepAttrs): Float64Array[] {
  const { clamp, noise } = attrs;
  const coefficients = inputs[0] as Float64Array;
  const state = inputs.at(-1) as Float64Array;
  const tensors = tensorsOf(inputs, attrs);
  const [first, second] = tensors as readonly [Float64Array, ...Float64Array[]];
  const c = (i: number): number => coefficients[i] as number;
  const size = first.length;
  const z = noise ? normalStream(state, size) : new Float64Array(size);
  const limit = (x: number): number => (clamp ? Math.min(Math.max(x, clamp[0]), clamp[1]) : x);
  const out = first.map((value, i) => {
    const x0 = limit(c(0) * value + (second ? c(1) * (second[i] as number) : 0));
    const combined = tensors.reduce(
      (total, x, k) => total + c(firstTensorCoefficient + k) * (x[i] as number),
      c(2) * x0,
    );
    return noise ? combined + c(3) * (z[i] as number) : combined;
  });
  return noise ? [out, advancedState(state, size)] : [out];
}

export const samplerStepDef: OpDef<SamplerStepAttrs> = defineOp({
  name: "samplerStep",
  effect: "random",
  nondifferentiable: true,
  infer: (inputs, attrs) => {
    const op = "samplerStep";
    const others = attrs.noise ? 2 : 1;
    expectCount(op, inputs, others + 1, others + mostTensors);
    const coefficients = inputs[0] as Aval;
    const state = inputs.at(-1) as Aval;
    expectDType(op, "coef", coefficients, "f32");
    expectShape(op, "coef", coefficients, [coefficientCount]);
    if (attrs.noise) expectState(op, state);
    const tensors = tensorsOf(inputs, attrs);
    const { shape } = tensors[0] as Aval;
    const dtype = expectCompute(op, Object.fromEntries(tensors.map((aval, i) => [`tensor ${i}`, aval])));
    tensors.forEach((aval, i) => {
      expectShape(op, `tensor ${i}`, aval, shape);
    });
    return attrs.noise ? [{ shape, dtype }, state] : [{ shape, dtype }];
  },
  lower: {
    kind: "kernel",
    halves: true,
    call: (node, attrs) => {
      const { clamp, noise } = attrs;
      const size = sizeOf((node.outputs[0] as Aval).shape);
      const [lo, hi] = clamp ?? [0, 0];
      const tensors = tensorsOf(node.inputs, attrs).length;
      const dims = [[coefficientCount], ...Array.from({ length: tensors }, () => [size]), [stateWords]];
      return {
        schema: samplerStepSchema,
        params: {
          size,
          tensors,
          noise: Number(noise),
          clamp: Number(clamp !== null),
          lo,
          hi,
        },
        inputs: node.inputs.map((_, index) => ({ index, dims: dims[index] as Shape })),
        outputs: node.outputs.map((_, index) => ({ index, dims: index === 0 ? [size] : [stateWords] })),
      };
    },
  },
  inPlace: ({ inputs, attrs }) => {
    const tensors = tensorsOf(inputs, attrs as SamplerStepAttrs).map((_, i) => [0, 1 + i] as const);
    return attrs.noise ? [...tensors, [1, inputs.length - 1]] : tensors;
  },
  reference: (inputs, _avals, attrs) => stepReference(inputs, attrs),
  samples: () => {
    const coefficients: SampleInput = { shape: [coefficientCount], dtype: "f32" };
    const sample = (shape: Shape, count: number, attrs: SamplerStepAttrs) => ({
      inputs: [
        coefficients,
        ...Array.from({ length: count }, () => ({ shape })),
        ...(attrs.noise ? [stateSample] : []),
      ],
      attrs,
    });
    return [
      sample([1], 1, { clamp: null, noise: false }),
      sample([7], 2, { clamp: null, noise: true }),
      sample([2, 5, 3], 2, { clamp: [-1, 1], noise: true }),
      sample([33, 31], 3, { clamp: [-1, 1], noise: false }),
      sample([4099], 6, { clamp: [0, 1], noise: true }),
      sample([4, 28, 28, 1], 2, { clamp: [-1, 1], noise: true }),
    ];
  },
});

/**
 * The forward process q(xₜ | x₀): a[t]·x0 + b[t]·noise, with coefficients picked per sample.
 *
 * @param x0 [N, ...], of a float type.
 * @param noise x0's shape.
 * @param t i32 [N], each in [0, steps).
 * @param a [steps], such as √ᾱ.
 * @param b [steps], such as √(1 − ᾱ).
 * @returns x0's shape.
 * @throws ShapeError when the operands do not fit; DTypeError for other types. A timestep out of range makes reading
 * the result fail with code ERR_FIGMENT_INDEX.
 * @example
 * const t = tensor(Int32Array.of(0, 1));
 * addNoise(ones([2, 4]), zeros([2, 4]), t, tensor([1, 0.5]), tensor([0, 0.5])).sum(); // 6
 */
export function addNoise(x0: Tensor, noise: Tensor, t: Tensor, a: Tensor, b: Tensor): Tensor {
  for (const [name, x] of Object.entries({ x0, noise, t, a, b })) checkTensor("addNoise", name, x);
  return applyOne(addNoiseDef, [x0, noise, t.dtype === "u8" ? cast(t, "i32") : t, a, b], noAttrs);
}

/** What {@link samplerStep} combines. */
export interface SamplerStep {
  /**
   * f32 [12]: the coefficients of the first two tensors in the prediction of x₀, that of x₀ in the result, that of
   * the noise, then one for each tensor in the result.
   */
  readonly coef: Tensor;
  /** The stream that noise is drawn from; needed only with noise. */
  readonly random?: { readonly cell: Cell };
  /** One to six tensors of one shape. */
  readonly tensors: readonly Tensor[];
  /** Limits of the prediction of x₀. Default: none. */
  readonly clamp?: readonly [number, number];
  /** Draw and add noise. Default false. */
  readonly noise?: boolean;
}

/**
 * A step of any linear sampler in one pass: x₀ = coef[0]·t₀ + coef[1]·t₁, clamped if asked, then
 * coef[2]·x₀ + Σᵢ coef[4 + i]·tᵢ + coef[3]·z with z standard normal. Has no derivative.
 *
 * @returns the tensors' shape.
 * @throws ShapeError when shapes or the number of tensors do not fit; DTypeError when a value is not what it should be;
 * UsageError when the bounds of clamp are the wrong way round.
 * @example
 * const coef = tensor([1, -1, 0.5, 0, 0, 0.5, 0, 0, 0, 0, 0, 0]);
 * samplerStep({ coef, tensors: [ones([4]), zeros([4])], clamp: [-1, 1] }).at(0); // 0.5
 */
export function samplerStep(step: SamplerStep): Tensor {
  const op = "samplerStep";
  checkOptions(op, step, ["coef", "random", "tensors", "clamp", "noise"]);
  const { coef, random, tensors, clamp, noise = false } = step;
  checkTensor(op, "coef", coef);
  checkTensors(op, "tensors", tensors);
  if (tensors.length < 1 || tensors.length > mostTensors)
    throw new ShapeError(`${op}: expected 1 to ${mostTensors} tensors, got ${tensors.length}`);
  checkBoolean(op, "noise", noise);
  if (clamp !== undefined) checkClamp(op, clamp);
  const limits = clamp ? ([clamp[0], clamp[1]] as const) : null;
  if (!noise) return applyOne(samplerStepDef, [coef, ...tensors], { clamp: limits, noise });
  const cell = random?.cell;
  if (!cell) throw new DTypeError(`${op}: noise needs an Rng as random, got ${show(random)}`);
  const state = cell.value;
  const [out, next] = apply(samplerStepDef, [coef, ...tensors, state], { clamp: limits, noise });
  state.dispose();
  cell.set(next as Tensor);
  (next as Tensor).dispose();
  return out as Tensor;
}

function checkClamp(op: string, clamp: unknown): void {
  if (!Array.isArray(clamp) || clamp.length !== 2)
    throw new ShapeError(`${op}: clamp must be [lo, hi], got ${show(clamp)}`);
  checkFinite(op, "clamp[0]", clamp[0]);
  checkFinite(op, "clamp[1]", clamp[1]);
  if (clamp[0] > clamp[1])
    throw new UsageError(`${op}: the lower bound ${clamp[0]} of clamp is above the upper bound ${clamp[1]}`);
}
