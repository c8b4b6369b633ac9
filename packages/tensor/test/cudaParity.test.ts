// Every kernel of the CUDA plug-in against the op's specification, at the samples of its definition, in each format that
// it takes: on the emulator, or on a real GPU. Memory is poisoned before each run.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, type DType, isFloat, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import { cudaDevice, triedVariants } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";
import { bilinear, distance, drawn, epsilon, expectedAt, kernelOf, remembering, termsOf } from "./support/parity.ts";
import { drawPoint, type Point, tensorsAt, titleOf } from "./support/points.ts";

const seed = 4242;
const binding = loadBinding();
const device = cudaDevice();
const index = device.index ?? 0;

/** Of an output's norm, by the format of the operands. */
const normTolerance = { f32: 1e-5, f64: 1e-12, bf16: 1e-2, f16: 2e-3 } as const;
/** Of the largest element. */
const fusedTolerance = { f32: 2e-5, f64: 1e-11, bf16: 2e-2, f16: 4e-3 } as const;
type Float = keyof typeof normTolerance;

interface Case {
  readonly def: OpDef;
  readonly sample: Sample;
  readonly i: number;
}

/**
 * The emulator is slow: unless all is asked for, it runs each sample in f32 and one other format in turn, and those of
 * products, which cudaProducts.test.ts has too, in one format in turn.
 */
const thorough = process.env.FIGMENT_TEST_ALL === "1" || process.env.FIGMENT_TEST_CUDA === "1";
const only = process.env.FIGMENT_TEST_OPS?.split(",");
const here = new Set(device.index === undefined ? [] : binding.ops(index));
const byOp = definedOps().flatMap((def) => {
  const samples = def.samples?.() ?? [];
  const kernel = samples[0] ? kernelOf(def, samples[0]) : null;
  if (kernel === null || !here.has(kernel) || (only && !only.includes(kernel))) return [];
  const variants = triedVariants(kernel, index);
  if (variants.length === 0) return [];
  return [{ name: def.name, variants, cases: samples.map((sample, i): Case => ({ def, sample, i })) }];
});

console.info(`CUDA parity: seed ${seed}`);
beforeAll(() => {
  if (device.index !== undefined) binding.setPoison(true, index);
});
afterAll(() => {
  if (device.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});

const turnOf = ({ def, i }: Case, formats: number): number => (def.factors ? i % formats : 1 + (i % (formats - 1)));

const takesHalves = ({ lower }: OpDef): boolean => lower.kind === "kernel" && lower.halves === true;
const floatsOf = (def: OpDef): Float[] => (takesHalves(def) ? ["f32", "bf16", "f16", "f64"] : ["f32", "f64"]);

/** The point with floats as the format holds them. */
const rounded = (sample: Sample, point: Point, float: DType): Point =>
  scope(() =>
    point.map((x, k) => {
      const { dtype = float, shape } = sample.inputs[k] as Sample["inputs"][number];
      return x === null || !isFloat(dtype) ? x : Float64Array.from(tensor(x, { shape, dtype }).dataSync());
    }),
  );

/** The op on the GPU, with inputs that were prepared on the CPU. */
function onGpu(def: OpDef, sample: Sample, point: Point, variant: string, float: Float) {
  return scope(() => {
    const prepared = tensorsAt(sample, point, float).map((x) => ({
      shape: x.shape,
      dtype: x.dtype,
      data: x.dataSync(),
    }));
    return onDevice(index, () =>
      runNode(
        def,
        prepared.map(({ data, shape, dtype }): Tensor => tensor(data, { shape, dtype })),
        sample.attrs,
        { variant },
      ).map((x) => ({ data: x.dataSync(), float: isFloat(x.dtype) })),
    );
  });
}

/** Of each format: a point, what a sample should give there, and the sizes of its terms where the op is bilinear. */
const specificationIn = remembering((float: Float) =>
  remembering(({ def, sample, i }: Case) => {
    const point = rounded(sample, drawPoint(sample, new Draws(seed + i)), float);
    const { activation = "none" } = sample.attrs as { activation?: string };
    const sums = float === "f32" && bilinear.has(def.name) && activation === "none";
    return { point, expected: expectedAt(def, sample, point), terms: sums ? termsOf(def, sample, point) : undefined };
  }),
);

function check(item: Case, variant: string, float: Float): void {
  const { def, sample } = item;
  const { point, expected, terms } = specificationIn(float)(item);
  const { noise = false } = sample.attrs as { noise?: boolean };
  // Noise that a kernel draws is that of the f32 stream in every format.
  const held = noise && float === "f64" ? "f32" : float;
  onGpu(def, sample, point, variant, float).forEach(({ data, float: isNumber }, k) => {
    const want = expected[k] as ArrayLike<number>;
    const about = `output ${k} of ${variant}`;
    expect(data.length, about).toBe(want.length);
    if (!isNumber) {
      expect(Array.from(data), about).toEqual(Array.from(want));
      return;
    }
    let largest = 0;
    for (let at = 0; at < want.length; at++) largest = Math.max(largest, Math.abs(want[at] as number));
    const sizes = terms?.(variant)[k];
    const scale = (at: number): number => {
      if (sizes) return 4 * epsilon * (sizes[at] as number);
      if (float === "f32" && (def.lower.kind !== "kernel" || drawn.has(def.name)))
        return 8 * epsilon * Math.max(Math.abs(want[at] as number), 0.1);
      return fusedTolerance[held] * (largest || 0.1);
    };
    const off = distance(data, want, scale);
    expect(off.notFinite, `${about}: NaN or infinite elements`).toBe(0);
    expect(off.relative, `${about}: error relative to the norm`).toBeLessThanOrEqual(normTolerance[held]);
    expect(off.worst, `${about}: worst element, in units of its bound`).toBeLessThanOrEqual(1);
  });
}

describe.skipIf(device.index === undefined)("on the GPU", () => {
  describe.each(byOp)("$name", ({ name, variants, cases }) => {
    describe.each(variants)("on the kernel %s", (variant) => {
      const titled = cases.flatMap((item) =>
        floatsOf(item.def)
          .filter((float) => !(drawn.has(name) && float !== "f32"))
          .filter(
            (float, k, all) => thorough || (float === "f32" && !item.def.factors) || k === turnOf(item, all.length),
          )
          .map((float) => [float, titleOf(item.sample), item] as const),
      );
      it.each(titled)("gives in %s what is specified at %s", (float, _title, item) => check(item, variant, float));
    });
  });
});
