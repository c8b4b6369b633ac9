// Random programs: a seed determines a sequence of operations on a pool of tensors, over cells and a random stream, with
// rematerialised parts, loops and derivatives inside. Values stay bounded, so that results can be compared.

import {
  abs,
  add,
  avgPool,
  batchNorm,
  biasAct,
  broadcastTo,
  type Cell,
  clamp,
  concat,
  conv2d,
  cos,
  cumsum,
  div,
  dynamicSlice,
  dynamicUpdateSlice,
  einsum,
  erf,
  exp,
  flip,
  gather,
  grad,
  gt,
  layerNorm,
  log1p,
  logSoftmax,
  logsumexp,
  matmul,
  max,
  maximum,
  maxPool,
  mean,
  min,
  minimum,
  mul,
  neg,
  pad,
  prod,
  type Rng,
  remat,
  repeat,
  reshape,
  resizeBilinear,
  rmsNorm,
  rsqrt,
  scalar,
  select,
  sigmoid,
  silu,
  sin,
  slice,
  softmax,
  softplus,
  sort,
  split,
  sqrt,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
  takeAlong,
  tanh,
  tensor,
  topk,
  transpose,
  upfirdn2d,
  variance,
} from "@figment/tensor";
import { Draws } from "./draws.js";

/** What a random program works on. */
export interface World {
  /** Cells of shape [3]. */
  readonly cells: readonly Cell[];
  readonly random: Rng;
  /** Told of each operation, as text. */
  readonly note?: (line: string) => void;
}

const largest = 96;
const unary: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  tanh,
  sigmoid,
  sin,
  cos,
  silu,
  softplus,
  erf,
  neg,
  abs,
  square: (x) => tanh(square(x)),
  exp: (x) => exp(tanh(x)),
  log1p: (x) => log1p(square(x)),
  sqrt: (x) => sqrt(add(square(x), 1)),
  rsqrt: (x) => rsqrt(add(square(x), 0.5)),
  clamp: (x) => clamp(x, -0.7, 0.9),
};
const binary: Readonly<Record<string, (a: Tensor, b: Tensor) => Tensor>> = {
  add,
  sub,
  mul: (a, b) => tanh(mul(a, b)),
  div: (a, b) => div(a, add(square(b), 1)),
  maximum,
  minimum,
  select: (a, b) => select(gt(a, b), sin(a), b),
};

const flat = (x: Tensor): Tensor => reshape(x, [x.size]);

/** The first `n` elements, zeros where there are fewer. */
const firstOf = (x: Tensor, n: number): Tensor =>
  x.size >= n ? slice(flat(x), [0], [n]) : pad(flat(x), [0], [n - x.size]);

class Program {
  private readonly draws: Draws;
  private readonly world: World;
  /** Loops cannot stand in what is rematerialised. */
  private readonly loops: boolean;

  constructor(draws: Draws, world: World, loops = true) {
    this.draws = draws;
    this.world = world;
    this.loops = loops;
  }

  /** Runs `steps` operations on a pool that starts with `inputs`; gives the pool. */
  run(inputs: readonly Tensor[], steps: number, depth: number): Tensor[] {
    const pool = [...inputs];
    for (let i = 0; i < steps; i++) {
      const result = this.step(pool, depth);
      pool.push(result.size > largest ? firstOf(result, largest) : result);
    }
    return pool;
  }

  private note(what: string, ...values: readonly Tensor[]): void {
    this.world.note?.(`${what}(${values.map(({ shape }) => `[${shape.join()}]`).join(", ")})`);
  }

