// Checks of derivatives in float64: reverse mode against directional finite differences, order 1 and 2.
// Order 2 differentiates ⟨v, ∂⟨w, F(x)⟩/∂x⟩ with respect to x and w.

import { isFloat, scope, type Tensor, tensor } from "@figment/tensor";
import { apply } from "#core/apply";
import { vjpOf } from "#core/tape";
import type { OpDef, Sample } from "#ops/definition";
import { sizeOf } from "#shape";
import type { Draws } from "./draws.ts";
import { drawPoint, type Point, resultsOf, tensorsAt, variablesOf } from "./points.ts";

/** Step of the finite differences; with Richardson's extrapolation the truncation error is of order h⁴. */
const step = 1e-4;
/** Rounding of a finite difference, relative to the terms of the function. */
const differenceNoise = 1e-10;

/** A derivative along a direction found in two ways, and the size by which their difference is judged. */
export interface Comparison {
  readonly analytic: number;
  readonly numeric: number;
  /** |analytic − numeric| relative to the derivative and to the root of the sum of its squared terms. */
  readonly error: number;
}

/** What a function of flat arrays gives: its value, and the sum of its terms' magnitudes. */
interface Value {
  readonly value: number;
  readonly magnitude: number;
}

const uniformLike = (xs: readonly Float64Array[], draws: Draws): Float64Array[] =>
  xs.map((x) => Float64Array.from(x, () => draws.uniform(-1, 1)));

function dot(a: readonly Float64Array[], b: readonly Float64Array[]): Value {
  let value = 0;
  let magnitude = 0;
  a.forEach((list, i) => {
    list.forEach((x, k) => {
      const term = x * ((b[i] as Float64Array)[k] as number);
      value += term;
      magnitude += Math.abs(term);
    });
  });
  return { value, magnitude };
}

/** Compares a gradient with finite differences of `f` along a random direction. */
function compare(
  f: (xs: readonly Float64Array[]) => Value,
  at: readonly Float64Array[],
  gradient: readonly Float64Array[],
  draws: Draws,
): Comparison {
  const direction = uniformLike(at, draws);
  const moved = (h: number): number =>
    f(at.map((x, i) => x.map((value, k) => value + h * ((direction[i] as Float64Array)[k] as number)))).value;
  const central = (h: number): number => (moved(h) - moved(-h)) / (2 * h);
  const numeric = (4 * central(step / 2) - central(step)) / 3;
  const analytic = dot(gradient, direction).value;
  let squares = 0;
  gradient.forEach((list, i) => {
    list.forEach((x, k) => {
      squares += (x * ((direction[i] as Float64Array)[k] as number)) ** 2;
    });
  });
  const noise = differenceNoise * (1 + f(at).magnitude);
  const size = Math.max(Math.abs(analytic), Math.abs(numeric), Math.sqrt(squares));
  const error = Math.max(0, Math.abs(analytic - numeric) - noise) / Math.max(size, Number.MIN_VALUE);
  return { analytic, numeric, error };
}

/** An op at a sample as a function of its variables: tensors in, tensors that carry derivatives out. */
class Subject {
  readonly variables: readonly number[];
  private readonly def: OpDef;
  private readonly sample: Sample;
  private readonly point: Point;

  constructor(def: OpDef, sample: Sample, point: Point) {
    this.def = def;
    this.sample = sample;
    this.point = point;
    this.variables = variablesOf(def, sample);
  }

  /** Values of the variables at the drawn point. */
  get origin(): Float64Array[] {
    return this.variables.map((i) => this.point[i] as Float64Array);
  }

  /** All inputs with the variables set; residuals follow the variables. */
  inputsAt(values: readonly Float64Array[]): Tensor[] {
    const point = [...this.point];
    this.variables.forEach((i, k) => {
      point[i] = values[k] as Float64Array;
    });
    return tensorsAt(this.sample, point, "f64");
  }

  /** The results for given inputs, with the variables replaced by `xs`. */
  run(inputs: readonly Tensor[], xs: readonly Tensor[]): Tensor[] {
    const placed = [...inputs];
    this.variables.forEach((i, k) => {
      placed[i] = xs[k] as Tensor;
    });
    const outputs = apply(this.def, placed, this.sample.attrs);
    return resultsOf(this.def, outputs.length).map((i) => outputs[i] as Tensor);
  }

  pick(inputs: readonly Tensor[]): Tensor[] {
    return this.variables.map((i) => inputs[i] as Tensor);
  }
}

const read = (x: Tensor | undefined, like: { readonly shape: readonly number[] }): Float64Array => {
  const data = x?.dataSync();
  if (data && !(data instanceof Float64Array)) throw new Error(`expected f64, got ${x?.dtype}`);
  return data ?? new Float64Array(sizeOf(like.shape));
};

/** Flat arrays as f64 tensors of the shapes of others. */
const tensorsLike = (values: readonly Float64Array[], shapes: readonly (readonly number[])[]): Tensor[] =>
  values.map((x, i) => tensor(x, { shape: shapes[i] as readonly number[], dtype: "f64" }));

/** Checks the derivatives of an op at a sample, of order 1 and 2. */
export function checkDerivatives(def: OpDef, sample: Sample, draws: Draws): { first: Comparison; second: Comparison } {
  const subject = new Subject(def, sample, drawPoint(sample, draws));
  const { origin } = subject;
  const shapes = scope(() => {
    const inputs = subject.inputsAt(origin);
    return subject.run(inputs, subject.pick(inputs)).map(({ shape, dtype }) => {
      if (!isFloat(dtype)) throw new Error(`${def.name}: result of ${dtype} has no derivative`);
      return shape;
    });
  });
  const w = shapes.map((shape) => Float64Array.from({ length: sizeOf(shape) }, () => draws.uniform(-1, 1)));
  const v = uniformLike(origin, draws);

  const value = (xs: readonly Float64Array[]): Value => {
    const inputs = subject.inputsAt(xs);
    return dot(
      subject.run(inputs, subject.pick(inputs)).map((y) => read(y, y)),
      w,
    );
  };
  const gradient = (xs: readonly Float64Array[], ws: readonly Float64Array[]): Float64Array[] => {
    const inputs = subject.inputsAt(xs);
    const primals = subject.pick(inputs);
    const found = vjpOf((list) => subject.run(inputs, list), primals, tensorsLike(ws, shapes));
    return found.map((x, i) => read(x, primals[i] as Tensor));
  };
  const first = scope(() => compare((xs) => scope(() => value(xs)), origin, gradient(origin, w), draws));

  const slope = (xs: readonly Float64Array[]): Value =>
    dot(gradient(xs.slice(0, origin.length), xs.slice(origin.length)), v);
  const second = scope(() => {
    const inputs = subject.inputsAt(origin);
    const primals = subject.pick(inputs);
    const variables = [...primals, ...tensorsLike(w, shapes)];
    const directions = tensorsLike(
      v,
      primals.map(({ shape }) => shape),
    );
    const slopes = (list: readonly Tensor[]): (Tensor | undefined)[] => {
      const [xs, ws] = [list.slice(0, primals.length), list.slice(primals.length)];
      return vjpOf((inner) => subject.run(inputs, inner), xs, ws);
    };
    const present = slopes(variables).map((x) => x !== undefined);
    const found = vjpOf(
      (list) => slopes(list).filter((x): x is Tensor => x !== undefined),
      variables,
      directions.filter((_, i) => present[i]),
    );
    const derivative = found.map((x, i) => read(x, variables[i] as Tensor));
    return compare((xs) => scope(() => slope(xs)), [...origin, ...w], derivative, draws);
  });
  return { first, second };
}
