// How pictures of images are laid out, whatever made them.

import { concat, scope, type Tensor } from "@figment/tensor";

/** Pixels of a picture's narrower side that are comfortable to look at. */
const comfortable = 640;

/** How much a picture is enlarged that has so many images of this height (or width) along its narrower side. */
export const scaleFor = (images: number, side: number): number =>
  Math.max(1, Math.floor(comfortable / (images * side)));

/** Rows of `a` and `b` in turn, `columns` images each, the last ones shorter: [N,H,W,C] twice → [2N,H,W,C]. */
export function inTurn(a: Tensor, b: Tensor, columns: number): Tensor {
  return scope(() => {
    const count = a.dim(0);
    const row = (x: Tensor, start: number): Tensor =>
      x.slice([start, 0, 0, 0], [Math.min(columns, count - start), ...x.shape.slice(1)]);
    const starts = Array.from({ length: Math.ceil(count / columns) }, (_, i) => i * columns);
    return concat(
      starts.flatMap((start) => [row(a, start), row(b, start)]),
      0,
    );
  });
}
