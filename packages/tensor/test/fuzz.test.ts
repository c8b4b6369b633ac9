// Programs of every op, mutated, on every kernel: whatever a program says, the loader refuses it or it runs within its memory.

import { loadBinding } from "@figment/native";
import { describe, expect, it } from "vitest";
import { type Aval, GraphBuilder } from "#ir/graph";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { writeProgram } from "#program/blob";
import { lowerGraph } from "#program/lower";
import { sizeOf } from "#shape";
import { fuzzProgram } from "../../../native/test/fuzzer.ts";
import { random } from "../../../native/test/support.ts";
import { kernelOf } from "./support/parity.ts";
import { sizeOfSample, titleOf } from "./support/points.ts";

const seed = 815;
/** FIGMENT_FUZZ_COUNT programs of each op, shared by its kernels, or FIGMENT_FUZZ_TOTAL in all. */
const rounds = process.env.FIGMENT_FUZZ_TOTAL
  ? Math.ceil(Number(process.env.FIGMENT_FUZZ_TOTAL) / loadBinding().ops().length)
  : Number(process.env.FIGMENT_FUZZ_COUNT ?? 2000);
/** The fuzzer's buffers hold this many 4-byte numbers, so that the unmutated program runs too. */
const mostNumbers = 1 << 15;

/** A program of one op at a sample; factors may be bf16, which has kernels of its own. */
function programOf(def: OpDef, sample: Sample, factors: "f32" | "bf16"): Uint8Array {
  const builder = new GraphBuilder();
  const plain = sample.inputs.map(({ shape, dtype = "f32" }): Aval => ({ shape, dtype }));
  const inputs = plain.map((aval, i) => builder.arg(def.factors?.includes(i) ? { ...aval, dtype: factors } : aval));
  const attrs = def.factors ? { ...sample.attrs, result: "f32" } : sample.attrs;
  const node = builder.node(def, inputs, attrs, def.infer(plain, sample.attrs), "");
  return writeProgram(lowerGraph(builder.finish(node.outputs)).spec);
}

/** The kernels of an operation that can run a program of it. */
function kernelsFor(op: string, program: Uint8Array): string[] {
  const binding = loadBinding();
  return binding.variants(op).flatMap(({ name }) => {
    const loaded = binding.loadProgram(program, name);
    const { records } = binding.programInfo(loaded);
    binding.releaseProgram(loaded);
    return records.some(({ variant }) => variant === name) ? [name] : [];
  });
}

interface Seed {
  readonly op: string;
  readonly variant: string;
  readonly title: string;
  readonly program: Uint8Array;
  readonly size: number;
}

/** For each kernel the largest sample that fits the fuzzer's buffers: it has tails and more than one of everything. */
function seeds(): Seed[] {
  const found = new Map<string, Seed>();
  for (const def of definedOps()) {
    for (const sample of def.samples?.() ?? []) {
      const op = kernelOf(def, sample);
      const size = sizeOfSample(sample);
      if (!op || sample.inputs.some(({ shape }) => sizeOf(shape) > mostNumbers)) continue;
      for (const factors of def.factors ? (["f32", "bf16"] as const) : (["f32"] as const)) {
        const program = programOf(def, sample, factors);
        for (const variant of kernelsFor(op, program)) {
          const name = `${op} ${variant}`;
          if (size <= (found.get(name)?.size ?? -1)) continue;
          const title = `${def.name} of ${factors} at ${titleOf(sample)}`;
          found.set(name, { op, variant, title, program, size });
        }
      }
    }
  }
  return [...found.values()];
}

describe("mutated programs", () => {
  const binding = loadBinding();
  const known = seeds();
  const kernels = binding.ops().flatMap((op) => binding.variants(op).map(({ name }) => `${op} ${name}`));
  const share = (op: string): number => Math.ceil(rounds / binding.variants(op).length);

  it("cover every kernel", () =>
    expect(known.map(({ op, variant }) => `${op} ${variant}`).sort()).toEqual(kernels.sort()));

  it.each(known)(
    `of $op load and run on $variant, or are refused, its share of ${rounds} times (seed ${seed}): $title`,
    ({ op, variant, program }) => {
      const { ran } = fuzzProgram(random(seed), program, share(op), variant);
      expect(ran).toBeGreaterThan(0);
    },
  );
});
