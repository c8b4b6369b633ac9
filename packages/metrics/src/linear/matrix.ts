// Dense square matrices of f64, row-major in a Float64Array. Imports nothing.

/** Rows of one panel: two panels of the extents met here (up to 2048 columns of 8 bytes) stay in a second-level cache. */
const panelRows = 32;

/**
 * scatter += XᵀX for `count` rows of `dims` numbers, given transposed ([dims, count]) so that every inner product runs along
 * memory. Both triangles are written.
 */
export function addScatter(scatter: Float64Array, columns: Float64Array, count: number, dims: number): void {
  for (let iBlock = 0; iBlock < dims; iBlock += panelRows) {
    const iEnd = Math.min(iBlock + panelRows, dims);
    for (let jBlock = 0; jBlock <= iBlock; jBlock += panelRows) {
      for (let i = iBlock; i < iEnd; i++) {
        const jEnd = Math.min(jBlock + panelRows, i + 1);
        for (let j = jBlock; j < jEnd; j++) {
          const product = dot(columns, i * count, columns, j * count, count);
          scatter[i * dims + j] = (scatter[i * dims + j] as number) + product;
          if (i !== j) scatter[j * dims + i] = (scatter[j * dims + i] as number) + product;
        }
      }
    }
  }
}

/** Σₖ a[aStart + k]·b[bStart + k], summed in four chains that are added at the end. */
export function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, length: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  const whole = length & ~3;
  for (let k = 0; k < whole; k += 4) {
    s0 += (a[aStart + k] as number) * (b[bStart + k] as number);
    s1 += (a[aStart + k + 1] as number) * (b[bStart + k + 1] as number);
    s2 += (a[aStart + k + 2] as number) * (b[bStart + k + 2] as number);
    s3 += (a[aStart + k + 3] as number) * (b[bStart + k + 3] as number);
  }
  for (let k = whole; k < length; k++) s0 += (a[aStart + k] as number) * (b[bStart + k] as number);
  return s0 + s1 + (s2 + s3);
}

/** A·Bᵀ, which is A·B for a symmetric B: every element is an inner product of two rows. */
export function timesTransposed(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const product = new Float64Array(size * size);
  for (let block = 0; block < size; block += panelRows) {
    const end = Math.min(block + panelRows, size);
    for (let i = 0; i < size; i++)
      for (let j = block; j < end; j++) product[i * size + j] = dot(a, i * size, b, j * size, size);
  }
  return product;
}

/** The transpose of [rows, columns] numbers. */
export function transposed(a: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(a.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = a[i * columns + j] as number;
  return result;
}

/** The sum of the diagonal. */
export function trace(a: Float64Array, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += a[i * size + i] as number;
  return sum;
}
