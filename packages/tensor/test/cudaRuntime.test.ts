// Compiled functions on a GPU (the emulated one, or a real one where FIGMENT_CUDA names it): their first run is queued
// kernel by kernel, later ones replay a recording, and nobody can tell the two apart by results, state or failures.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Cell,
  compile,
  gather,
  grad,
  matmul,
  memory,
  ones,
  repeat,
  rng,
  scope,
  settled,
  startTimeline,
  stopTimeline,
  type Tensor,
  tensor,
  withDevice,
  writeTimeline,
} from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { binding, gpu, index, keep, list, onGpu } from "./support/cudaRuns.ts";

const cellOf = (data: readonly number[]): Cell => {
  const cell = keep(new Cell({ shape: [data.length] }));
  onGpu(() => cell.set(tensor(data)));
  return cell;
};
const contents = (cell: Cell): number[] => onGpu(() => list(cell.value));
/** What the device holds besides tensors: temporaries, and what recordings keep. */
const beside = (): number => memory("cuda").inUse - memory("cuda").live;

/** Replays have places of their own for inputs and outputs, from the first one on: this much memory. */
function replayed(call: () => void): { readonly first: number; readonly second: number; readonly third: number } {
  const before = beside();
  call();
  const first = beside();
  call();
  const second = beside();
  call();
  return { first: first - before, second: second - first, third: beside() - second };
}

describe.skipIf(gpu.index === undefined)("a compiled function on a GPU", () => {
  it("is recorded at its second run, and replayed from then on", () => {
    const f = keep(compile((x: Tensor) => matmul(x, x).add(1).sum([0])));
    onGpu(() => {
      const x = tensor([1, 2, 3, 4], { shape: [2, 2] });
      const grown = replayed(() => scope(() => expect(list(f(x))).toEqual([24, 34])));
      expect(grown.second).toBeGreaterThan(0);
      expect(grown.third).toBe(0);
    });
  });

  it("gives what the CPU gives, at every run and for every input", () => {
    const loss = keep(compile(grad((x: Tensor, w: Tensor) => matmul(x, w).tanh().square().sum())));
    const on = (device: "cpu" | "cuda", run: number): number[] =>
      withDevice(device, () =>
        scope(() => {
          const draw = (salt: number) => tensor(Float32Array.from({ length: 12 }, (_, i) => Math.sin(i + salt + run)));
          return list(loss(draw(1).reshape([3, 4]), draw(2).reshape([4, 3])));
        }),
      );
    for (let run = 0; run < 5; run++)
      for (const [i, value] of on("cuda", run).entries()) expect(value).toBeCloseTo(on("cpu", run)[i] as number, 5);
  });

  it("takes numbers anew at each run: learning rates travel with the call", () => {
    const weights = cellOf([1, 2, 3]);
    const step = keep(
      compile((rate: number, scale: number, x: Tensor) => {
        weights.set(weights.value.sub(x.mul(rate)).mul(scale));
        return weights.value.sum();
      }),
    );
    let expected = [1, 2, 3];
    for (let run = 1; run <= 6; run++) {
      const [rate, scale, x] = [0.5 / run, 1 + run / 8, [run, 1, -run]];
      expected = expected.map((w, i) => Math.fround(Math.fround(w - Math.fround((x[i] as number) * rate)) * scale));
      const sum = onGpu(() => list(step(rate, scale, tensor(x)))[0]);
      expect(sum).toBeCloseTo(
        expected.reduce((a, b) => a + b),
        4,
      );
      for (const [i, w] of contents(weights).entries()) expect(w).toBeCloseTo(expected[i] as number, 4);
    }
  });

  it("leaves results of earlier runs alone", () => {
    const f = keep(compile((x: Tensor) => x.mul(2).sum().add(x)));
    onGpu(() => {
      const results = [1, 2, 3, 4, 5].map((i) => f(tensor([i, 0])));
      expect(results.map(list)).toEqual([1, 2, 3, 4, 5].map((i) => [3 * i, 2 * i]));
    });
  });

  it("leaves tensors that were read from a cell alone when it is written in place", () => {
    const count = cellOf([0, 10]);
    const step = keep(
      compile(() => {
        count.set(count.value.add(1));
        return count.value.mul(2).sum();
      }),
    );
    onGpu(() => {
      const seen: Tensor[] = [];
      for (let run = 0; run < 5; run++) {
        seen.push(count.value);
        step();
      }
      expect(seen.map(list)).toEqual([0, 1, 2, 3, 4].map((i) => [i, 10 + i]));
    });
    expect(contents(count)).toEqual([5, 15]);
  });

  it("goes on drawing where the last run stopped", () => {
    const draws = (device: "cpu" | "cuda"): number[][] =>
      withDevice(device, () => {
        const random = rng(11);
        const f = compile(() => random.normal([4]).mul(2).add(1));
        const all = scope(() => [0, 1, 2, 3].map(() => list(f())));
        f.dispose();
        random.dispose();
        return all;
      });
    const there = draws("cuda");
    expect(there).toEqual(draws("cpu"));
    expect(new Set(there.flat()).size).toBe(16);
  });

  it("serves more sets of cells in turn than it keeps recordings for", () => {
    const add = keep(
      compile((cell: Cell, x: Tensor) => {
        cell.set(cell.value.add(x).mul(1));
      }),
    );
    const cells = Array.from({ length: 7 }, (_, i) => cellOf([i, -i]));
    for (let run = 1; run <= 4; run++) for (const cell of cells) onGpu(() => add(cell, tensor([run, 1])));
    expect(cells.map(contents)).toEqual(cells.map((_, i) => [i + 10, 4 - i]));
  });

  it("records again after its workspaces were given back", () => {
    const total = cellOf([0]);
    const f = keep(
      compile((x: Tensor) => {
        total.set(total.value.add(matmul(x, x).sum()));
        return matmul(x, x).sum();
      }),
    );
    for (let run = 1; run <= 6; run++) {
      onGpu(() => {
        expect(list(f(ones([8, 8])))).toEqual([512]);
        if (run % 2 === 0) binding.trim(index);
        // What was given back may be given out again: nothing may still write there.
        const fresh = ones([64]);
        f(ones([8, 8]));
        expect(list(fresh)).toEqual(Array(64).fill(1));
      });
    }
    expect(contents(total)).toEqual([512 * 12]);
  });

  it("gives back what recordings hold when memory is given back, and records again", () => {
    const twice = keep(compile((x: Tensor) => x.add(1).matmul(x).mul(2)));
    const run = (): number[] => onGpu(() => list(twice(ones([256, 256]))));
    const freed = (): number => {
      const held = binding.memory(index).inUse;
      binding.trim(index);
      return held - binding.memory(index).inUse;
    };
    const first = run();
    const workspaces = freed();
    run();
    // An input and an output of 256 KiB each, to within what small blocks round to.
    expect(freed()).toBeGreaterThan(workspaces + 2 * 256 * 1024 - 1024);
    expect(run()).toEqual(first);
  });

  it("keeps running after a larger program has moved the workspaces", () => {
    const small = keep(compile((x: Tensor) => matmul(x, x).add(1).sum()));
    const large = keep(compile((x: Tensor) => matmul(x, x).mul(2).add(matmul(x, x)).sum()));
    onGpu(() => {
      for (let run = 0; run < 3; run++) expect(list(small(ones([4, 4])))).toEqual([80]);
      for (let size = 16; size <= 64; size *= 2) {
        for (let run = 0; run < 3; run++) {
          expect(list(large(ones([size, size])))).toEqual([3 * size ** 3]);
          expect(list(small(ones([4, 4])))).toEqual([80]);
        }
      }
    });
  });
});

