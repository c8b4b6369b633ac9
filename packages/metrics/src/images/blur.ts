// Gaussian blur: what slightly damages real images, to see whether a distance notices.

import {
  checkTensor,
  concat,
  conv2d,
  edgePad,
  ShapeError,
  scope,
  show,
  showShape,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";

/** The kernel reaches to that many standard deviations. */
const reach = 3;

/**
 * Images convolved with a Gaussian, [N,H,W,C] → [N,H,W,C]; the edge's pixels go on beyond it.
 *
 * @param sigma its standard deviation in pixels, above 0.
 * @throws UsageError for another sigma; ShapeError when the images are not [N,H,W,C].
 * @example
 * gaussianBlur(images, 0.7); // [8, 4, 4, 1]
 */
export function gaussianBlur(images: Tensor, sigma: number): Tensor {
  checkTensor("gaussianBlur", "images", images);
  if (!(sigma > 0 && Number.isFinite(sigma)))
    throw new UsageError(`gaussianBlur: sigma must be a number above 0, got ${show(sigma)}`);
  if (images.rank !== 4)
    throw new ShapeError(`gaussianBlur: expected images [N,H,W,C], got ${showShape(images.shape)}`);
  return scope(() => {
    const channels = images.dim(3);
    const radius = Math.ceil(reach * sigma);
    const bell = Float64Array.from({ length: 2 * radius + 1 }, (_, i) =>
      Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)),
    );
    const total = bell.reduce((sum, x) => sum + x, 0);
    const one = tensor(
      bell.map((x) => x / total),
      { shape: [1, 1, bell.length, 1], dtype: images.dtype },
    );
    const across = channels === 1 ? one : concat(new Array<Tensor>(channels).fill(one), 0);
    const down = across.reshape([channels, bell.length, 1, 1]);
    const around = [0, radius, radius, 0];
    const rows = conv2d(edgePad(images, around, around), across, { groups: channels });
    return conv2d(rows, down, { groups: channels });
  });
}
