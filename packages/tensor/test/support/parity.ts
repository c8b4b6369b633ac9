// Runs an op's kernels and says how far they are from its specification.

import { loadBinding, profileEvents } from "@figment/native";
import { type DataArray, isFloat, scope, type Tensor } from "@figment/tensor";
import { type Aval, GraphBuilder } from "#ir/graph";
import type { OpDef, Sample } from "#ops/definition";
import { runNode } from "#runtime/eager";
import { type Point, tensorsAt } from "./points.ts";

/** Distance between neighbouring f32 numbers at 1. */
export const epsilon = 2 ** -23;

/** The native op that an op runs on; null for those that need no kernel. */
export function kernelOf(def: OpDef, sample: Sample): string | null {
  const { lower } = def;
  if (lower.kind !== "kernel") return lower.kind === "constant" ? null : "elementwise";
  const builder = new GraphBuilder();
  const inputs = sample.inputs.map(({ shape, dtype = "f32" }) => builder.arg({ shape, dtype }));
  const node = builder.node(def, inputs, sample.attrs, def.infer(inputs, sample.attrs), "");
  return lower.call(node, sample.attrs).schema.op;
}

/** Operations whose results are sums of products: each error is judged by the size of its terms. */
export const bilinear = new Set([
  "matmul",
  "conv2d",
  "conv2dInputGrad",
  "conv2dWeightGrad",
  "sum",
  "avgPool",
  "avgPoolGrad",
  "resizeNearestGrad",
  "resizeBilinear",
  "resizeBilinearGrad",
  "upfirdn2d",
  "scatterAdd",
  "addNoise",
]);
/** Operations that draw: the same bits from every kernel. */
export const drawn = new Set(["randomUniform", "randomNormal", "randomInteger", "randomCategorical"]);

/** An output: its numbers, and whether they are floats. */
export interface Output {
  readonly data: DataArray;
  readonly float: boolean;
}

const outputOf = (x: Tensor): Output => ({ data: x.dataSync(), float: isFloat(x.dtype) });

/** The outputs of a variant in f32 or f64. */
export const runVariant = (
  def: OpDef,
  sample: Sample,
  point: Point,
  variant: string,
  float: "f32" | "f64" = "f32",
): Output[] => scope(() => runNode(def, tensorsAt(sample, point, float), sample.attrs, { variant }).map(outputOf));

/** The kernels that ran an op when a variant was asked for: it need not support every call. */
export const variantsRun = (def: OpDef, sample: Sample, point: Point, variant: string): string[] =>
  scope(() => {
    const inputs = tensorsAt(sample, point, "f32");
    return variantsDuring(() => runNode(def, inputs, sample.attrs, { variant }));
  });

/** The kernels that run on a device while `work` does. */
export function variantsDuring(work: () => void, device = 0): string[] {
  const binding = loadBinding();
  binding.settleSync();
  const before = binding.readProfile(Number.MAX_SAFE_INTEGER, device).first;
  binding.profile(true);
  try {
    work();
    binding.settleSync();
    return profileEvents(binding.readProfile(before, device)).flatMap(({ kind, variant }) =>
      kind === "record" ? [variant] : [],
    );
  } finally {
    binding.profile(false);
  }
}

/** What the outputs should be: the op's JavaScript reference, else the native reference in f64. */
export function expectedAt(def: OpDef, sample: Sample, point: Point): ArrayLike<number>[] {
  const { reference } = def;
  if (!reference) return runVariant(def, sample, point, "reference", "f64").map(({ data }) => data);
  return scope(() => {
    const inputs = tensorsAt(sample, point, "f64");
    return [
      ...reference(
        inputs.map((x) => Float64Array.from(x.dataSync())),
        inputs,
        sample.attrs,
      ),
    ];
  });
}

/** A function that computes once for each argument and remembers what came out. */
export function remembering<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key) as V;
  };
}

