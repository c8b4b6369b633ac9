// Eager execution: an op outside a trace is a program of one op, looked up in a cache.

import { currentPath } from "../core/path.js";
import { Tensor } from "../core/tensor.js";
import { type Attrs, type Aval, GraphBuilder } from "../ir/graph.js";
import { identityDef } from "../ops/cast.js";
import type { OpDef } from "../ops/definition.js";
import { widenFormats } from "../passes/formats.js";
import { mixPrecision } from "../passes/precision.js";
import { attrsKey } from "../passes/simplify.js";
import { ProgramCache } from "./cache.js";
import { currentDevice, native, Storage } from "./device.js";
import { here, type Origin } from "./origin.js";
import { loadGraph, type Program, releaseProgram, runProgram } from "./program.js";
import { span } from "./timeline.js";

/** Most one-op programs kept, and the most bytes of their text. */
const cacheLimits = { count: 4096, bytes: 64 << 20 };

const cache = new ProgramCache<Program>(cacheLimits, releaseProgram);

/**
 * How often an operation outside compiled functions found its program, how often one had to be made, and how many are
 * held. The least recently used leave first.
 *
 * @example
 * const { hits, misses, programs } = eagerCacheStats();
 */
export const eagerCacheStats = (): { hits: number; misses: number; programs: number } => cache.stats();

const avalKey = ({ shape, dtype }: Aval): string => `${dtype}[${shape.join()}]`;

/** Runs an op on concrete tensors. */
export function runEager(def: OpDef, inputs: readonly Tensor[], attrs: Attrs): readonly Tensor[] {
  return runNode(def, inputs, attrs);
}

/** Runs an op on concrete tensors; `variant` forces that kernel variant wherever it can run (for tests and benchmarks). */
export function runNode(
  def: OpDef,
  inputs: readonly Tensor[],
  attrs: Attrs,
  { variant }: { variant?: string } = {},
): readonly Tensor[] {
  const operands = inputs.map((tensor) => tensor.operand(def.name));
  let key = `${currentDevice()} ${def.name}`;
  for (const input of inputs) key += avalKey(input);
  for (const _ in attrs) {
    key += attrsKey(attrs);
    break;
  }
  if (variant) key += `!${variant}`;
  const program = cache.get(key) ?? cache.add(key, build(def, inputs, attrs, variant));
  const results = runProgram(program, 0, operands);
  if (def.canFail) markOrigin(results, here());
  return results.map((storage, i) => {
    const { shape, dtype } = program.outputs[i] as Aval;
    return new Tensor(shape, dtype, { storage });
  });
}

function build(def: OpDef, inputs: readonly Aval[], attrs: Attrs, variant?: string): Program {
  const builder = new GraphBuilder();
  const values = inputs.map((aval) => builder.arg(aval));
  const node = builder.node(def, values, attrs, def.infer(inputs, attrs), currentPath());
  const load = (): Program =>
    loadGraph(widenFormats(mixPrecision(builder.finish(node.outputs))), `eager ${def.name}`, variant);
  return span(`compile eager ${def.name}`, load);
}

/** Remembers where work was queued whose failure depends on data. */
export function markOrigin(storages: readonly Storage[], origin: Origin): void {
  for (const storage of storages) storage.origin = origin;
}

/** A copy of device memory holding a value of this aval. */
export function copyOf(aval: Aval, handle: number): Storage {
  const key = `${currentDevice()} copy${avalKey(aval)}`;
  const program = cache.get(key) ?? cache.add(key, build(identityDef, [aval], {}));
  return runProgram(program, 0, [new Storage(handle, 0)])[0] as Storage;
}

const writers = new ProgramCache<Program>(cacheLimits, releaseProgram);

/** Overwrites memory with the value held by another buffer, in queue order. */
export function copyInto(aval: Aval, handle: number, target: Storage): void {
  const key = `${currentDevice()} ${avalKey(aval)}`;
  const program = writers.get(key) ?? writers.add(key, buildWriter(aval));
  const binding = native().bind(program.handle, Float64Array.of(target.handle));
  try {
    runProgram(program, binding, [new Storage(handle, 0)]);
  } finally {
    native().releaseBinding(binding);
  }
}

function buildWriter(aval: Aval): Program {
  const builder = new GraphBuilder();
  const value = builder.arg(aval);
  const state = builder.state(aval);
  return loadGraph(builder.finish([], [{ state: state.index, value }]), "write to a cell");
}
