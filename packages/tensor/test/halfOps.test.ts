// Every op in bf16 and f16, eager and compiled, with its first derivative, against the same numbers in f64.

import {
  assertNoLeaks,
  compile,
  DTypeError,
  type HalfType,
  isFloat,
  scope,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { apply } from "#core/apply";
import { vjpOf } from "#core/tape";
import { fromBf16, fromF16, toBf16, toF16 } from "#dtype";
import type { OpDef, Sample } from "#ops/definition";
import { definedOps } from "#ops/definition";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";
import { distance } from "./support/parity.ts";
import { drawPoint, type Point, resultsOf, sizeOfSample, tensorsAt, titleOf, variablesOf } from "./support/points.ts";

const seed = 160_16;
const mostNumbers = 4000;
/** Error of a result relative to its norm. */
const tolerances = { bf16: 1e-2, f16: 2e-3 } as const;
/** Root mean square below which f16's denormals leave no such accuracy. */
const smallest = 1e-3;
/** Derivatives round at each of the ops that they are made of. */
const derivativeFactor = 5;
/** Those of gradients, which are decomposed for it, are made of more. */
const decompositionFactor = 10;
const rounded = { bf16: (x: number) => fromBf16(toBf16(x)), f16: (x: number) => fromF16(toF16(x)) } as const;

/** Gradients that are differentiated through many ops, each of which rounds: their condition is measured. */
const throughDecomposition = (def: OpDef): boolean =>
  (def.hints !== undefined && !def.vjp) || def.name === "biasActGrad";

/** Of batch norm: three numbers less their mean, over their deviation, leave a direction that is nothing but rounding. */
const sizeOfBatch = ({ inputs }: Sample): number => sizeOf(inputs[0]?.shape.slice(0, -1) ?? []);

/** How many times further than a rounding of its operands the roundings within may move an ill-conditioned derivative. */
const conditionFactor = 4;
/** Relative distance of neighbouring numbers. */
const unit = { bf16: 2 ** -8, f16: 2 ** -11 } as const;

/** Optimisers and averages keep f32: what they add is too small for 16 bits. */
const wide = ["adam", "emaUpdate", "rmsprop", "sgd"];

const ofFloat = (sample: Sample): boolean => sample.inputs.some(({ dtype }) => dtype === undefined);
const byOp = definedOps().flatMap((def) => {
  const samples = (def.samples?.() ?? []).filter((sample) => ofFloat(sample) && sizeOfSample(sample) <= mostNumbers);
  return samples.length > 0
    ? [{ name: def.name, def, samples: samples.map((sample, i) => [titleOf(sample), sample, i] as const) }]
    : [];
});

const roundPoint = (sample: Sample, point: Point, dtype: HalfType): Point =>
  point.map((x, i) => (x && sample.inputs[i]?.dtype === undefined ? x.map(rounded[dtype]) : x));

/** The results of an op, and derivatives of its variables along `w`. */
function evaluate(
  def: OpDef,
  sample: Sample,
  point: Point,
  dtype: HalfType | "f64",
  run: (f: (xs: Tensor[]) => readonly Tensor[], xs: Tensor[]) => readonly Tensor[],
) {
  const inputs = tensorsAt(sample, point, dtype);
  return run((xs) => apply(def, xs, sample.attrs), inputs);
}

const eager = (f: (xs: Tensor[]) => readonly Tensor[], xs: Tensor[]): readonly Tensor[] => f(xs);

function compiled(f: (xs: Tensor[]) => readonly Tensor[], xs: Tensor[]): readonly Tensor[] {
  const program = compile((list: Tensor[]) => [...f(list)]);
  try {
    return program(xs);
  } finally {
    program.dispose();
  }
}

function derivatives(
  def: OpDef,
  sample: Sample,
  point: Point,
  dtype: HalfType | "f64",
  w: readonly Float64Array[],
): (Tensor | undefined)[] {
  const inputs = tensorsAt(sample, point, dtype);
  const variables = variablesOf(def, sample);
  const call = (xs: readonly Tensor[]): Tensor[] => {
    const placed = [...inputs];
    variables.forEach((at, k) => {
      placed[at] = xs[k] as Tensor;
    });
    const outputs = apply(def, placed, sample.attrs);
    return resultsOf(def, outputs.length).map((i) => outputs[i] as Tensor);
  };
  const primals = variables.map((i) => inputs[i] as Tensor);
  const shapes = call(primals);
  const cotangents = shapes.map((y, i) => tensor(w[i] as Float64Array, { shape: y.shape, dtype: y.dtype }));
  return vjpOf(call, primals, cotangents);
}

/** `slack` is the error that is allowed on top. */
function expectNear(actual: Tensor, expected: Tensor, tolerance: number, what: string, slack = 0): void {
  expect(actual.shape, what).toEqual(expected.shape);
  const want = expected.dataSync();
  const off = distance(actual.dataSync(), want, () => 1);
  const size = Math.hypot(...Array.from(want).filter(Number.isFinite));
  expect(off.notFinite, `${what}: NaN or infinite elements`).toBe(0);
  const error = Math.max(0, off.relative * size - slack);
  const relative = error / (size + smallest * Math.sqrt(Math.max(want.length, 1)));
  expect(relative, `${what}: error relative to the norm`).toBeLessThanOrEqual(tolerance);
}

console.info(`ops in 16 bits: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe.each(["bf16", "f16"] as const)("in %s", (dtype) => {
  describe.each(byOp.filter(({ name }) => !wide.includes(name)))("$name", ({ def, samples }) => {
    it.each(samples)("gives what f64 gives, within rounding, eager and compiled, at %s", (_title, sample, i) =>
      scope(() => {
        const point = roundPoint(sample, drawPoint(sample, new Draws(seed + i)), dtype);
        const want = evaluate(def, sample, point, "f64", eager);
        for (const run of [eager, compiled]) {
          const got = evaluate(def, sample, point, dtype, run);
          got.forEach((y, k) => {
            const expected = want[k] as Tensor;
            expect(isFloat(y.dtype)).toBe(isFloat(expected.dtype));
            expectNear(y, expected, tolerances[dtype], `${run.name} output ${k}`);
          });
        }
      }),
    );

    // Products are summed differently when their factors are 16 bits wide; elementwise ops stay in registers.
    it.each(def.lower.kind === "kernel" && !def.factors ? samples : [])(
      "gives what f32 gives for the same numbers, rounded once, bit for bit, at %s",
      (_title, sample, i) =>
        scope(() => {
          const inputs = tensorsAt(sample, roundPoint(sample, drawPoint(sample, new Draws(seed + i)), dtype), dtype);
          const wide = apply(
            def,
            inputs.map((x) => (x.dtype === dtype ? x.cast("f32") : x)),
            sample.attrs,
          );
          apply(def, inputs, sample.attrs).forEach((y, k) => {
            expect([...y.dataSync()], `output ${k}`).toEqual([...(wide[k] as Tensor).cast(y.dtype).dataSync()]);
          });
        }),
    );

    const conditioned = samples.filter(([, sample]) => !(def.name === "batchNormGrad" && sizeOfBatch(sample) < 4));
    it.each(def.nondifferentiable ? [] : conditioned)(
      "has the derivatives of f64, within rounding, at %s",
      (_title, sample, i) =>
        scope(() => {
          const draws = new Draws(seed + i);
          const point = roundPoint(sample, drawPoint(sample, draws), dtype);
          const outputs = evaluate(def, sample, point, "f64", eager);
          const w = resultsOf(def, outputs.length).map((k) =>
            Float64Array.from({ length: (outputs[k] as Tensor).size }, () => rounded[dtype](draws.uniform(-1, 1))),
          );
          const want = derivatives(def, sample, point, "f64", w);
          // Each number moved to about its neighbour shows how much a rounding changes.
          const moved = point.map((x, k) =>
            x && sample.inputs[k]?.dtype === undefined
              ? x.map((value) => value * (1 + unit[dtype] * draws.uniform(-1, 1)))
              : x,
          );
          const factor = throughDecomposition(def) ? decompositionFactor : derivativeFactor;
          const near = throughDecomposition(def) ? derivatives(def, sample, moved, "f64", w) : want;
          derivatives(def, sample, point, dtype, w).forEach((x, k) => {
            expect(x === undefined).toBe(want[k] === undefined);
            if (!x) return;
            expect(x.dtype).toBe(dtype);
            const [expected, neighbour] = [want[k] as Tensor, near[k] as Tensor];
            const slack = conditionFactor * expected.sub(neighbour).square().sum().sqrt().itemSync();
            expectNear(x, expected, factor * tolerances[dtype], `derivative ${k}`, slack);
          });
        }),
    );
  });

  it.each(byOp.filter(({ name }) => wide.includes(name)))("$name refuses it: its state is f32", ({ def, samples }) =>
    scope(() => {
      const [, sample] = samples[0] as (typeof samples)[number];
      const point = drawPoint(sample, new Draws(seed));
      expect(() => apply(def, tensorsAt(sample, point, dtype), sample.attrs)).toThrow(DTypeError);
    }),
  );
});
