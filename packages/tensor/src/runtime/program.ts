// A loaded program: the native handle with what TypeScript needs to call it.

import { bytesOf, formatOf } from "../dtype.js";
import { OutOfMemoryError } from "../errors.js";
import type { Aval, Graph, Node } from "../ir/graph.js";
import { type Nesting, nestingOf, type OperandSpec, type RecordSpec, writeProgram } from "../program/blob.js";
import { lowerGraph } from "../program/lower.js";
import { sizeOf } from "../shape.js";
import { currentDevice, explained, guarded, type InlineNumber, native, type Operand, Storage } from "./device.js";
import { showBytes } from "./live.js";
import { measureUnknown, noteProgram, tuning } from "./tuning/index.js";

/** A program that the native side has verified and taken. */
export interface Program {
  /** What it was made from, for profiles. */
  readonly name: string;
  readonly handle: number;
  /** The number of the device that it runs on. */
  readonly device: number;
  /** Size of its text, for the cache's budget. */
  readonly bytes: number;
  readonly argCount: number;
  readonly outputs: readonly Aval[];
  readonly outputBytes: readonly number[];
  /** The node behind each record's tag. */
  readonly tags: readonly Node[];
  /** Formats of each record's operands, as explain() shows them. */
  readonly formats: readonly string[];
  /** Which loops each record lies in. */
  readonly nesting: readonly Nesting[];
}

/** More than any memory, and well within what the loader counts. */
const mostBytes = 2 ** 45;

/** The programs that this thread holds, and who wants to know of new ones. */
const held = new Set<Program>();
let onLoad: ((program: Program) => void) | undefined;

/** Tells `listen` of every program, those held now first, until it is called again. */
export function onLoadProgram(listen: ((program: Program) => void) | undefined): void {
  onLoad = listen;
  if (listen) held.forEach(listen);
}

/** Lowers a graph and loads it on the current device. `variant` forces that kernel variant wherever it can run. */
export function loadGraph(graph: Graph, name: string, variant?: string): Program {
  const device = currentDevice();
  const { spec, tags } = lowerGraph(graph, device > 0);
  const largest = spec.slots.reduce((most, { bytes }) => Math.max(most, bytes), spec.arenaBytes);
  if (largest > mostBytes)
    throw new OutOfMemoryError(`out of memory: ${showBytes(largest)} are more than any device holds`);
  const blob = writeProgram(spec);
  tuning(device);
  const load = (): number => guarded(() => native().loadProgram(blob, variant, device));
  let handle = load();
  noteProgram(handle, blob, device);
  if (variant === undefined && measureUnknown(handle, device)) {
    native().releaseProgram(handle);
    handle = load();
  }
  const program: Program = {
    name,
    handle,
    device,
    bytes: blob.length,
    argCount: graph.args.length,
    outputs: graph.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    outputBytes: graph.outputs.map(({ shape, dtype }) => sizeOf(shape) * bytesOf[dtype]),
    tags,
    formats: spec.records.map(formatsOf),
    nesting: nestingOf(spec.records),
  };
  held.add(program);
  onLoad?.(program);
  return program;
}

/** "f32" where all operands are alike, else inputs → outputs with runs of the same format counted: "i32 f32×3 → f32". */
function formatsOf({ inputs, outputs }: Pick<RecordSpec, "inputs" | "outputs">): string {
  const name = ({ format }: OperandSpec): string => formatNames[format] ?? String(format);
  const all = new Set([...inputs, ...outputs].map(name));
  if (all.size === 1) return [...all].join();
  return `${inRuns(inputs.map(name))} → ${inRuns(outputs.map(name))}`;
}

function inRuns(names: readonly string[]): string {
  const runs: { name: string; count: number }[] = [];
  for (const name of names) {
    const last = runs.at(-1);
    if (last?.name === name) last.count++;
    else runs.push({ name, count: 1 });
  }
  return runs.map(({ name, count }) => (count > 1 ? `${name}×${count}` : name)).join(" ");
}

const formatNames = Object.fromEntries(Object.entries(formatOf).map(([name, number]) => [number, name]));

/** Frees a program; queued runs of it finish first. */
export function releaseProgram(program: Program): void {
  held.delete(program);
  native().releaseProgram(program.handle);
}

/** Handles of one call, and room behind them for the numbers that travel with it; reused, since a call is synchronous. */
let inputHandles = new Float64Array(64);
let outputHandles = new Float64Array(64);

/** Queues a program. Gives the storage of its outputs, in order. */
export function runProgram(program: Program, binding: number, inputs: readonly Operand[], cancel = 0): Storage[] {
  const { outputs, outputBytes, device } = program;
  const count = inputs.length;
  if (count * 2 > inputHandles.length) inputHandles = new Float64Array(count * 4);
  if (outputs.length > outputHandles.length) outputHandles = new Float64Array(outputs.length * 2);
  for (let i = 0; i < count; i++) {
    const input = inputs[i] as Operand;
    inputHandles[i] = input.handle;
    if (input.handle === 0) inputHandles[program.argCount + i] = (input as InlineNumber).word;
  }
  try {
    native().run(program.handle, binding, inputHandles, outputHandles, cancel);
  } catch (error) {
    throw explained(error, device);
  }
  return outputBytes.map((bytes, i) => new Storage(outputHandles[i] as number, bytes, device));
}
