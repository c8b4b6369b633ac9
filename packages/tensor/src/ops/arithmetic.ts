// Arithmetic, the functions of one operand that everything is made of, and what is composed of them alone. Rounding and the
// rarer functions are in math.ts, more activations in activation.ts.

import { composed } from "../core/scope.js";
import { recordEntry, untaped } from "../core/tape.js";
import type { Tensor } from "../core/tensor.js";
import type { Attrs } from "../ir/graph.js";
import { cast } from "./cast.js";
import { eq, gt, le, lt, select } from "./comparison.js";
import type { VjpArgs } from "./definition.js";
import { arithmetic, binary, float, out, pair, type TensorLike, unary, x0 } from "./elementwise.js";

/** Where the larger operand was: ties share the derivative equally, as the subgradient of least norm. */
function extremumRule(args: VjpArgs<Attrs>, first: (a: Tensor, b: Tensor) => Tensor): Tensor[] {
  const [a, b] = pair(args);
  const c = args.cotangent();
  const share = select(eq(a, b), 0.5, cast(first(a, b), c.dtype));
  return [mul(c, share), mul(c, sub(1, share))];
}

export const addDef = binary(
  "add",
  (a, b) => a + b,
  (args) => [args.cotangent(), args.cotangent()],
);
export const subDef = binary(
  "sub",
  (a, b) => a - b,
  (args) => [args.cotangent(), args.needs(1) ? neg(args.cotangent()) : undefined],
);
export const mulDef = binary(
  "mul",
  (a, b) => a * b,
  (args) => {
    const [a, b] = pair(args);
    return [args.needs(0) ? mul(args.cotangent(), b) : undefined, args.needs(1) ? mul(args.cotangent(), a) : undefined];
  },
);
const divDef = binary(
  "div",
  (a, b) => a / b,
  (args) => {
    const [, b] = pair(args);
    const scaled = div(args.cotangent(), b);
    return [scaled, args.needs(1) ? neg(mul(scaled, out(args))) : undefined];
  },
  [0.5, 2],
);
export const maximumDef = binary(
  "maximum",
  (a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.max(a, b)),
  (args) => extremumRule(args, gt),
);
export const minimumDef = binary(
  "minimum",
  (a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.min(a, b)),
  (args) => extremumRule(args, lt),
);

const negDef = unary(
  "neg",
  (x) => -x,
  (args) => [neg(args.cotangent())],
  [-2, 2],
  false,
);
const expDef = unary("exp", Math.exp, (args) => [mul(args.cotangent(), out(args))]);
const logDef = unary("log", Math.log, (args) => [div(args.cotangent(), x0(args))], [0.2, 3]);
const sqrtDef = unary("sqrt", Math.sqrt, (args) => [div(args.cotangent(), mul(out(args), 2))], [0.2, 3]);
const rsqrtDef = unary(
  "rsqrt",
  (x) => 1 / Math.sqrt(x),
  (args) => {
    const y = out(args);
    return [mul(args.cotangent(), mul(mul(square(y), y), -0.5))];
  },
  [0.2, 3],
);
const squareDef = unary(
  "square",
  (x) => x * x,
  (args) => [mul(args.cotangent(), mul(x0(args), 2))],
  [-2, 2],
  false,
);
const tanhDef = unary("tanh", Math.tanh, (args) => [mul(args.cotangent(), sub(1, square(out(args))))]);
const sigmoidDef = unary(
  "sigmoid",
  (x) => 1 / (1 + Math.exp(-x)),
  (args) => {
    const y = out(args);
    return [mul(args.cotangent(), mul(y, sub(1, y)))];
  },
);
const sinDef = unary("sin", Math.sin, (args) => [mul(args.cotangent(), cos(x0(args)))]);
const cosDef = unary("cos", Math.cos, (args) => [neg(mul(args.cotangent(), sin(x0(args))))]);

/**
 * a + b, elementwise with broadcasting.
 *
 * @example
 * add(tensor([1, 2]), 1).at(1); // 3
 */
export const add = (a: TensorLike, b: TensorLike): Tensor => arithmetic(addDef, [a, b]);
/**
 * a − b.
 *
 * @example
 * sub(tensor([5]), 2).at(0); // 3
 */
