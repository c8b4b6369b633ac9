// What metrics ask of their numbers, said in one way.

import { NonFiniteError, show, UsageError } from "@figment/tensor";

/** Throws unless all numbers are finite; `place` names the element of an index. */
export function checkFiniteNumbers(owner: string, data: ArrayLike<number>, place: (index: number) => string): void {
  for (let i = 0; i < data.length; i++)
    if (!Number.isFinite(data[i])) throw new NonFiniteError(`${owner}: ${place(i)} is ${data[i]}`);
}

/** The width of the interval [low, high] that pixels lie in. */
export function spanOf(owner: string, range: readonly [number, number]): number {
  const span = Array.isArray(range) && range.length === 2 ? (range[1] as number) - (range[0] as number) : Number.NaN;
  if (!(span > 0 && Number.isFinite(span)))
    throw new UsageError(`${owner}: range must be [low, high] with low < high, got ${show(range)}`);
  return span;
}
