// Transformers and their cache: decoding token by token equals the whole forward pass, at any position, by one program.

import { KVCache, type LayerCache, Transformer, TransformerBlock } from "@figment/nn";
import {
  assertNoLeaks,
  Cell,
  compile,
  dynamicUpdateSlice,
  grad,
  type OpenScope,
  openScope,
  repeat,
  rng,
  ShapeError,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";

let open: OpenScope;
let made: { dispose(): void }[];

beforeEach(() => {
  open = openScope();
  made = [];
});
afterEach(() => {
  for (const item of made) item.dispose();
  open[Symbol.dispose]();
});
afterAll(() => assertNoLeaks());

const keep = <T extends { dispose(): void }>(item: T): T => {
  made.push(item);
  return item;
};
const run = <T>(fn: () => T): T => open.run(fn);
const list = (x: Tensor): number[] => [...(x.dataSync() as Float32Array)];
const ids = (data: readonly number[], shape: readonly number[] = [data.length]): Tensor =>
  tensor(Int32Array.from(data), { shape: [...shape] });
const worst = (a: Tensor, b: Tensor): number => {
  const [x, y] = [list(a), list(b)];
  expect(a.shape).toEqual(b.shape);
  return x.reduce((most, value, i) => Math.max(most, Math.abs(value - (y[i] as number))), 0);
};

const options = { vocabulary: 50, dim: 24, heads: 3, layers: 2, maxLength: 16 };
const modelOf = (seed = 0): Transformer => keep(new Transformer(options).init(rng(seed)));
const tokens = Array.from({ length: 32 }, (_, i) => (i * 17 + 3) % 50);
const decoder = () => keep(compile((model: Transformer, cache: KVCache, token: Tensor) => model.forward(token, cache)));

describe("a Transformer", () => {
  it("gives logits that depend on no later token", () =>
    run(() => {
      const model = modelOf();
      const [a, b] = [model.forward(ids(tokens, [2, 16])), model.forward(ids(tokens.with(9, 1), [2, 16]))];
      expect(worst(a.slice([0, 0, 0], [2, 9, 50]), b.slice([0, 0, 0], [2, 9, 50]))).toBe(0);
      expect(worst(a.slice([0, 9, 0], [1, 7, 50]), b.slice([0, 9, 0], [1, 7, 50]))).toBeGreaterThan(1e-3);
      expect(worst(a.slice([1, 0, 0], [1, 16, 50]), b.slice([1, 0, 0], [1, 16, 50]))).toBe(0);
    }));

  it("refuses more tokens than it has positions, and tokens of another rank", () =>
    run(() => {
      const model = modelOf();
      expect(() => model.forward(ids(tokens.slice(0, 17), [1, 17]))).toThrow(ShapeError);
      expect(() => model.forward(ids(tokens, [1, 2, 16]))).toThrow(/\[B, S\] or \[B\]/);
      expect(() => model.cache({ maxLength: 17 })).toThrow(UsageError);
    }));
});

describe("decoding with a cache", () => {
  it("equals the forward pass over all tokens at each position, by one program", () =>
    run(() => {
      const model = modelOf();
      const whole = model.forward(ids(tokens, [2, 16]));
      const cache = keep(model.cache({ batch: 2 }));
      const step = decoder();
      for (let i = 0; i < 16; i++) {
        const logits = step(model, cache, ids([tokens[i] as number, tokens[16 + i] as number]));
        expect(worst(logits, whole.slice([0, i, 0], [2, 1, 50]).reshape([2, 50]))).toBeLessThan(1e-5);
      }
      expect(step.stats.traces).toBe(1);
      expect(list(cache.length.value)).toEqual([16]);
    }));

  it("may begin with several tokens at once, eagerly too", () =>
    run(() => {
      const model = modelOf();
      const whole = model.forward(ids(tokens, [2, 16]));
      const part = (from: number, count: number): Tensor =>
        ids(
          [0, 16].flatMap((row) => tokens.slice(row + from, row + from + count)),
          [2, count],
        );
      for (const step of [decoder(), (m: Transformer, c: KVCache, x: Tensor) => m.forward(x, c)]) {
        const cache = keep(model.cache({ batch: 2 }));
        for (const [from, count] of [
          [0, 7],
          [7, 1],
          [8, 5],
        ] as const) {
          const logits = step(model, cache, part(from, count));
          expect(worst(logits, whole.slice([0, from, 0], [2, count, 50]))).toBeLessThan(1e-5);
        }
      }
    }));

  it("runs in a loop of one native call, the cache written in place at each iteration", () =>
    run(() => {
      const model = modelOf();
      const whole = model.forward(ids(tokens, [2, 16]));
      const cache = keep(model.cache({ batch: 2 }));
      const logits = keep(new Cell({ shape: [16, 2, 50], initial: () => new Float32Array(16 * 2 * 50) }));
      const decodeAll = keep(
        compile((net: Transformer, past: KVCache, all: Tensor) =>
          repeat(16, (i) => {
            const next = net.forward(all.at(i), past);
            logits.set(dynamicUpdateSlice(logits.value, next.reshape([1, 2, 50]), [i, 0, 0]));
          }),
        ),
      );
      decodeAll(model, cache, ids(tokens, [2, 16]).transpose());
      expect(worst(logits.value.transpose([1, 0, 2]), whole)).toBeLessThan(1e-5);
      expect(list(cache.length.value)).toEqual([16]);
    }));

  it("begins anew after clear(), and goes on in two ways after clone()", () =>
    run(() => {
      const model = modelOf();
      const step = decoder();
      const cache = keep(model.cache());
      const first = step(model, cache, ids([5]));
      const copy = keep(cache.clone());
      const [a, b] = [step(model, cache, ids([6])), step(model, copy, ids([7]))];
      expect(
        worst(
          a,
          model
            .forward(ids([5, 6], [1, 2]))
            .slice([0, 1, 0], [1, 1, 50])
            .reshape([1, 50]),
        ),
      ).toBeLessThan(1e-5);
      expect(
        worst(
          b,
          model
            .forward(ids([5, 7], [1, 2]))
            .slice([0, 1, 0], [1, 1, 50])
            .reshape([1, 50]),
        ),
      ).toBeLessThan(1e-5);
      cache.clear();
      expect(worst(step(model, cache, ids([5])), first)).toBe(0);
      expect(step.stats.traces).toBe(1);
    }));

  it("runs one program for clones of a model and for caches of one shape", () =>
    run(() => {
      const model = modelOf();
      const twin = keep(model.clone());
      const step = decoder();
      const [a, b] = [keep(model.cache()), keep(twin.cache())];
      expect(worst(step(model, a, ids([3])), step(twin, b, ids([3])))).toBe(0);
      step(twin, a, ids([3]));
      expect(step.stats.traces).toBe(1);
      step(model, keep(model.cache({ maxLength: 8 })), ids([3]));
      expect(step.stats.traces).toBe(2);
    }));

  const eagerly = (model: Transformer, cache: KVCache, token: Tensor): Tensor => model.forward(token, cache);
  const overflowing = (step: typeof eagerly): void =>
    run(() => {
      const model = modelOf();
      const cache = keep(model.cache({ maxLength: 3 }));
      for (const token of [1, 2]) step(model, cache, ids([token]));
      const before = cache.cells().map((cell) => list(cell.value));
      const logits = step(model, cache, ids([3, 4], [1, 2]));
      expect(() => logits.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
      expect(cache.cells().map((cell) => list(cell.value))).toEqual(before);
      // One more has room still.
      const whole = model
        .forward(ids([1, 2, 3], [1, 3]))
        .slice([0, 2, 0], [1, 1, 50])
        .reshape([1, 50]);
      expect(worst(step(model, cache, ids([3])), whole)).toBeLessThan(1e-5);
    });

  it("fails beyond the cache's room, and leaves the cache as it was", () => overflowing(decoder()));

  it("does so outside compiled functions", () => overflowing(eagerly));

  it("does so in a block that is used on its own", () =>
    run(() => {
      const block = keep(new TransformerBlock(8, { heads: 2, causal: true }).init(rng(0)));
      const cache = keep(new KVCache({ layers: 1, heads: 2, headDim: 4, maxLength: 3 }));
      const random = keep(rng(1));
      const [layer] = cache.layers as [LayerCache];
      block.forward(random.normal([1, 2, 8]), { cache: layer });
      cache.length.setData([2]);
      const before = list(layer.k.value);
      const failed = block.forward(random.normal([1, 2, 8]), { cache: layer });
      expect(() => failed.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
      expect(list(layer.k.value)).toEqual(before);
      expect(() => block.forward(random.normal([1, 4, 8]), { cache: layer })).toThrow(ShapeError);
    }));

  it("does not copy the cache", () =>
    run(() => {
      const model = keep(new Transformer({ ...options, maxLength: 4096 }).init(rng(0)));
      const cache = keep(model.cache());
      const step = decoder();
      step(model, cache, ids([1]));
      const cacheBytes = 4096 * 24 * 4;
      const arena = Number(step.explain().match(/arena ([\d.]+) kB/)?.[1]) * 1000;
      expect(arena).toBeLessThan(cacheBytes / 10);
    }));

  it("rounds no cache where products are computed in bf16", () =>
    run(() => {
      const model = keep(new Transformer({ ...options, maxLength: 4096 }).init(rng(0)));
      const step = keep(
        compile((net: Transformer, past: KVCache, token: Tensor) => net.forward(token, past), { precision: "bf16" }),
      );
      const [cache, exact] = [keep(model.cache()), keep(model.cache())];
      for (const token of [7, 30]) {
        const logits = step(model, cache, ids([token]));
        expect(worst(logits, model.forward(ids([token]), exact))).toBeLessThan(2e-2);
      }
      expect(step.print()).not.toMatch(/bf16\[1,4096,3,8\]/);
      expect(step.print()).toMatch(/bf16\[/);
    }));

  it("refuses caches of another model", () =>
    run(() => {
      const [model, other] = [modelOf(), keep(new Transformer({ ...options, layers: 3 }).init(rng(1)))];
      expect(() => model.forward(ids([1]), keep(other.cache()))).toThrow(/3 layers, the model 2/);
      expect(() => model.forward(ids([1, 2]), keep(model.cache()))).toThrow(ShapeError);
    }));
});

describe("a TransformerBlock", () => {
  it("attends to a context where it was made for one", () =>
    run(() => {
      const random = keep(rng(1));
      const block = keep(new TransformerBlock(16, { heads: 2, contextDim: 8 }).init(rng(0)));
      const [x, context] = [random.normal([2, 5, 16]), random.normal([2, 3, 8])];
      const slope = grad((c: Tensor) => block.forward(x, { context: c }).square().sum())(context);
      expect(slope.shape).toEqual([2, 3, 8]);
      expect(Math.min(...list(slope.abs()))).toBeGreaterThan(0);
      expect(() => block.forward(x)).toThrow(/made for a context/);
      const plain = keep(new TransformerBlock(16).init(rng(0)));
      expect(() => plain.forward(x, { context })).toThrow(/without contextDim/);
    }));
});
