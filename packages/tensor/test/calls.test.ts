// The short way of a call like the one before: it must notice everything that makes it another call.

import {
  assertNoLeaks,
  Cell,
  compile,
  ones,
  scope,
  type Tensor,
  tensor,
  traceGuard,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const first = (x: Tensor): number => {
  const [value] = x.dataSync();
  x.dispose();
  return value as number;
};

const cellOf = (value: number): Cell => {
  const cell = new Cell({ shape: [1], name: "c" });
  cell.setData([value]);
  return cell;
};

describe("a call after a like one", () => {
  it("runs the same program", () => {
    const f = compile((batch: { x: Tensor; scale: number }) => batch.x.mul(batch.scale));
    scope(() => {
      const x = tensor([3]);
      for (let i = 0; i < 3; i++) expect(first(f({ x, scale: 2 }))).toBe(6);
    });
    expect(f.stats).toMatchObject({ calls: 3, traces: 1, programs: 1 });
    f.dispose();
  });

  const two = (): Tensor => ones([2]);
  it.each<[string, unknown, unknown, number]>([
    ["another static value", { x: two, k: 1 }, { x: two, k: 2 }, 2],
    ["-0 for 0", { x: two, k: 0 }, { x: two, k: -0 }, 2],
    ["NaN again", { x: two, k: Number.NaN }, { x: two, k: Number.NaN }, 1],
    ["another shape", { x: two }, { x: () => ones([3]) }, 2],
    ["another dtype", { x: two }, { x: () => ones([2], "i32") }, 2],
    ["another key", { x: two }, { y: two }, 2],
    ["one key more", { x: two }, { x: two, z: 1 }, 2],
    ["one key less", { x: two, z: undefined }, { x: two }, 2],
    ["keys in another order", { x: two, k: 1 }, { k: 1, x: two }, 2],
    ["a longer array", [two], [two, two], 2],
    ["a tensor where a number was", { x: two, k: 1 }, { x: two, k: two }, 2],
  ])("is told apart: %s", (_, before, after, traces) => {
    const f = compile((_args: unknown) => ones([1]));
    const made = (tree: unknown): unknown =>
      typeof tree === "function"
        ? tree()
        : Array.isArray(tree)
          ? tree.map(made)
          : typeof tree === "object" && tree !== null
            ? Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, made(item)]))
            : tree;
    scope(() => {
      f(made(before)).dispose();
      f(made(after)).dispose();
    });
    expect(f.stats.traces).toBe(traces);
    f.dispose();
  });

  it("heeds guards", () => {
    const mode = { scale: 2 };
    const f = compile((x: Tensor) => x.mul(traceGuard(() => mode.scale)));
    scope(() => {
      const x = tensor([1]);
      expect(first(f(x))).toBe(2);
      mode.scale = 5;
      expect(first(f(x))).toBe(5);
      mode.scale = 2;
      expect(first(f(x))).toBe(2);
    });
    expect(f.stats.traces).toBe(2);
    f.dispose();
  });

  it("refuses a disposed tensor", () => {
    const f = compile((x: Tensor) => x.mul(2));
    const [a, b] = [tensor([1]), tensor([2])];
    first(f(a));
    b.dispose();
    expect(() => f(b)).toThrow(/disposed/);
    a.dispose();
    f.dispose();
  });

  it("finds the new memory of a captured cell that was disposed and set again", () => {
    const cell = cellOf(3);
    const f = compile((x: Tensor) => x.mul(cell.value));
    scope(() => {
      const x = tensor([2]);
      expect(first(f(x))).toBe(6);
      cell.dispose();
      expect(() => f(x)).toThrow(UsageError);
      cell.setData([5]);
      expect(first(f(x))).toBe(10);
    });
    f.dispose();
    cell.dispose();
  });

  it("leaves a tensor read from a cell alone when the program writes the cell", () => {
    const cell = cellOf(1);
    const f = compile(() => {
      cell.set(cell.value.mul(2));
      return cell.value;
    });
    first(f());
    const before = cell.value;
    first(f());
    const later = cell.value;
    expect(first(before)).toBe(2);
    expect(first(later)).toBe(4);
    expect(first(f())).toBe(8);
    f.dispose();
    cell.dispose();
  });

  it("keeps what a captured tensor saw when the cell that it was read from is overwritten", () => {
    const cell = cellOf(7);
    const seen = cell.value;
    const f = compile((x: Tensor) => x.mul(seen));
    const x = tensor([1]);
    expect(first(f(x))).toBe(7);
    cell.setData([9]);
    expect(first(f(x))).toBe(7);
    cell.setData([11]);
    expect(first(f(x))).toBe(7);
    seen.dispose();
    x.dispose();
    f.dispose();
    cell.dispose();
  });
});
