// The benchmark's own machinery: timing, tables, model files, and that the cases run on this library.

import { spawnSync } from "node:child_process";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadBinding, profileEvents } from "@figment/native";
import { assertNoLeaks, deviceInfo, markNoLeaks, setThreads } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { generatedCases } from "#cases/generated";
import { kernelCases, operationCases } from "#cases/index";
import { digitTable } from "#digits";
import { kept, readObject } from "#kept";
import { homeOf } from "#machine";
import { onnxModel } from "#onnx";
import { Program } from "#peers/program";
import { type Contestant, median, race } from "#race";
import { selectNamed } from "#select";
import { formatSeconds, formatTable } from "#table";
import { lineOf } from "#work";

const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));

/** A contestant whose calls take so long on a clock that stands still otherwise. */
const lasting = (clock: { now: number }, name: string, milliseconds: number): Contestant => ({
  name,
  async run(repeats) {
    clock.now += repeats * milliseconds;
  },
  dispose() {},
});

describe("race", () => {
  it("gives the time of one call and the ratio to the first contestant", async () => {
    const clock = { now: 0 };
    const stopped = vi.spyOn(performance, "now").mockImplementation(() => clock.now);
    try {
      const [first, second] = await race([lasting(clock, "first", 2), lasting(clock, "second", 6)], { budget: 0.1 });
      expect(first?.ratio).toBe(1);
      expect(first?.best).toBeCloseTo(0.002, 10);
      expect(second?.ratio).toBeCloseTo(3, 10);
    } finally {
      stopped.mockRestore();
    }
  });

  it("lets a contestant sit out that takes seconds for a call: after its second round, or after its first call", async () => {
    const clock = { now: 0 };
    const stopped = vi.spyOn(performance, "now").mockImplementation(() => clock.now);
    try {
      const calls: string[] = [];
      const counted = (name: string, milliseconds: number): Contestant => {
        const contestant = lasting(clock, name, milliseconds);
        const run = (repeats: number): Promise<void> => {
          calls.push(name);
          return contestant.run(repeats);
        };
        return { ...contestant, run };
      };
      const rivals = [counted("slow", 4800), counted("slowest", 50_000)];
      const [, slow, slowest] = await race([counted("fast", 400), ...rivals], { budget: 0.1, rounds: 6 });
      expect(slow?.ratio).toBeCloseTo(12, 10);
      // Once to see how long it takes, then two rounds.
      expect(calls.filter((name) => name === "slow")).toHaveLength(3);
      expect(slowest?.ratio).toBeCloseTo(125, 10);
      expect(calls.filter((name) => name === "slowest")).toHaveLength(1);
    } finally {
      stopped.mockRestore();
    }
  });

  it("takes the middle of an even number of values as the mean of two", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([9, 1, 5])).toBe(5);
  });
});

describe("tables", () => {
  it("align names to the left and numbers to the right", () => {
    const table = formatTable(
      ["name", "time"],
      [
        ["a", "1 ms"],
        ["bcdef", "10 ms"],
      ],
    );
    expect(table.split("\n")).toEqual(["name    time", "─────  ─────", "a       1 ms", "bcdef  10 ms"]);
  });

  it("choose the unit of a time", () => {
    expect([2.345, 0.01234, 0.0000123].map(formatSeconds)).toEqual(["2.35 s", "12.3 ms", "12.3 µs"]);
  });
});

describe("digits", () => {
  it("stand in one table: real ones, and an evaluation of each trained model in a line", () => {
    const row = { interval: null, kernel: 0, precision: 1, recall: 1, density: 1, coverage: 1 };
    const floor = { ...row, name: "training images", frechet: 0.5, ratio: 1 };
    const blurred = { ...row, name: "blurred", frechet: 2, ratio: 4 };
    const run = { parameters: 9, steps: 3, trainingSeconds: 7, threads: 1, secondsAtMeasuredRate: 4, config: {} };
    const table = digitTable({
      judgeAccuracy: 0.99,
      references: { reference: "mnist test", count: 10, dims: 2, floor, rows: [blurred] },
      results: [
        {
          ...run,
          recipe: "ddpm-mnist",
          evaluations: [
            { command: "figment evaluate out/ddpm-mnist", numbers: { frechet: 1.5, frechetRatio: 3 } },
            {
              command: "figment evaluate out/ddpm-mnist --samples 20 --set guidance=2",
              numbers: { labelAgreement: 0.987 },
            },
          ],
        },
      ],
    });
    const lines = table.split("\n").map((line) => line.split(/ {2,}/));
    expect(lines[2]).toEqual(["training images", "0.50", "1.00"]);
    expect(lines[3]).toEqual(["blurred", "2.00", "4.00"]);
    expect(lines[4]).toEqual(["ddpm-mnist", "4 s", "1.50", "3.00"]);
    expect(lines[5]).toEqual(["ddpm-mnist --set guidance=2", "4 s", "98.7 %"]);
  });
});

