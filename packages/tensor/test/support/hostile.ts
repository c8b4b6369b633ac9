// Hostile input made from the samples of op definitions: empty tensors, and numbers that are not finite.

import { type DType, isFloat, scope, type Tensor, tensor } from "@figment/tensor";
import type { OpDef, Sample, SampleInput } from "#ops/definition";
import { sizeOf } from "#shape";
import type { Draws } from "./draws.ts";
import { drawPoint, type Point } from "./points.ts";

/** Floats that upset careless arithmetic: not finite, denormal, or zero of either sign. */
export const strangeFloats = [Number.NaN, Infinity, -Infinity, 1e-40, -1e-40, 0, -0] as const;

const isFloatInput = ({ dtype }: SampleInput): boolean => dtype === undefined || isFloat(dtype);

/** A point of a sample with strange floats here and there: one in `every`, and at least one in each float input. */
export function strangePoint(sample: Sample, draws: Draws, every: number, strange = strangeFloats): Point {
  return drawPoint(sample, draws).map((values, i) => {
    const input = sample.inputs[i] as SampleInput;
    // Inputs of a bounded range (probabilities, variances, residuals) keep to it: outside, ops promise nothing.
    if (!values || !isFloatInput(input) || input.range || values.length === 0) return values;
    const places = 1 + Math.floor(values.length / every);
    for (let k = 0; k < places; k++) values[draws.integer(0, values.length)] = Math.fround(draws.pick(strange));
    return values;
  });
}

/** Samples in which all extents of one size have become zero, as far as the shape rule allows. */
export function emptied(def: OpDef, sample: Sample): { readonly sample: Sample; readonly zeroed: string }[] {
  const found: { sample: Sample; zeroed: string }[] = [];
  const consider = (zeroed: string, inputs: readonly SampleInput[]): void => {
    const avals = inputs.map(({ shape, dtype = "f32" }) => ({ shape, dtype: dtype as DType }));
    if (!avals.some(({ shape }) => sizeOf(shape) === 0)) return;
    try {
      def.infer(avals, sample.attrs);
    } catch {
      // Refused: what such an error looks like is checked by its own test.
      return;
    }
    found.push({ zeroed, sample: { ...sample, inputs } });
  };
  const extents = new Set(sample.inputs.flatMap(({ shape }) => shape));
  for (const extent of extents) {
    consider(
      `every extent ${extent}`,
      sample.inputs.map((input) => ({ ...input, shape: input.shape.map((d) => (d === extent ? 0 : d)) })),
    );
  }
  sample.inputs.forEach((input, i) => {
    input.shape.forEach((_, axis) => {
      consider(
        `axis ${axis} of input ${i}`,
        sample.inputs.map((other, k) =>
          k === i ? { ...other, shape: other.shape.map((d, a) => (a === axis ? 0 : d)) } : other,
        ),
      );
    });
  });
  return found;
}

/** What a shape rule throws for each extent that is zeroed alone. */
export function refusals(def: OpDef, sample: Sample): unknown[] {
  return sample.inputs.flatMap((input, i) =>
    input.shape.map((_, axis) => {
      const avals = sample.inputs.map(({ shape, dtype = "f32" }, k) => ({
        shape: k === i ? shape.map((d, a) => (a === axis ? 0 : d)) : shape,
        dtype: dtype as DType,
      }));
      try {
        def.infer(avals, sample.attrs);
        return undefined;
      } catch (error) {
        return error;
      }
    }),
  );
}

/** One number through an op, as the device computes it. */
export function one(op: (x: Tensor) => Tensor, x: number, dtype: DType = "f32"): number {
  return scope(() => op(tensor([x], { dtype })).dataSync()[0] as number);
}