/** Distance between a result and what it should be. */
export interface Distance {
  /** ‖error‖ / ‖expected‖; where nothing but zeros is expected, ‖error‖. */
  readonly relative: number;
  /** The largest error relative to `scale` at its place. */
  readonly worst: number;
  /** Elements that are NaN or infinite where they should not be. */
  readonly notFinite: number;
}

/** Compares element by element; `scale` gives the size by which each error is judged. */
export function distance(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  scale: (i: number) => number,
): Distance {
  let errors = 0;
  let squares = 0;
  let worst = 0;
  let notFinite = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i] as number, expected[i] as number];
    if (!Number.isFinite(a) && Number.isFinite(b)) notFinite++;
    const error = Object.is(a, b) || a === b ? 0 : Math.abs(a - b);
    errors += error * error;
    if (Number.isFinite(b)) squares += b * b;
    worst = Math.max(worst, error === 0 ? 0 : error / scale(i));
  }
  return { relative: Math.sqrt(errors / (squares || 1)), worst, notFinite };
}

/** A point with every value replaced by its magnitude: for |A||B|, the size of a bilinear op's terms. */
export const magnitudes = (point: Point): Point => point.map((x) => x?.map(Math.abs) ?? null);

/** Error of a sum in units of ε·{@link termsOf}: one chain of multiply-adds, or Winograd's transforms around it. */
export const bilinearUnits = (variant: string): number => (variant.includes("winograd") ? 16 : 4);

/**
 * The size of the terms of a bilinear op's sums, |A||B|, by which a kernel's errors are judged. Winograd's filtering adds and
 * subtracts taps of the weights and neighbours within its tiles: there it is what the largest tap would give at all of
 * them, and of that the largest in each tile. Of the derivative by the weights it is what the largest pixels of each image
 * would give everywhere, and of that the largest tap.
 */
export function termsOf(def: OpDef, sample: Sample, point: Point): (variant: string) => readonly ArrayLike<number>[] {
  const sizes = magnitudes(point);
  const all = expectedAt(def, sample, sizes);
  return (variant) => {
    const [, height, width] = /winograd(\d)x(\d)$/.exec(variant) ?? [];
    if (!height || !width) return all;
    const inputs = sample.inputs.map(({ shape, dtype = "f32" }) => ({ shape, dtype }));
    const [, h = 1, w = 1, c = 1] = (def.infer(inputs, sample.attrs)[0] as Aval).shape;
    if (def.name === "conv2dWeightGrad") {
      const images = sizes.map((x, i) => x && largestOfImage(x, (inputs[i] as Aval).shape));
      return expectedAt(def, sample, images).map((terms) => largestWithin(terms, h * w, c, h * w));
    }
    const [, kh = 1, kw = 1, inner = 1] = (inputs[1] as Aval).shape;
    const taps = sizes.map((x, i) => (x && i === 1 ? largestWithin(x, kh * kw, inner, kh * kw) : x));
    return expectedAt(def, sample, taps).map((terms) =>
      largestWithin(largestWithin(terms, w, c, Number(width)), h, w * c, Number(height)),
    );
  };
}

/** At each pixel of [N,H,W,C] the largest of its image and channel. */
const largestOfImage = (x: ArrayLike<number>, [, h = 1, w = 1, c = 1]: readonly number[]): Float64Array =>
  largestWithin(x, h * w, c, h * w);

/** At each place the largest of its tile of `length` along an axis of `size`, which lies `inner` elements apart. */
function largestWithin(x: ArrayLike<number>, size: number, inner: number, length: number): Float64Array {
  const first = (i: number): number => i - ((Math.floor(i / inner) % size) % length) * inner;
  const largest = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) largest[first(i)] = Math.max(largest[first(i)] as number, x[i] as number);
  return largest.map((_value, i) => largest[first(i)] as number);
}

/** The bits of numbers, to be compared at once. */
export const bytesOf = (data: DataArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
