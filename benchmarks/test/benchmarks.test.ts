// The benchmark's own machinery: timing, tables, model files, and that the cases run on this library.

import { loadBinding, profileEvents } from "@figment/native";
import { assertNoLeaks, deviceInfo, markNoLeaks, setThreads } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { generatedCases } from "#cases/generated";
import { kernelCases } from "#cases/index";
import { digitTable } from "#digits";
import { onnxModel } from "#onnx";
import { type Contestant, median, race } from "#race";
import { formatSeconds, formatTable } from "#table";

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

describe("kernel cases", () => {
  it("have names of their own", () => {
    expect(new Set(kernelCases.map(({ name }) => name)).size).toBe(kernelCases.length);
  });

  it("are there for every native operation", () => {
    const timed = new Set(kernelCases.map(({ op }) => op));
    const binding = loadBinding();
    expect(binding.ops().filter((op) => !timed.has(op))).toEqual([]);
    expect([...timed].filter((op) => !binding.ops().includes(op))).toEqual([]);
  });

  const { threads } = deviceInfo();
  beforeAll(markNoLeaks);
  afterAll(() => {
    setThreads(threads);
    assertNoLeaks();
  });

  // Each small case once; the large ones would take the suite's time.
  const small = kernelCases.filter(({ flops = 0, bytes }) => flops < 1e9 && bytes < 2 ** 24);
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
