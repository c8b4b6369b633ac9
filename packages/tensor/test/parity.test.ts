// Every native kernel that this machine can run, against the op's specification, at the samples of its
// definition, with memory poisoned before each run: an element left unwritten is a NaN here.

import { loadBinding } from "@figment/native";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { Draws } from "./support/draws.ts";
import {
  bilinear,
  bilinearUnits,
  bytesOf,
  type Distance,
  distance,
  drawn,
  epsilon,
  expectedAt,
  kernelOf,
  type Output,
  remembering,
  runVariant,
  termsOf,
  variantsRun,
} from "./support/parity.ts";
import { drawPoint, titleOf } from "./support/points.ts";

const seed = 4242;
/** Of an output's norm. */
const normTolerance = 1e-5;
/** Error of each element in units of ε·max(|y|, `smallest`) for elementwise ops and draws. */
const elementUnits = 8;
const smallest = 0.1;
/** Error of each element relative to the largest element, for the rest. */
const fusedTolerance = 2e-5;
/** C++ references run in f64 against JavaScript ones. */
const exactTolerance = 1e-12;

/** A sample of an op that runs on a kernel. */
interface Case {
  readonly def: OpDef;
  readonly sample: Sample;
  readonly i: number;
}

/** Kernels on emulated tiles are slow: without it every third sample of theirs is repeated with other numbers of threads. */
const thorough = process.env.FIGMENT_TEST_ALL === "1";

const binding = loadBinding();
const byOp = definedOps().flatMap((def) => {
  const samples = def.samples?.() ?? [];
  const kernel = samples[0] ? kernelOf(def, samples[0]) : null;
  const cases: Case[] = samples.map((sample, i) => ({ def, sample, i }));
  return kernel === null ? [] : [{ name: def.name, kernel, cases }];
});
const titled = (cases: readonly Case[]) => cases.map((item) => [titleOf(item.sample), item] as const);

console.info(`kernel parity: seed ${seed}`);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

/** A point, what a sample should give there, and the sizes of its terms where the op is bilinear. */
const specificationOf = remembering(({ def, sample, i }: Case) => {
  const point = drawPoint(sample, new Draws(seed + i));
  const { activation = "none" } = sample.attrs as { activation?: string };
  const sums = bilinear.has(def.name) && activation === "none";
  return { point, expected: expectedAt(def, sample, point), terms: sums ? termsOf(def, sample, point) : undefined };
});

/** The most that each element may be off, in units that its error is divided by. */
function scaleOf(item: Case, variant: string, k: number): (i: number) => number {
  const { def } = item;
  const { terms, expected } = specificationOf(item);
  const want = expected[k] as ArrayLike<number>;
  if (terms) {
    const sizes = terms(variant)[k] as ArrayLike<number>;
    return (i) => bilinearUnits(variant) * epsilon * (sizes[i] as number);
  }
  if (def.lower.kind !== "kernel" || drawn.has(def.name)) {
    return (i) => elementUnits * epsilon * Math.max(Math.abs(want[i] as number), smallest);
  }
  let largest = 0;
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i] as number));
  return () => fusedTolerance * largest;
}

function check(item: Case, variant: string): void {
  const { point, expected } = specificationOf(item);
  runVariant(item.def, item.sample, point, variant).forEach(({ data, float }: Output, k) => {
    const want = expected[k] as ArrayLike<number>;
    const about = `output ${k} of ${variant}`;
    expect(data.length, about).toBe(want.length);
    if (!float) {
      expect(Array.from(data), about).toEqual(Array.from(want));
      return;
    }
    const off: Distance = distance(data, want, scaleOf(item, variant, k));
    expect(off.notFinite, `${about}: NaN or infinite elements`).toBe(0);
    expect(off.relative, `${about}: error relative to the norm`).toBeLessThanOrEqual(normTolerance);
    expect(off.worst, `${about}: worst element, in units of its bound`).toBeLessThanOrEqual(1);
  });
}

describe.each(byOp)("$name", ({ name, kernel, cases }) => {
  // Kernels of 16-bit factors alone are compared in halfKernels.test.ts.
  const variants = binding
    .variants(kernel)
    .map((variant) => variant.name)
    .filter((variant) => !variant.endsWith("-bf16"));

  it("has a reference kernel", () => {
    expect(variants).toContain("reference");
  });

  describe.each(variants)("on the kernel %s", (variant) => {
    it("runs that kernel for at least one sample", () => {
      const ran = cases.some((item) =>
        variantsRun(item.def, item.sample, specificationOf(item).point, variant).includes(variant),
      );
      expect(ran).toBe(true);
    });

    it.each(titled(cases))("gives what is specified at %s", (_title, item) => check(item, variant));
  });

  const specified = cases.filter(
    ({ def, sample }) => def.reference && sample.inputs.every(({ dtype }) => dtype !== "f32"),
  );
  it.each(drawn.has(name) ? [] : titled(specified))(
    "has a float64 reference kernel equal to the JavaScript one at %s",
    (_title, item) => {
      const { def, sample } = item;
      const { point, expected } = specificationOf(item);
      runVariant(def, sample, point, "reference", "f64").forEach(({ data }, k) => {
        const want = expected[k] as ArrayLike<number>;
        const off = distance(data, want, (at) => Math.max(Math.abs(want[at] as number), smallest));
        expect(off.notFinite).toBe(0);
        expect(off.worst).toBeLessThanOrEqual(exactTolerance);
      });
    },
  );
});

describe("determinism", () => {
  const threadCounts = [1, 2, 5];
  const own = binding.threads();
  afterAll(() => binding.setThreads(own));

  it.each(byOp)("$name gives the same bits on any number of threads", ({ kernel, cases }) => {
    for (const item of cases) {
      const { def, sample } = item;
      const { point } = specificationOf(item);
      for (const { name } of binding.variants(kernel)) {
        const sparse = !thorough && name.startsWith("emulated");
        if (sparse && item.i % 3 !== 0) continue;
        const runs = (sparse ? [1, 5] : threadCounts).map((threads) => {
          binding.setThreads(threads);
          return Buffer.concat(runVariant(def, sample, point, name).map(({ data }) => bytesOf(data)));
        });
        const same = runs.every((run) => run.equals(runs[0] as Buffer));
        expect(same, `${name} at ${titleOf(sample)}`).toBe(true);
      }
    }
  });

  it.each(byOp.filter(({ name }) => drawn.has(name)))(
    "$name gives the same bits on every kernel",
    ({ kernel, cases }) => {
      for (const item of cases) {
        const { def, sample } = item;
        const { point } = specificationOf(item);
        const [first, ...others] = binding.variants(kernel).map(({ name }) => runVariant(def, sample, point, name));
        for (const other of others) expect(other).toEqual(first);
      }
    },
  );
});
