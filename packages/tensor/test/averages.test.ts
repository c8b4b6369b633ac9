// Moving averages of weights that the update of the weights moves in its own pass over memory.

import { adamUpdate, Cell, compile, emaUpdate, rng, scope, type Tensor } from "@figment/tensor";
import { describe, expect, it } from "vitest";

const shapes = [[7], [33, 65], []] as const;
const random = rng(3);

/** Weights, moments and averages, and one average of something else. */
function made() {
  const draw = (name: string) =>
    shapes.map((shape) => new Cell({ shape, name, initial: () => random.uniform(shape).dataSync() }));
  return { weights: draw("weight"), m: draw("m"), v: draw("v"), averages: draw("average"), other: draw("other") };
}
type Made = ReturnType<typeof made>;

const all = (cells: Made) => Object.values(cells).flat();
const contents = (cells: Made) => all(cells).map((cell) => [...cell.value.dataSync()]);

function update({ weights, m, v }: Made, x: Tensor): void {
  const grads = weights.map((cell, i) => x.mul(i + 1).broadcastTo(cell.shape));
  adamUpdate({ cells: weights, grads, m, v, lr: 0.01, step: 3, weightDecay: 0.01 });
}

/** How many records of an operation do work. */
const records = (text: string, op: string): number =>
  (text.match(new RegExp(`^${op} .*$`, "gm")) ?? []).filter((line) => !line.includes("0 FLOP")).length;

const cases: readonly (readonly [string, (cells: Made, x: Tensor) => unknown, number])[] = [
  [
    "moves averages of all weights itself",
    (cells, x) => {
      update(cells, x);
      emaUpdate(x.sigmoid(), cells.averages, cells.weights);
    },
    0,
  ],
  [
    "finds them among others in another order, and leaves those",
    (cells, x) => {
      const grown = cells.other.map((cell) => cell.value.add(x));
      update(cells, x);
      emaUpdate(0.75, [...cells.other, ...cells.averages.toReversed()], [...grown, ...cells.weights.toReversed()]);
    },
    1,
  ],
  [
    "leaves averages of some of the weights",
    (cells, x) => {
      update(cells, x);
      emaUpdate(0.75, cells.averages.slice(1), cells.weights.slice(1));
    },
    1,
  ],
  [
    "leaves averages that are read",
    (cells, x) => {
      update(cells, x);
      emaUpdate(0.75, cells.averages, cells.weights);
      return cells.averages[0]?.value.sum();
    },
    1,
  ],
  [
    "leaves averages of weights that are read",
    (cells, x) => {
      update(cells, x);
      const sum = cells.weights[1]?.value.sum();
      emaUpdate(0.75, cells.averages, cells.weights);
      return sum;
    },
    1,
  ],
];

describe("adam", () => {
  it.each(cases)("%s, with the bits of updates one by one", (_title, fn, left) =>
    scope(() => {
      const [together, alone] = [made(), made()];
      all(together).forEach((cell, i) => {
        cell.set((all(alone)[i] as Cell).value);
      });
      const x = random.normal([]);
      const compiled = compile((given: Tensor) => fn(together, given) as Tensor | undefined);
      compiled(x);
      fn(alone, x);
      expect(contents(together)).toEqual(contents(alone));
      expect(records(compiled.explain(), "emaUpdate")).toBe(left);
      expect(records(compiled.explain(), "adam")).toBe(1);
      compiled.dispose();
      for (const cell of [...all(together), ...all(alone)]) cell.dispose();
    }),
  );
});
