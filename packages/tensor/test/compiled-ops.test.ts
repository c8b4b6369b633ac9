// Every differentiable op inside a compiled function: values and derivatives of order 1 and 2 are what eager
// execution gives, though the program merges, reorders and overwrites.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, compile, isFloat, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apply } from "#core/apply";
import { vjpOf } from "#core/tape";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { Draws } from "./support/draws.ts";
import { drawPoint, resultsOf, sizeOfSample, tensorsAt, titleOf, variablesOf } from "./support/points.ts";

const seed = 31337;
const mostNumbers = 2000;
/** f32 rounding, relative to the largest number of a result: regions may round in another order. */
const tolerance = 1e-5;

const binding = loadBinding();
const differentiable = definedOps().filter((def) => !def.nondifferentiable);

interface Derivatives {
  readonly outputs: readonly Tensor[];
  readonly first: readonly Tensor[];
  readonly second: readonly Tensor[];
}

/** Values and derivatives of an op, as a function that can be traced. */
function derivativesOf(def: OpDef, sample: Sample) {
  const variables = variablesOf(def, sample);
  return (inputs: Tensor[], w: Tensor[], v: Tensor[]): Derivatives => {
    const run = (xs: readonly Tensor[]): Tensor[] => {
      const placed = [...inputs];
      variables.forEach((at, k) => {
        placed[at] = xs[k] as Tensor;
      });
      const outputs = apply(def, placed, sample.attrs);
      return resultsOf(def, outputs.length).map((i) => outputs[i] as Tensor);
    };
    const primals = variables.map((i) => inputs[i] as Tensor);
    const first = (xs: readonly Tensor[]): Tensor[] => vjpOf(run, xs, w).map((x, i) => x ?? (v[i] as Tensor).mul(0));
    const second = vjpOf(first, primals, v);
    return { outputs: run(primals), first: first(primals), second: second.filter((x): x is Tensor => x !== undefined) };
  };
}

function check(def: OpDef, sample: Sample, draws: Draws): void {
  const point = drawPoint(sample, draws);
  const inputs = tensorsAt(sample, point, "f32");
  const drawn = (x: Tensor): Tensor => tensor(draws.array(x.size, -1, 1), { shape: x.shape });
  const results = apply(def, inputs, sample.attrs);
  const w = resultsOf(def, results.length).map((i) => drawn(results[i] as Tensor));
  const v = variablesOf(def, sample).map((i) => drawn(inputs[i] as Tensor));
  const f = derivativesOf(def, sample);
  const eager = f(inputs, w, v);
  const step = compile(f);
  try {
    const compiled = step(inputs, w, v);
    for (const part of ["outputs", "first", "second"] as const) {
      expect(compiled[part].length, part).toBe(eager[part].length);
      compiled[part].forEach((x, i) => {
        expectClose(x, eager[part][i] as Tensor, `${part} ${i}`);
      });
    }
  } finally {
    step.dispose();
  }
}

function expectClose(actual: Tensor, expected: Tensor, what: string): void {
  expect(actual.shape, what).toEqual(expected.shape);
  const [a, b] = [actual.dataSync(), expected.dataSync()];
  let size = Number.MIN_VALUE;
  let worst = 0;
  for (let i = 0; i < b.length; i++) {
    size = Math.max(size, Math.abs(b[i] as number));
    const error = Math.abs((a[i] as number) - (b[i] as number));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  expect(worst / size, what).toBeLessThanOrEqual(tolerance);
}

console.info(`compiled ops: seed ${seed}`);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

const groups = differentiable.flatMap((def) => {
  const samples = (def.samples?.() ?? []).filter(
    (sample) => sizeOfSample(sample) <= mostNumbers && sample.inputs.some(({ dtype = "f32" }) => isFloat(dtype)),
  );
  return samples.length === 0
    ? []
    : [{ name: def.name, def, samples: samples.map((sample, i) => [titleOf(sample), sample, i] as const) }];
});

describe.each(groups)("$name, compiled", ({ def, samples }) => {
  it.each(samples)("equals its eager value and derivatives at %s", (_title, sample, i) =>
    scope(() => check(def, sample, new Draws(seed + i))),
  );
});
