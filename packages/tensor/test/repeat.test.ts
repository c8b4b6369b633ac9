// Loops: compiled, they do what the same loop does eagerly, bit for bit; what goes wrong within them leaves cells as
// the last complete iteration did.

import { loadBinding } from "@figment/native";
import {
  assertNoLeaks,
  Cell,
  compile,
  emaUpdate,
  gather,
  grad,
  matmul,
  type OpenScope,
  openScope,
  type Rng,
  remat,
  repeat,
  rng,
  stopGradient,
  type Tensor,
  tensor,
  UsageError,
  valueAndGrad,
} from "@figment/tensor";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

const binding = loadBinding();
let open: OpenScope;
let made: { dispose(): void }[];

beforeAll(() => binding.setPoison(true));
beforeEach(() => {
  open = openScope();
  made = [];
});
afterEach(() => {
  for (const item of made) item.dispose();
  open[Symbol.dispose]();
});
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

const keep = <T extends { dispose(): void }>(item: T): T => {
  made.push(item);
  return item;
};
const run = <T>(fn: () => T): T => open.run(fn);
const list = (x: Tensor): number[] => [...(x.dataSync() as Float32Array)];
const contents = (cell: Cell): number[] => run(() => list(cell.value));
const cellOf = (data: readonly number[], name = "c"): Cell => {
  const cell = keep(new Cell({ shape: [data.length], name }));
  cell.setData(data);
  return cell;
};

/** Cells and a random stream, the same at each call. */
interface World {
  readonly a: Cell;
  readonly b: Cell;
  readonly random: Rng;
}
const worldOf = (): World => ({
  a: cellOf([0.5, -1, 2], "a"),
  b: cellOf([3, 0.25, -2], "b"),
  random: keep(rng(5)),
});

/** Runs a body of code compiled and eagerly, on worlds of their own; expects the same results and cells. */
function expectEqual(code: (world: World, x: Tensor) => Tensor | undefined): void {
  const outcomes = [true, false].map((compiled) => {
    const world = worldOf();
    return run(() => {
      const x = tensor([
        [1, 2, 3],
        [-0.5, 0.25, 4],
        [7, -8, 0.125],
        [0.1, 0.2, 0.3],
      ]);
      const body = (y: Tensor) => code(world, y);
      const result = compiled ? keep(compile(body))(x) : body(x);
      return [result, world.a.value, world.b.value, world.random.cell.value].map((value) => (value ? list(value) : []));
    });
  });
  expect(outcomes[0]).toEqual(outcomes[1]);
}