export const sub = (a: TensorLike, b: TensorLike): Tensor => arithmetic(subDef, [a, b]);
/**
 * a · b, elementwise.
 *
 * @example
 * mul(tensor([2, 3]), tensor([4, 5])).at(1); // 15
 */
export const mul = (a: TensorLike, b: TensorLike): Tensor => arithmetic(mulDef, [a, b]);
/**
 * a / b; for integers the quotient truncated toward zero.
 *
 * @example
 * div(tensor([7]), 2).at(0); // 3.5
 */
export const div = (a: TensorLike, b: TensorLike): Tensor => arithmetic(divDef, [a, b]);
/**
 * The larger operand; NaN if either is NaN. Where they are equal each gets half of the derivative.
 *
 * @example
 * maximum(tensor([1, 5]), 3).sum(); // 8
 */
export const maximum = (a: TensorLike, b: TensorLike): Tensor => arithmetic(maximumDef, [a, b]);
/**
 * The smaller operand; NaN if either is NaN. Where they are equal each gets half of the derivative.
 *
 * @example
 * minimum(tensor([1, 5]), 3).sum(); // 4
 */
export const minimum = (a: TensorLike, b: TensorLike): Tensor => arithmetic(minimumDef, [a, b]);
/**
 * −x.
 *
 * @example
 * neg(tensor([2])).at(0); // -2
 */
export const neg = (x: TensorLike): Tensor => arithmetic(negDef, [x]);
/**
 * eˣ.
 *
 * @example
 * exp(tensor([0])).at(0); // 1
 */
export const exp = (x: TensorLike): Tensor => float(expDef, [x]);
/**
 * Natural logarithm; −∞ at 0, NaN below.
 *
 * @example
 * log(tensor([1])).at(0); // 0
 */
export const log = (x: TensorLike): Tensor => float(logDef, [x]);
/**
 * √x; NaN below 0.
 *
 * @example
 * sqrt(tensor([9])).at(0); // 3
 */
export const sqrt = (x: TensorLike): Tensor => float(sqrtDef, [x]);
/**
 * 1/√x.
 *
 * @example
 * rsqrt(tensor([4])).at(0); // 0.5
 */
export const rsqrt = (x: TensorLike): Tensor => float(rsqrtDef, [x]);
/**
 * x².
 *
 * @example
 * square(tensor([3])).at(0); // 9
 */
export const square = (x: TensorLike): Tensor => arithmetic(squareDef, [x]);
/**
 * Hyperbolic tangent.
 *
 * @example
 * tanh(tensor([0])).at(0); // 0
 */
export const tanh = (x: TensorLike): Tensor => float(tanhDef, [x]);
/**
 * 1 / (1 + e⁻ˣ).
 *
 * @example
 * sigmoid(tensor([0])).at(0); // 0.5
 */
export const sigmoid = (x: TensorLike): Tensor => float(sigmoidDef, [x]);
/**
 * Sine of x in radians.
 *
 * @example
 * sin(tensor([0])).at(0); // 0
 */
export const sin = (x: TensorLike): Tensor => float(sinDef, [x]);
/**
 * Cosine of x in radians.
 *
 * @example
 * cos(tensor([0])).at(0); // 1
 */
export const cos = (x: TensorLike): Tensor => float(cosDef, [x]);
/**
 * x · sigmoid(x), the sigmoid-weighted linear unit (Elfwing et al. 2017).
 *
 * @example
 * silu(tensor([0])).at(0); // 0
 */
export const silu = (x: Tensor): Tensor => composed(() => mul(x, sigmoid(x)));
/**
 * max(x, 0). Its derivative at 0 is 0, unlike that of {@link maximum}, which shares it.
 *
 * @example
 * relu(tensor([-1, 2])).sum(); // 2
 */
export function relu(x: Tensor): Tensor {
  const output = untaped(() => maximum(x, 0));
  // By the result, so that nothing needs x any more: what makes it can store the result alone.
  recordEntry({ inputs: [x], outputs: [output], backward: ([c]) => [select(le(output, 0), 0, c as Tensor)] });
  return output;
}
/**
 * a + t·(b − a).
 *
 * @example
 * lerp(scalar(2), 6, 0.25); // 3
 */
export const lerp = (a: TensorLike, b: TensorLike, t: TensorLike): Tensor => composed(() => add(a, mul(t, sub(b, a))));
