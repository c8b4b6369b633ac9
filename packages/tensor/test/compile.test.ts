import {
  assertNoLeaks,
  Cell,
  compile,
  emaUpdate,
  grad,
  guardCells,
  isTracing,
  matmul,
  memory,
  mul,
  type Rng,
  remat,
  rng,
  scalar,
  scope,
  settled,
  sub,
  sum,
  type Tensor,
  tensor,
  traceGuard,
  traceMode,
  UsageError,
  valueAndGrad,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it, vi } from "vitest";

afterAll(() => assertNoLeaks());

const values = (x: Tensor): number[] => {
  const data = [...x.dataSync()];
  x.dispose();
  return data;
};

const cellOf = (data: readonly number[], name = "w"): Cell => {
  const cell = new Cell({ shape: [data.length], name });
  cell.setData(data);
  return cell;
};

describe("compile", () => {
  it("gives what the function gives", () => {
    const fn = (x: Tensor, y: Tensor) => ({ total: sum(x.mul(y).add(1)), parts: [x.sub(y), x] });
    const compiled = compile(fn);
    const [x, y] = [tensor([1.5, -2, 3]), tensor([4, 5.25, -6])];
    const eager = scope(() => fn(x, y));
    const fast = compiled(x, y);
    expect(fast.total.itemSync()).toBeCloseTo(eager.total.itemSync(), 5);
    expect([...(fast.parts[0] as Tensor).dataSync()]).toEqual([...(eager.parts[0] as Tensor).dataSync()]);
    expect([...(fast.parts[1] as Tensor).dataSync()]).toEqual([1.5, -2, 3]);
    for (const t of [eager.total, ...eager.parts, fast.total, ...fast.parts]) t?.dispose();
    x.dispose();
    y.dispose();
    compiled.dispose();
  });

  it("traces once per signature: shapes, dtypes and static values", () => {
    const compiled = compile((x: Tensor, k: number) => x.mul(k));
    const [a, b] = [tensor([1, 2]), tensor([1, 2, 3])];
    for (const [x, k] of [
      [a, 2],
      [a, 2],
      [b, 2],
      [b, 3],
      [a, 3],
    ] as const)
      compiled(x, k).dispose();
    expect(compiled.stats).toMatchObject({ calls: 5, traces: 4 });
    a.dispose();
    b.dispose();
    compiled.dispose();
  });

  it("takes a scalar tensor where a number would be frozen", () => {
    const compiled = compile((x: Tensor, k: Tensor) => x.mul(k));
    using x = tensor([1, 2]);
    for (const k of [2, 3, 4]) {
      using s = scalar(k);
      expect(values(compiled(x, s))).toEqual([k, 2 * k]);
    }
    expect(compiled.stats.traces).toBe(1);
    compiled.dispose();
  });

  it("warns once when every call compiles anew, naming the argument", () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const compiled = compile((x: Tensor, k: number) => x.mul(k), { name: "scaled" });
    using x = tensor([1, 2]);
    for (let k = 0; k < 20; k++) compiled(x, k).dispose();
    expect(warn).toHaveBeenCalledTimes(1);
    expect(String(warn.mock.calls[0]?.[0])).toContain("argument 1");
    warn.mockRestore();
    compiled.dispose();
  });

  it("says why it compiles anew when the arguments are alike", () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    let mode = 0;
    const moody = compile((x: Tensor) => x.mul(traceGuard(() => mode)));
    const cells = Array.from({ length: 10 }, () => cellOf([1]));
    const bound = compile((cell: Cell) => {
      guardCells(cells);
      return cell.value.mul(2);
    });
    using x = tensor([1, 2]);
    for (; mode < 10; mode++) moody(x).dispose();
    for (const cell of cells) bound(cell).dispose();
    const texts = warn.mock.calls.map(([text]) => String(text));
    expect(texts).toEqual([
      expect.stringContaining("a value that it depends on, such as a module's mode, changed"),
      expect.stringContaining("an argument has other cells than those that the function reaches by itself"),
    ]);
    warn.mockRestore();
    for (const holder of [moody, bound, ...cells]) holder.dispose();
  });

  it("updates cells in place, and tensors read before keep what they saw", () => {
    const w = cellOf([1, 2, 3]);
    const step = compile((g: Tensor) => {
      w.set(sub(w.value, mul(g, 0.5)));
      return sum(w.value);
    });
    using before = w.value;
    using g = tensor([2, 4, 6]);
    using total = step(g);
    expect(total.itemSync()).toBe(0);
    expect([...before.dataSync()]).toEqual([1, 2, 3]);
    expect(values(w.value)).toEqual([0, 0, 0]);
    step.dispose();
    w.dispose();
  });

  it("runs one program for bundles of cells that share a structure", () => {
    const [a, b] = [cellOf([1, 2]), cellOf([10, 20])];
    const tree = (cell: Cell) => ({ structure: "pair", cells: () => [cell], cell });
    const double = compile((t: ReturnType<typeof tree>) => t.cell.value.mul(2));
    // The function reads the first bundle's cell; a call with another bundle binds that one's.
    expect(values(double(tree(a)))).toEqual([2, 4]);
    expect(values(double(tree(b)))).toEqual([20, 40]);
    expect(double.stats.traces).toBe(1);
    double.dispose();
    a.dispose();
    b.dispose();
  });

  it("holds no memory for cells that are gone, and goes on with those that are not", async () => {
    const shift = compile((cell: Cell, x: Tensor) => x.add(cell.value));
    const x = zeros([1 << 16]);
    const kept = new Cell({ shape: [1 << 16], initial: () => new Float32Array(1 << 16).fill(7) });
    const call = async (): Promise<void> => {
      const cell = new Cell({ shape: [1 << 16], initial: () => new Float32Array(1 << 16).fill(2) });
      const y = shift(cell, x);
      expect((await y.data())[5]).toBe(2);
      y.dispose();
      cell.dispose();
      const z = shift(kept, x);
      expect((await z.data())[5]).toBe(7);
      z.dispose();
    };
    for (let i = 0; i < 4; i++) await call();
    const { systemAllocations } = memory();
    for (let i = 0; i < 100; i++) await call();
    expect(memory().systemAllocations).toBe(systemAllocations);
    shift.dispose();
    x.dispose();
    kept.dispose();
  });

  it("tells plain objects apart by their keys, whatever these are called", async () => {
    const f = compile((x: Tensor, o: Record<string, unknown>) => (o.b === 2 ? x.mul(2) : "a" in o ? x.mul(3) : x));
    const x = tensor([1]);
    const calls = [{}, { a: {} }, { a: 1, b: 2 }, { "a=1;argument 1.b": 2 }];
    const results = calls.map((o) => f(x, o));
    expect(results.map((y) => y.dataSync()[0])).toEqual([1, 3, 2, 1]);
    for (const y of [...results, x]) y.dispose();
    f.dispose();
  });

  it("tells calls that share cells from calls that do not", () => {
    const [a, b] = [cellOf([1, 2]), cellOf([10, 20])];
    const addTo = compile((p: Cell, q: Cell) => {
      p.set(p.value.add(q.value));
    });
    addTo(a, b);
    expect(values(a.value)).toEqual([11, 22]);
    addTo(a, a);
    expect(values(a.value)).toEqual([22, 44]);
    addTo(b, a);
    expect(values(b.value)).toEqual([32, 64]);
    const addCaptured = compile((p: Cell) => {
      p.set(p.value.add(a.value));
    });
    addCaptured(b);
    expect(values(b.value)).toEqual([54, 108]);
    addCaptured(a);
    expect(values(a.value)).toEqual([44, 88]);
    for (const f of [addTo, addCaptured]) f.dispose();
    a.dispose();
    b.dispose();
  });

  it("keeps random streams advancing as they would outside", () => {
    const outside = rng(7);
    const inside = rng(7);
    const draw = compile((r: Rng) => r.normal([5]));
    const eager = [0, 1].map(() => values(outside.normal([5])));
    const fast = [0, 1].map(() => values(draw(inside)));
    expect(fast).toEqual(eager);
    expect(fast[0]).not.toEqual(fast[1]);
    draw.dispose();
    outside.dispose();
    inside.dispose();
  });

  it("updates a moving average in place after the value that it follows", () => {
    const w = cellOf([1, 1]);
    const average = cellOf([0, 0], "average");
    const step = compile(() => {
      w.set(w.value.add(1));
      emaUpdate(scalar(0.5), [average], [w.value]);
    });
    step();
    expect(values(average.value)).toEqual([1, 1]);
    step();
    expect(values(average.value)).toEqual([2, 2]);
    step.dispose();
    w.dispose();
    average.dispose();
  });

  it("differentiates inside, to second order", () => {
    const f = compile((x: Tensor) => grad((y: Tensor) => sum(grad((z: Tensor) => sum(z.mul(z).mul(z)))(y)))(x));
    using x = tensor([1, 2, -3]);
    expect(values(f(x))).toEqual([6, 12, -18]);
    f.dispose();
  });

  it("explains what to do when a traced value is read", () => {
    const f = compile((x: Tensor) => x.mul(x.sum().itemSync()));
    using x = tensor([1, 2]);
    expect(() => f(x)).toThrow(/return it from the function/);
    f.dispose();
  });

  it("refuses asynchronous functions and foreign arguments", () => {
    const late = compile(async (x: Tensor) => x);
    using x = tensor([1]);
    expect(() => late(x)).toThrow(UsageError);
    const odd = compile((m: unknown) => m);
    expect(() => odd(new Map())).toThrow(/argument 0 is a Map/);
    late.dispose();
    odd.dispose();
  });

  it("keeps the mode that a compiled function fixes where it is inlined, and on the way back", () => {
    scope(() => {
      const fixed = compile((x: Tensor) => (traceMode() === "eval" ? x.mul(3) : x), { mode: "eval" });
      const outer = compile((x: Tensor) => fixed(x));
      const again = compile((x: Tensor) => remat((y: Tensor) => (traceMode() === "eval" ? y.mul(5) : y))(x), {
        mode: "eval",
      });
      const x = tensor([1]);
      expect(outer(x).dataSync()[0]).toBe(3);
      expect(grad((y: Tensor) => fixed(y).sum())(x).dataSync()[0]).toBe(3);
      expect(grad((y: Tensor) => again(y).sum())(x).dataSync()[0]).toBe(5);
      for (const f of [fixed, outer, again]) f.dispose();
    });
  });

  it("inlines compiled functions called inside a trace", () => {
    const inner = compile((x: Tensor) => x.mul(3));
    const outer = compile((x: Tensor) => inner(x).add(1));
    using x = tensor([1, 2]);
    expect(values(outer(x))).toEqual([4, 7]);
    expect(inner.stats.calls).toBe(0);
    outer.dispose();
    inner.dispose();
  });

  it("compiles again when a guarded value changes, and remembers both", () => {
    let training = true;
    const f = compile((x: Tensor) => (traceGuard(() => training) ? x.mul(2) : x));
    using x = tensor([3]);
    expect(values(f(x))).toEqual([6]);
    training = false;
    expect(values(f(x))).toEqual([3]);
    training = true;
    expect(values(f(x))).toEqual([6]);
    expect(f.stats.traces).toBe(2);
    f.dispose();
  });

  it("is not tracing outside", () => {
    expect(isTracing()).toBe(false);
  });

  it("runs 200 training steps in flat memory, asking nothing of the system", async () => {
    const w = new Cell({ shape: [16, 8], name: "w" });
    const random = rng(1);
    scope(() => w.set(random.normal([16, 8])));
    const step = compile((x: Tensor, y: Tensor) => {
      const { value, grads } = valueAndGrad((a: Tensor, b: Tensor) => matmul(a, w.value).sub(b).square().mean(), {
        wrt: [w],
      })(x, y);
      w.set(w.value.sub(grads.get(w).mul(0.05)));
      return value;
    });
    const [x, y] = [random.normal([32, 16]), random.normal([32, 8])];
    const run = (): void => step(x, y).dispose();
    // As many results at once as can ever be waiting below, however slow the queue.
    const held = Array.from({ length: 24 }, () => step(x, y));
    for (const value of held) value.dispose();
    await settled();
    const before = memory();
    for (let i = 0; i < 200; i++) {
      run();
      if (i % 20 === 0) await settled();
    }
    await settled();
    const after = memory();
    expect(after.systemAllocations).toBe(before.systemAllocations);
    expect(after.live).toBe(before.live);
    expect(after.liveBuffers).toBe(before.liveBuffers);
    for (const t of [x, y]) t.dispose();
    step.dispose();
    w.dispose();
    random.dispose();
  });
});
