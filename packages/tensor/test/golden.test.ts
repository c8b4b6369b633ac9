// Every operation against golden vectors recorded from PyTorch: results, and derivatives, eager and compiled.

import * as ops from "@figment/tensor";
import {
  assertNoLeaks,
  cast,
  compile,
  grad,
  isFloat,
  scalar,
  scope,
  Tensor,
  type Tensor as Value,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { definedOps } from "#ops/definition";
import * as functions from "#ops/functions";
import * as methods from "#ops/methods";
import { goldenFile } from "./support/golden.js";

afterAll(() => assertNoLeaks());

const file = goldenFile("ops", new URL("./golden/", import.meta.url));

type Operands = [a: Value, b: Value, c: Value, d: Value, e: Value];
type Operation = (...inputs: Operands) => Value | readonly Value[];

const bools = (...xs: Value[]): Value[] => xs.map((x) => cast(x, "bool"));
const pairOf = ({ values, indices }: { readonly values: Value; readonly indices: Value }): Value[] => [values, indices];
const { sum, mean, max, min, logsumexp, variance, norm } = ops;
const reductions = { sum, mean, max, min, logsumexp, variance, norm };
const axesOf: Readonly<Record<string, readonly number[]>> = { row: [1], two: [0, 2], all: [0, 1, 2] };
const pools: Readonly<Record<string, ops.PoolOptions>> = {
  half: { kernel: 2 },
  overlapping: { kernel: 3, stride: 2, padding: 1 },
  wide: { kernel: [2, 3], stride: [1, 2], padding: [0, 1] },
};
const border = [
  [0, 2, 3, 0],
  [0, 0, 1, 0],
] as const;

/** Operations that are not called with the recorded inputs alone. Their argument says which case it is. */
const calls: Readonly<Record<string, (variant: string) => Operation>> = {
  gelu: (variant) => (x) => ops.gelu(x, { approximate: variant === "tanh" ? "tanh" : "none" }),
  leakyRelu: () => (x) => ops.leakyRelu(x, 0.2),
  clamp: () => (x) => ops.clamp(x, -0.5, 1),
  select: () => (c, a, b) => ops.select(cast(c, "bool"), a, b),
  logicalAnd: () => (a, b) => ops.logicalAnd(...(bools(a, b) as [Value, Value])),
  logicalOr: () => (a, b) => ops.logicalOr(...(bools(a, b) as [Value, Value])),
  logicalXor: () => (a, b) => ops.logicalXor(...(bools(a, b) as [Value, Value])),
  logicalNot: () => (a) => ops.logicalNot(cast(a, "bool")),
  cast: () => (x) => cast(x, "i32"),
  any: () => (x) => ops.any(cast(x, "bool"), 1),
  all: () => (x) => ops.all(cast(x, "bool"), 1),
  prod: () => (x) => ops.prod(x, 1),
  std: (variant) => (x) => ops.std(x, axesOf[variant], { correction: 1 }),
  ...Object.fromEntries(
    Object.entries(reductions).map(([name, reduce]) => [
      name,
      (variant: string) => (x: Value) => reduce(x, axesOf[variant]),
    ]),
  ),
  argmax: (axis) => (x) => ops.argmax(x, Number(axis)),
  argmin: (axis) => (x) => ops.argmin(x, Number(axis)),
  argsort: (axis) => (x) => ops.argsort(x, { axis: Number(axis) }),
  sort: (variant) => (x) =>
    pairOf(ops.sort(x, { axis: Number(variant.at(-1)), descending: variant.startsWith("down") })),
  topk: (variant) => (x) => pairOf(variant === "largest" ? ops.topk(x, 3) : ops.topk(x, 2, { largest: false })),
  cumsum: (variant) => (x) =>
    ops.cumsum(x, Number(variant.at(-1)), {
      reverse: variant.startsWith("reverse"),
      exclusive: variant.startsWith("exclusive"),
    }),
  takeAlong: (axis) => (x, at) => ops.takeAlong(x, at, Number(axis)),
  scatterAddAlong: (axis) => (x, at) => ops.scatterAddAlong(x, at, 7, Number(axis)),
  gather: (axis) => (x, at) => ops.gather(x, at, Number(axis)),
  scatterAdd: (axis) => (x, at) => ops.scatterAdd(x, at, 7, Number(axis)),
  groupNorm: () => (x, gamma, beta) => ops.groupNorm(x, gamma, beta, { groups: 3 }),
  batchNorm: () => (x, gamma, beta) => ops.batchNorm(x, gamma, beta).y,
  biasAct: () => (x, bias) => ops.biasAct(x, bias, { activation: "leakyRelu", slope: 0.2, gain: 1.25, clamp: 1 }),
  reshape: () => (x) => x.reshape([4, 6]),
  transpose: () => (x) => x.transpose([2, 0, 1]),
  broadcastTo: () => (x) => ops.broadcastTo(x, [2, 3, 4]),
  concat: () => (a, b) => ops.concat([a, b], 1),
  stack: () => (a, b) => ops.stack([a, b], 1),
  split: () => (x) => ops.split(x, [2, 1, 3], 1),
  slice: () => (x) => ops.slice(x, [1, 2], [2, 3], [2, 1]),
  pad: () => (x) => ops.pad(x, [2, 1], [3, 0]),
  flip: () => (x) => ops.flip(x, [0, 2]),
  at: () => (x) => ops.at(x, 1, scalar(2, "i32")),
  dynamicSlice: () => (x) => ops.dynamicSlice(x, [scalar(1, "i32"), 2], [2, 3]),
  dynamicUpdateSlice: () => (x, update) => ops.dynamicUpdateSlice(x, update, [scalar(1, "i32"), 0]),
  reflectPad: () => (x) => ops.reflectPad(x, ...border),
  edgePad: () => (x) => ops.edgePad(x, ...border),
  pixelShuffle: () => (x) => ops.pixelShuffle(x, 2),
  pixelUnshuffle: () => (x) => ops.pixelUnshuffle(x, 3),
  matmul: (variant) => (a, b) =>
    ops.matmul(a, b, { transposeA: variant === "transposed", transposeB: variant === "transposed" }),
  einsum:
    (equation) =>
    (...operands) =>
      ops.einsum(equation, ...operands),
  conv2d: () => (x, w, bias) => ops.conv2d(x, w, { stride: 2, padding: 1, bias }),
  conv2dInputGrad: () => (y, w) => ops.conv2dInputGrad(y, w, { stride: 2, padding: 1 }),
  conv2dWeightGrad: () => (x, y) => ops.conv2dWeightGrad(x, y, { kernelSize: 3, padding: 1 }),
  attention: (variant) => (q, k, v) =>
    ops.attention(q, k, v, { causal: variant === "causal", ...(variant === "scale" && { scale: 0.3 }) }),
  cachedAttention: () => (q, pastK, pastV, k, v) =>
    ops.cachedAttention(q, { k: pastK, v: pastV, length: scalar(3, "i32") }, k, v),
  resizeBilinear: (variant) => (x) => {
    const sizes = { grow: [7, 9], shrink: [2, 3], aligned: [6, 3] } as const;
    return ops.resizeBilinear(x, sizes[variant as keyof typeof sizes], { alignCorners: variant === "aligned" });
  },
  resizeNearest: () => (x) => ops.resizeNearest(x, [7, 3]),
  maxPool: (variant) => (x) => ops.maxPool(x, pools[variant] as ops.PoolOptions),
  avgPool: (variant) => (x) => ops.avgPool(x, pools[variant] as ops.PoolOptions),
  upfirdn2d: () => (x, filter) => ops.upfirdn2d(x, filter, { up: 2, padding: 2 }),
  samplerStep: () => (coef, x, noise) => ops.samplerStep({ coef, tensors: [x, noise], clamp: [-1, 1] }),
  sumSquares:
    () =>
    (...tensors) =>
      ops.sumSquares(tensors),
};

/** Updates of cells are compared over ten steps with @figment/nn's optimisers; a check gives nothing, a move the same. */
const withoutResults = new Set(["adamUpdate", "sgdUpdate", "rmspropUpdate", "emaUpdate", "checkFinite", "to"]);

const cases = file.cases().flatMap((name) => {
  const variants = [...new Set(file.keys(name).map((key) => key.split("/").slice(0, -1).join("/")))];
  return variants.map((variant) => ({ name, variant, path: variant ? `${name}/${variant}` : name }));
});

describe("golden vectors", () => {
  it("were recorded by the script beside them, from PyTorch 2", () => {
    expect(file.metadata.script_sha256).toBe(file.scriptHash());
    expect(file.metadata.torch).toMatch(/^2\./);
  });

  // One whose definition holds a float64 reference is held to that by the parity and gradient checks; kernels without one
  // have nobody else to agree with.
  it("are there for every operation that gives results and is not specified by a reference of its own", () => {
    const specified = new Set(definedOps().flatMap(({ name, reference }) => (reference ? [name] : [])));
    const offered = Object.entries({ ...functions, ...methods }).flatMap(([name, value]) =>
      typeof value === "function" && !withoutResults.has(name) ? [name] : [],
    );
    expect(offered.length).toBeGreaterThan(90);
    const recorded = file.cases();
    expect(offered.filter((name) => !recorded.includes(name) && !specified.has(name))).toEqual([]);
  });
});

describe("agrees with PyTorch:", () => {
  it.each(cases)("$path", ({ name, variant, path }) => {
    const f = (calls[name]?.(variant) ?? Reflect.get(ops, name)) as (...inputs: Value[]) => Value | readonly Value[];
    const parts = file.keys(path);
    const inputs = parts.flatMap((part) => (/^\d+$/.test(part) ? [Number(part)] : []));
    const resultsOf = (...given: Value[]): readonly Value[] => {
      const result = f(...given);
      return result instanceof Tensor ? [result] : result;
    };
    const differentiable = parts.includes("dy");
    const everything = (...given: Value[]): Value[] => {
      const [operands, dy] = [given.slice(0, inputs.length), given[inputs.length] as Value];
      const results = resultsOf(...operands).map((y) => (isFloat(y.dtype) ? y : cast(y, "i32")));
      if (!differentiable) return results;
      const slopes = operands.flatMap((operand, i) =>
        isFloat(operand.dtype)
          ? [grad((x: Value) => (resultsOf(...operands.with(i, x))[0] as Value).mul(dy).sum())(operand)]
          : [],
      );
      return [...results, ...slopes];
    };
    const program = compile(everything);
    scope(() => {
      const given = [...inputs.map(String), ...(differentiable ? ["dy"] : [])].map((part) =>
        file.tensor(`${path}/${part}`),
      );
      const keys = [
        ...parts.filter((part) => /^y\d$/.test(part)),
        ...inputs.flatMap((i) => (parts.includes(`d${i}`) ? [`d${i}`] : [])),
      ];
      for (const computed of [everything(...given), program(...given)]) {
        expect(computed.length).toBe(keys.length);
        computed.forEach((value, i) => {
          file.expect(value, `${path}/${keys[i]}`);
        });
      }
    });
    program.dispose();
  });
});