describe.skipIf(gpu.index === undefined)("what goes wrong in a run on a GPU", () => {
  it.each([0, 1, 2, 5])("leaves state as it was, after %i runs that went well", (before) => {
    const [count, sums] = [cellOf([0]), cellOf([0, 0])];
    const step = keep(
      compile((indices: Tensor) => {
        count.set(count.value.add(1));
        const rows = gather(tensor([1, 2, 3, 4]).reshape([2, 2]), indices).sum([0]);
        sums.set(sums.value.add(rows));
        return rows.sum();
      }),
    );
    const run = (indices: readonly number[]) => onGpu(() => list(step(tensor(indices, { dtype: "i32" }))));
    for (let i = 0; i < before; i++) expect(run([0, 1])).toEqual([10]);
    expect(() => run([0, 2])).toThrow(/2/);
    expect(contents(count)).toEqual([before]);
    expect(contents(sums)).toEqual([4 * before, 6 * before]);
    for (let i = 0; i < 3; i++) expect(run([1, 1])).toEqual([14]);
    expect(contents(count)).toEqual([before + 3]);
    expect(() => run([-3, 0])).toThrow(/-3/);
    expect(contents(count)).toEqual([before + 3]);
  });

  it("is said of the run that it went wrong in, not of the next", () => {
    const pick = keep(
      compile((i: Tensor) =>
        gather(tensor([5, 6, 7]), i)
          .mul(2)
          .add(1),
      ),
    );
    const run = (i: number) => onGpu(() => list(pick(tensor([i], { dtype: "i32" }))));
    for (const i of [0, 9, 1, 2, 9, 9, 0]) {
      if (i < 3) expect(run(i)).toEqual([11 + 2 * i]);
      else expect(() => run(i)).toThrow(/9/);
    }
  });
});

