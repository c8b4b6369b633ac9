// Latent traversals: what each latent alone does to an image, a row of pictures for each (Higgins et al. 2017, figure 4).

import { checkCounts } from "@figment/nn";
import {
  arange,
  checkArray,
  checkObject,
  checkRange,
  checkTensor,
  ShapeError,
  scope,
  select,
  showShape,
  type Tensor,
  tensor,
} from "@figment/tensor";

/** Options of {@link traverseLatents}. */
export interface TraversalOptions {
  /** Which latents. Default: all. */
  readonly dims?: readonly number[];
  /** Pictures of each row. Default 8. */
  readonly steps?: number;
  /** The latent's first and last value, in standard deviations of the prior. Default [-3, 3]. */
  readonly range?: readonly [number, number];
}

/**
 * Decodes z with one latent after another set to `steps` values across the range.
 *
 * @param z one image's latents, [1, D].
 * @returns [dims·steps,H,W,C], one row of pictures for each latent: `saveGrid(path, images, { columns: steps })`.
 * @throws ShapeError when z is not [1, D] or has no such latent.
 * @example
 * traverseLatents(model, zeros([1, model.latents]), { dims: [0, 1], steps: 5 }).dim(0); // 10
 */
export function traverseLatents(
  model: { decode(z: Tensor): Tensor },
  z: Tensor,
  options: TraversalOptions = {},
): Tensor {
  checkTensor("traverseLatents", "z", z);
  const { dims, steps = 8, range = [-3, 3] } = checkObject("traverseLatents", "options", options);
  if (z.rank !== 2 || z.dim(0) !== 1)
    throw new ShapeError(`traverseLatents: expected the latents of one image, [1, D], got ${showShape(z.shape)}`);
  checkCounts("traverseLatents", { steps });
  const latents = z.dim(1);
  if (dims !== undefined) checkArray("traverseLatents", "dims", dims);
  checkRange("traverseLatents", range);
  const [first, last] = range;
  const chosen = dims ?? Array.from({ length: latents }, (_, i) => i);
  for (const dim of chosen)
    if (!(Number.isInteger(dim) && dim >= 0 && dim < latents))
      throw new ShapeError(`traverseLatents: there is no latent ${dim} among ${latents}`);
  return scope(() => {
    const values = Float32Array.from({ length: chosen.length * steps }, (_, i) =>
      steps === 1 ? first : first + ((last - first) * (i % steps)) / (steps - 1),
    );
    const places = Int32Array.from(values, (_, i) => chosen[Math.floor(i / steps)] as number);
    const rows = values.length;
    const set = tensor(places, { shape: [rows, 1] }).eq(arange(latents));
    return model.decode(select(set, tensor(values, { shape: [rows, 1] }), z));
  });
}
