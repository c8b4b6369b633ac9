// A loaded program: the native handle with what TypeScript needs to call it.

import { bytesOf } from "../dtype.js";
import type { Aval, Graph, Node } from "../ir/graph.js";
import { writeProgram } from "../program/blob.js";
import { lowerGraph } from "../program/lower.js";
import { sizeOf } from "../shape.js";
import { guarded, native, Storage } from "./device.js";

/** A program that the native side has verified and taken. */
export interface Program {
  readonly handle: number;
  /** Size of its text, for the cache's budget. */
  readonly bytes: number;
  readonly argCount: number;
  readonly outputs: readonly Aval[];
  /** The node behind each record's tag. */
  readonly tags: readonly Node[];
}

/** Lowers a graph and loads it. `variant` forces that kernel variant wherever it can run. */
export function loadGraph(graph: Graph, variant?: string): Program {
  const { spec, tags } = lowerGraph(graph);
  const blob = writeProgram(spec);
  const handle = guarded(() => native().loadProgram(blob, variant));
  return {
    handle,
    bytes: blob.length,
    argCount: graph.args.length,
    outputs: graph.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    tags,
  };
}

/** Frees a program; queued runs of it finish first. */
export function releaseProgram({ handle }: Program): void {
  native().releaseProgram(handle);
}

/** Handles of one call; reused, since a call is synchronous up to its queueing. */
let inputHandles = new Float64Array(64);
let outputHandles = new Float64Array(64);

/** Queues a program. Gives the storage of its outputs, in order. */
export function runProgram(program: Program, binding: number, inputs: readonly Storage[], cancel = 0): Storage[] {
  const { outputs } = program;
  if (inputs.length > inputHandles.length) inputHandles = new Float64Array(inputs.length * 2);
  if (outputs.length > outputHandles.length) outputHandles = new Float64Array(outputs.length * 2);
  for (let i = 0; i < inputs.length; i++) inputHandles[i] = (inputs[i] as Storage).handle;
  guarded(() => native().run(program.handle, binding, inputHandles, outputHandles, cancel));
  return outputs.map(({ shape, dtype }, i) => new Storage(outputHandles[i] as number, sizeOf(shape) * bytesOf[dtype]));
}
