// Ways between two images through the latents. The prior's mass lies near a sphere of radius √D, which a straight line
// leaves; spherical interpolation stays on it (White 2016).

import { checkCounts } from "@figment/nn";
import {
  checkObject,
  checkTensor,
  ShapeError,
  scope,
  select,
  showShape,
  stack,
  stopGradient,
  type Tensor,
  UsageError,
} from "@figment/tensor";

/** Below this sine of the angle the two directions are one, and the way is a straight line. */
const leastSine = 1e-6;

/** Keeps the cosine of a row of zeros finite. */
const leastLength = 1e-30;

/** Rows whose largest element is 1, so that their squares neither overflow nor vanish; the angle between them is the same. */
const moderate = (x: Tensor): Tensor => x.div(stopGradient(x.abs().max(1, { keepDims: true }).maximum(leastLength)));

/** arccos x = √(1 − x)·Σ aᵢxⁱ for 0 ≤ x ≤ 1 within 2e-8 (Abramowitz & Stegun 1964, eq. 4.4.46). */
const arccosineTerms = [
  1.570796305, -0.2145988016, 0.0889789874, -0.0501743046, 0.030891881, -0.0170881256, 0.0066700901, -0.0012624911,
];

function arccosine(x: Tensor): Tensor {
  const size = x.abs();
  const polynomial = arccosineTerms.reduceRight((sum, term) => sum.mul(size).add(term), size.mul(0));
  const angle = size.neg().add(1).sqrt().mul(polynomial);
  return select(x.ge(0), angle, angle.neg().add(Math.PI));
}

/**
 * Spherical interpolation of rows: sin((1 − t)Ω)/sin Ω · a + sin(tΩ)/sin Ω · b, Ω the angle between a and b (Shoemake 1985;
 * White 2016, section 2). Where they point the same way it is linear, and where they point opposite ways, between which no arc
 * is the shortest.
 *
 * @param a [N, D].
 * @param b [N, D].
 * @param t from 0 (a) to 1 (b).
 * @throws ShapeError when the shapes differ or are no rows; UsageError for a t outside [0, 1].
 * @example
 * slerp(tensor([[1, 0]]), tensor([[0, 1]]), 0.5).at(0, 0); // 0.707107
 */
export function slerp(a: Tensor, b: Tensor, t: number): Tensor {
  checkTensor("slerp", "a", a);
  checkTensor("slerp", "b", b);
  if (a.rank !== 2 || String(a.shape) !== String(b.shape))
    throw new ShapeError(`slerp: expected two tensors [N, D], got ${showShape(a.shape)} and ${showShape(b.shape)}`);
  if (!(t >= 0 && t <= 1)) throw new UsageError(`slerp: t must be in [0, 1], got ${t}`);
  return scope(() => {
    const [ofA, ofB] = [moderate(a), moderate(b)];
    const lengths = ofA
      .square()
      .sum(1, { keepDims: true })
      .mul(ofB.square().sum(1, { keepDims: true }))
      .sqrt();
    const cosine = ofA.mul(ofB).sum(1, { keepDims: true }).div(lengths.maximum(leastLength)).clamp(-1, 1);
    const sine = cosine.square().neg().add(1).sqrt();
    const angle = arccosine(cosine);
    const bent = sine.gt(leastSine);
    const divisor = select(bent, sine, 1);
    const partOfA = select(
      bent,
      angle
        .mul(1 - t)
        .sin()
        .div(divisor),
      1 - t,
    );
    const partOfB = select(bent, angle.mul(t).sin().div(divisor), t);
    return a.mul(partOfA).add(b.mul(partOfB));
  });
}

/** A model with one layer of Gaussian latents. */
interface Interpolable {
  infer(x: Tensor): { readonly mean: Tensor };
  decode(z: Tensor): Tensor;
}

/**
 * Images on the way from each of `a` to each of `b`, by {@link slerp} between the posteriors' means.
 *
 * @param a images [N,H,W,C] in the range of the model's likelihood.
 * @param b of a's shape.
 * @param steps images of each way, its ends included; two at least.
 * @returns [N·steps,H,W,C], one way after another: `saveGrid(path, images, { columns: steps })`.
 * @throws UsageError for fewer than two steps.
 * @example
 * interpolateLatents(model, images, images, { steps: 5 }).dim(0) / images.dim(0); // 5
 */
export function interpolateLatents(
  model: Interpolable,
  a: Tensor,
  b: Tensor,
  options: { readonly steps?: number } = {},
): Tensor {
  checkTensor("interpolateLatents", "a", a);
  checkTensor("interpolateLatents", "b", b);
  const { steps = 8 } = checkObject("interpolateLatents", "options", options);
  checkCounts("interpolateLatents", { steps }, 2);
  return scope(() => {
    const [from, to] = [model.infer(a).mean, model.infer(b).mean];
    const ways = stack(
      Array.from({ length: steps }, (_, i) => slerp(from, to, i / (steps - 1))),
      1,
    );
    return model.decode(ways.reshape([from.dim(0) * steps, from.dim(1)]));
  });
}
