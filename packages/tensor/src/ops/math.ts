// Powers, remainders, rounding, signs, and the functions that keep their precision near zero. Elementwise,
// as those of elementwise.ts, whose makers they use.

import { composed } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { UsageError } from "../errors.js";
import type { Attrs } from "../ir/graph.js";
import { add, div, exp, log, maximum, minimum, mul, neg, sigmoid, sqrt, square, sub } from "./arithmetic.js";
import { eq, ge, select } from "./comparison.js";
import type { OpDef } from "./definition.js";
import { arithmetic, binary, float, out, pair, type TensorLike, unary, x0 } from "./elementwise.js";
import { logicalAnd } from "./logic.js";

/** xʸ as IEEE 754 and C have it: JavaScript differs at 1^NaN and (±1)^±∞. */
const ieeePow = (x: number, y: number): number =>
  x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y;

const powDef: OpDef<Attrs> = binary(
  "pow",
  ieeePow,
  (args) => {
    const [x, y] = pair(args);
    const c = args.cotangent();
    const toBase = (): Tensor => {
      // y·x^(y−1) is 0 at 0⁰, where its second factor is infinite.
      const safe = select(logicalAnd(eq(x, 0), eq(y, 0)), 1, y);
      return mul(c, mul(y, pow(x, sub(safe, 1))));
    };
    const toExponent = (): Tensor => {
      const flat = logicalAnd(eq(x, 0), ge(y, 0));
      return mul(c, select(flat, 0, mul(out(args), log(select(flat, 1, x)))));
    };
    return [args.needs(0) ? toBase() : undefined, args.needs(1) ? toExponent() : undefined];
  },
  [0.3, 2],
  true,
);

const remDef: OpDef<Attrs> = binary(
  "rem",
  (a, b) => a % b,
  (args) => {
    const [a, b] = pair(args);
    const c = args.cotangent();
    return [c, args.needs(1) ? neg(mul(c, round(div(sub(a, out(args)), b)))) : undefined];
  },
  [0.5, 2],
);

const absDef = unary("abs", Math.abs, (args) => [mul(args.cotangent(), sign(x0(args)))], [-2, 2], false);
const flat = (): undefined[] => [undefined];
const signDef = unary("sign", Math.sign, flat, [-2, 2], false);
const floorDef = unary("floor", Math.floor, flat);
const ceilDef = unary("ceil", Math.ceil, flat);
const roundDef = unary("round", roundEven, flat);

/** To the nearest integer, ties to even. */
function roundEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  return up ? Math.ceil(x) : rest === 0 ? x : below;
}

const expm1Def = unary("expm1", Math.expm1, (args) => [mul(args.cotangent(), add(out(args), 1))]);
const log1pDef = unary("log1p", Math.log1p, (args) => [div(args.cotangent(), add(x0(args), 1))], [-0.8, 3]);
const softplusDef = unary(
  "softplus",
  (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  (args) => [mul(args.cotangent(), sigmoid(x0(args)))],
);
const erfDef = unary("erf", erfReference, (args) => [
  mul(args.cotangent(), mul(exp(neg(square(x0(args)))), 2 / Math.sqrt(Math.PI))),
]);

/** erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)), whose terms all have one sign. */
function erfReference(x: number): number {
  const saturated = 6; // beyond, 1 to the last bit
  if (Math.abs(x) > saturated) return Math.sign(x);
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > Math.abs(total) * 2 ** -54; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

/**
 * xʸ, with the special cases of IEEE 754: a negative base takes integer exponents and is NaN for others,
 * x⁰ and 1ʸ are 1 even for NaN. The derivative by the exponent is 0 where the base is 0 and the exponent is not negative. The
 * numbers 2 and 0.5 as exponents are the square and the square root, which at −∞ is NaN and at −0 is −0.
 *
 * @throws DTypeError for integer tensors: cast them to a float type first.
 * @example
 * pow(tensor([-2, 4]), 3).at(0); // -8
 */
export function pow(x: TensorLike, y: TensorLike): Tensor {
  if (x instanceof Tensor && isFloat(x.dtype)) {
    if (y === 2) return square(x);
    if (y === 0.5) return sqrt(x);
  }
  return float(powDef, [x, y]);
}
/**
 * The remainder of a / b with the sign of a, as JavaScript's %; exact. For integers 0 where b is 0.
 *
 * @example
 * rem(tensor([-7]), 4).at(0); // -3
 */
export const rem = (a: TensorLike, b: TensorLike): Tensor => arithmetic(remDef, [a, b]);
/**
 * |x|; the derivative at 0 is 0.
 *
 * @example
 * abs(tensor([-2, 3])).at(0); // 2
 */
export const abs = (x: TensorLike): Tensor => arithmetic(absDef, [x]);
/**
 * −1, 0 or 1; NaN for NaN.
 *
 * @example
 * sign(tensor([-2, 3])).at(0); // -1
 */
export const sign = (x: TensorLike): Tensor => arithmetic(signDef, [x]);
/**
 * The largest integer that is not above x. Its derivative is 0, as for all rounding.
 *
 * @example
 * floor(tensor([-1.5])).at(0); // -2
 */
export const floor = (x: TensorLike): Tensor => float(floorDef, [x]);
/**
 * The smallest integer that is not below x.
 *
 * @example
 * ceil(tensor([-1.5])).at(0); // -1
 */
export const ceil = (x: TensorLike): Tensor => float(ceilDef, [x]);
/**
 * The nearest integer, ties to even.
 *
 * @example
 * round(tensor([2.5])).at(0); // 2
 */
export const round = (x: TensorLike): Tensor => float(roundDef, [x]);
/**
 * eˣ − 1, precise near 0.
 *
 * @example
 * expm1(tensor([1])).at(0); // 1.718282
 */
export const expm1 = (x: TensorLike): Tensor => float(expm1Def, [x]);
/**
 * ln(1 + x), precise near 0; −∞ at −1, NaN below.
 *
 * @example
 * log1p(tensor([1])).at(0); // 0.693147
 */
export const log1p = (x: TensorLike): Tensor => float(log1pDef, [x]);
/**
 * The error function 2/√π ∫₀ˣ e^(−t²) dt.
 *
 * @example
 * erf(tensor([1])).at(0); // 0.842701
 */
export const erf = (x: TensorLike): Tensor => float(erfDef, [x]);
/**
 * ln(1 + eˣ), a smooth max(x, 0) that never overflows.
 *
 * @example
 * softplus(tensor([0])).at(0); // 0.693147
 */
export const softplus = (x: TensorLike): Tensor => float(softplusDef, [x]);

/**
 * x limited to [lo, hi]. Where x meets a bound the derivative is shared as by {@link maximum}.
 *
 * @throws UsageError when the bounds are numbers and lo > hi.
 * @example
 * clamp(tensor([-3, 0.5, 7]), -1, 1).at(2); // 1
 */
export function clamp(x: TensorLike, lo: TensorLike, hi: TensorLike): Tensor {
  if (typeof lo === "number" && typeof hi === "number" && !(lo <= hi))
    throw new UsageError(`clamp: the lower bound ${lo} is not below the upper bound ${hi}`);
  return composed(() => minimum(maximum(x, lo), hi));
}
