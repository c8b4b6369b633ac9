// What tests of the game share.

import { type Stateful, scope } from "@figment/tensor";

/** The cells of something by path, as numbers. */
export const contents = (owner: Stateful): Record<string, number[]> =>
  scope(() =>
    Object.fromEntries(
      Object.entries(owner.captureState().cells).map(([path, cell]) => [path, [...cell.value.dataSync()].map(Number)]),
    ),
  );

/** The largest difference between two lists of numbers by path; infinite where one lacks what the other has. */
export const distance = (a: Record<string, number[]>, b: Record<string, number[]>): number =>
  Object.entries(a).reduce(
    (worst, [path, values]) =>
      values.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (b[path]?.[i] ?? Number.POSITIVE_INFINITY))),
        worst,
      ),
    Object.keys(a).length === Object.keys(b).length ? 0 : Number.POSITIVE_INFINITY,
  );
