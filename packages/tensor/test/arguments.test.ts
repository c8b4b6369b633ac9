// Wrong JavaScript arguments to operations: a typed error each, never a raw TypeError.

import { availableParallelism } from "node:os";
import {
  adamUpdate,
  addNoise,
  assertNoLeaks,
  attention,
  avgPool,
  compile,
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  crossEntropy,
  DTypeError,
  deviceInfo,
  emaUpdate,
  FigmentError,
  gather,
  groupNorm,
  matmul,
  type OpenScope,
  openScope,
  resizeNearest,
  ShapeError,
  samplerStep,
  scatterAdd,
  setThreads,
  softmax,
  sum,
  sumSquares,
  type Tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";

let open: OpenScope;

/** Everything that a test makes is freed at its end. */
const run = <T>(fn: () => T): T => open.run(fn);
beforeEach(() => {
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

describe("wrong JavaScript arguments", () => {
  const x = (): Tensor => zeros([1, 2, 2, 1]);
  const wrong: readonly (readonly [string, () => unknown])[] = [
    ["sum of null", () => sum(null as never)],
    ["sum with options null", () => sum(x(), 0, null as never)],
    ["sum over a string", () => sum(x(), "0" as never)],
    ["sum with keepDims 1", () => sum(x(), 0, { keepDims: 1 } as never)],
    ["matmul of arrays", () => matmul([[1]] as never, [[1]] as never)],
    ["conv2d of undefined", () => conv2d(undefined as never, x())],
    ["conv2d with a padding of strings", () => conv2d(x(), x(), { padding: ["a", 1] } as never)],
    ["conv2d with ragged padding", () => conv2d(x(), x(), { padding: [1, [2, 3]] } as never)],
    ["conv2d with options 3", () => conv2d(x(), x(), 3 as never)],
    ["conv2dInputGrad with an input shape of three", () => conv2dInputGrad(x(), x(), { inputShape: [1, 2, 2] })],
    ["conv2dWeightGrad without options", () => conv2dWeightGrad(x(), x(), undefined as never)],
    ["resizeNearest to a string", () => resizeNearest(x(), "2" as never)],
    ["avgPool without options", () => avgPool(x(), undefined as never)],
    ["gather with a number", () => gather(x(), 0 as never)],
    ["gather along axis 1.5", () => gather(x(), zeros([1], "i32"), 1.5)],
    ["scatterAdd with size −1", () => scatterAdd(x(), zeros([1], "i32"), -1)],
    ["scatterAdd of a scalar", () => scatterAdd(zeros([]), zeros([1], "i32"), 1)],
    ["groupNorm without options", () => groupNorm(x(), x(), x(), undefined as never)],
    ["groupNorm with groups 0", () => groupNorm(x(), zeros([1]), zeros([1]), { groups: 0 })],
    ["groupNorm with eps NaN", () => groupNorm(x(), zeros([1]), zeros([1]), { groups: 1, eps: Number.NaN })],
    ["softmax of a number", () => softmax(1 as never)],
    ["attention of a matrix", () => attention(zeros([2, 2]), zeros([2, 2]), zeros([2, 2]))],
    ["attention with a scale of strings", () => attention(x(), x(), x(), { scale: "1" } as never)],
    ["crossEntropy with an array", () => crossEntropy(x(), [0] as never)],
    ["adamUpdate of nothing", () => adamUpdate(undefined as never)],
    [
      "adamUpdate with tensors as cells",
      () => adamUpdate({ cells: [x()], grads: [x()], m: [], v: [], lr: 1, step: 1 } as never),
    ],
    ["emaUpdate of tensors", () => emaUpdate(0.5, [x()] as never, [x()])],
    ["sumSquares of a tensor", () => sumSquares(x() as never)],
    ["addNoise without timesteps", () => addNoise(x(), x(), null as never, x(), x())],
    ["samplerStep without tensors", () => samplerStep({ coef: zeros([12]), tensors: [] })],
    ["samplerStep with noise and no stream", () => samplerStep({ coef: zeros([12]), tensors: [x()], noise: true })],
    ["samplerStep with seven tensors", () => samplerStep({ coef: zeros([12]), tensors: Array.from({ length: 7 }, x) })],
    [
      "samplerStep with bounds the wrong way round",
      () => samplerStep({ coef: zeros([12]), tensors: [x()], clamp: [1, 0] }),
    ],
    ["samplerStep with half a clamp", () => samplerStep({ coef: zeros([12]), tensors: [x()], clamp: [1] } as never)],
  ];

  it.each(wrong)("%s is a typed error", (_title, call) => {
    let caught: unknown;
    run(() => {
      try {
        call();
      } catch (error) {
        caught = error;
      }
    });
    expect(caught).toBeInstanceOf(FigmentError);
    expect([ShapeError, DTypeError, UsageError].some((kind) => caught instanceof kind)).toBe(true);
  });

  it("refuse to take a tensor for a number, traced or not", () => {
    const positive = (y: Tensor): Tensor => ((y as unknown as number) > 0 ? y : y.neg());
    for (const wrongly of [
      () => positive(zeros([])),
      () => Math.sqrt(zeros([]) as never),
      () => (zeros([2]) as never) * 2,
      () => compile(positive)(zeros([])),
    ])
      expect(() => run<unknown>(wrongly)).toThrow(/^a tensor \(f32 \[2?\]\) is no JavaScript number: use operations/);
    expect(run(() => `${zeros([1])}`)).toBe("Tensor f32 [1]\n[0]");
  });

  it("take a thread for each core where no number is asked for", () => {
    const usual = deviceInfo("cpu").threads;
    setThreads(0);
    expect(deviceInfo("cpu").threads).toBe(availableParallelism());
    setThreads(usual);
  });

  it("refuse options of compiled functions and signals that are none", () => {
    expect(() => compile((y: Tensor) => y, { precison: "bf16" } as never)).toThrow(
      /^compile: unknown option "precison"/,
    );
    const same = compile((y: Tensor) => y.add(1));
    expect(() => run(() => same.run({ signal: {} } as never, x()))).toThrow(
      /^signal must be an AbortSignal, got an object/,
    );
    same.dispose();
  });
});
