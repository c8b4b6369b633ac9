// Kernels that round their own results to 16 bits, and those that read biases and the vectors of norms in the format that
// they are stored in: every one gives the very bits that casts of their own would give, on the CPU and on the GPU (GEGLU in
// bf16 those or their neighbours).

import { loadBinding } from "@figment/native";
import { assertNoLeaks, type DType, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import { cudaDevice } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";
import { kernelOf, variantsDuring } from "./support/parity.ts";
import { drawPoint, sizeOfSample, tensorsAt, titleOf } from "./support/points.ts";

const seed = 5151;
const binding = loadBinding();
const gpu = cudaDevice().index;
const devices = gpu === undefined ? [0] : [0, gpu];
console.info(`stored formats: seed ${seed}`);
beforeAll(() => {
  for (const device of devices) binding.setPoison(true, device);
});
afterAll(() => {
  for (const device of devices) binding.setPoison(false, device);
  assertNoLeaks();
});

const only = process.env.FIGMENT_TEST_OPS?.split(",");
const ops = definedOps().filter((def) => def.stores && (!only || only.includes(def.name)));

/** A sample's operands: factors in one format, vectors that are read as they are stored in another, all others in f32. */
function operandsOf(def: OpDef, sample: Sample, factors: DType, vectors: DType): Tensor[] {
  return tensorsAt(sample, drawPoint(sample, new Draws(seed)), "f32").map((x, i) => {
    if (def.factors?.includes(i)) return x.cast(factors);
    return def.asStored?.includes(i) ? x.cast(vectors) : x;
  });
}

/** What a kernel gives on a device, its first result stored as `result`, for operands that were made on the CPU. */
function run(
  device: number,
  def: OpDef,
  { attrs }: Sample,
  operands: readonly Tensor[],
  result: DType,
  variant: string,
) {
  const given = operands.map((x) => ({ aval: { shape: x.shape, dtype: x.dtype }, data: x.dataSync() }));
  return onDevice(device, () => {
    const inputs = given.map(({ aval, data }) => tensor(data, aval));
    return runNode(def, inputs, { ...attrs, result }, { variant }).map((y) => y.dataSync());
  });
}

/** The same, and which kernels ran. */
function runAndTell(...call: Parameters<typeof run>) {
  let results: ReturnType<typeof run> = [];
  const ran = variantsDuring(() => {
    results = run(...call);
  }, call[0]);
  return { results, ran };
}
const sameKernels = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();

/** Unless all is asked for, the smaller half of the samples, in bf16. */
const thorough = process.env.FIGMENT_TEST_ALL === "1" || process.env.FIGMENT_TEST_CUDA === "1";
const formats = thorough ? (["bf16", "f16"] as const) : (["bf16"] as const);
const samplesOf = (def: OpDef): Sample[] => {
  const all = [...(def.samples?.() ?? [])].sort((a, b) => sizeOfSample(a) - sizeOfSample(b));
  return thorough ? all : all.slice(0, Math.ceil(all.length / 2));
};
const kernels = (def: OpDef) =>
  devices.flatMap((device) =>
    binding
      .variants(kernelOf(def, samplesOf(def)[0] as Sample) as string, device)
      .map(({ name }) => [device === 0 ? "CPU" : "GPU", name, device] as const),
  );

/** GEGLU in bf16 errs by an eighth of a rounding's most, so that ties may fall the other way. */
const isCoarse = ({ attrs }: Sample, dtype: DType): boolean =>
  (attrs as { activation?: string }).activation === "geglu" && dtype === "bf16";
/** The same numbers, or neighbours in bf16; or next to nothing, which f32's 1 + erf, where it cancels, makes 0 of. */
function expectNeighbours(got: Float32Array, want: Float32Array, title: string): void {
  expect(got.length, title).toBe(want.length);
  const off = want.findIndex((x, i) => !(Math.abs((got[i] as number) - x) <= 2 ** -7 * Math.abs(x) + 2 ** -19));
  expect([off, got[off]], title).toEqual([-1, undefined]);
}

describe.each(ops.map((def) => [def.name, def] as const))("%s", (_name, def) => {
  // Kernels of 16-bit factors take no others, and the other way round: samples have either in turn.
  const factorsOf = (i: number): DType => (i % 2 === 0 ? "f32" : "bf16");

  it.each(kernels(def))("on the %s, kernel %s, rounds its result as a cast does", (_device, variant, device) => {
    samplesOf(def).forEach((sample, i) => {
      scope(() => {
        const operands = operandsOf(def, sample, factorsOf(i), "f32");
        const { results, ran } = runAndTell(device, def, sample, operands, "f32", variant);
        const [exact, ...others] = results;
        for (const dtype of formats) {
          const stored = runAndTell(device, def, sample, operands, dtype, variant);
          // A kernel that does not store this format leaves the call to another, which sums in its own order.
          if (!sameKernels(stored.ran, ran)) continue;
          const [got, ...rest] = stored.results;
          const cast = tensor(exact as Float32Array)
            .cast(dtype)
            .dataSync();
          if (isCoarse(sample, dtype)) expectNeighbours(got as Float32Array, cast as Float32Array, titleOf(sample));
          else expect(got, titleOf(sample)).toEqual(cast);
          expect(rest, titleOf(sample)).toEqual(others);
        }
      });
    });
  });

  if (!def.asStored) return;
  it.each(kernels(def))("on the %s, kernel %s, widens vectors as a cast does", (_device, variant, device) => {
    samplesOf(def).forEach((sample, i) => {
      scope(() => {
        for (const dtype of formats) {
          const stored = operandsOf(def, sample, factorsOf(i), dtype);
          const wide = stored.map((x, k) => (def.asStored?.includes(k) ? x.cast("f32") : x));
          const [got, want] = [stored, wide].map((operands) => run(device, def, sample, operands, "f32", variant));
          expect(got, titleOf(sample)).toEqual(want);
        }
      });
    });
  });
});