  private step(pool: readonly Tensor[], depth: number): Tensor {
    const { draws } = this;
    const x = draws.pick(pool);
    const kind = draws.integer(0, depth > 0 ? 17 : 12);
    if (kind < 3) {
      const name = draws.pick(Object.keys(unary));
      this.note(name, x);
      return (unary[name] as (x: Tensor) => Tensor)(x);
    }
    if (kind < 6) return this.combine(x, draws.pick(pool));
    if (kind === 6) return this.move(x);
    if (kind === 7) return this.reduce(x);
    if (kind === 8) return this.heavy(x);
    if (kind === 9) return this.index(x);
    if (kind === 10) return this.cell(x);
    if (kind === 11) return this.sample(x);
    if (kind > 14 && this.loops) return this.loop(x, draws.pick(pool), depth);
    // A function may run again (rematerialisation does so), hence draws of its own that start anew each time.
    const seed = draws.integer(0, 2 ** 31);
    const part = (y: Tensor): Tensor => {
      const own = new Draws(seed);
      return new Program(own, this.world, this.loops && kind !== 12)
        .run([y], own.integer(1, 5), depth - 1)
        .at(-1) as Tensor;
    };
    if (kind === 12) {
      this.note("remat", x);
      return remat(part)(x);
    }
    if (kind === 13) {
      this.note("grad", x);
      return tanh(grad((y: Tensor) => sum(tanh(part(y))))(x));
    }
    this.note("stopGradient", x);
    return stopGradient(x);
  }

  private combine(a: Tensor, b: Tensor): Tensor {
    const name = this.draws.pick(Object.keys(binary));
    const fits = b.shape.every((d, i) => {
      const other = a.shape[a.rank - b.rank + i];
      return other === undefined || d === 1 || other === 1 || d === other;
    });
    this.note(name, a, b);
    return (binary[name] as (a: Tensor, b: Tensor) => Tensor)(a, fits ? b : mean(b));
  }

  private move(x: Tensor): Tensor {
    const way = this.draws.integer(0, 10);
    this.note(`move ${way}`, x);
    if (way === 0) return flat(x);
    if (way === 1) return transpose(x);
    if (way === 2) return concat([flat(x), flat(x)]);
    if (way === 3) return broadcastTo(x, [2, ...x.shape]);
    if (way === 6) return flip(x);
    if (way === 7) return concat(split(firstOf(x, 6), [1, 2, 3]).reverse());
    if (way === 8) return slice(firstOf(x, 8), [1], [3], [this.draws.integer(1, 4)]);
    if (way === 9) return pad(firstOf(x, 5), [0], [1], 0.5, [this.draws.integer(0, 3)]);
    if (way === 4 || x.rank === 0) return x.rank === 0 ? reshape(x, [1]) : pad(flat(x), [1], [2], 0.25);
    const sizes = x.shape.map((d) => this.draws.integer(1, d + 1));
    return slice(
      x,
      x.shape.map((d, i) => this.draws.integer(0, d - (sizes[i] as number) + 1)),
      sizes,
    );
  }

  private reduce(x: Tensor): Tensor {
    if (x.rank === 0) return sin(x);
    const axis = this.draws.integer(0, x.rank);
    const reduce = this.draws.pick([sum, mean, max, min, prod, logsumexp, variance]);
    const keepDims = this.draws.next() < 0.5;
    this.note(`${reduce.name} over ${axis}${keepDims ? ", kept" : ""}`, x);
    return tanh(reduce(x, axis, { keepDims }));
  }

