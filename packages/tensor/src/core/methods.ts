// Every op as a method of Tensor. The interface is merged into the class; the functions are installed on
// its prototype when the package is loaded.

import type { DType } from "../dtype.js";
import { elu, type GeluOptions, gelu, leakyRelu } from "../ops/activation.js";
import { at, dynamicSlice, dynamicUpdateSlice, type Starts } from "../ops/dynamicSlice.js";
import type { TensorLike } from "../ops/elementwise.js";
import * as elementwise from "../ops/elementwise.js";
import { gather } from "../ops/indexing.js";
import * as logic from "../ops/logic.js";
import * as math from "../ops/math.js";
import { type MatmulOptions, matmul } from "../ops/matmul.js";
import * as movement from "../ops/movement.js";
import { max, mean, norm, type ReduceOptions, sum } from "../ops/reduce.js";
import { softmax } from "../ops/softmax.js";
import type { Shape } from "../shape.js";
import { Tensor } from "./tensor.js";

type Axes = number | readonly number[];

/** The ops as methods; each does what the function of the same name does. */
export interface TensorMethods {
  add(other: TensorLike): Tensor;
  sub(other: TensorLike): Tensor;
  mul(other: TensorLike): Tensor;
  div(other: TensorLike): Tensor;
  maximum(other: TensorLike): Tensor;
  minimum(other: TensorLike): Tensor;
  pow(exponent: TensorLike): Tensor;
  rem(divisor: TensorLike): Tensor;
  clamp(lo: TensorLike, hi: TensorLike): Tensor;
  neg(): Tensor;
  abs(): Tensor;
  sign(): Tensor;
  floor(): Tensor;
  ceil(): Tensor;
  round(): Tensor;
  expm1(): Tensor;
  log1p(): Tensor;
  erf(): Tensor;
  exp(): Tensor;
  log(): Tensor;
  sqrt(): Tensor;
  rsqrt(): Tensor;
  square(): Tensor;
  tanh(): Tensor;
  sigmoid(): Tensor;
  sin(): Tensor;
  cos(): Tensor;
  silu(): Tensor;
  relu(): Tensor;
  gelu(options?: GeluOptions): Tensor;
  leakyRelu(slope?: number): Tensor;
  elu(alpha?: number): Tensor;
  softplus(): Tensor;
  logicalAnd(other: Tensor): Tensor;
  logicalOr(other: Tensor): Tensor;
  logicalXor(other: Tensor): Tensor;
  logicalNot(): Tensor;
  isNaN(): Tensor;
  isFinite(): Tensor;
  eq(other: TensorLike): Tensor;
  ne(other: TensorLike): Tensor;
  lt(other: TensorLike): Tensor;
  le(other: TensorLike): Tensor;
  gt(other: TensorLike): Tensor;
  ge(other: TensorLike): Tensor;
  cast(dtype: DType): Tensor;
  reshape(shape: Shape): Tensor;
  transpose(perm?: readonly number[]): Tensor;
  broadcastTo(shape: Shape): Tensor;
  slice(starts: readonly number[], sizes: readonly number[]): Tensor;
  pad(lo: readonly number[], hi: readonly number[], value?: number): Tensor;
  at(...index: readonly (number | Tensor)[]): Tensor;
  dynamicSlice(starts: Starts, sizes: Shape): Tensor;
  dynamicUpdateSlice(update: Tensor, starts: Starts): Tensor;
  sum(axes?: Axes, options?: ReduceOptions): Tensor;
  mean(axes?: Axes, options?: ReduceOptions): Tensor;
  max(axes?: Axes, options?: ReduceOptions): Tensor;
  norm(axes?: Axes, options?: ReduceOptions): Tensor;
  matmul(other: Tensor, options?: MatmulOptions): Tensor;
  gather(indices: Tensor, axis?: number): Tensor;
  softmax(): Tensor;
}

const { add, sub, mul, div, maximum, minimum, neg, exp, log, sqrt, rsqrt, square, tanh, sigmoid, sin, cos } =
  elementwise;
const { silu, relu, eq, ne, lt, le, gt, ge, cast } = elementwise;
const { pow, rem, clamp, abs, sign, floor, ceil, round, expm1, log1p, erf, softplus } = math;
const { logicalAnd, logicalOr, logicalXor, logicalNot } = logic;
const { reshape, transpose, broadcastTo, slice, pad } = movement;

const asMethods = {
  add,
  sub,
  mul,
  div,
  maximum,
  minimum,
  pow,
  rem,
  clamp,
  neg,
  abs,
  sign,
  floor,
  ceil,
  round,
  expm1,
  log1p,
  erf,
  exp,
  log,
  sqrt,
  rsqrt,
  square,
  tanh,
  sigmoid,
  sin,
  cos,
  silu,
  relu,
  gelu,
  leakyRelu,
  elu,
  softplus,
  logicalAnd,
  logicalOr,
  logicalXor,
  logicalNot,
  isNaN: logic.isNaN,
  isFinite: logic.isFinite,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  cast,
  reshape,
  transpose,
  broadcastTo,
  slice,
  pad,
  at,
  dynamicSlice,
  dynamicUpdateSlice,
  sum,
  mean,
  max,
  norm,
  matmul,
  gather,
  softmax,
} satisfies { [K in keyof TensorMethods]: (x: Tensor, ...args: Parameters<TensorMethods[K]>) => Tensor };

for (const [name, op] of Object.entries(asMethods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: never[]): Tensor {
      return (op as (x: Tensor, ...rest: never[]) => Tensor)(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}