describe("results that are kept", () => {
  it("are made once, and anew where their file is damaged or older than what they were made from", async () => {
    const folder = await mkdtemp(join(tmpdir(), "figment-kept-"));
    try {
      const [file, source] = [join(folder, "evaluation.json"), join(folder, "summary.json")];
      let made = 0;
      const asked = () => kept(file, source, () => JSON.stringify({ made: ++made }));
      await writeFile(source, "{}");
      expect([await asked(), await asked()]).toEqual([{ made: 1 }, { made: 1 }]);
      for (const damaged of ["", '{"made": ', "null", "7"]) {
        await writeFile(file, damaged);
        expect(await asked()).toEqual({ made });
      }
      expect(made).toBe(5);
      const later = Date.now() / 1000 + 60;
      await utimes(source, later, later);
      expect(await asked()).toEqual({ made: 6 });
      await writeFile(source, "[");
      await expect(readObject(source)).rejects.toThrow(/summary.json: expected a JSON object/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("npm run bench", () => {
  it.each([
    ["data missing", ["--suite", "digits"], /^error: --suite digits needs --data/],
    ["no such recipe", ["--suite", "digits", "--data", ".", "--filter", "mnits"], /--filter mnits: no recipe's name/],
    ["results into a file", ["--suite", "digits", "--data", ".", "--json", `${main}/x.json`], /a file of that name/],
  ])("refuses wrong arguments before anything is measured: %s", (_, args, message) => {
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
  });
});

describe("ONNX models", () => {
  it("are the protobuf bytes that onnx.proto defines", () => {
    const bytes = onnxModel({
      inputs: [{ name: "x", shape: [300] }],
      outputs: [],
      nodes: [{ op: "Neg", inputs: ["x"], outputs: ["y"] }],
    });
    // Field by field, each message as tag, length, content: ModelProto {1: ir_version 10, 2: producer, 7: graph {1: node
    // {1: x, 2: y, 4: Neg}, 2: name, 11: input {1: x, 2: {1: {1: f32, 2: {1: {1: 300 as a varint}}}}}}, 8: opset {2: 21}}.
    const node = `0a0b0a01781201792203${hex("Neg")}`;
    const name = `1209${hex("benchmark")}`;
    const input = "5a100a0178120b0a09080112050a0308ac02";
    const expected = `080a1207${hex("figment")}3a2a${node}${name}${input}42040a001015`;
    expect(Buffer.from(bytes).toString("hex")).toBe(expected);
  });

  it("hold negative attributes as the 64 bits of their two's complement", () => {
    const nodes = [{ op: "Softmax", inputs: ["x"], outputs: ["y"], ints: { axis: -1 } }];
    // AttributeProto {1: axis, 3: −1, 20: int}.
    const attribute = `0a04${hex("axis")}18ffffffffffffffffff01a00102`;
    expect(Buffer.from(onnxModel({ inputs: [], outputs: [], nodes })).toString("hex")).toContain(attribute);
  });
});

const hex = (text: string): string => Buffer.from(text).toString("hex");

describe("where operands are", () => {
  const caches = { L1d: 2 ** 15, L2: 2 ** 20, L3: 2 ** 25 };
  it("is the smallest cache that holds them, of as many cores as share the work", () => {
    const bytes = [2 ** 15, 2 ** 16, 2 ** 21, 2 ** 22, 2 ** 26];
    expect(bytes.map((count) => homeOf(count, caches, 1))).toEqual(["L1", "L2", "L3", "L3", "memory"]);
    expect(bytes.map((count) => homeOf(count, caches, 2))).toEqual(["L1", "L1", "L2", "L3", "memory"]);
  });
  it("is memory where the system tells of no caches", () => expect(homeOf(1, {}, 1)).toBe("memory"));
});

describe("a peer that is a program", () => {
  const script = `
    console.log("1.2");
    const done = [];
    require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
      const [command, first, repeats] = line.split(" ");
      if (command === "prepare") console.log(line.includes("format=bf16") ? "unsupported format" : "ready 7");
      if (command === "run") console.log(first === "7" && Number(repeats) > 0 ? "done" : "no such work");
    });`;
  const start = async () => {
    const started = await Program.start(process.execPath, ["-e", script]);
    if (typeof started === "string") throw new Error(started);
    return started;
  };

  it("says its version, and runs what it was told to prepare", async () => {
    const { program, hello } = await start();
    expect(hello).toBe("1.2");
    const contestant = await program.contestant("peer", { kind: "matmul", m: 2, format: "f32" });
    await contestant?.run(3);
    await contestant?.dispose();
    expect(contestant?.name).toBe("peer");
    program.dispose();
  });

  it("has no part in work that it does not support", async () => {
    const { program } = await start();
    expect(await program.contestant("peer", { kind: "matmul", format: "bf16" })).toBeNull();
    program.dispose();
  });

  it("is missing, for a reason, where it cannot be started or ends at once", async () => {
    expect(await Program.start("figment-no-such-program", [])).toMatch(/ENOENT/);
    expect(await Program.start(process.execPath, ["-e", "console.error('no such module'); process.exit(1)"])).toMatch(
      /no such module/,
    );
  });

  it("that ends at work is an error that names it", async () => {
    const ends = `console.log("1"); process.stdin.once("data", () => process.exit(3))`;
    const started = await Program.start(process.execPath, ["-e", ends]);
    if (typeof started === "string") throw new Error(started);
    await expect(started.program.contestant("peer", { kind: "matmul" })).rejects.toThrow(/prepare kind=matmul/);
  });

  it("is told of work in one line", () =>
    expect(lineOf({ kind: "matmul", m: 2, c: -0.5 })).toBe("kind=matmul m=2 c=-0.5"));
});

const cases = [...kernelCases, ...operationCases];

describe("kernel cases", () => {
  it("have names of their own", () => {
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  it("are for peers too, in both formats but where an operation has one", () => {
    expect(kernelCases.filter(({ work }) => work === undefined)).toEqual([]);
    const wide = kernelCases.filter(({ format }) => format === "bf16").map(({ name }) => name.replace(", bf16", ""));
    const only = kernelCases.filter(({ name }) => !name.endsWith(", bf16") && !wide.includes(name));
    expect(new Set(only.map(({ op }) => op))).toEqual(new Set(["addNoise", "randomNormal"]));
  });

  it("are told to peers as records of words without spaces", () => {
    const words = kernelCases.flatMap(({ work }) => Object.values(work as object));
    expect(words.filter((word) => /\s/.test(String(word)))).toEqual([]);
  });

  it("are selected by parts of their names between commas, all by none", () => {
    expect(selectNamed(kernelCases, "matmul 512, randn").map(({ name }) => name)).toEqual([
      "matmul 512³",
      "matmul 512³, bf16",
      "randn 16 M",
    ]);
    expect(selectNamed(kernelCases, "")).toHaveLength(kernelCases.length);
  });

  it("are there for every native operation", () => {
    const timed = new Set(cases.map(({ op }) => op));
    const binding = loadBinding();
    expect(binding.ops().filter((op) => !timed.has(op))).toEqual([]);
    expect([...timed].filter((op) => !binding.ops().includes(op))).toEqual([]);
  });

  const { threads } = deviceInfo("cpu");
  beforeAll(markNoLeaks);
  afterAll(() => {
    setThreads(threads);
    assertNoLeaks();
  });

  // Each small case once; the large ones would take the suite's time.
  const small = cases.filter(({ flops = 0, bytes }) => flops < 1e9 && bytes < 2 ** 24);
  // What operations would have that nobody wrote a case for.
  const generated = generatedCases(new Set()).filter(({ op }) => op !== "elementwise");
  it("are made from the definitions where none is written", () => expect(generated.length).toBeGreaterThan(50));

  it.each([...small, ...generated].map((work) => [work.name, work] as const))(
    "%s runs what it says",
    async (_name, work) => {
      setThreads(2);
      const binding = loadBinding();
      const contestant = work.ours();
      const before = binding.readProfile(Number.MAX_SAFE_INTEGER).first;
      binding.profile(true);
      try {
        await contestant.run(1);
        const events = profileEvents(binding.readProfile(before));
        expect(events.filter(({ kind }) => kind === "record").map(({ op }) => op)).toContain(work.op);
      } finally {
        binding.profile(false);
        await contestant.dispose();
      }
    },
  );
});
