// Rows and numbers picked by indices, and added back; parts of tensors at places that are data.

import {
  dynamicSlice,
  dynamicUpdateSlice,
  gather,
  scalar,
  scatterAdd,
  scatterAddAlong,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, product, randomTensor } from "../case.js";

const table = [50257, 256] as const;
const picked = 4096;
const [, width] = table;
const cache = [1, 4096, 8, 64] as const;

/** Indices below `limit`, spread over all of it. */
const indices = (shape: readonly number[], limit: number): Tensor =>
  tensor(
    Int32Array.from({ length: product(shape) }, (_, i) => (i * 7919) % limit),
    { shape: [...shape] },
  );

/** A case of a tensor and whatever else; `numbers` are read and written. */
function indexCase(
  op: string,
  name: string,
  shape: readonly number[],
  numbers: number,
  others: () => readonly Tensor[],
  ours: (x: Tensor, ...others: Tensor[]) => Tensor,
): KernelCase {
  return {
    name: `${name} ${shape.join("×")}`,
    op,
    bytes: bytesPerFloat * numbers,
    bound: "copy",
    ours() {
      const [x, rest] = [randomTensor(shape, 1), others()];
      return ourContestant([x, ...rest], () => ours(x, ...rest));
    },
  };
}

export const indexingCases: readonly KernelCase[] = [
  indexCase(
    "gather",
    `gather ${picked} rows of`,
    table,
    2 * picked * width,
    () => [indices([picked], table[0])],
    (x, at) => gather(x, at!),
  ),
  indexCase(
    "scatterAdd",
    `scatterAdd to ${table[0]} rows from`,
    [picked, width],
    2 * picked * width + product(table),
    () => [indices([picked], table[0])],
    (x, at) => scatterAdd(x, at!, table[0]),
  ),
  indexCase(
    "scatterAddAlong",
    `scatterAddAlong to ${width} columns from`,
    [picked, 64],
    picked * (2 * 64 + width),
    () => [indices([picked, 64], width)],
    (x, at) => scatterAddAlong(x, at!, width),
  ),
  indexCase(
    "dynamicSlice",
    "dynamicSlice of half of",
    cache,
    product(cache),
    () => [scalar(1000, "i32")],
    (x, start) => dynamicSlice(x, [0, start!, 0, 0], [1, 2048, 8, 64]),
  ),
  indexCase(
    "dynamicUpdateSlice",
    "dynamicUpdateSlice of one token in a copy of",
    cache,
    2 * product(cache),
    () => [randomTensor([1, 1, 8, 64], 2), scalar(1000, "i32")],
    (x, token, start) => dynamicUpdateSlice(x, token!, [0, start!, 0, 0]),
  ),
];
