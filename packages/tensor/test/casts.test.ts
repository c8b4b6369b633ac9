// Casts of weights, copies of what a program writes to its states, and moving averages of layers are few records.

import {
  assertNoLeaks,
  Cell,
  compile,
  emaUpdate,
  matmul,
  repeat,
  rng,
  scope,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { type Graph, GraphBuilder } from "#ir/graph";
import { verifyGraph } from "#ir/verify";
import { castDef } from "#ops/cast";
import { castAllDef } from "#ops/castAll";
import { gatherCasts } from "#passes/casts";

const random = rng(53);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const count = (explained: string, op: string): number => explained.match(new RegExp(`^ *${op} `, "gm"))?.length ?? 0;

function cellOf(value: Tensor, name: string): Cell {
  const cell = new Cell({ shape: value.shape, dtype: value.dtype, name });
  cell.set(value);
  return cell;
}

describe("weights that products round", () => {
  it("are cast by one record, with the bits of casts one by one", () =>
    scope(() => {
      const weights = [0, 1, 2].map((i) => cellOf(random.normal([8, 8]), `w${i}`));
      const x = random.normal([3, 8]);
      const f = compile((a: Tensor) => weights.reduce((y, w) => matmul(y, w.value).sin(), a), { precision: "bf16" });
      const got = f(x);
      expect(count(f.explain(), "castAll")).toBe(1);
      expect(f.explain()).toMatch(/^castAll .* f32×4 → bf16×4 /m);
      expect(count(f.explain(), "cast")).toBe(0);
      const round = (y: Tensor) => y.cast("bf16").cast("f32");
      const want = weights.reduce((y, w) => matmul(round(y), round(w.value)).sin(), x);
      expect([...got.dataSync()]).toEqual([...want.dataSync()]);
      f.dispose();
      for (const cell of weights) cell.dispose();
    }));

  it("are cast inside a loop that carries them, in each iteration anew", () =>
    scope(() => {
      const w = cellOf(random.normal([4, 4]), "w");
      const f = compile(
        (a: Tensor, b: Tensor) => {
          repeat(3, () => w.set(matmul(matmul(a, w.value), b)));
        },
        { precision: "bf16" },
      );
      const [a, b] = [random.normal([4, 4]), random.normal([4, 4])];
      const round = (y: Tensor) => y.cast("bf16").cast("f32");
      let want = w.value;
      for (let i = 0; i < 3; i++) want = matmul(round(matmul(round(a), round(want))), round(b));
      f(a, b);
      expect([...w.value.dataSync()]).toEqual([...want.dataSync()]);
      f.dispose();
      w.dispose();
    }));
});

/** Casts of arguments of so many bytes each as bf16. */
function castsOf(bytes: readonly number[]): Graph {
  const builder = new GraphBuilder();
  const args = bytes.map((size) => builder.arg({ shape: [size / 2], dtype: "f32" }));
  const casts = args.map((x) => builder.node(castDef, [x], { dtype: "bf16" }, [{ shape: x.shape, dtype: "bf16" }], ""));
  return builder.finish(casts.map(({ outputs }) => outputs[0] as (typeof args)[number]));
}

describe("the pass that gathers casts", () => {
  it("holds 32 MiB of results at once, and leaves a larger one to a cast of its own", () => {
    const mib = 2 ** 20;
    const graph = gatherCasts(castsOf([20 * mib, 12 * mib, 2 * mib, 40 * mib, 31 * mib, 2 * mib]));
    verifyGraph(graph, "casts");
    expect(graph.nodes.map(({ def, inputs }) => `${def.name} ${inputs.length}`)).toEqual([
      "castAll 2",
      "cast 1",
      "cast 1",
      "cast 1",
      "cast 1",
    ]);
  });

  it("makes one of those of one node's results, once they are there", () => {
    const builder = new GraphBuilder();
    const wide = { shape: [2], dtype: "f32" } as const;
    const half = { shape: [2], dtype: "bf16" } as const;
    const { outputs } = builder.node(
      castAllDef,
      [builder.arg(half), builder.arg(half)],
      { dtypes: ["f32", "f32"] },
      [wide, wide],
      "",
    );
    const casts = outputs.map((x) => builder.node(castDef, [x], { dtype: "f16" }, [{ ...half, dtype: "f16" }], ""));
    const graph = gatherCasts(builder.finish(casts.map((cast) => cast.outputs[0] as (typeof outputs)[number])));
    verifyGraph(graph, "casts");
    expect(graph.nodes.map(({ def, attrs }) => `${def.name} ${attrs.dtypes}`)).toEqual([
      "castAll f32,f32",
      "castAll f16,f16",
    ]);
  });

  it("leaves a cast of what is computed where it is", () => {
    const builder = new GraphBuilder();
    const [x, y] = [builder.arg({ shape: [4], dtype: "f32" }), builder.arg({ shape: [4], dtype: "f64" })];
    const half = { shape: [4], dtype: "bf16" } as const;
    const first = builder.node(castDef, [x], { dtype: "bf16" }, [half], "").outputs[0] as typeof x;
    const second = builder.node(castDef, [first], { dtype: "f32" }, [x], "").outputs[0] as typeof x;
    const third = builder.node(castDef, [y], { dtype: "f32" }, [x], "").outputs[0] as typeof x;
    const graph = gatherCasts(builder.finish([first, second, third]));
    expect(graph.nodes.map(({ def }) => def.name)).toEqual(["cast", "cast", "cast"]);
  });
});

describe("writes to states that are copies", () => {
  it("are one record for all that lies dense, of every type", () =>
    scope(() => {
      const cells = [
        cellOf(tensor([1, 2, 3]), "a"),
        cellOf(tensor([4, 5, 6]), "b"),
        cellOf(tensor([7, 8], { dtype: "i32" }), "c"),
        cellOf(tensor([0.5, 2], { dtype: "f64" }), "d"),
        cellOf(tensor([true, false], { dtype: "bool" }), "e"),
        cellOf(tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] }), "f"),
      ] as const;
      const [a, b, c, d, e, square] = cells;
      const f = compile((x: Tensor) => {
        const old = a.value;
        a.set(b.value);
        b.set(old);
        c.set(c.value.add(1));
        d.set(d.value.mul(2));
        e.set(e.value.logicalNot());
        square.set(x.transpose([1, 0]));
      });
      const x = tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] });
      f(x);
      f(x);
      expect(count(f.explain(), "castAll")).toBe(1);
      expect(cells.map((cell) => [...cell.value.dataSync()].map(Number))).toEqual([
        [1, 2, 3],
        [4, 5, 6],
        [9, 10],
        [2, 8],
        [1, 0],
        [1, 3, 5, 2, 4, 6],
      ]);
      f.dispose();
      for (const cell of cells) cell.dispose();
    }));

  it("of one value are a plain copy", () =>
    scope(() => {
      const cell = cellOf(tensor([1, 2]), "a");
      const f = compile((x: Tensor) => cell.set(x));
      f(tensor([3, 4]));
      expect(count(f.explain(), "castAll")).toBe(0);
      expect([...cell.value.dataSync()]).toEqual([3, 4]);
      f.dispose();
      cell.dispose();
    }));
});

