// Turns the samples of op definitions into data: points (one flat array for each drawn input) and the
// tensors there, residual inputs computed to fit.

import { type DType, isFloat, type Tensor, tensor } from "@figment/tensor";
import type { OpDef, Sample, SampleInput } from "#ops/definition";
import { sizeOf } from "#shape";
import type { Draws } from "./draws.ts";

/** Values of each input of a sample, row-major; null where an input is derived from the others. */
export type Point = readonly (Float64Array | null)[];

const defaultRange = [-2, 2] as const;

const dtypeOf = ({ dtype }: SampleInput, float: DType): DType => dtype ?? float;

/** Draws the inputs of a sample; floats are rounded to f32, so that they are the same numbers in f32 and f64. */
export function drawPoint(sample: Sample, draws: Draws): Point {
  return sample.inputs.map((input) => {
    if (input.derive) return null;
    const size = sizeOf(input.shape);
    const dtype = dtypeOf(input, "f32");
    const [lo, hi] = input.range ?? defaultRange;
    if (dtype === "bool") return Float64Array.from({ length: size }, () => draws.integer(0, 2));
    if (isFloat(dtype)) return Float64Array.from({ length: size }, () => Math.fround(draws.uniform(lo, hi)));
    return Float64Array.from({ length: size }, () => draws.integer(lo, hi));
  });
}

/** The tensors of a sample at a point, floats as `float`. */
export function tensorsAt(sample: Sample, point: Point, float: DType): Tensor[] {
  const tensors: Tensor[] = [];
  sample.inputs.forEach((input, i) => {
    const data = point[i];
    tensors.push(
      data
        ? tensor(data, { shape: input.shape, dtype: dtypeOf(input, float) })
        : (input.derive as (xs: Tensor[]) => Tensor)(tensors),
    );
  });
  return tensors;
}

/** The inputs whose derivatives are checked: drawn floats that are no hints. */
export const variablesOf = (def: OpDef, sample: Sample): number[] =>
  sample.inputs.flatMap((input, i) =>
    isFloat(dtypeOf(input, "f64")) && !input.derive && !def.hints?.includes(i) ? [i] : [],
  );

/** The outputs that carry derivatives. */
export const resultsOf = (def: OpDef, count: number): number[] =>
  Array.from({ length: count }, (_, i) => i).filter((i) => !def.residuals?.includes(i));

/** How many numbers a sample holds. */
export const sizeOfSample = (sample: Sample): number => sample.inputs.reduce((n, { shape }) => n + sizeOf(shape), 0);

/** A sample as the title of a test. */
export const titleOf = (sample: Sample): string => {
  const shapes = sample.inputs.slice(0, 4).map(({ shape }) => `[${shape.join(",")}]`);
  const more = sample.inputs.length > 4 ? ` +${sample.inputs.length - 4}` : "";
  return `${shapes.join(" ")}${more} ${JSON.stringify(sample.attrs)}`;
};
