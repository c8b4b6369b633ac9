// Backward passes of norms, softmax, pooling and resampling: the derivative with respect to the image or the rows,
// with the forward pass where it needs its residuals.

import {
  avgPool,
  batchNorm,
  biasAct,
  grad,
  groupNorm,
  layerNorm,
  logSoftmax,
  maxPool,
  resizeBilinear,
  resizeNearest,
  rmsNorm,
  softmax,
  type Tensor,
} from "@figment/tensor";
import { bytesPerFloat, type KernelCase, product, randomTensor } from "../case.js";
import { backwardContestant, compiledContestant } from "./compiled.js";

type Shape = readonly number[];
type Function = (...inputs: Tensor[]) => Tensor;

/** x is the first input; x and its derivative are in memory, and so are the result's derivative and the rest. */
function backwardCase(op: string, name: string, shapes: readonly Shape[], result: Shape, f: Function): KernelCase {
  const count = product(shapes[0]!) + [...shapes, result].reduce((sum, shape) => sum + product(shape), 0);
  return {
    name: `${name} backward ${shapes[0]!.join("×")}`,
    op,
    bytes: bytesPerFloat * count,
    bound: "copy",
    ours: () => backwardContestant(shapes, f, result),
  };
}

/** A case whose result has the shape of x. */
const sameShape = (op: string, name: string, x: Shape, vectors: number, f: Function): KernelCase =>
  backwardCase(op, name, [x, ...Array.from({ length: vectors }, () => [x.at(-1)!])], x, f);

const image = [16, 32, 32, 64] as const;
const double = [16, 64, 64, 64] as const;
const rows = [4096, 320] as const;
const logits = [4096, 256] as const;

/** The derivative of max pooling's derivative in the direction of the result: the values at the places of the maxima. */
const maxPoolTake: KernelCase = {
  name: `maxPool 2×2 second derivative ${double.join("×")}`,
  op: "maxPoolTake",
  bytes: bytesPerFloat * (2 * product(double) + product(image)),
  bound: "copy",
  ours: () =>
    compiledContestant([randomTensor(double, 1), randomTensor(image, 2), randomTensor(double, 3)], (x, y, direction) =>
      grad((cotangent: Tensor) => {
        const slope = grad((pixels: Tensor) => maxPool(pixels, { kernel: 2 }).mul(cotangent).sum())(x as Tensor);
        return slope.mul(direction as Tensor).sum();
      })(y as Tensor),
    ),
};

export const backwardCases: readonly KernelCase[] = [
  sameShape("groupNormGrad", "groupNorm+SiLU", [16, 32, 32, 128], 2, (x, gamma, beta) =>
    groupNorm(x!, gamma!, beta!, { groups: 32, silu: true }),
  ),
  sameShape("layerNormGrad", "layerNorm", rows, 2, (x, gamma, beta) => layerNorm(x!, gamma!, beta!)),
  sameShape("rmsNormGrad", "rmsNorm", rows, 1, (x, gamma) => rmsNorm(x!, gamma!)),
  sameShape("batchNormGrad", "batchNorm", image, 2, (x, gamma, beta) => batchNorm(x!, gamma!, beta!).y),
  sameShape("biasActGrad", "biasAct, leaky ReLU", image, 1, (x, bias) =>
    biasAct(x!, bias!, { activation: "leakyRelu" }),
  ),
  sameShape("softmaxGrad", "softmax", logits, 0, (x) => softmax(x!)),
  sameShape("logSoftmaxGrad", "logSoftmax", logits, 0, (x) => logSoftmax(x!)),
  backwardCase("maxPoolGrad", "maxPool 2×2", [double], image, (x) => maxPool(x!, { kernel: 2 })),
  maxPoolTake,
  backwardCase("avgPoolGrad", "avgPool 2×2", [double], image, (x) => avgPool(x!, { kernel: 2 })),
  backwardCase("resizeNearestGrad", "resizeNearest ×2", [image], double, (x) => resizeNearest(x!, [64, 64])),
  backwardCase("resizeBilinearGrad", "resizeBilinear ×2", [image], double, (x) => resizeBilinear(x!, [64, 64])),
];