  private heavy(x: Tensor): Tensor {
    const way = this.draws.integer(0, 13);
    this.note(`heavy ${way}`, x);
    const rows = reshape(firstOf(x, 12), [4, 3]);
    if (way === 0) return tanh(matmul(rows, transpose(sin(rows))));
    if (way === 1) return softmax(rows);
    if (way === 2) return tanh(logSoftmax(rows));
    const [scale, shift] = [firstOf(cos(x), 3), firstOf(sin(x), 3)];
    // An eps this large keeps rows that are nearly constant from making derivatives huge.
    if (way === 8) return layerNorm(rows, scale, shift, { eps: 0.5 });
    if (way === 9) return rmsNorm(rows, scale, { eps: 0.5 });
    if (way === 10) return batchNorm(rows, scale, shift, { eps: 0.5 }).y;
    if (way === 11) {
      const activation = this.draws.pick(["linear", "leakyRelu", "silu", "gelu", "tanh", "sigmoid"] as const);
      return biasAct(rows, shift, { activation, gain: 1.25 });
    }
    const image = reshape(firstOf(x, 16), [1, 4, 4, 1]);
    if (way === 3) return avgPool(image, { kernel: 2 });
    if (way === 4) return maxPool(image, { kernel: 3, stride: 2, padding: 1 });
    if (way === 5) return resizeBilinear(image, [3, 6]);
    if (way === 6)
      return tanh(upfirdn2d(image, reshape(firstOf(cos(x), 6), [2, 3]), { up: 2, down: [1, 3], padding: 1 }));
    if (way === 7) return tanh(einsum("ij,kj,k->i", rows, cos(rows), slice(flat(rows), [0], [4])));
    const weight = reshape(firstOf(cos(x), 18), [2, 3, 3, 1]);
    return tanh(conv2d(image, weight, { padding: 1, stride: this.draws.integer(1, 3) }));
  }

  private index(x: Tensor): Tensor {
    const line = firstOf(x, 6);
    const way = this.draws.integer(0, 7);
    this.note(`index ${way}`, x);
    if (way === 3) return takeAlong(line, tensor([3, 0, 3, 5, 1, 3, 4], { dtype: "i32" }));
    if (way === 4) return sort(line, { descending: this.draws.next() < 0.5 }).values;
    if (way === 5) return topk(reshape(line, [2, 3]), 2).values;
    if (way === 6) return tanh(cumsum(reshape(line, [3, 2]), this.draws.integer(0, 2), { exclusive: true }));
    const start = scalar(this.draws.integer(0, 5), "i32");
    if (way === 0) return gather(line, tensor([3, 0, 3, 5], { dtype: "i32" }));
    if (way === 1) return dynamicSlice(line, [start], [2]);
    return dynamicUpdateSlice(line, firstOf(sin(x), 2), [start]);
  }

  private cell(x: Tensor): Tensor {
    const { draws, world } = this;
    const cell = draws.pick(world.cells);
    const write = draws.next() < 0.5;
    this.note(`${write ? "write" : "read"} ${cell.name}`, x);
    if (write) cell.set(tanh(add(firstOf(x, 3), mul(cell.value, 0.5))));
    return mul(firstOf(x, 3), cell.value);
  }

  private loop(x: Tensor, y: Tensor, depth: number): Tensor {
    const { draws, world } = this;
    const seed = draws.integer(0, 2 ** 31);
    const times = draws.integer(1, 4);
    const cell = draws.pick(world.cells);
    const before = cell.value;
    this.note(`repeat ${times} times, then ${cell.name}`, x, y);
    const [a, b] = [stopGradient(x), stopGradient(y)];
    repeat(times, (i) => {
      const own = new Draws(seed);
      const pool = [a, b, add(cell.value, i)];
      const result = new Program(own, world).run(pool, own.integer(1, 5), depth - 1).at(-1) as Tensor;
      cell.set(tanh(firstOf(result, 3)));
    });
    return add(mul(cell.value, 0.5), before);
  }

  private sample(x: Tensor): Tensor {
    const normal = this.draws.next() < 0.5;
    this.note(normal ? "normal" : "uniform", x);
    const { random } = this.world;
    return add(x, mul(normal ? random.normal(x.shape) : random.uniform(x.shape), 0.1));
  }
}

/**
 * Runs the program of a seed on two tensors; gives one number.
 *
 * @param depth how deep rematerialised parts and derivatives nest; each level multiplies the work of differentiating.
 */
export function randomProgram(seed: number, x: Tensor, y: Tensor, world: World, depth: number): Tensor {
  const draws = new Draws(seed);
  const pool = new Program(draws, world).run([x, y], draws.integer(3, 16), depth);
  const results = pool.slice(-3).map((value) => mean(tanh(value)));
  return results.reduce((total, value) => add(mul(total, 0.7), value));
}
