// How the registry chooses kernels: forced, measured here, measured elsewhere, estimated; and timing what there is to choose.

import { afterAll, describe, expect, it } from "vitest";
import { slotKind, writeBlob } from "./blob.ts";
import { addProgram, opEntry } from "./programs.ts";
import { expectError, native } from "./support.ts";

const { isa } = native.cpu();
const programs: number[] = [];
afterAll(() => {
  for (const program of programs) native.releaseProgram(program);
});

const load = (blob: Uint8Array, variant?: string): number => {
  const program = native.loadProgram(blob, variant);
  programs.push(program);
  return program;
};

/** A convolution of 3×3 taps, stride 1, of images size², or the gradient of its weights. */
function convProgram(size: number, channels: number, op = "conv2d"): Uint8Array {
  const image = [1, size, size, channels];
  const weights = [channels, 3, 3, channels];
  const [second, result] = op === "conv2d" ? [weights, image] : [image, weights];
  const bytes = (dims: readonly number[]): number => 4 * dims.reduce((a, b) => a * b, 1);
  const geometry = [1, size, size, channels, size, size, channels, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0];
  const params = op === "conv2d" ? [...geometry, 0, 0, 0, 0] : geometry;
  return writeBlob({
    slots: [
      { kind: slotKind.input, ordinal: 0, bytes: bytes(image) },
      { kind: slotKind.input, ordinal: 1, bytes: bytes(second) },
      { kind: slotKind.output, ordinal: 0, bytes: bytes(result) },
    ],
    ops: [opEntry(op)],
    records: [
      {
        op: 0,
        params: new Uint8Array(Int32Array.from(params).buffer),
        in: [
          { slot: 0, dims: image },
          { slot: 1, dims: second },
        ],
        out: [{ slot: 2, dims: result }],
      },
    ],
  });
}

/** What the only record of a program runs on, and why. */
function chosen(blob: Uint8Array, variant?: string): readonly [string, string] {
  const program = load(blob, variant);
  return [native.programInfo(program).records[0]!.variant, native.programChoices(program)[0]!.reason];
}

const choiceOf = (blob: Uint8Array) => native.programChoices(load(blob))[0]!;

describe("the choice of a kernel", () => {
  it("is the estimate's until something is measured; then measurements of this machine, then shipped ones", () => {
    const blob = convProgram(9, 96);
    const { key, candidates } = choiceOf(blob);
    const [estimated, other, third] = candidates as [string, string, string];
    expect(chosen(blob)).toEqual([estimated, "estimated"]);
    native.addMeasured(isa, "shipped", key, other);
    expect(chosen(blob)).toEqual([other, "shipped"]);
    native.addMeasured(isa, "here", key, third);
    expect(chosen(blob)).toEqual([third, "measured"]);
    native.addMeasured(isa, "shipped", key, estimated);
    expect(chosen(blob)).toEqual([third, "measured"]);
    native.addMeasured(isa, "here", key, estimated);
    expect(chosen(blob)).toEqual([estimated, "measured"]);
    expect(chosen(blob, "reference")).toEqual(["reference", "forced"]);
  });

  it("says where there is only one", () => {
    const program = load(addProgram(8));
    expect(native.programChoices(program)).toEqual([{ reason: "only", key: "", candidates: [], measurable: false }]);
  });

  it("names a call by its operation, formats, dims and parameters, so that another call has another name", () => {
    const { key } = choiceOf(convProgram(7, 64));
    expect(key).toBe(
      "conv2d f32[1,7,7,64] f32[64,3,3,64] -> f32[1,7,7,64] : 1 7 7 64 7 7 64 3 3 1 1 1 1 1 1 1 1 1 0 0 0 0 0 0",
    );
    expect(choiceOf(convProgram(8, 64)).key).not.toBe(key);
  });

  it("is between kernels as exact as the operation promises: no reference, no emulation, no filtering of few channels", () => {
    const { candidates } = choiceOf(convProgram(8, 64));
    expect(candidates.length).toBeGreaterThan(1);
    for (const name of candidates) expect(name).not.toMatch(/reference|emulated|winograd4x4/);
  });

  it("is never one of a narrower instruction set where the widest has the same kernel", () => {
    for (const size of [7, 14, 64])
      for (const channels of [20, 64, 96, 130])
        for (const op of ["conv2d", "conv2dWeightGrad"]) {
          const blob = convProgram(size, channels, op);
          const { candidates } = choiceOf(blob);
          const [variant] = chosen(blob);
          if (candidates.length > 0) expect(candidates, `${op} ${size} ${channels}`).toContain(variant);
        }
  });

  it("has one instance of each kernel, that of the widest instruction set", () => {
    const { candidates } = choiceOf(convProgram(8, 64));
    const kernels = candidates.map((name) => name.replace(/^(generic|avx2|avx512|amx)/, ""));
    expect(new Set(kernels).size).toBe(kernels.length);
    if (isa !== "generic") for (const name of candidates) expect(name).not.toMatch(/^generic/);
  });

  it("ignores measurements of variants that are none of its candidates, and of other instruction sets", () => {
    const blob = convProgram(10, 64);
    const { key, candidates } = choiceOf(blob);
    for (const name of ["reference", "quantum", "generic-winograd4x4"]) {
      native.addMeasured(isa, "here", key, name);
      expect(chosen(blob)).toEqual([candidates[0], "estimated"]);
    }
    const otherIsa = isa === "generic" ? "avx2" : "generic";
    native.addMeasured(otherIsa, "here", key, candidates[1]!);
    expect(chosen(blob)).toEqual([candidates[0], "estimated"]);
  });
});

describe("measuring", () => {
  it("times every candidate of a call, on one thread and on more", () => {
    const program = load(convProgram(12, 64));
    const { candidates, measurable } = native.programChoices(program)[0]!;
    expect(measurable).toBe(true);
    const threads = native.threads();
    for (const count of [1, 3]) {
      native.setThreads(count);
      const micros = native.measureRecord(program, 0);
      expect(Object.keys(micros).sort()).toEqual([...candidates].sort());
      for (const time of Object.values(micros)) expect(time).toBeGreaterThan(0);
    }
    native.setThreads(threads);
  });

  it("refuses records that are not there, and those that have one kernel", () => {
    const program = load(addProgram(8));
    expectError(() => native.measureRecord(program, 1), "ERR_FIGMENT_ARGUMENT", /record: the program has 1/);
    expectError(() => native.measureRecord(program, 0), "ERR_FIGMENT_ARGUMENT", /nothing to choose/);
  });

  it("refuses instruction sets and origins that are none", () => {
    expectError(() => native.addMeasured("sse" as never, "here", "k", "v"), "ERR_FIGMENT_ARGUMENT", /isa: expected/);
    expectError(() => native.addMeasured(isa, "there" as never, "k", "v"), "ERR_FIGMENT_ARGUMENT", /origin: expected/);
  });
});
