// Attention over part of the keys, and over a cache: what they promise beyond parity.

import {
  assertNoLeaks,
  attention,
  Cell,
  cachedAttention,
  compile,
  concat,
  dynamicUpdateSlice,
  grad,
  rng,
  ShapeError,
  scalar,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const random = rng(17);
afterAll(() => random.dispose());
const list = (x: Tensor): number[] => [...(x.dataSync() as Float32Array)];
const i32 = (...xs: number[]): Tensor => tensor(Int32Array.from(xs));
const draw = (...shape: number[]): Tensor => random.normal(shape);

function expectClose(a: Tensor, b: Tensor, tolerance = 1e-5): void {
  expect(a.shape).toEqual(b.shape);
  const y = list(b);
  list(a).forEach((x, i) => {
    expect(Math.abs(x - (y[i] as number))).toBeLessThan(tolerance);
  });
}
const row = (x: Tensor, b: number): Tensor => x.slice([b, 0, 0, 0], [1, ...x.shape.slice(1)]);
const firstKeys = (x: Tensor, count: number): Tensor => x.slice([0, 0, 0, 0], [1, count, ...x.shape.slice(2)]);

describe("attention with a key length", () => {
  it.each([false, true])("equals attention to the first keys of each batch entry (causal: %s)", (causal) =>
    scope(() => {
      const [q, k, v] = [draw(3, 2, 2, 8), draw(3, 9, 2, 8), draw(3, 9, 2, 8)];
      const out = attention(q, k, v, { causal, keyLength: i32(2, 9, 5) });
      [2, 9, 5].forEach((length, b) => {
        const alone = attention(row(q, b), firstKeys(row(k, b), length), firstKeys(row(v, b), length), { causal });
        expectClose(row(out, b), alone);
      });
    }),
  );

  it("takes one length for all, clamps it, and gives zeros where no key is seen", () =>
    scope(() => {
      const [q, k] = [draw(2, 3, 1, 4), draw(2, 5, 1, 4)];
      expectClose(attention(q, k, k, { keyLength: scalar(7, "i32") }), attention(q, k, k));
      expect(new Set(list(attention(q, k, k, { keyLength: scalar(-1, "i32") })))).toEqual(new Set([0]));
    }));

  it("reads nothing of the other keys, forward or backward", () =>
    scope(() => {
      const [q, k] = [draw(1, 2, 1, 4), draw(1, 3, 1, 4)];
      const poisoned = concat([k, zeros([1, 4, 1, 4]).add(Number.NaN)], 1);
      const loss = (keys: Tensor) => (x: Tensor) =>
        attention(x, keys, keys, { keyLength: scalar(3, "i32"), causal: true })
          .square()
          .sum();
      expectClose(grad(loss(poisoned))(q), grad(loss(k))(q));
    }));

  it("refuses lengths that do not fit", () =>
    scope(() => {
      const q = draw(2, 3, 1, 4);
      expect(() => attention(q, q, q, { keyLength: i32(1, 2, 3) })).toThrow(ShapeError);
      expect(() => attention(q, q, q, { keyLength: tensor([1, 2]) })).toThrow(/keyLength must be i32/);
    }));
});

describe("attention over a cache", () => {
  /** The same by attention over the filled part of the cache and the new keys, one batch entry at a time. */
  const plain = (q: Tensor, past: Tensor, k: Tensor, v: Tensor, lengths: readonly number[], causal: boolean): Tensor =>
    concat(
      lengths.map((length, b) => {
        const join = (x: Tensor): Tensor => concat([firstKeys(row(past, b), length), row(x, b)], 1);
        return attention(row(q, b), join(k), join(v), { causal });
      }),
    );

  it.each([
    [[0, 4, 7], true],
    [[7, 0, 1], false],
  ] as const)("equals attention over what it holds and the new keys: lengths %j, causal %s", (lengths, causal) =>
    scope(() => {
      const [q, k, v, past] = [draw(3, 2, 2, 8), draw(3, 2, 2, 8), draw(3, 2, 2, 8), draw(3, 7, 2, 8)];
      const out = cachedAttention(q, { k: past, v: past, length: i32(...lengths) }, k, v, { causal });
      expectClose(out, plain(q, past, k, v, lengths, causal));
    }),
  );

  it("has the derivatives of orders 1 and 2 of that attention, in each operand", () =>
    scope(() => {
      const operands = [draw(2, 3, 1, 4), draw(2, 5, 1, 4), draw(2, 3, 1, 4), draw(2, 3, 1, 4)] as const;
      const lengths = [2, 5];
      type Call = (q: Tensor, past: Tensor, k: Tensor, v: Tensor) => Tensor;
      const ours: Call = (q, past, k, v) => cachedAttention(q, { k: past, v: past, length: i32(...lengths) }, k, v);
      const theirs: Call = (q, past, k, v) => plain(q, past, k, v, lengths, true);
      operands.forEach((operand, at) => {
        const first = (call: Call) =>
          grad((x: Tensor) =>
            call(...(operands.with(at, x) as Parameters<Call>))
              .square()
              .sum(),
          );
        const second = (call: Call) => grad((x: Tensor) => first(call)(x).sin().sum());
        expectClose(first(ours)(operand), first(theirs)(operand), 1e-4);
        expectClose(second(ours)(operand), second(theirs)(operand), 1e-3);
      });
    }));

  it("lets a program write the new keys in place, after it has read the cache", () => {
    const room = 1 << 14;
    const cache = new Cell({ shape: [1, room, 1, 8], initial: () => new Float32Array(room * 8) });
    const length = new Cell({ shape: [], dtype: "i32", initial: () => [0] });
    const step = compile((x: Tensor) => {
      const past = { k: cache.value, v: cache.value, length: length.value };
      const out = cachedAttention(x, past, x, x);
      cache.set(dynamicUpdateSlice(cache.value, x, [0, length.value, 0, 0]));
      length.set(length.value.add(1));
      return out;
    });
    scope(() => {
      const xs = [0, 1, 2].map(() => draw(1, 1, 1, 8));
      xs.forEach((x, i) => {
        const sofar = concat(xs.slice(0, i + 1), 1);
        expectClose(step(x), attention(x, sofar, sofar));
      });
    });
    expect(step.explain().split("\n")[0]).toMatch(/arena [\d.]+ k?B$/);
    expect(Number(step.explain().match(/arena ([\d.]+) B/)?.[1] ?? 1e4)).toBeLessThan(room * 8);
    for (const item of [step, cache, length]) item.dispose();
  });

  it("refuses operands that do not fit", () =>
    scope(() => {
      const q = draw(1, 1, 1, 4);
      const past = { k: draw(1, 3, 1, 4), v: draw(1, 2, 1, 4), length: scalar(0, "i32") };
      expect(() => cachedAttention(q, past, q, q)).toThrow(/past.v must have shape \[1, 3, 1, 4\]/);
      expect(() => cachedAttention(q, { ...past, v: past.k, length: scalar(0) }, q, q)).toThrow(
        /past.length must be i32/,
      );
    }));
});
