// Eager execution: an op outside a trace is a program of one op, looked up in a cache. It runs where its operands lie.

import { currentPath } from "../core/path.js";
import { Tensor } from "../core/tensor.js";
import { DeviceError } from "../errors.js";
import { type Attrs, type Aval, GraphBuilder } from "../ir/graph.js";
import { identityDef } from "../ops/cast.js";
import type { OpDef } from "../ops/definition.js";
import { widenFormats } from "../passes/formats.js";
import { mixPrecision } from "../passes/precision.js";
import { currentDevice, native, type Operand, onDevice, type Storage, transfer } from "./device.js";
import { deviceName } from "./devices.js";
import { type EagerCall, programOf } from "./eagerPrograms.js";
import { GuardedCache } from "./guardedCache.js";
import { here, type Origin } from "./origin.js";
import { loadGraph, type Program, releaseProgram, runProgram } from "./program.js";
import { span } from "./timeline.js";

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
  const device = placeOf(operands);
  if (device === undefined) return withConstantsMoved(def, inputs, attrs, variant);
  const call = { device, def, inputs, attrs, variant };
  const program = programOf(call, () => build(call));
  const storages = runProgram(program, 0, operands);
  if (def.canFail) markOrigin(storages, here());
  return storages.map((storage, i) => {
    const { shape, dtype } = program.outputs[i] as Aval;
    return new Tensor(shape, dtype, { storage });
  });
}

/** The device that all operands lie on, numbers being anywhere; undefined where there are two. */
function placeOf(operands: readonly Operand[]): number | undefined {
  let place: number | undefined;
  for (const operand of operands) {
    if (operand.handle === 0) continue;
    const { device } = operand as Storage;
    if (place !== undefined && place !== device) return undefined;
    place = device;
  }
  return place ?? currentDevice();
}

/** Runs an op whose operands lie on two devices: constants are made anew on that of the others. */
function withConstantsMoved(def: OpDef, inputs: readonly Tensor[], attrs: Attrs, variant?: string): readonly Tensor[] {
  const fixed = inputs.filter((tensor) => tensor.operand(def.name).handle !== 0 && !tensor.remake);
  const place = placeOf(fixed.map((tensor) => tensor.operand(def.name)));
  if (place === undefined) {
    const [a, b] = [...new Set(fixed.map(({ device }) => device))];
    throw new DeviceError(
      `${def.name}: operands are on two devices, ${a} and ${b}; move one of them, for example with x.to("${a}")`,
    );
  }
  // Constants alone, made on two devices.
  const device = fixed.length > 0 ? place : currentDevice();
  const made: Tensor[] = [];
  try {
    const moved = inputs.map((tensor) => {
      if (!tensor.remake || deviceName(device) === tensor.device) return tensor;
      made.push(onDevice(device, tensor.remake));
      return made.at(-1) as Tensor;
    });
    return runNode(def, moved, attrs, variant === undefined ? {} : { variant });
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

function build({ device, def, inputs, attrs, variant }: EagerCall): Program {
  const builder = new GraphBuilder();
  const values = inputs.map((aval) => builder.arg(aval));
  const node = builder.node(def, values, attrs, def.infer(inputs, attrs), currentPath());
  const load = (): Program =>
    loadGraph(widenFormats(mixPrecision(builder.finish(node.outputs))), `eager ${def.name}`, variant);
  return span(`compile eager ${def.name}`, () => onDevice(device, load));
}

/** Remembers where work was queued whose failure depends on data. */
export function markOrigin(storages: readonly Storage[], origin: Origin): void {
  for (const storage of storages) storage.origin = origin;
}

/** A copy on a device of what an operand holds, a value of this aval. */
export function copyOf(aval: Aval, operand: Operand, device: number): Storage {
  if (operand.handle !== 0 && (operand as Storage).device !== device) return transfer(operand as Storage, device);
  const call = { device, def: identityDef, inputs: [aval], attrs: {}, variant: undefined };
  const program = programOf(call, () => build(call));
  return runProgram(program, 0, [operand])[0] as Storage;
}

/** Most programs kept that write to cells, and the most bytes of their text. */
const writerLimits = { count: 4096, bytes: 64 << 20 };

const writers = new GuardedCache<string, Program>(writerLimits, releaseProgram);

/** Overwrites memory with what an operand holds, in queue order. */
export function copyInto(aval: Aval, operand: Operand, target: Storage): void {
  const { device } = target;
  if (operand.handle !== 0 && (operand as Storage).device !== device) {
    const moved = transfer(operand as Storage, device);
    try {
      copyInto(aval, moved, target);
    } finally {
      moved.release();
    }
    return;
  }
  const key = `${device} ${aval.dtype}[${aval.shape.join()}]`;
  const program =
    writers.find(key, () => true) ??
    writers.add(
      key,
      onDevice(device, () => buildWriter(aval)),
    );
  const binding = native().bind(program.handle, Float64Array.of(target.handle));
  try {
    runProgram(program, binding, [operand]);
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
