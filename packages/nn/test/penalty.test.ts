// A gradient penalty through the layers of images agrees with PyTorch's, eager and compiled: second derivatives of
// convolution, transposed convolution, upfirdn2d, reflection, max pooling, bilinear resizing and pixel shuffles.

import {
  assertNoLeaks,
  compile,
  conv2d,
  conv2dInputGrad,
  grad,
  leakyRelu,
  maxPool,
  norm,
  type OpenScope,
  openScope,
  pixelUnshuffle,
  reflectPad,
  resizeBilinear,
  silu,
  type Tensor,
  upfirdn2d,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { expectGolden, golden } from "./golden.js";

let open: OpenScope;
beforeEach(() => {
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

type Primals = readonly [x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor];
const names = ["x", "w1", "w2", "w3"] as const;

function score([x, w1, w2, w3]: Primals, filter: Tensor): Tensor {
  const first = leakyRelu(conv2d(x, w1, { padding: 1 }), 0.2);
  const halved = upfirdn2d(first, filter, { down: 2, padding: 1 });
  const doubled = silu(conv2dInputGrad(halved, w2, { stride: 2, padding: 1 }));
  const third = conv2d(reflectPad(doubled, [0, 1, 1, 0], [0, 1, 1, 0]), w3);
  const resized = resizeBilinear(maxPool(third, { kernel: 3, stride: 2, padding: 1 }), [5, 4]);
  return pixelUnshuffle(resized.slice([0, 0, 0, 0], [2, 4, 4, 3]), 2)
    .tanh()
    .sum();
}

function measure(primals: Primals, filter: Tensor) {
  const slopeAt = (inputs: Primals): Tensor =>
    grad((x: Tensor) => score([x, inputs[1], inputs[2], inputs[3]], filter))(inputs[0]);
  const penalty = (inputs: Primals): Tensor => norm(slopeAt(inputs), [1, 2, 3]).sub(1).square().mean();
  return {
    score: score(primals, filter),
    slope: slopeAt(primals),
    penalty: penalty(primals),
    derivatives: primals.map((primal, i) =>
      grad((moved: Tensor) => penalty(primals.toSpliced(i, 1, moved) as unknown as Primals))(primal),
    ),
  };
}

describe("a gradient penalty through layers of images", () => {
  it.each([false, true])("agrees with PyTorch, compiled: %s", (compiled) => {
    const program = compiled ? compile(measure) : undefined;
    open.run(() => {
      const primals = names.map((name) => golden(`penalty/${name}`)) as unknown as Primals;
      const result = (program ?? measure)(primals, golden("penalty/filter"));
      expect(result.derivatives).toHaveLength(names.length);
      expectGolden(result.score, "penalty/score");
      expectGolden(result.slope, "penalty/slope");
      expectGolden(result.penalty, "penalty/penalty");
      names.forEach((name, i) => {
        expectGolden(result.derivatives[i] as Tensor, `penalty/d${name}`);
      });
    });
    program?.dispose();
  });
});
