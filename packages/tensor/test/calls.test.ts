// The short way of a call like the one before: it must notice everything that makes it another call.

import {
  assertNoLeaks,
  Cell,
  type CellTree,
  compile,
  DeviceError,
  type DType,
  gather,
  memory,
  ones,
  scalar,
  scope,
  settled,
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
      expect(() => f(x)).toThrow(DeviceError);
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

describe("a call with cells among its arguments", () => {
  it("finds the program and the cells again when two take turns", () => {
    const [a, b, x] = [cellOf(1), cellOf(10), tensor([1])];
    const add = compile((cell: Cell, y: Tensor) => cell.set(cell.value.add(y)));
    for (let i = 0; i < 3; i++) for (const cell of [a, b]) add(cell, x);
    expect([first(a.value), first(b.value)]).toEqual([4, 13]);
    expect(add.stats).toMatchObject({ calls: 6, traces: 1 });
    for (const holder of [add, a, b, x]) holder.dispose();
  });

  it("binds the new memory of a cell that was disposed and set again", () => {
    const cell = cellOf(1);
    const double = compile((c: Cell) => c.value.mul(2));
    expect(first(double(cell))).toBe(2);
    cell.dispose();
    cell.setData([7]);
    expect(first(double(cell))).toBe(14);
    double.dispose();
    cell.dispose();
  });

  it("looks at a bundle again when it says that it has changed", () => {
    const [a, b] = [cellOf(1), cellOf(10)];
    let held = a;
    const bundle: CellTree = { structure: "bundle", cells: () => [held], identity: () => held };
    const read = compile((tree: CellTree) => (tree.cells()[0] as Cell).value.mul(1));
    expect(first(read(bundle))).toBe(1);
    held = b;
    expect(first(read(bundle))).toBe(10);
    for (const holder of [read, a, b]) holder.dispose();
  });
});

describe("a scalar", () => {
  const dtypes: readonly DType[] = ["f32", "f64", "bf16", "f16", "i32", "u8", "bool"];

  it.each(dtypes)("of type %s is the same in a call, in an operation and read", (dtype) => {
    const value = dtype === "bool" ? 1 : 3;
    const identity = compile((x: Tensor) => x.clone());
    scope(() => {
      const x = scalar(value, dtype);
      for (const y of [identity(x), x.reshape([1]), x.clone(), x]) expect(y.dataSync()[0]).toBe(value);
    });
    identity.dispose();
  });

  it("has no memory until it is read", () => {
    const scale = compile((x: Tensor, k: Tensor) => x.mul(k).sum());
    const x = ones([4]);
    scale(x, scalar(1)).dispose();
    const before = memory().liveBuffers;
    const factors = [2, 3, 4].map((value) => scalar(value));
    expect(memory().liveBuffers).toBe(before);
    expect(factors.map((k) => scale(x, k).itemSync())).toEqual([8, 12, 16]);
    expect(factors.map((k) => k.itemSync())).toEqual([2, 3, 4]);
    expect(memory().liveBuffers).toBeGreaterThanOrEqual(before + 3);
    for (const holder of [scale, x, ...factors]) holder.dispose();
  });

  it("captured, and kept in a cell, keeps its value", () => {
    const k = scalar(3);
    const cell = new Cell({ shape: [] });
    cell.set(k);
    const f = compile((x: Tensor) => x.mul(k).add(cell.value));
    scope(() => expect(first(f(tensor([2])))).toBe(9));
    for (const holder of [f, cell, k]) holder.dispose();
  });
});

describe("the stack of an error of queued work", () => {
  const pick = compile((x: Tensor, i: Tensor) => gather(x, i), { name: "pick" });
  const failing = async (call: () => Tensor): Promise<string> => {
    using result = call();
    const error = await result.data().catch((caught: unknown) => caught);
    return (error as Error).stack ?? "";
  };

  it("is that of the call that compiled the program, and of the very call after a failure", async () => {
    const [x, good, bad] = [ones([2]), tensor([0], { dtype: "i32" }), tensor([9], { dtype: "i32" })];
    const compiling = (): Tensor => pick(x, good);
    const firstFailure = (): Tensor => pick(x, bad);
    const secondFailure = (): Tensor => pick(x, bad);
    compiling().dispose();
    const stack = await failing(firstFailure);
    expect(stack).toContain("in a call of pick, whose program this call compiled");
    expect(stack).toContain("at compiling");
    expect(await failing(secondFailure)).toContain("at secondFailure");
    await settled();
    for (const holder of [pick, x, good, bad]) holder.dispose();
  });
});

describe("arguments that nest", () => {
  const f = compile((tree: unknown) => (isTree(tree) ? tree.x.mul(2) : ones([1])), { name: "f" });
  const isTree = (tree: unknown): tree is { x: Tensor } => typeof tree === "object" && tree !== null && "x" in tree;

  it("in a circle are refused, naming the place", () => {
    const loop: Record<string, unknown> = {};
    loop.again = { list: [loop] };
    expect(() => f(loop)).toThrow(UsageError);
    expect(() => f(loop)).toThrow(/f: argument 0\.again\.list\[0\] holds itself/);
  });

  it("too deep are refused, naming the argument", () => {
    let deep: unknown = [];
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(() => f(deep)).toThrow(UsageError);
    expect(() => f(deep)).toThrow(/f: argument 0 nests more than 63/);
  });

  it("may hold one object in two places", () => {
    scope(() => {
      const shared = { k: 1 };
      expect(first(f({ x: ones([1]), a: shared, b: shared }))).toBe(2);
    });
    f.dispose();
  });

  it("in a result are refused too", () => {
    const g = compile((x: Tensor) => {
      const loop: unknown[] = [x];
      loop.push(loop);
      return loop;
    });
    scope(() => expect(() => g(ones([1]))).toThrow(/holds itself or nests/));
    g.dispose();
  });
});
