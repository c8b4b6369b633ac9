// Changing the size of small grey images: separable triangle filter (bilinear when enlarging, averaging over the covered
// pixels when shrinking), with pixel centres at half-integers.

/** For each output pixel, the input pixels that it averages. */
interface Taps {
  readonly first: Int32Array;
  readonly weights: readonly Float64Array[];
}

/** A resampler of images [height, width] to [size, size]. */
export function resampler(height: number, width: number, size: number): (image: Uint8Array) => Uint8Array {
  const vertical = triangleTaps(height, size);
  const horizontal = triangleTaps(width, size);
  const rows = new Float64Array(size * width);
  return (image) => {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < width; x++) {
        rows[y * width + x] = weigh(vertical, y, (row) => image[row * width + x] as number);
      }
    }
    const out = new Uint8Array(size * size);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        out[y * size + x] = Math.round(weigh(horizontal, x, (column) => rows[y * width + column] as number));
      }
    }
    return out;
  };
}

function weigh({ first, weights }: Taps, at: number, sample: (index: number) => number): number {
  const start = first[at] as number;
  const row = weights[at] as Float64Array;
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += (row[i] as number) * sample(start + i);
  return sum;
}

function triangleTaps(from: number, to: number): Taps {
  const scale = from / to;
  const support = Math.max(1, scale);
  const first = new Int32Array(to);
  const weights: Float64Array[] = [];
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const low = Math.max(0, Math.ceil(centre - support - 0.5));
    const high = Math.min(from - 1, Math.floor(centre + support - 0.5));
    const row = Float64Array.from({ length: high - low + 1 }, (_, k) =>
      Math.max(0, 1 - Math.abs(low + k + 0.5 - centre) / support),
    );
    const sum = row.reduce((total, weight) => total + weight, 0);
    first[i] = low;
    weights.push(row.map((weight) => weight / sum));
  }
  return { first, weights };
}
