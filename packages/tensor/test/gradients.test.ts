// Derivatives of order 1 and 2 of every differentiable op, at the samples of its definition.

import { assertNoLeaks, isFloat } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { Draws } from "./support/draws.ts";
import { checkDerivatives } from "./support/gradcheck.ts";
import { sizeOfSample, titleOf } from "./support/points.ts";

const seed = 20240611;
const tolerance = 1e-6;
/** Larger samples are there for kernels; derivatives are the same formulas. */
const mostNumbers = 700;

/** Ops whose samples hold no floats to differentiate, or that only make constants and copies. */
const withoutSamples = ["full", "cast", "barrier"];

const differentiable = definedOps().filter((def) => !def.nondifferentiable);

const smallSamples = (def: OpDef): Sample[] =>
  (def.samples?.() ?? []).filter(
    (sample) => sizeOfSample(sample) <= mostNumbers && sample.inputs.some(({ dtype = "f64" }) => isFloat(dtype)),
  );

console.info(`gradient checks: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe("every differentiable op", () => {
  it("has samples from which its derivatives are checked", () => {
    const missing = differentiable.filter((def) => smallSamples(def).length === 0).map((def) => def.name);
    expect(missing.filter((name) => !withoutSamples.includes(name))).toEqual([]);
  });
});

describe.each(differentiable.filter((def) => smallSamples(def).length > 0).map((def) => [def.name, def] as const))(
  "%s",
  (_name, def) => {
    const samples = smallSamples(def).map((sample, i) => [titleOf(sample), sample, i] as const);
    it.each(samples)("has the derivatives of finite differences, order 1 and 2, at %s", (_title, sample, i) => {
      const { first, second } = checkDerivatives(def, sample, new Draws(seed + i));
      expect(first.error, `order 1: ${JSON.stringify(first)}`).toBeLessThanOrEqual(tolerance);
      expect(second.error, `order 2: ${JSON.stringify(second)}`).toBeLessThanOrEqual(tolerance);
    });
  },
);
