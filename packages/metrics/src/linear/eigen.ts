// Eigenvalues and eigenvectors of symmetric matrices: Householder's reduction to tridiagonal form, then QL iterations with
// implicit shifts (Golub & Van Loan, Matrix Computations, §8.3; Martin, Reinsch & Wilkinson 1968; Dubrulle, Martin &
// Wilkinson 1968). Backward stable: eigenvalues are right to a few units in the last place of the largest. Vectors are kept as
// rows, so that all work runs along memory.

import { FigmentError } from "@figment/tensor";
import { dot } from "./matrix.js";

/** Eigenvalues in ascending order, and vectors as rows in their order, of length 1. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/** Iterations that one eigenvalue may take; two or three are usual. */
const mostIterations = 60;

/**
 * A coupling that is nothing beside the largest element, which is 1. Every sweep rounds small rows by as much where large ones
 * follow, so that of a matrix without full rank they would never seem apart to each other.
 */
const negligible = Number.EPSILON;

/** Lengths below this have squares that lose digits to underflow; beside the largest element, which is 1, they are nothing. */
const vanishing = 2 ** -500;

/** The decomposition A = Σᵢ λᵢ·vᵢvᵢᵀ of a symmetric, finite matrix. Leaves `matrix` alone. */
export function symmetricEigen(matrix: Float64Array, size: number): Eigen {
  const { diagonal, offDiagonal, scale, reflectors } = tridiagonalise(matrix, size);
  const rows = basis(reflectors, size);
  iterate(diagonal, offDiagonal, rows);
  const order = Array.from(diagonal.keys()).sort((i, j) => (diagonal[i] as number) - (diagonal[j] as number));
  const vectors = new Float64Array(size * size);
  for (const [to, from] of order.entries()) vectors.set(rows.subarray(from * size, (from + 1) * size), to * size);
  return { values: Float64Array.from(order, (i) => scale * (diagonal[i] as number)), vectors };
}

/** The eigenvalues alone, ascending: a quarter of the work. */
export function symmetricEigenvalues(matrix: Float64Array, size: number): Float64Array {
  const { diagonal, offDiagonal, scale } = tridiagonalise(matrix, size);
  iterate(diagonal, offDiagonal, null);
  return diagonal.sort().map((value) => scale * value);
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** Element i couples rows i and i + 1; the last is 0. */
  readonly offDiagonal: Float64Array;
  /** What everything was divided by, so that squares neither overflow nor vanish. */
  readonly scale: number;
  readonly reflectors: readonly (Reflector | null)[];
}

/** H = I − beta·vvᵀ, where v has zeros before place k + 1 for the k-th. */
interface Reflector {
  readonly beta: number;
  readonly v: Float64Array;
}

/** A = Q·T·Qᵀ with Q = H₀·H₁·…, T tridiagonal (Golub & Van Loan, algorithm 8.3.1). */
function tridiagonalise(matrix: Float64Array, size: number): Tridiagonal {
  const scale = matrix.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;
  const a = matrix.map((x) => x / scale);
  const reflectors: (Reflector | null)[] = [];
  const offDiagonal = new Float64Array(size);
  for (let k = 0; k + 2 < size; k++) {
    // Row k is column k; its part right of the diagonal is to become (alpha, 0, …, 0).
    const v = a.slice(k * size, (k + 1) * size).fill(0, 0, k + 1);
    const length = Math.sqrt(dot(v, 0, v, 0, size));
    if (length < vanishing) {
      reflectors.push(null);
      continue;
    }
    const first = v[k + 1] as number;
    const alpha = first > 0 ? -length : length;
    offDiagonal[k] = alpha;
    v[k + 1] = first - alpha;
    const beta = 2 / dot(v, 0, v, 0, size);
    reflectors.push({ beta, v });
    const p = new Float64Array(size);
    for (let i = k + 1; i < size; i++) p[i] = beta * dot(a, i * size + k + 1, v, k + 1, size - k - 1);
    const half = (beta / 2) * dot(p, 0, v, 0, size);
    const w = p.map((x, i) => x - half * (v[i] as number));
    for (let i = k + 1; i < size; i++) {
      const [vi, wi, row] = [v[i] as number, w[i] as number, i * size];
      for (let j = k + 1; j < size; j++)
        a[row + j] = (a[row + j] as number) - vi * (w[j] as number) - wi * (v[j] as number);
    }
  }
  if (size > 1) offDiagonal[size - 2] = a[(size - 2) * size + size - 1] as number;
  const diagonal = Float64Array.from({ length: size }, (_, i) => a[i * size + i] as number);
  return { diagonal, offDiagonal, scale, reflectors };
}

