// Programs of every op, mutated: whatever a program says, the loader refuses it or it runs within its memory.

import { loadBinding } from "@figment/native";
import { describe, expect, it } from "vitest";
import { GraphBuilder } from "#ir/graph";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { writeProgram } from "#program/blob";
import { lowerGraph } from "#program/lower";
import { sizeOf } from "#shape";
import { fuzzProgram } from "../../../native/test/fuzzer.ts";
import { random } from "../../../native/test/support.ts";
import { kernelOf } from "./support/parity.ts";
import { sizeOfSample, titleOf } from "./support/points.ts";

const seed = 815;
/** FIGMENT_FUZZ_COUNT programs of each op, or FIGMENT_FUZZ_TOTAL in all. */
const rounds = process.env.FIGMENT_FUZZ_TOTAL
  ? Math.ceil(Number(process.env.FIGMENT_FUZZ_TOTAL) / loadBinding().ops().length)
  : Number(process.env.FIGMENT_FUZZ_COUNT ?? 2000);
/** The fuzzer's buffers hold this many 4-byte numbers, so that the unmutated program runs too. */
const mostNumbers = 1 << 14;

/** A program of one op at a sample. */
function programOf(def: OpDef, sample: Sample): Uint8Array {
  const builder = new GraphBuilder();
  const inputs = sample.inputs.map(({ shape, dtype = "f32" }) => builder.arg({ shape, dtype }));
  const { attrs } = sample;
  const node = builder.node(def, inputs, attrs, def.infer(inputs, attrs), "");
  return writeProgram(lowerGraph(builder.finish(node.outputs)).spec);
}

interface Seed {
  readonly op: string;
  readonly title: string;
  readonly program: Uint8Array;
}

/** For each native op the largest sample that fits the fuzzer's buffers: it has tails and more than one of everything. */
function seeds(): Map<string, Seed> {
  const found = new Map<string, Seed & { size: number }>();
  for (const def of definedOps()) {
    for (const sample of def.samples?.() ?? []) {
      const kernel = kernelOf(def, sample);
      const size = sizeOfSample(sample);
      if (!kernel || sample.inputs.some(({ shape }) => sizeOf(shape) > mostNumbers)) continue;
      if (size <= (found.get(kernel)?.size ?? -1)) continue;
      found.set(kernel, {
        op: kernel,
        title: `${def.name} at ${titleOf(sample)}`,
        program: programOf(def, sample),
        size,
      });
    }
  }
  return found;
}

describe("mutated programs", () => {
  const known = seeds();

  it("cover every native op", () => expect([...known.keys()].sort()).toEqual(loadBinding().ops().sort()));

  it.each([...known.values()])(
    `of $op load and run, or are refused, ${rounds} times (seed ${seed}): $title`,
    (entry) => {
      const { ran } = fuzzProgram(random(seed), entry.program, rounds);
      expect(ran).toBeGreaterThan(0);
    },
  );
});
