// Points in the plane as a picture, so that recipes on toy distributions have something to look at.

import { checkCounts } from "@figment/nn";
import { checkObject, checkTensor, ShapeError, showShape, type Tensor, tensor, UsageError } from "@figment/tensor";

/** Options of {@link scatter}. */
export interface ScatterOptions {
  /** The picture shows [−extent, extent] along both axes. */
  readonly extent: number;
  /** Pixels a side. Default 256. */
  readonly size?: number;
}

/**
 * How many points fall on each pixel, as brightness: a pixel is −1 without points and log(1 + n)/log(1 + most) of the way to 1
 * with n. The first coordinate runs to the right, the second upwards.
 *
 * @param points f32 [N, 2]; those outside are left out.
 * @returns an image f32 [1, size, size, 1] in [-1, 1], the caller's own.
 * @throws ShapeError unless the points are [N, 2]; UsageError when a number is out of range.
 * @example
 * const picture = await scatter(tensor([[0, 0.9]]), { extent: 1, size: 4 });
 * picture.at(0, 0, 2, 0); // 1
 */
export async function scatter(points: Tensor, options: ScatterOptions): Promise<Tensor> {
  checkTensor("scatter", "points", points);
  const { extent, size = 256 } = checkObject("scatter", "options", options, "extent");
  checkCounts("scatter", { size });
  if (!(extent > 0 && Number.isFinite(extent)))
    throw new UsageError(`scatter: the extent must be a positive number, got ${extent}`);
  if (points.rank !== 2 || points.dim(1) !== 2)
    throw new ShapeError(`scatter: expected points [N, 2], got ${showShape(points.shape)}`);
  const data = await points.data();
  const counts = new Float32Array(size * size);
  for (let i = 0; i < data.length; i += 2) {
    const [column, row] = [data[i], -(data[i + 1] as number)].map((at) =>
      Math.floor((((at as number) + extent) / (2 * extent)) * size),
    ) as [number, number];
    if (column < 0 || row < 0 || column >= size || row >= size) continue;
    counts[row * size + column] = (counts[row * size + column] as number) + 1;
  }
  const most = counts.reduce((a, b) => Math.max(a, b), 0);
  const brightness = counts.map((n) => (most === 0 ? -1 : (2 * Math.log1p(n)) / Math.log1p(most) - 1));
  return tensor(brightness, { shape: [1, size, size, 1] });
}
