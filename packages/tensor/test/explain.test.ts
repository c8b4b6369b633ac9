// What a program says about itself: explain(), print(), profile(), and the ceilings that times are held against.

import {
  assertNoLeaks,
  type Ceilings,
  Cell,
  ceilings,
  compile,
  copyCeiling,
  fmaCeiling,
  grad,
  matmul,
  ones,
  scope,
  type Tensor,
  tensor,
  UsageError,
  withPath,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const network = (x: Tensor, w: Tensor): Tensor =>
  withPath("net", () => withPath("down.0", () => matmul(x, w)).add(withPath("bias", () => x.mul(2))));

describe("explain", () => {
  const f = compile(network);
  let lines: string[];
  beforeAll(() => {
    scope(() => void f(ones([64, 64]), ones([64, 64])));
    lines = f.explain().split("\n");
  });
  afterAll(() => f.dispose());

  it("sums the program up, then says what its columns are", () => {
    expect(lines[0]).toMatch(/^network: 2 records, .*FLOP, .*B moved, arena /);
    expect(lines[1]?.split(/ {2,}/)).toEqual([
      "op",
      "shapes",
      "formats",
      "kernel",
      "chosen",
      "FLOPs",
      "bytes",
      "module",
    ]);
  });

  it("gives each record's op, shapes, formats, kernel and why, work and module", () => {
    const row = lines.find((line) => line.startsWith("matmul"));
    expect(row).toMatch(
      /\[64,64\] \[64,64\] → \[64,64\] +f32 +\S+ +(only one|estimated cheapest|measured on .*) +524 kFLOP +49\.2 kB +net\.down\.0$/,
    );
  });

  it("tells formats apart where they differ", () => {
    const cast = compile((x: Tensor) => x.cast("i32"));
    scope(() => void cast(tensor([1.5])));
    expect(cast.explain()).toContain("f32 → i32");
    cast.dispose();
  });
});

describe("print", () => {
  it("says which module made each operation", () => {
    const f = compile(network);
    scope(() => void f(ones([2, 2]), ones([2, 2])));
    expect(f.print()).toMatch(/matmul\(%a0, %a1\).*\/\/ net\.down\.0$/m);
    f.dispose();
  });

  it("counts operations of a derivative to the module whose derivative it is", () => {
    const slope = compile((x: Tensor, w: Tensor) => grad((y: Tensor) => network(y, w).sum())(x));
    scope(() => void slope(ones([2, 3]), ones([3, 3])));
    expect(slope.print().match(/matmul.*\/\/ net\.down\.0$/gm)).toHaveLength(1);
    slope.dispose();
  });
});

describe("profile", () => {
  const total = new Cell({ shape: [64, 64], name: "total" });
  total.setData(new Float32Array(64 * 64));
  const step = compile((x: Tensor, w: Tensor) => {
    total.set(total.value.add(network(x, w)));
    return total.value.sum();
  });
  const [x, w] = [ones([64, 64]), ones([64, 64])];
  afterAll(() => {
    step.dispose();
    for (const value of [total, x, w]) value.dispose();
  });

  it("times every record of as many runs as asked for, and one to warm up", async () => {
    const profile = await step.profile(3, x, w);
    expect(profile.runs).toBe(3);
    expect(step.stats.calls).toBe(4);
    scope(() => expect(total.value.dataSync()[0]).toBe(4 * (64 + 2)));
    for (const record of profile.records) expect(record.micros).toBeGreaterThan(0);
    const product = profile.records.find(({ op }) => op === "matmul");
    expect(product).toMatchObject({ path: "net.down.0", flops: 2 * 64 ** 3 });
    expect(product?.ofCeiling).toBeGreaterThan(0);
  });

  it("is a table of explain() with times and shares of the ceiling", async () => {
    const lines = String(await step.profile(2, x, w)).split("\n");
    expect(lines[0]).toMatch(/^compiled: [\d.]+ (µs|ms) \(median of 2\), \d+ records.* threads, ceiling \d+ GFLOP\/s$/);
    expect(lines[1]).toMatch(/bytes +time +of ceiling +module$/);
    expect(lines.find((line) => line.startsWith("matmul"))).toMatch(/[\d.]+ (µs|ms) +\d+ % (fma|copy) +net\.down\.0$/);
  });

  it.each([0, -1, 1.5, Number.NaN])("refuses %d runs", (runs) => {
    expect(() => step.profile(runs, x, w)).toThrow(UsageError);
  });
});

describe("ceilings", () => {
  const made: Ceilings = {
    threads: 1,
    fma: { generic: 20, avx2: 80, avx512: 120 },
    copy: [
      { bytes: 2 ** 18, gbps: 100 },
      { bytes: 2 ** 25, gbps: 20 },
    ],
  };

  it("are the highest multiply-add rate and the copy rate at the nearest footprint", () => {
    expect(fmaCeiling(made)).toBe(120);
    expect(copyCeiling(made, 2 ** 19)).toBe(100);
    expect(copyCeiling(made, 2 ** 24)).toBe(20);
  });

  it("are measured once for a number of threads", async () => {
    expect(await ceilings()).toBe(await ceilings());
    const { threads } = await ceilings();
    expect(fmaCeiling(await ceilings())).toBeGreaterThan(0);
    // No core does more: 5 GHz × 2 × 16 lanes × 2.
    expect(fmaCeiling(await ceilings()) / threads).toBeLessThan(320);
    expect((await ceilings()).copy.map(({ gbps }) => gbps > 0)).not.toContain(false);
  });
});
