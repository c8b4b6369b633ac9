// Changing the size of images: separable triangle filter (bilinear when enlarging, averaging over the covered pixels when
// shrinking), with pixel centres at half-integers.

/** For each output pixel, the input pixels that it averages. */
interface Taps {
  readonly first: Int32Array;
  readonly weights: readonly Float64Array[];
}

/** [height, width, channels] of an image, bytes in row-major order. */
export type ImageShape = readonly [height: number, width: number, channels: number];

/** A resampler of images of one shape to [toHeight, toWidth]. */
export function resampler(
  [height, width, channels]: ImageShape,
  [toHeight, toWidth]: readonly [number, number],
): (image: Uint8Array) => Uint8Array {
  const vertical = triangleTaps(height, toHeight);
  const horizontal = triangleTaps(width, toWidth);
  const rowLength = width * channels;
  const rows = new Float64Array(toHeight * rowLength);
  return (image) => {
    for (let y = 0; y < toHeight; y++) {
      for (let x = 0; x < rowLength; x++) {
        rows[y * rowLength + x] = weigh(vertical, y, (row) => image[row * rowLength + x] as number);
      }
    }
    const out = new Uint8Array(toHeight * toWidth * channels);
    for (let y = 0; y < toHeight; y++) {
      for (let x = 0; x < toWidth; x++) {
        for (let c = 0; c < channels; c++) {
          const value = weigh(horizontal, x, (column) => rows[y * rowLength + column * channels + c] as number);
          out[(y * toWidth + x) * channels + c] = Math.round(value);
        }
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
