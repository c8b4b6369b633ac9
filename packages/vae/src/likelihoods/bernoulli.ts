// Bernoulli likelihood: each pixel is on with probability sigmoid(output) (Kingma & Welling 2014, appendix C.1).

import { checkObject, checkTensor, type Rng, scope, type Tensor } from "@figment/tensor";
import { perImage } from "../units.js";
import { Likelihood } from "./likelihood.js";

/**
 * ln p(x | z) = Σ x·ln p + (1 − x)·ln(1 − p), p = sigmoid(output); computed as x·a − softplus(a) from the logit a,
 * which overflows nowhere. Images lie in [0, 1].
 *
 * On binary images it is a probability. On grey levels it is the usual cross entropy, whose numbers must not be compared
 * with those of binary images: report them by name.
 *
 * @example
 * const p = new BernoulliLikelihood();
 * p.logDensity(zeros([1, 2, 2, 1]), ones([1, 2, 2, 1])).at(0); // -2.772589
 */
export class BernoulliLikelihood extends Likelihood {
  readonly outputs = 1;
  readonly range = [0, 1] as const;

  logDensity(output: Tensor, x: Tensor): Tensor {
    this.expectFit(output, x);
    return scope(() => perImage(x.mul(output).sub(output.softplus())));
  }

  mean(output: Tensor): Tensor {
    return output.sigmoid();
  }

  draw(output: Tensor, random: Rng): Tensor {
    return scope(() => random.uniform(output.shape).lt(output.sigmoid()).cast(output.dtype));
  }
}

/**
 * Binary images from grey ones, drawn anew at each call: each pixel is 1 with probability x (the dynamically binarised
 * MNIST of Burda et al. 2016, section 5).
 *
 * @param x in [0, 1], of any shape.
 * @returns zeros and ones of x's shape and type.
 * @example
 * binarise(tensor([0, 1]), rng(0)).sum(); // 1
 */
export const binarise = (x: Tensor, random: Rng): Tensor => {
  checkTensor("binarise", "x", x);
  checkObject("binarise", "random", random, "uniform");
  return scope(() => random.uniform(x.shape).lt(x).cast(x.dtype));
};