/** Qᵀ, from the last reflector to the first, so that only the trailing rows and columns have filled. */
function basis(reflectors: readonly (Reflector | null)[], size: number): Float64Array {
  const q = new Float64Array(size * size);
  for (let i = 0; i < size; i++) q[i * size + i] = 1;
  for (let k = reflectors.length - 1; k >= 0; k--) {
    const reflector = reflectors[k];
    if (!reflector) continue;
    const { beta, v } = reflector;
    for (let i = k + 1; i < size; i++) {
      const row = i * size;
      const t = beta * dot(q, row + k + 1, v, k + 1, size - k - 1);
      for (let j = k + 1; j < size; j++) q[row + j] = (q[row + j] as number) - t * (v[j] as number);
    }
  }
  return q;
}

/** Makes the diagonal the eigenvalues, and the rows of `vectors`, if given, the eigenvectors. */
function iterate(diagonal: Float64Array, offDiagonal: Float64Array, vectors: Float64Array | null): void {
  const size = diagonal.length;
  for (let l = 0; l < size; l++) {
    for (let iteration = 0; ; iteration++) {
      const m = endOfBlock(diagonal, offDiagonal, l);
      if (m === l) break;
      if (iteration === mostIterations)
        throw new FigmentError("ERR_FIGMENT_CONVERGENCE", `eigenvalue ${l} of ${size} has not converged`);
      sweep(diagonal, offDiagonal, l, m, vectors);
    }
  }
}

/** The last row that is still coupled to row l. */
function endOfBlock(diagonal: Float64Array, offDiagonal: Float64Array, l: number): number {
  for (let m = l; m + 1 < diagonal.length; m++) {
    const size = Math.abs(diagonal[m] as number) + Math.abs(diagonal[m + 1] as number);
    if (Math.abs(offDiagonal[m] as number) <= Number.EPSILON * size + negligible) return m;
  }
  return diagonal.length - 1;
}

/** One implicit QL sweep over rows l … m, with Wilkinson's shift from the upper end. */
function sweep(d: Float64Array, e: Float64Array, l: number, m: number, vectors: Float64Array | null): void {
  const [dl, el] = [d[l] as number, e[l] as number];
  const half = ((d[l + 1] as number) - dl) / (2 * el);
  const root = Math.sqrt(half * half + 1);
  let g = (d[m] as number) - dl + el / (half + (half >= 0 ? root : -root));
  let [sine, cosine, p] = [1, 1, 0];
  for (let i = m - 1; i >= l; i--) {
    const f = sine * (e[i] as number);
    const b = cosine * (e[i] as number);
    const r = Math.sqrt(f * f + g * g);
    e[i + 1] = r;
    if (r < vanishing) {
      // The matrix splits here.
      e[i + 1] = 0;
      d[i + 1] = (d[i + 1] as number) - p;
      e[m] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    const h = (d[i + 1] as number) - p;
    const s = ((d[i] as number) - h) * sine + 2 * cosine * b;
    p = sine * s;
    d[i + 1] = h + p;
    g = cosine * s - b;
    if (vectors) rotateRows(vectors, d.length, i, cosine, sine);
  }
  d[l] = dl - p;
  e[l] = g;
  e[m] = 0;
}

/** Rows i and i + 1 turned into each other by an angle. */
function rotateRows(rows: Float64Array, size: number, i: number, cosine: number, sine: number): void {
  const [upper, lower] = [i * size, (i + 1) * size];
  for (let k = 0; k < size; k++) {
    const [x, y] = [rows[upper + k] as number, rows[lower + k] as number];
    rows[lower + k] = sine * x + cosine * y;
    rows[upper + k] = cosine * x - sine * y;
  }
}