describe.skipIf(gpu.index === undefined)("a loop on a GPU", () => {
  it("does what the same loop does on the CPU, recorded or not", () => {
    // Few turns are recorded; many are queued one by one.
    for (const turns of [3, 4200]) {
      const totals = { cpu: keep(new Cell({ shape: [2] })), cuda: keep(new Cell({ shape: [2] })) };
      const loops = (["cpu", "cuda"] as const).map((device) => {
        const total = totals[device];
        const f = keep(
          compile((x: Tensor) =>
            repeat(turns, (i) => {
              total.set(total.value.mul(0.5).add(x.at(i)));
            }),
          ),
        );
        return withDevice(device, () =>
          scope(() => {
            total.set(tensor([1, 2]));
            const x = tensor(Float32Array.from({ length: 2 * turns }, (_, i) => i % 7)).reshape([turns, 2]);
            return [0, 1, 2].map(() => {
              f(x);
              return list(total.value);
            });
          }),
        );
      });
      expect(loops[1]).toEqual(loops[0]);
    }
  });

  it("stops between turns when its signal says so, with whole turns behind it", async () => {
    const [a, b] = [cellOf([0]), cellOf([0])];
    const turns = 200_000;
    const f = keep(
      compile(() =>
        repeat(turns, () => {
          a.set(a.value.add(1));
          b.set(b.value.add(1));
        }),
      ),
    );
    const controller = new AbortController();
    withDevice("cuda", () => f.run({ signal: controller.signal }));
    setTimeout(() => controller.abort(), 30);
    await settled();
    const [done] = contents(a);
    expect(done).toBeLessThan(turns);
    expect(contents(b)).toEqual([done]);
  });
});

describe.skipIf(gpu.index === undefined)("while a GPU is busy", () => {
  /** What happens during a long loop on the GPU that is stopped then; how many of its turns it has done by its end. */
  const turns = 200_000;
  async function during(work: () => Promise<void> | void): Promise<number> {
    const count = cellOf([0]);
    const f = keep(compile(() => repeat(turns, () => count.set(count.value.add(1)))));
    const controller = new AbortController();
    withDevice("cuda", () => f.run({ signal: controller.signal }));
    await new Promise((resolve) => setTimeout(resolve, 30));
    try {
      await work();
    } finally {
      controller.abort();
      await settled();
    }
    return contents(count)[0] as number;
  }

  it("the CPU's queue goes on, also behind settled()", async () => {
    let waiting = true;
    const done = await during(async () => {
      void settled().then(() => {
        waiting = false;
      });
      await keep(scope(() => ones([1 << 16]).add(1))).data();
      expect(waiting).toBe(true);
    });
    expect(done).toBeLessThan(turns);
    await settled();
    expect(waiting).toBe(false);
  });

  it("data is sent there without waiting, and arrives in its turn", async () => {
    const sent: Tensor[] = [];
    const done = await during(() => {
      const source = Float32Array.of(1, 2, 3);
      sent.push(keep(withDevice("cuda", () => tensor(source))));
      sent.push(keep((sent[0] as Tensor).mul(2)));
      source.fill(9);
    });
    expect(done).toBeLessThan(turns);
    expect(sent.map(list)).toEqual([
      [1, 2, 3],
      [2, 4, 6],
    ]);
  });

  it("settled() tells what went wrong on each device", async () => {
    const pick = (device: "cpu" | "cuda", at: number): Tensor =>
      withDevice(device, () => scope(() => gather(tensor([1, 2]), tensor([at], { dtype: "i32" }))));
    for (const [device, at] of [
      ["cuda", 71],
      ["cpu", 72],
    ] as const)
      keep(pick(device, at));
    const told = [await settled().catch(String), await settled().catch(String), await settled().catch(String)];
    expect(told.slice(0, 2).sort()).toEqual([expect.stringContaining("71"), expect.stringContaining("72")]);
    expect(told[2]).toBeUndefined();
  });
});

describe.skipIf(gpu.index === undefined)("times on a GPU", () => {
  it("are of every record, between runs that are replayed and give the same", async () => {
    const folder = mkdtempSync(join(tmpdir(), "figment-cuda-"));
    const f = keep(compile((x: Tensor) => matmul(x, x).add(1).sum(), { name: "timed" }));
    const run = (): number[] => onGpu(() => list(f(ones([4, 4]))));
    for (let i = 0; i < 3; i++) expect(run()).toEqual([80]);
    startTimeline();
    for (let i = 0; i < 2; i++) expect(run()).toEqual([80]);
    await settled();
    writeTimeline(join(folder, "timeline.json"));
    stopTimeline();
    for (let i = 0; i < 2; i++) expect(run()).toEqual([80]);
    const { traceEvents } = JSON.parse(readFileSync(join(folder, "timeline.json"), "utf8")) as {
      traceEvents: readonly { readonly ph: string; readonly name: string; readonly dur: number }[];
    };
    rmSync(folder, { recursive: true });
    const named = (name: string) => traceEvents.filter((event) => event.ph === "X" && event.name.startsWith(name));
    expect(named("timed")).toHaveLength(2);
    expect(named("matmul")).toHaveLength(2);
    expect(named("matmul").every(({ dur }) => dur > 0)).toBe(true);
  });
});
