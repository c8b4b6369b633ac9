// Files of measurements: what is written is read again, by one writer or many; what is no such file is left alone.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { shippedTuning } from "@figment/native";
import { UsageError } from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { addToTable, checkAddable, readTable } from "#runtime/tuning/file";
import { merge, nearest, parseTable, type TuningMachine, tableText } from "#runtime/tuning/table";

const folder = mkdtempSync(join(tmpdir(), "figment-tuning-"));
afterAll(() => rmSync(folder, { recursive: true }));
let warnings: string[] = [];
beforeEach(() => {
  warnings = [];
  vi.spyOn(process, "emitWarning").mockImplementation((text) => void warnings.push(String(text)));
});
afterEach(() => vi.restoreAllMocks());

let files = 0;
const freshFile = (): string => join(folder, `tuning-${files++}.json`);

const machine: TuningMachine = { cpu: "A CPU", family: "Maker 25.1", isa: "avx2", cores: 2, version: "0.1.0" };
const entry = (variant: string) => ({ variant, threads: 2, micros: { [variant]: 12.5, other: 20 } });

describe("a table of measurements", () => {
  it("reads what it writes, of several machines", () => {
    const other = { ...machine, cores: 8 };
    const table = merge(merge([], machine, { one: entry("a") }), other, { two: entry("b") });
    expect(parseTable(tableText(table))).toEqual(table);
    expect(parseTable(tableText([]))).toEqual([]);
  });

  it("keeps a line for each call, in the order of their keys, so that two tables can be compared", () => {
    const lines = tableText(merge([], machine, { b: entry("x"), a: entry("y") })).split("\n");
    expect(lines.filter((line) => line.includes('"variant"')).map((line) => line.trim()[1])).toEqual(["a", "b"]);
  });

  it("adds to what a machine has measured, the newer measurement in place of the older", () => {
    const table = merge(merge([], machine, { one: entry("a"), two: entry("a") }), machine, { two: entry("b") });
    expect(table).toEqual([{ machine, calls: { one: entry("a"), two: entry("b") } }]);
  });

  it("takes for another machine only one of its family and instruction set, the same model first", () => {
    const of = (family: string, isa: TuningMachine["isa"] = "avx2") => ({
      machine: { ...machine, family, isa },
      calls: {},
    });
    const [sibling, same] = [of("Maker 25.33"), of("Maker 25.1")];
    expect(nearest([of("Maker 25.1", "avx512"), sibling, same], machine)).toBe(same);
    expect(nearest([of("Other 25.1"), of("Maker 2.1"), sibling], machine)).toBe(sibling);
    expect(nearest([of("Other 25.1"), of("Maker 2.51")], machine)).toBeUndefined();
  });

  it("is shipped with the package", () => {
    expect(() => parseTable(readFileSync(shippedTuning, "utf8"))).not.toThrow();
  });
});