describe("a compiled loop", () => {
  it("adds up rows chosen by the number of the iteration", () => {
    const total = cellOf([0, 0]);
    const addUp = keep(compile((x: Tensor) => repeat(3, (i) => total.set(total.value.add(x.at(i))))));
    run(() => addUp(tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] })));
    expect(contents(total)).toEqual([9, 12]);
  });

  it("carries cells, and takes tensors from outside", () =>
    expectEqual(({ a, b }, x) => {
      const scale = x.mean().mul(0.1);
      repeat(4, (i) => {
        a.set(a.value.mul(scale).add(x.at(i)));
        b.set(b.value.sub(a.value.sin()));
      });
      return a.value.add(b.value);
    }));

  it("draws from streams that go on from iteration to iteration", () =>
    expectEqual(({ a, random }, x) => {
      const before = random.uniform([3]);
      repeat(3, () => a.set(a.value.add(random.normal([3])).mul(0.5)));
      return random.uniform([3]).add(before).add(x.at(0));
    }));

  it("sees what was written before it, and leaves what it wrote", () =>
    expectEqual(({ a, b }, x) => {
      a.set(x.at(1));
      b.set(a.value.mul(2));
      repeat(2, () => a.set(a.value.add(b.value)));
      b.set(b.value.add(a.value));
      return b.value.mul(3);
    }));

  it("does not change what was read from a cell before it, within or after", () =>
    expectEqual(({ a, b }) => {
      const before = a.value;
      const view = before.reshape([3, 1]);
      repeat(3, () => {
        a.set(a.value.add(before));
        b.set(b.value.add(view.reshape([3])));
      });
      return before.mul(a.value).add(view.reshape([3]));
    }));

  it("may swap cells, before, within and after", () =>
    expectEqual(({ a, b }) => {
      const swap = (): void => {
        const [first, second] = [a.value, b.value];
        a.set(second.add(0));
        b.set(first);
      };
      swap();
      repeat(3, () => {
        const kept = a.value;
        a.set(b.value);
        b.set(kept);
      });
      swap();
      return undefined;
    }));

  it("nests, and inner loops see outer counters", () =>
    expectEqual(({ a, b, random }, x) => {
      repeat(3, (i) => {
        a.set(a.value.add(x.at(i)));
        repeat(2, (j) => {
          b.set(b.value.add(x.at(j).mul(i).mul(a.value)));
          repeat(2, (k) => a.set(a.value.add(k.add(j).add(i)).mul(0.5)));
        });
        a.set(a.value.add(random.uniform([3])));
      });
      return a.value;
    }));

  it("nests where the loop around it reads other cells first, and carries them or not", () =>
    expectEqual(({ a, b, random }, x) => {
      repeat(2, (i) => {
        const seen = b.value.add(x.at(i));
        repeat(2, () => a.set(a.value.add(seen).sin()));
        random.uniform([3]);
        repeat(2, () => a.set(a.value.mul(random.uniform([3]))));
      });
      return a.value.add(b.value);
    }));

  it("comes after another, and moves averages in place before, within and after", () =>
    expectEqual(({ a, b }, x) => {
      const kept = b.value;
      emaUpdate(0.5, [b], [x.at(0)]);
      repeat(2, (i) => emaUpdate(0.75, [b], [x.at(i)]));
      emaUpdate(0.5, [b], [a.value]);
      repeat(2, () => emaUpdate(0.25, [a], [b.value]));
      emaUpdate(0.5, [a], [x.at(3)]);
      return kept.add(a.value);
    }));

  it("differentiates within its body", () =>
    expectEqual(({ a }, x) => {
      repeat(5, (i) => {
        const slope = grad((w: Tensor) =>
          w
            .mul(x.at(i.rem(4)))
            .square()
            .sum(),
        )(a.value);
        a.set(a.value.sub(slope.mul(0.01)));
      });
      return undefined;
    }));

  it("rematerialises within its body", () =>
    expectEqual(({ a, random }) => {
      repeat(3, () => {
        const slope = grad((w: Tensor) => remat((y: Tensor) => y.mul(random.uniform([3])).sin())(w).sum())(a.value);
        a.set(a.value.sub(slope));
      });
      return undefined;
    }));

  it("of no iterations does nothing", () =>
    expectEqual(({ a }, x) => {
      repeat(0, () => a.set(x.at(0)));
      return a.value;
    }));

  it("is one native call, however long", () => {
    const count = keep(new Cell({ shape: [], dtype: "i32", initial: () => [0] }));
    const step = keep(compile(() => repeat(100_000, (i) => count.set(i.add(1)))));
    step();
    const calls = vi.spyOn(binding, "run");
    step();
    expect(calls).toHaveBeenCalledTimes(1);
    calls.mockRestore();
    expect(contents(count)).toEqual([100_000]);
  });

  it("serves cells given as arguments", () => {
    const [a, b] = [cellOf([1, 2]), cellOf([10, 20])];
    const grow = keep(compile((cell: Cell) => repeat(3, () => cell.set(cell.value.mul(2)))));
    grow(a);
    grow(b);
    expect([contents(a), contents(b)]).toEqual([
      [8, 16],
      [80, 160],
    ]);
    expect(grow.stats.traces).toBe(1);
  });
});

