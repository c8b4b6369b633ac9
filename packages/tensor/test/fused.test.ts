// Fused ops against their decompositions in float64: values, and derivatives of order 1 and 2.

import { assertNoLeaks, isFloat, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { apply } from "#core/apply";
import { vjpOf } from "#core/tape";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";
import { drawPoint, resultsOf, sizeOfSample, tensorsAt, titleOf, variablesOf } from "./support/points.ts";

const seed = 771;
const mostNumbers = 4000;
/** Both sides are float64 and differ by rounding only. */
const tolerance = 1e-10;

const fused = definedOps().filter((def) => def.decompose && !def.nondifferentiable);

type Function = (xs: readonly Tensor[]) => readonly Tensor[];

const read = (x: Tensor | undefined): number[] => (x ? [...x.dataSync()] : []);

/** Derivatives of order 1 along w and of order 2 along v, as flat lists. */
function derivatives(f: Function, primals: readonly Tensor[], w: readonly Tensor[], v: readonly Tensor[]): number[][] {
  const first = (xs: readonly Tensor[]): Tensor[] => vjpOf(f, xs, w).map((x, i) => x ?? (v[i] as Tensor).mul(0));
  return [first(primals).flatMap(read), vjpOf(first, primals, v).flatMap(read)];
}

function compareWithDecomposition(def: OpDef, sample: Sample, draws: Draws): void {
  const inputs = tensorsAt(sample, drawPoint(sample, draws), "f64");
  const variables = variablesOf(def, sample);
  const place = (xs: readonly Tensor[]): Tensor[] => {
    const placed = [...inputs];
    variables.forEach((at, k) => {
      placed[at] = xs[k] as Tensor;
    });
    return placed;
  };
  const select = (outputs: readonly Tensor[]): Tensor[] =>
    resultsOf(def, outputs.length).map((i) => outputs[i] as Tensor);
  const whole: Function = (xs) => select(apply(def, place(xs), sample.attrs));
  const parts: Function = (xs) => select((def.decompose as NonNullable<OpDef["decompose"]>)(place(xs), sample.attrs));

  const primals = variables.map((i) => inputs[i] as Tensor);
  const outputs = whole(primals);
  expectClose(outputs.flatMap(read), parts(primals).flatMap(read), "values");
  const drawn = (x: Tensor): Tensor => tensor(draws.array(sizeOf(x.shape), -1, 1), { shape: x.shape, dtype: "f64" });
  const [w, v] = [outputs.map(drawn), primals.map(drawn)];
  const [first, second] = derivatives(whole, primals, w, v) as [number[], number[]];
  const [firstParts, secondParts] = derivatives(parts, primals, w, v) as [number[], number[]];
  expectClose(first, firstParts, "first derivatives");
  expectClose(second, secondParts, "second derivatives");
}

function expectClose(actual: readonly number[], expected: readonly number[], what: string): void {
  expect(actual.length, what).toBe(expected.length);
  const size = Math.max(1, ...expected.map(Math.abs));
  const worst = Math.max(0, ...actual.map((x, i) => Math.abs(x - (expected[i] as number))));
  expect(worst / size, what).toBeLessThanOrEqual(tolerance);
}

console.info(`fused ops: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe.each(fused.map((def) => [def.name, def] as const))("%s", (_name, def) => {
  const samples = (def.samples?.() ?? []).filter(
    (sample) => sizeOfSample(sample) <= mostNumbers && sample.inputs.some(({ dtype = "f64" }) => isFloat(dtype)),
  );
  it.each(samples.map((sample, i) => [titleOf(sample), sample, i] as const))(
    "agrees with its decomposition at %s",
    (_title, sample, i) => scope(() => compareWithDecomposition(def, sample, new Draws(seed + i))),
  );
});