describe("a file of measurements", () => {
  it("is empty where there is none, and comes to be with its folder", () => {
    const file = join(folder, "a", "b", "tuning.json");
    expect(readTable(file)).toEqual([]);
    addToTable(file, machine, { one: entry("a") });
    expect(readTable(file)).toEqual([{ machine, calls: { one: entry("a") } }]);
    expect(existsSync(`${file}.lock`)).toBe(false);
    expect(warnings).toEqual([]);
  });

  it.each([
    ["cut short", '{ "format": "figment-tun', /it is not JSON/],
    ["of something else", '{ "name": "left-pad" }', /no table of measurements/],
    ["of a later version", '{ "format": "figment-tuning", "version": 9, "machines": [] }', /its version is 9, not 1/],
    ["without machines", '{ "format": "figment-tuning", "version": 1 }', /no list of machines/],
    [
      "with a call that is none",
      tableText([{ machine, calls: { k: entry("v") } }]).replace("12.5", '"fast"'),
      /its machine 0/,
    ],
    [
      "with a number that JSON can say and not keep",
      tableText([{ machine, calls: { k: entry("v") } }]).replace("12.5", "1e999"),
      /its machine 0/,
    ],
    [
      "whose fastest variant was not measured",
      tableText([{ machine, calls: { k: { ...entry("v"), variant: "w" } } }]),
      /its machine 0/,
    ],
  ])("%s is ignored with one warning, and stays as it is", (_title, text, reason) => {
    const file = freshFile();
    writeFileSync(file, text);
    expect(readTable(file)).toBeUndefined();
    addToTable(file, machine, { one: entry("a") });
    expect(readTable(file)).toBeUndefined();
    expect(readFileSync(file, "utf8")).toBe(text);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(reason);
    expect(warnings[0]).toContain(file);
  });

  it("that cannot be written costs a warning only", () => {
    const file = join(shippedTuning, "tuning.json");
    addToTable(file, machine, { one: entry("a") });
    expect(warnings[0]).toMatch(/measurements are not kept/);
  });

  it("cannot be a folder, and is said to be one", () => {
    expect(readTable(folder)).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining(`${folder}: these measurements are ignored: it is a folder`)]);
  });

  it.runIf(existsSync("/dev/null"))("cannot be a device, of which there may be no end", () => {
    expect(readTable("/dev/null")).toBeUndefined();
    expect(warnings[0]).toMatch(
      /^\/dev\/null: these measurements are ignored: it is a device or a pipe; expected a file/,
    );
    expect(() => checkAddable("/dev/null")).toThrow(/it is a device or a pipe/);
  });

  it("is refused before anything is measured where nothing could be added to it, and left as it is", () => {
    const [damaged, fresh] = [freshFile(), join(folder, "not", "there", "tuning.json")];
    writeFileSync(damaged, "{");
    const before = readdirSync(folder);
    expect(() => checkAddable(folder)).toThrow(/it is a folder; expected a file of measurements/);
    expect(() => checkAddable(damaged)).toThrow(`${damaged}: it is not JSON`);
    expect(() => checkAddable(join(damaged, "tuning.json"))).toThrow(UsageError);
    expect(() => checkAddable(join(damaged, "tuning.json"))).toThrow(/it cannot be written: ENOTDIR/);
    expect(() => checkAddable(fresh)).not.toThrow();
    expect(readdirSync(folder)).toEqual(before);
  });

  it.runIf(process.platform === "linux")("below /proc, where mkdir's recursion never ends, is given up", () => {
    const module = fileURLToPath(new URL("../dist/runtime/tuning/file.js", import.meta.url));
    const source = `
      const { addToTable, checkAddable } = await import(${JSON.stringify(module)});
      try {
        checkAddable("/proc/nowhere/tuning.json");
      } catch (error) {
        console.log(error.name);
      }
      addToTable("/proc/nowhere/tuning.json", ${JSON.stringify(machine)}, {});`;
    const options = { encoding: "utf8", timeout: 60_000, killSignal: "SIGKILL" } as const;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", source], options);
    expect([status, stdout, stderr]).toEqual([0, "UsageError\n", expect.stringMatching(/measurements are not kept/)]);
  });

  it("is taken over from a writer that was killed long ago", () => {
    const file = freshFile();
    writeFileSync(`${file}.lock`, "");
    const longAgo = new Date(Date.now() - 3_600_000);
    utimesSync(`${file}.lock`, longAgo, longAgo);
    addToTable(file, machine, { one: entry("a") });
    expect(readTable(file)).toHaveLength(1);
  });

  it("loses nothing to a writer that was killed just now", () => {
    const file = freshFile();
    writeFileSync(`${file}.lock`, "");
    const justNow = new Date(Date.now() - 2000);
    utimesSync(`${file}.lock`, justNow, justNow);
    addToTable(file, machine, { one: entry("a") });
    expect(readTable(file)).toHaveLength(1);
    expect(warnings).toEqual([]);
  });

  it("loses nothing when several processes write at once", async () => {
    const file = freshFile();
    const module = fileURLToPath(new URL("../dist/runtime/tuning/file.js", import.meta.url));
    const source = `
      const { addToTable } = await import(${JSON.stringify(module)});
      for (let i = 0; i < 20; i++)
        addToTable(${JSON.stringify(file)}, ${JSON.stringify(machine)},
          { [process.argv[1] + i]: { variant: "a", threads: 1, micros: { a: i } } });`;
    const writer = (name: string): Promise<number | null> =>
      new Promise((resolve) => {
        const child = spawn(process.execPath, ["--input-type=module", "-e", source, name], { stdio: "inherit" });
        child.on("close", resolve);
      });
    expect(await Promise.all(["p", "q", "r"].map(writer))).toEqual([0, 0, 0]);
    const [table] = readTable(file) ?? [];
    expect(Object.keys(table?.calls ?? {})).toHaveLength(60);
  });
});