describe("a loop that fails", () => {
  const table = () => tensor([10, 20, 30]);
  /** Adds table[index[i]] to `sum` at iteration i, after `count` has been set to 1. */
  const step = (count: Cell, sum: Cell) =>
    keep(
      compile((index: Tensor) => {
        count.set(count.value.add(1));
        repeat(4, (i) => sum.set(sum.value.add(gather(table(), index.at(i).reshape([1])))));
        count.set(count.value.add(1));
        return sum.value;
      }),
    );

  it("leaves cells as its last complete iteration did, and what came before it written", () => {
    const [count, sum] = [cellOf([0]), cellOf([0])];
    run(() => {
      const result = step(count, sum)(tensor([0, 2, 3, 1], { dtype: "i32" }));
      expect(() => result.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
    });
    expect([contents(count), contents(sum)]).toEqual([[1], [40]]);
  });

  it("leaves everything as it was when what comes before it fails", () => {
    const [count, sum] = [cellOf([0]), cellOf([0])];
    const late = keep(
      compile((index: Tensor) => {
        count.set(gather(table(), index));
        repeat(2, () => sum.set(sum.value.add(count.value)));
        return sum.value;
      }),
    );
    run(() => {
      const result = late(tensor([5], { dtype: "i32" }));
      expect(() => result.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
    });
    expect([contents(count), contents(sum)]).toEqual([[0], [0]]);
  });
});

describe("repeat refuses", () => {
  const both = (code: () => void, message: RegExp): void => {
    for (const call of [code, keep(compile(() => code()))]) {
      expect(() => run(call)).toThrow(UsageError);
      expect(() => run(call)).toThrow(message);
    }
  };

  it("to carry the derivative of a tensor", () => {
    const a = cellOf([0, 0]);
    const code = () =>
      void grad((x: Tensor) => {
        repeat(2, () => a.set(a.value.add(x.mul(2))));
        return x.sum();
      })(tensor([1, 2]));
    both(code, /no derivative flows through a loop.*f32 \[2\].*stopGradient/);
  });

  it("to carry the derivative of a cell", () => {
    const a = cellOf([1, 2]);
    const code = () =>
      void valueAndGrad(
        () => {
          repeat(2, () => a.set(a.value.mul(2)));
          return a.value.sum();
        },
        { wrt: [a] },
      )();
    both(code, /no derivative flows through a loop/);
  });

  it("nothing of a loop beside a derivative, where it takes no tensor that is differentiated", () => {
    const a = cellOf([0, 0]);
    const code = () =>
      grad((x: Tensor) => {
        repeat(2, () => a.set(a.value.add(stopGradient(x))));
        return x.mul(a.value).sum();
      })(tensor([1, 2]));
    expect(run(() => list(code()))).toEqual([2, 4]);
    expect(run(() => list(keep(compile(() => code()))()))).toEqual([4, 8]);
  });

  it("nothing to a derivative of cells that it leaves alone, written before or not", () =>
    expectEqual(({ a, b, random }, x) => {
      a.set(x.at(0));
      const { grads } = valueAndGrad(
        () => {
          repeat(2, () => random.normal([2]));
          return a.value.mul(b.value).sum();
        },
        { wrt: [a, b] },
      )();
      return grads.get(a).add(grads.get(b).mul(10));
    }));

  it("a tensor of the body used outside", () => {
    const a = cellOf([0]);
    let leaked: Tensor | undefined;
    const leak = keep(
      compile((x: Tensor) => {
        repeat(2, () => {
          leaked = x.mul(2);
          a.set(leaked);
        });
        return (leaked as Tensor).add(1);
      }),
    );
    expect(() => run(() => leak(tensor([1])))).toThrow(/body of a repeat is used outside.*write it to a cell/);
  });

  it("to stand inside remat", () => {
    const a = cellOf([0]);
    const looped = (x: Tensor): Tensor => {
      repeat(2, () => a.set(x));
      return x.mul(2);
    };
    both(() => void remat(looped)(tensor([1])), /inside remat/);
  });

  it("to nest more than eight deep in a compiled function", () => {
    const a = cellOf([0]);
    const nested = (depth: number): void => (depth === 0 ? a.set(a.value.add(1)) : repeat(2, () => nested(depth - 1)));
    keep(compile(() => nested(8)))();
    expect(contents(a)).toEqual([256]);
    expect(keep(compile(() => nested(9)))).toThrow(/at most 8 deep/);
  });

  it("asynchronous bodies, and counts that are none", () => {
    both(() => repeat(1, async () => {}), /returned a Promise/);
    for (const n of [-1, 1.5, 2 ** 31, Number.NaN, "3" as never]) both(() => repeat(n, () => {}), /integer from 0/);
    both(() => repeat(1, 3 as never), /expected a function/);
  });
});

describe("a program with a loop", () => {
  const w = () => cellOf([1, 2, 3, 4], "w");

  it("prints its body, and explains it times its iterations", () => {
    const cell = w();
    const step = keep(
      compile((x: Tensor) =>
        repeat(7, () =>
          cell.set(
            matmul(x, cell.value.reshape([4, 1]))
              .reshape([4])
              .add(cell.value),
          ),
        ),
      ),
    );
    run(() =>
      step(
        tensor(
          Float32Array.from({ length: 16 }, (_, i) => i / 16),
          { shape: [4, 4] },
        ),
      ),
    );
    expect(step.print()).toMatch(
      /= repeat\(%a0, %s0\) \{count=7 homes=\[0\]\}\n {4}graph\(%a0: i32\[\], %a1: f32\[4,4\]/,
    );
    const lines = step.explain().split("\n");
    expect(lines.find((line) => line.startsWith("repeat"))).toMatch(/^repeat ×7/);
    expect(lines.find((line) => line.includes("matmul"))).toMatch(/^ {2}matmul .*\b224 FLOP\b/);
  });

  it("captures constants by making them anew, and nothing that its body does not read", () => {
    const cell = w();
    const step = keep(
      compile((x: Tensor) => {
        const unused = x.sin();
        const two = x.mul(0).add(2);
        repeat(2, () => {
          cell.set(cell.value.mul(2).add(two));
          unused.mul(3);
        });
      }),
    );
    run(() => step(tensor([1, 1, 1, 1])));
    expect(step.print()).not.toContain("sin");
    expect(contents(cell)).toEqual([10, 14, 18, 22]);
  });
});

describe("an update written to two cells", () => {
  it("reaches both", () => {
    const [a, b] = [cellOf([1, 2]), cellOf([0, 0])];
    const step = keep(
      compile(() => {
        emaUpdate(0.5, [a], [tensor([3, 3])]);
        b.set(a.value);
      }),
    );
    step();
    expect([contents(a), contents(b)]).toEqual([
      [2, 2.5],
      [2, 2.5],
    ]);
  });
});
