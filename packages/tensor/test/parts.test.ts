// Parts of a concatenation that elementwise code makes are written where they belong, in f32 and in the format that products
// round to.

import { assertNoLeaks, Cell, compile, concat, matmul, repeat, rng, scope, sum, type Tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const random = rng(54);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const count = (explained: string, op: string): number => explained.match(new RegExp(`^ *${op} `, "gm"))?.length ?? 0;

describe("a concatenation of what elementwise code makes", () => {
  it.each([0, 1, 2])("along axis %d takes no copies", (axis) =>
    scope(() => {
      const [x, y] = [random.normal([3, 4, 5]), random.normal([3, 4, 5])];
      const fn = (a: Tensor, b: Tensor) => sum(concat([a.mul(2), b.sin(), a.add(b)], axis), 0);
      const f = compile(fn);
      const [got, want] = [f(x, y), fn(x, y)];
      expect(count(f.explain(), "concat")).toBe(0);
      expect([...got.dataSync()]).toEqual([...want.dataSync()]);
      f.dispose();
    }),
  );

  it("is written straight to the result of a program", () =>
    scope(() => {
      const x = random.normal([3, 4]);
      const f = compile((a: Tensor) => concat([a.mul(2), a.sin()], 1));
      const got = f(x);
      expect([...got.dataSync()]).toEqual([...concat([x.mul(2), x.sin()], 1).dataSync()]);
      f.dispose();
    }));

  it("copies parts that others read too, that come twice or from one record, and those of kernels", () =>
    scope(() => {
      const [x, w] = [random.normal([3, 4]), random.normal([4, 4])];
      const f = compile((a: Tensor) => {
        const [shared, twice] = [a.mul(2), a.mul(3)];
        const joined = concat([shared, twice, twice, matmul(a, w), a.exp()], 1);
        return [sum(joined, 0), sum(shared, 0)];
      });
      const [got, other] = f(x) as [Tensor, Tensor];
      const [shared, twice] = [x.mul(2), x.mul(3)];
      const want = sum(concat([shared, twice, twice, matmul(x, w), x.exp()], 1), 0);
      expect(count(f.explain(), "concat")).toBe(4);
      expect([...got.dataSync()]).toEqual([...want.dataSync()]);
      expect([...other.dataSync()]).toEqual([...sum(shared, 0).dataSync()]);
      f.dispose();
    }));

  it("does so in loops", () =>
    scope(() => {
      const state = new Cell({ shape: [2, 6], name: "state" });
      const start = random.normal([2, 6]);
      state.set(start);
      const next = (a: Tensor, x: Tensor) => concat([a.slice([0, 0], [2, 3]).sin(), a.slice([0, 3], [2, 3]).mul(x)], 1);
      const f = compile((x: Tensor) => repeat(3, () => state.set(next(state.value, x))));
      const x = random.normal([2, 3]);
      f(x);
      expect([...state.value.dataSync()]).toEqual([...next(next(next(start, x), x), x).dataSync()]);
      f.dispose();
      state.dispose();
    }));
});

describe("a concatenation that a product rounds", () => {
  const operands = () =>
    [random.normal([6, 4]), random.normal([6, 4]), random.normal([4, 4]), random.normal([8, 3])] as const;
  const round = (y: Tensor) => y.cast("bf16").cast("f32");

  it("is joined of rounded parts, beside one in f32 where that is read too", () =>
    scope(() => {
      const [x, y, , w] = operands();
      const join = (a: Tensor, b: Tensor) => concat([a.sin(), b.mul(2)], 1);
      const f = compile(
        (a: Tensor, b: Tensor) => {
          const joined = join(a, b);
          return [matmul(joined, w), sum(joined, 0)];
        },
        { precision: "bf16" },
      );
      const [got, total] = f(x, y) as [Tensor, Tensor];
      expect(f.explain()).toMatch(/^sin·cast /m);
      expect(f.explain()).toMatch(/^mul·cast /m);
      expect(count(f.explain(), "concat")).toBe(0);
      expect([...got.dataSync()]).toEqual([...matmul(round(join(x, y)), round(w)).dataSync()]);
      expect([...total.dataSync()]).toEqual([...sum(join(x, y), 0).dataSync()]);
      f.dispose();
    }));

  it("takes a cast for a part that a kernel makes, and one for all where kernels make more", () =>
    scope(() => {
      const [x, y, v, w] = operands();
      for (const [other, casts] of [
        [(b: Tensor) => b.sin(), 1],
        [(b: Tensor) => sum(b.reshape([6, 4, 1]), 2), 1],
      ] as const) {
        const join = (a: Tensor, b: Tensor) => concat([sum(matmul(a, v).reshape([6, 4, 1]), 2), other(b)], 1);
        const f = compile(
          (a: Tensor, b: Tensor) => {
            const joined = join(a, b);
            return [matmul(joined, w), sum(joined, 0)];
          },
          { precision: "bf16" },
        );
        const [got] = f(x, y) as [Tensor, Tensor];
        const joined = concat([sum(matmul(round(x), round(v)).reshape([6, 4, 1]), 2), other(y)], 1);
        expect([...got.dataSync()]).toEqual([...matmul(round(joined), round(w)).dataSync()]);
        // Those of operands are one record.
        expect(count(f.explain(), "cast")).toBe(casts);
        f.dispose();
      }
    }));
});