describe("moving averages that layers keep by themselves", () => {
  const shapes = [[3], [5], [2, 2]] as const;
  /** Averages of what becomes of x layer by layer, `rounds` times. */
  const averaged = (cells: readonly Cell[], decays: readonly number[], rounds: number) => (x: Tensor) => {
    let total = x;
    for (let round = 0; round < rounds; round++) {
      cells.forEach((cell, i) => {
        total = total.mul(1.5);
        emaUpdate(
          decays[i] as number,
          [cell],
          [
            total
              .sum()
              .add(cell.shape[0] as number)
              .broadcastTo(cell.shape),
          ],
        );
      });
    }
    return total;
  };
  const made = () => shapes.map((shape, i) => cellOf(random.normal(shape), `average${i}`));
  const contents = (cells: readonly Cell[]) => cells.map((cell) => [...cell.value.dataSync()]);

  it.each([
    ["once each are one update, in place", [0.9, 0.9, 0.9], 1, 1, 0],
    ["twice each are one update in each round", [0.9, 0.9, 0.9], 2, 2, 1],
    ["by two decays are two updates", [0.9, 0.5, 0.9], 1, 2, 0],
  ] as const)("%s, with the bits of updates one by one", (_title, decays, rounds, updates, copies) =>
    scope(() => {
      const [together, alone] = [made(), made()];
      together.forEach((cell, i) => {
        cell.set((alone[i] as Cell).value);
      });
      const x = random.normal([4]);
      const f = compile(averaged(together, decays, rounds));
      f(x);
      averaged(alone, decays, rounds)(x);
      expect(contents(together)).toEqual(contents(alone));
      const emas = f.explain().match(/^emaUpdate .*(avx|generic|multi|reference).*/gm) ?? [];
      expect(emas.filter((line) => !line.includes("0 FLOP"))).toHaveLength(updates);
      expect(count(f.explain(), "castAll")).toBe(copies);
      f.dispose();
      for (const cell of [...together, ...alone]) cell.dispose();
    }),
  );

  it("that the program itself reads are updated where they are", () =>
    scope(() => {
      const cells = made();
      const before = contents(cells);
      const f = compile((x: Tensor) => {
        let y = x;
        for (const cell of cells) {
          emaUpdate(0.5, [cell], [y.sum().broadcastTo(cell.shape)]);
          y = y.mul(cell.value.sum());
        }
        return y;
      });
      const x = random.normal([4]);
      const got = f(x);
      let y = x;
      cells.forEach((cell, i) => {
        cell.setData(before[i] as number[]);
        emaUpdate(0.5, [cell], [y.sum().broadcastTo(cell.shape)]);
        y = y.mul(cell.value.sum());
      });
      expect([...got.dataSync()]).toEqual([...y.dataSync()]);
      f.dispose();
      for (const cell of cells) cell.dispose();
    }));
});
