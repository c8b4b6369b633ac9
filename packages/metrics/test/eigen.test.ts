import { describe, expect, it } from "vitest";
import { symmetricEigen, symmetricEigenvalues } from "#linear/eigen";
import { normal } from "./numbers.js";

/** A symmetric matrix of draws. */
function symmetric(seed: number, size: number): Float64Array {
  const draws = normal(seed, size * size);
  return draws.map((x, at) => x + (draws[(at % size) * size + Math.floor(at / size)] as number));
}

/** max |A − Σ λ·vvᵀ| and max |V·Vᵀ − I|. */
function residuals(a: Float64Array, size: number): { rebuilt: number; orthogonal: number } {
  const { values, vectors } = symmetricEigen(a, size);
  let [rebuilt, orthogonal] = [0, 0];
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      let [sum, product] = [0, 0];
      for (let k = 0; k < size; k++) {
        sum += values[k]! * vectors[k * size + i]! * vectors[k * size + j]!;
        product += vectors[i * size + k]! * vectors[j * size + k]!;
      }
      rebuilt = Math.max(rebuilt, Math.abs(sum - a[i * size + j]!));
      orthogonal = Math.max(orthogonal, Math.abs(product - (i === j ? 1 : 0)));
    }
  }
  return { rebuilt, orthogonal };
}

describe("the symmetric eigendecomposition", () => {
  it.each([1, 2, 3, 5, 16, 61])("rebuilds random matrices of %i rows from orthonormal vectors", (size) => {
    const { rebuilt, orthogonal } = residuals(symmetric(size, size), size);
    expect(rebuilt).toBeLessThan(1e-13 * size);
    expect(orthogonal).toBeLessThan(1e-14 * size);
  });

  it("knows the eigenvalues of the second difference, 2 − 2·cos(kπ/(n + 1))", () => {
    const size = 40;
    const a = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      a[i * size + i] = 2;
      if (i > 0) a[i * size + i - 1] = -1;
      if (i + 1 < size) a[i * size + i + 1] = -1;
    }
    for (const [k, value] of symmetricEigenvalues(a, size).entries())
      expect(value).toBeCloseTo(2 - 2 * Math.cos(((k + 1) * Math.PI) / (size + 1)), 13);
  });

  it("decomposes zero, the identity and matrices of rank one", () => {
    const size = 6;
    expect(symmetricEigen(new Float64Array(36), size).values).toEqual(new Float64Array(size));
    const identity = Float64Array.from({ length: 36 }, (_, at) => Number(at % 7 === 0));
    expect(symmetricEigen(identity, size).values).toEqual(new Float64Array(size).fill(1));
    const one = symmetricEigen(new Float64Array(36).fill(1), size);
    expect(one.values.at(-1)).toBeCloseTo(6, 14);
    for (const value of one.values.subarray(0, 5)) expect(Math.abs(value)).toBeLessThan(1e-14);
    expect(residuals(new Float64Array(36).fill(1), size).orthogonal).toBeLessThan(1e-14);
  });

  it.each([1e-200, 1e200])("keeps matrices of the size of %d from vanishing and overflowing", (scale) => {
    const values = symmetricEigen(symmetric(3, 9), 9).values;
    const scaled = symmetricEigen(
      symmetric(3, 9).map((x) => x * scale),
      9,
    ).values;
    for (const [k, value] of scaled.entries()) expect(value / scale).toBeCloseTo(values[k]!, 12);
  });

  it("finds the few eigenvalues of a matrix of low rank, and zeros", () => {
    const [size, rank] = [200, 5];
    const factors = normal(3, size * rank).map((x) => Math.max(0, x));
    const matrix = new Float64Array(size * size);
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        for (let k = 0; k < rank; k++)
          matrix[i * size + j] =
            (matrix[i * size + j] as number) + (factors[i * rank + k] as number) * (factors[j * rank + k] as number);
    const values = symmetricEigenvalues(matrix, size);
    const trace = Array.from({ length: size }, (_, i) => matrix[i * size + i] as number).reduce((a, b) => a + b);
    expect(values.reduce((a, b) => a + b)).toBeCloseTo(trace, 8);
    expect(values.filter((value) => Math.abs(value) > 1e-10 * trace)).toHaveLength(rank);
  });

  it.each([1e-150, 1e-155, 1e-160, 1e-165, 1e-200])(
    "takes couplings of %d, whose squares vanish, as none",
    (coupling) => {
      const size = 5;
      const a = Float64Array.from({ length: size * size }, (_, at) => (at % (size + 1) === 0 ? at : coupling));
      expect(symmetricEigen(a, size).values).toEqual(Float64Array.of(0, 6, 12, 18, 24));
      expect(residuals(a, size).orthogonal).toBeLessThan(1e-14);
    },
  );

  it.each([1e5, 1e20, 1e80])("finds eigenvalues of rows that shrink, and grow, by %d each", (ratio) => {
    const size = 40;
    const shrinking = Float64Array.from({ length: size * size }, (_, at) => {
      const [i, j] = [Math.floor(at / size), at % size];
      return ratio ** (-(i + j) / 2) * Math.cos(i * j);
    });
    for (const a of [shrinking, shrinking.slice().reverse()]) {
      const { rebuilt, orthogonal } = residuals(a, size);
      expect(rebuilt).toBeLessThan(1e-14);
      expect(orthogonal).toBeLessThan(1e-13);
    }
  });

  it("gives the same values with and without vectors", () => {
    const a = symmetric(8, 30);
    const { values } = symmetricEigen(a, 30);
    for (const [k, value] of symmetricEigenvalues(a, 30).entries()) expect(value).toBeCloseTo(values[k]!, 12);
  });
});
