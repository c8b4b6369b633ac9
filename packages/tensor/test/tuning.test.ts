// Choosing kernels by measurements, as programs meet it: in processes of their own, with files of their own.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  assertNoLeaks,
  conv2d,
  environmentProblems,
  ones,
  setMemoryLimit,
  tunableCalls,
  tunableCallsOf,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it, vi } from "vitest";
import { parseTable, tableText } from "#runtime/tuning/table";

const folder = mkdtempSync(join(tmpdir(), "figment-tune-"));
vi.stubEnv("FIGMENT_TUNE_FILE", join(folder, "own.json"));
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
  assertNoLeaks();
});

interface Told {
  readonly records: readonly { readonly op: string; readonly variant: string; readonly reason: string }[];
  readonly text: string;
  readonly sum: number;
}

/** Compiles a convolution in a fresh process; gives what it says of it, and what it wrote on standard error. */
function convolve(file: string, env: Readonly<Record<string, string>>): Told & { readonly stderr: string } {
  const source = `
    import { compile, conv2d, rng } from "@figment/tensor";
    const random = rng(3);
    const [x, w] = [random.normal([1, 9, 9, 64]), random.normal([64, 3, 3, 64])];
    const f = compile((x, w) => conv2d(x, w, { padding: 1 }));
    const y = f(x, w);
    const sum = (await y.data()).reduce((a, b) => a + b, 0);
    const { records } = await f.profile(1, x, w);
    console.log(JSON.stringify({ records, text: f.explain(), sum }));`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
    encoding: "utf8",
    cwd: import.meta.dirname,
    env: { ...process.env, FIGMENT_TUNE_FILE: file, ...env },
  });
  if (status !== 0) throw new Error(stderr);
  return { ...(JSON.parse(stdout) as Told), stderr };
}

const convOf = ({ records }: Told) => records.find(({ op }) => op.trim() === "conv2d");

