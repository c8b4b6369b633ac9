// Who lies in whose neighbourhood, decided as f64 would. Squared distances |x|² + |y|² − 2·x·y come from products in f32
// together with a bound of their error; a comparison that lies within the bound is made again in f64, which few need.

import { errorShare, exactSquare, forProducts, type Rows } from "./products.js";

/** A little more than nothing, for what f32 loses below its least number. */
const floor = 2 ** -100;

/** For each row of `set`, the squared distance to the k-th nearest of its other rows. */
export async function squaredRadii(set: Rows, k: number): Promise<Float64Array> {
  const radii = new Float64Array(set.count);
  const lengths = set.squares.map(Math.sqrt);
  const share = 2 * errorShare(set.dims);
  const lower = new Float64Array(set.count);
  await forProducts(set.rounded, set.rounded, (products, first, count) => {
    for (let r = 0; r < count; r++) {
      const i = first + r;
      const [square, slack] = [set.squares[i] as number, share * (lengths[i] as number)];
      const row = r * set.count;
      const nearest = new Float64Array(k).fill(Infinity);
      for (let j = 0; j < set.count; j++) {
        const distance = square + (set.squares[j] as number) - 2 * (products[row + j] as number);
        const error = slack * (lengths[j] as number) + floor;
        lower[j] = distance - error;
        if (j !== i && distance + error < (nearest[k - 1] as number)) insert(nearest, distance + error);
      }
      // The k nearest are among those that may be as near as the k-th surely is.
      const limit = nearest[k - 1] as number;
      nearest.fill(Infinity);
      for (let j = 0; j < set.count; j++) {
        if (j === i || (lower[j] as number) > limit) continue;
        const exact = exactSquare(set, i, set, j);
        if (exact < (nearest[k - 1] as number)) insert(nearest, exact);
      }
      radii[i] = nearest[k - 1] as number;
    }
  });
  return radii;
}

/** Puts a number into an ascending list, whose last falls out. */
function insert(list: Float64Array, x: number): void {
  let at = list.length - 1;
  while (at > 0 && (list[at - 1] as number) > x) {
    list[at] = list[at - 1] as number;
    at--;
  }
  list[at] = x;
}

/** How neighbourhoods of two sets overlap. */
export interface Membership {
  /** For each generated row, in how many real neighbourhoods it lies. */
  readonly realAround: Float64Array;
  /** For each real row, how many generated rows lie in its neighbourhood. */
  readonly generatedWithin: Float64Array;
  /** For each real row, in how many generated neighbourhoods it lies; all 0 where their radii were not given. */
  readonly generatedAround: Float64Array;
}

/** Counts who lies within whose radius, edges included. */
export async function memberships(
  real: Rows,
  generated: Rows,
  realRadii: Float64Array,
  generatedRadii: Float64Array | null,
): Promise<Membership> {
  const realAround = new Float64Array(generated.count);
  const generatedWithin = new Float64Array(real.count);
  const generatedAround = new Float64Array(real.count);
  const lengths = generated.squares.map(Math.sqrt);
  const share = 2 * errorShare(real.dims);
  await forProducts(real.rounded, generated.rounded, (products, first, count) => {
    for (let r = 0; r < count; r++) {
      const i = first + r;
      const [square, radius] = [real.squares[i] as number, realRadii[i] as number];
      const slack = share * Math.sqrt(square);
      const row = r * generated.count;
      for (let j = 0; j < generated.count; j++) {
        const distance = square + (generated.squares[j] as number) - 2 * (products[row + j] as number);
        const error = slack * (lengths[j] as number) + floor;
        const other = generatedRadii ? (generatedRadii[j] as number) : -1;
        const nearest = distance - error;
        if (nearest > radius && nearest > other) continue;
        const open = Math.abs(distance - radius) <= error || Math.abs(distance - other) <= error;
        const square2 = open ? exactSquare(real, i, generated, j) : distance;
        if (square2 <= radius) {
          realAround[j] = (realAround[j] as number) + 1;
          generatedWithin[i] = (generatedWithin[i] as number) + 1;
        }
        if (square2 <= other) generatedAround[i] = (generatedAround[i] as number) + 1;
      }
    }
  });
  return { realAround, generatedWithin, generatedAround };
}