describe("FIGMENT_TUNE", () => {
  const file = join(folder, "tuning.json");

  it("0 leaves the choice to estimates", () => {
    const told = convolve(file, { FIGMENT_TUNE: "0" });
    expect(convOf(told)?.reason).toBe("estimated");
    expect(told.text).toContain("estimated cheapest");
    expect(existsSync(file)).toBe(false);
  });

  it("1 measures what a program brings and keeps it for the processes that follow, which choose the same", () => {
    const told = convolve(file, { FIGMENT_TUNE: "1" });
    expect(convOf(told)?.reason).toBe("measured");
    expect(told.text).toContain("measured here");
    const [table] = parseTable(readFileSync(file, "utf8"));
    const [[key, entry] = ["", undefined]] = Object.entries(table?.calls ?? {});
    expect(key).toMatch(/^conv2d f32\[1,9,9,64\]/);
    expect(entry?.variant).toBe(convOf(told)?.variant);
    expect(Object.keys(entry?.micros ?? {}).length).toBeGreaterThan(1);
    const text = readFileSync(file, "utf8");
    for (const FIGMENT_TUNE of ["", "1"]) {
      const later = convolve(file, { FIGMENT_TUNE });
      expect(convOf(later)).toMatchObject({ variant: entry?.variant, reason: "measured" });
      expect(later.sum).toBe(told.sum);
    }
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  it("has its measurements heeded without being set, and ignored with 0", () => {
    const [table] = parseTable(readFileSync(file, "utf8"));
    const [[key, entry] = ["", undefined]] = Object.entries(table?.calls ?? {});
    if (!table || !entry) throw new Error("nothing was measured");
    const other = Object.keys(entry.micros).find((name) => name !== entry.variant) as string;
    writeFileSync(file, tableText([{ ...table, calls: { [key]: { ...entry, variant: other } } }]));
    expect(convOf(convolve(file, {}))).toMatchObject({ variant: other, reason: "measured" });
    expect(convOf(convolve(file, { FIGMENT_TUNE: "0" }))?.reason).toBe("estimated");
  });

  it("uses nothing that another machine, or another number of cores, has measured", () => {
    const [table] = parseTable(readFileSync(file, "utf8"));
    if (!table) throw new Error("nothing was measured");
    const foreign = join(folder, "foreign.json");
    writeFileSync(foreign, tableText([{ ...table, machine: { ...table.machine, cores: 999 } }]));
    expect(convOf(convolve(foreign, {}))?.reason).not.toBe("measured");
  });

  it("gives way to FIGMENT_VARIANT", () => {
    const told = convolve(file, { FIGMENT_TUNE: "1", FIGMENT_VARIANT: "conv2d=reference" });
    expect(convOf(told)).toMatchObject({ variant: "reference", reason: "forced" });
    expect(told.text).toMatch(/reference +forced/);
  });

  it("survives a damaged file with one warning", () => {
    const damaged = join(folder, "damaged.json");
    writeFileSync(damaged, '{ "format": "figment');
    const told = convolve(damaged, { FIGMENT_TUNE: "1" });
    expect(convOf(told)?.reason).toBe("measured");
    expect(told.stderr.match(/FigmentTuningWarning/g)).toHaveLength(1);
    expect(readFileSync(damaged, "utf8")).toBe('{ "format": "figment');
  });

  it.each([
    ["parameters of a version before", { reference: 1 }, "reference"],
    ["no kernel", { invented: 1 }, "invented"],
    ["a time below zero", { reference: -1 }, "reference"],
    ["no time", { reference: 0 }, "reference"],
    ["a time of years", { reference: 1e18 }, "reference"],
  ])("ignores measurements of %s with one warning, and heeds the others", (_, micros, variant) => {
    const [table] = parseTable(readFileSync(file, "utf8"));
    const [[key, entry] = ["", undefined]] = Object.entries(table?.calls ?? {});
    if (!table || !entry) throw new Error("nothing was measured");
    const odd = join(folder, "odd.json");
    const calls = { [key]: entry, "conv2d f32[1] -> f32[1] : 1": { variant, threads: 1, micros } };
    writeFileSync(odd, tableText([{ ...table, calls: calls as never }]));
    const told = convolve(odd, {});
    expect(convOf(told)).toMatchObject({ variant: entry.variant, reason: "measured" });
    expect(told.stderr.match(/FigmentTuningWarning.*1 of these measurements are ignored/g)).toHaveLength(1);
    vi.stubEnv("FIGMENT_TUNE_FILE", odd);
    expect(environmentProblems()).toEqual([expect.stringContaining("1 of these measurements are ignored")]);
    vi.stubEnv("FIGMENT_TUNE_FILE", join(folder, "own.json"));
  });

  it("refuses other values", () => {
    expect(() => convolve(file, { FIGMENT_TUNE: "yes" })).toThrow(/FIGMENT_TUNE is "yes"; expected 0 or 1/);
  });
});

describe("tunableCallsOf", () => {
  const key = (channels: number): string =>
    `conv2d f32[1,5,5,${channels}] f32[${channels},3,3,${channels}] -> f32[1,5,5,${channels}] : 1 5 5 ${channels} 5 5 ${channels} 3 3 1 1 1 1 1 1 1 1 1 0 0 0 0 0 0`;
  const entry = { variant: "other", threads: 4, micros: { other: 1 } };
  const machine = { cpu: "Elsewhere", family: "Maker 1.1", isa: "avx512", cores: 64, version: "0.1.0" } as const;
  const table = join(folder, "elsewhere.json");

  it("finds the calls that another machine has met, and leaves out those that this version does not know", async () => {
    const strange = ["quantum f32[2] -> f32[2] : 1", "conv2d f32[1] -> f32[1] : 1 2", "conv2d f33[2] ->", "", " : x"];
    const calls = Object.fromEntries([key(64), key(96), ...strange].map((name) => [name, entry]));
    writeFileSync(table, tableText([{ machine, calls }]));
    const found = tunableCallsOf(table);
    expect(found.map(({ op, shapes }) => `${op} ${shapes}`)).toEqual(
      [key(64), key(96)].map((name) => name.split(" :")[0]),
    );
    const [first] = found;
    const tuned = first?.measure();
    expect(Object.keys(tuned?.micros ?? {}).sort()).toEqual([...(first?.candidates ?? [])].sort());
    expect(tunableCallsOf(table)[0]?.known).toEqual(tuned);
  });

  it("leaves unmeasured what memory does not hold", () => {
    const [call] = tunableCallsOf(table);
    setMemoryLimit(100_000);
    expect(call?.measure()).toBeUndefined();
    setMemoryLimit(0);
    expect(call?.measure()).toBeDefined();
  });

  it("has the keys that programs have", async () => {
    const [x, w] = [ones([2, 8, 5, 64]), ones([64, 3, 3, 64])];
    const [met] = await tunableCalls(() => conv2d(x, w, { padding: [1, 0] }).dispose());
    for (const tensor of [x, w]) tensor.dispose();
    met?.measure();
    const kept = parseTable(readFileSync(process.env.FIGMENT_TUNE_FILE as string, "utf8"))[0]?.calls ?? {};
    const again = tunableCallsOf(process.env.FIGMENT_TUNE_FILE).map(({ op, shapes }) => `${op} ${shapes}`);
    expect(again.sort()).toEqual(
      Object.keys(kept)
        .map((name) => name.split(" :")[0])
        .sort(),
    );
  });

  it("refuses files that are no tables", () => {
    expect(() => tunableCallsOf(join(folder, "nowhere.json"))).toThrow(UsageError);
    expect(() => tunableCallsOf(join(folder, "nowhere.json"))).toThrow(/nowhere\.json: there is no such file/);
    expect(() => tunableCallsOf(folder)).toThrow(`${folder}: it is a folder; expected a file of measurements`);
    expect(() => tunableCallsOf(3 as never)).toThrow(/tunableCallsOf: expected a path/);
  });
});

describe("tunableCalls", () => {
  it("finds each call once for which there are several kernels", async () => {
    const calls = await tunableCalls(() => {
      for (const channels of [64, 64, 96]) {
        const [x, w] = [ones([1, 11, 11, channels]), ones([channels, 3, 3, channels])];
        const y = conv2d(x, w, { padding: 1 });
        for (const tensor of [x, w, y]) tensor.dispose();
      }
    });
    const convolutions = calls.filter(({ op }) => op === "conv2d");
    expect(convolutions.map(({ shapes }) => shapes)).toEqual([
      "f32[1,11,11,64] f32[64,3,3,64] -> f32[1,11,11,64]",
      "f32[1,11,11,96] f32[96,3,3,96] -> f32[1,11,11,96]",
    ]);
    for (const { candidates, known } of convolutions) {
      expect(candidates.length).toBeGreaterThan(1);
      expect(known).toBeUndefined();
    }
  });

  it("refuses what is no function, and a second one while one runs", async () => {
    await expect(tunableCalls(3 as never)).rejects.toThrow(UsageError);
    await expect(tunableCalls(() => tunableCalls(() => {}))).rejects.toThrow(/another call of it is running/);
    await expect(tunableCalls(() => {})).resolves.toEqual([]);
  });
});
