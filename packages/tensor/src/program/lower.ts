// Lowering: a graph becomes records of native kernels over slots. Views cost nothing, elementwise nodes
// become register code, the rest kernel calls; then memory is planned and writes to states come last.

import { bytesOf, type DType, formatOf } from "../dtype.js";
import type { Graph, Node, StateWrite, Value } from "../ir/graph.js";
import { packParams, type Schema } from "../ir/schema.js";
import type { View } from "../ops/definition.js";
import { elementwiseSchema } from "../ops/opcodes.js";
import { rowMajor, type Shape, sizeOf } from "../shape.js";
import type { OperandSpec, ProgramSpec, SlotSpec } from "./blob.js";
import { commitNodes } from "./commit.js";
import { planMemory } from "./plan.js";
import { encodeRegion, type RegionBody, registerTypeOf, singleRegion } from "./region.js";

/** Memory that records read and write; becomes a slot. */
interface Buffer {
  readonly kind: SlotSpec["kind"];
  readonly ordinal: number;
  readonly bytes: number;
  /** First and last record that touch it; for arena buffers. */
  first: number;
  last: number;
  /** A buffer whose memory this one takes over when that one dies. */
  host: Buffer | null;
  written: boolean;
}

/** Where a value lies. */
interface Place extends View {
  readonly buffer: Buffer;
  readonly dtype: DType;
}

interface Draft {
  readonly schema: Schema;
  readonly params: Uint8Array;
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  readonly tag: number;
}

/** A lowered graph. */
export interface Lowered {
  readonly spec: ProgramSpec;
  /** The node that each tag stands for. */
  readonly tags: readonly Node[];
}

/** Lowers a graph to a program. */
export function lowerGraph(graph: Graph): Lowered {
  return new Lowerer(graph).run();
}

class Lowerer {
  private readonly graph: Graph;
  private readonly places = new Map<Value, Place>();
  private readonly dense = new Map<Value, Place>();
  private readonly buffers: Buffer[] = [];
  private readonly records: Draft[] = [];
  private readonly tags: Node[] = [];
  private readonly outputs: Buffer[];
  /** The first output slot of each result, and the state that each written value goes to. */
  private readonly outputOf = new Map<Value, Buffer>();
  private readonly stateOf = new Map<Value, Buffer>();
  private readonly states: Buffer[];
  private tag = 0;

  constructor(graph: Graph) {
    this.graph = graph;
    graph.args.forEach((value, i) => {
      this.places.set(value, whole(this.buffer("input", i, value), value));
    });
    this.states = graph.states.map((value, i) => {
      const buffer = this.buffer("state", i, value);
      this.places.set(value, whole(buffer, value));
      return buffer;
    });
    this.outputs = graph.outputs.map((value, i) => {
      const buffer = this.buffer("output", i, value);
      if (!this.outputOf.has(value)) this.outputOf.set(value, buffer);
      return buffer;
    });
    for (const { state, value } of graph.writes) {
      if (!this.stateOf.has(value)) this.stateOf.set(value, this.states[state] as Buffer);
    }
  }

  run(): Lowered {
    const { graph } = this;
    const commit = commitNodes(graph);
    for (const node of graph.nodes) if (!commit.has(node)) this.node(node, this.resultBuffers(node));
    graph.outputs.forEach((value, i) => {
      const target = this.outputs[i] as Buffer;
      if (this.place(value).buffer !== target) this.copy(this.place(value), whole(target, value));
    });
    const copies = graph.writes.filter(({ value }) => !(value.node && commit.has(value.node)));
    const sources = copies.map((write) => this.detached(write));
    const commitStart = this.records.length;
    for (const node of graph.nodes) if (commit.has(node)) this.node(node, this.donatedBuffers(node));
    copies.forEach(({ state, value }, i) => {
      const target = this.states[state] as Buffer;
      target.written = true;
      this.copy(sources[i] as Place, whole(target, value));
    });
    return { spec: this.finish(commitStart), tags: this.tags };
  }

  /** Output slots for values that are results and can be written there at once. */
  private resultBuffers(node: Node): (Buffer | undefined)[] {
    return node.outputs.map((value) => this.outputOf.get(value));
  }

  private donatedBuffers(node: Node): (Buffer | undefined)[] {
    return node.outputs.map((value) => {
      const buffer = this.stateOf.get(value);
      if (buffer) buffer.written = true;
      return buffer;
    });
  }

  /** Where the source of a write to a state lies, safe from other writes to states. */
  private detached({ value }: StateWrite): Place {
    const place = this.place(value);
    if (place.buffer.kind !== "state") return place;
    const target = whole(this.buffer("arena", 0, value), value);
    this.copy(place, target);
    return target;
  }

  private node(node: Node, targets: readonly (Buffer | undefined)[]): void {
    this.tag = this.tags.push(node) - 1;
    const { lower } = node.def;
    const output = node.outputs[0] as Value;
    if (lower.kind === "constant") return;
    if (lower.kind === "view") {
      const input = node.inputs[0] as Value;
      const direct = lower.view(this.place(input), node, node.attrs);
      const source = direct ? this.place(input) : this.contiguous(input);
      const view = direct ?? lower.view(source, node, node.attrs);
      if (!view) throw new Error(`internal: ${node.def.name} refuses a contiguous input`);
      this.places.set(output, { ...view, buffer: source.buffer, dtype: output.dtype });
      return;
    }
    const results = node.outputs.map((value, i) => whole(targets[i] ?? this.buffer("arena", 0, value), value));
    node.outputs.forEach((value, i) => {
      this.places.set(value, results[i] as Place);
    });
    if (lower.kind === "elementwise") {
      const { body, inputs } = singleRegion(node);
      this.region(
        body,
        inputs.map((value) => this.place(value)),
        results,
      );
    } else if (lower.kind === "assemble") {
      const { fill, starts, steps } = lower.plan(node, node.attrs);
      const target = results[0] as Place;
      if (fill !== undefined) this.region(constantBody(output, fill), [], [target]);
      node.inputs.forEach((value, i) => {
        if (sizeOf(value.shape) > 0)
          this.copy(this.place(value), box(target, starts[i] as readonly number[], value.shape, steps?.[i]));
      });
    } else {
      const { schema, params, inputs, outputs } = lower.call(node, node.attrs);
      const operands = inputs.map(({ index, dims }) => reshaped(this.contiguous(node.inputs[index] as Value), dims));
      this.record(
        schema,
        packParams(schema, params as Parameters<typeof packParams>[1]),
        operands,
        outputs.map(({ index, dims }) => reshaped(results[index] as Place, dims)),
      );
      for (const [o, i] of node.def.inPlace?.(node) ?? []) {
        const slot = inputs.findIndex(({ index }) => index === i);
        this.reuse([operands[slot] as Place], [results[o] as Place], operands);
      }
    }
  }

  private place(value: Value): Place {
    const known = this.places.get(value);
    if (known) return known;
    if (value.node?.def.lower.kind !== "constant") throw new Error(`internal: value %${value.id} has no place`);
    const place = whole(this.buffer("arena", 0, value), value);
    this.places.set(value, place);
    this.region(constantBody(value, Number(value.node.attrs.value)), [], [place]);
    return place;
  }

  private contiguous(value: Value): Place {
    const place = this.place(value);
    if (isContiguous(place)) return place;
    const known = this.dense.get(value);
    if (known) return known;
    const copy = whole(this.buffer("arena", 0, value), value);
    this.copy(place, copy);
    this.dense.set(value, copy);
    return copy;
  }

  private copy(from: Place, to: Place): void {
    const body: RegionBody = {
      shape: to.shape,
      inputs: [from.dtype],
      steps: [],
      outputs: [{ ref: { input: 0 }, dtype: to.dtype }],
      text: "copy",
    };
    this.region(body, [from], [to]);
  }

  private region(body: RegionBody, inputs: readonly Place[], outputs: readonly Place[]): void {
    const { code, instructions, registers } = encodeRegion(body);
    const schema = elementwiseSchema;
    const operands = inputs.map((place) => broadcast(place, body.shape));
    this.record(schema, packParams(schema, { instructions, registers }, code), operands, outputs);
    this.reuse(operands, outputs);
  }

  /** Lets outputs of the record just made take over inputs that it is the last to read; confirmed by `finish`. */
  private reuse(inputs: readonly Place[], outputs: readonly Place[], all = inputs): void {
    for (const output of outputs) {
      if (output.buffer.kind !== "arena" || output.buffer.host) continue;
      const index = this.records.length - 1;
      if (output.buffer.first !== index) continue;
      const host = inputs.find(
        (input) =>
          input.buffer.kind === "arena" &&
          isContiguous(input) &&
          input.offset === 0 &&
          input.buffer.bytes === output.buffer.bytes &&
          bytesOf[input.dtype] === bytesOf[output.dtype] &&
          all.filter((other) => other.buffer === input.buffer).length === 1,
      );
      if (host) output.buffer.host = host.buffer;
    }
  }

  private record(schema: Schema, params: Uint8Array, inputs: readonly Place[], outputs: readonly Place[]): void {
    const index = this.records.push({ schema, params, inputs, outputs, tag: this.tag }) - 1;
    for (const { buffer } of [...inputs, ...outputs]) {
      buffer.first = Math.min(buffer.first, index);
      buffer.last = Math.max(buffer.last, index);
    }
  }

  private buffer(kind: Buffer["kind"], ordinal: number, { shape, dtype }: Value): Buffer {
    const bytes = sizeOf(shape) * bytesOf[dtype];
    const buffer: Buffer = {
      kind,
      ordinal,
      bytes,
      first: Number.POSITIVE_INFINITY,
      last: -1,
      host: null,
      written: false,
    };
    this.buffers.push(buffer);
    return buffer;
  }

  private finish(commitStart: number): ProgramSpec {
    const slotOf = new Map<Buffer, number>();
    const slots: SlotSpec[] = [];
    for (const [buffer, offset] of placeBuffers(this.buffers)) {
      slotOf.set(
        buffer,
        slots.push({
          kind: buffer.kind,
          ordinal: buffer.ordinal,
          bytes: buffer.bytes,
          offset,
          written: buffer.written,
        }) - 1,
      );
    }
    const operand = ({ buffer, dtype, shape, offset, strides }: Place): OperandSpec => ({
      slot: slotOf.get(buffer) as number,
      format: formatOf[dtype],
      byteOffset: offset * bytesOf[dtype],
      dims: shape,
      strides,
    });
    const records = this.records.map(({ schema, params, inputs, outputs, tag }) => ({
      schema,
      params,
      inputs: inputs.map(operand),
      outputs: outputs.map(operand),
      tag,
    }));
    return { slots, records, commitStart, arenaBytes: arenaSize(slots) };
  }
}

const arenaSize = (slots: readonly SlotSpec[]): number =>
  slots.reduce((n, slot) => (slot.kind === "arena" ? Math.max(n, slot.offset + slot.bytes) : n), 0);

/** Every buffer that is used, with its place in the arena. */
function placeBuffers(buffers: readonly Buffer[]): [Buffer, number][] {
  const used = buffers.filter((buffer) => buffer.kind !== "arena" || buffer.last >= 0);
  const groups = new Map<Buffer, { first: number; last: number; bytes: number }>();
  const rootOf = new Map<Buffer, Buffer>();
  const arena = used.filter((buffer) => buffer.kind === "arena").sort((a, b) => a.first - b.first);
  for (const buffer of arena) {
    const host = buffer.host && (rootOf.get(buffer.host) ?? null);
    const group = host && groups.get(host);
    // The takeover holds only if nobody reads the old contents after the record that overwrites them.
    if (host && group && buffer.host?.last === buffer.first && group.last === buffer.first) {
      rootOf.set(buffer, host);
      group.last = Math.max(group.last, buffer.last);
    } else {
      rootOf.set(buffer, buffer);
      groups.set(buffer, { first: buffer.first, last: buffer.last, bytes: buffer.bytes });
    }
  }
  const roots = [...groups.keys()];
  const plan = planMemory(roots.map((root) => groups.get(root) as { first: number; last: number; bytes: number }));
  const offsetOf = new Map(roots.map((root, i) => [root, plan.offsets[i] as number]));
  return used.map((buffer) => [
    buffer,
    buffer.kind === "arena" ? (offsetOf.get(rootOf.get(buffer) as Buffer) as number) : 0,
  ]);
}

const whole = (buffer: Buffer, { shape, dtype }: { shape: Shape; dtype: DType }): Place => ({
  buffer,
  dtype,
  shape,
  offset: 0,
  strides: rowMajor(shape),
});

const reshaped = (place: Place, dims: Shape): Place => ({ ...place, shape: dims, strides: rowMajor(dims) });

/** The box of a place that starts at `start` along each axis, its elements `steps` (default 1) apart. */
function box(place: Place, start: readonly number[], shape: Shape, steps?: readonly number[]): Place {
  const offset = start.reduce((sum, s, i) => sum + s * (place.strides[i] as number), place.offset);
  const strides = steps ? place.strides.map((stride, i) => stride * (steps[i] as number)) : place.strides;
  return { ...place, shape, offset, strides };
}

/** A place seen with a larger shape that it broadcasts to. */
function broadcast(place: Place, shape: Shape): Place {
  const lead = shape.length - place.shape.length;
  const strides = shape.map((_, i) =>
    i < lead || place.shape[i - lead] === 1 ? 0 : (place.strides[i - lead] as number),
  );
  return { ...place, shape, strides };
}

/** Whether the elements of a view lie in row-major order without gaps. */
export function isContiguous({ shape, strides }: View): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const extent = shape[i] as number;
    if (extent !== 1 && strides[i] !== expected) return false;
    expected *= extent;
  }
  return true;
}

/** The body of a region that fills its output with one number. */
function constantBody({ shape, dtype }: Value, value: number): RegionBody {
  const ref = { constant: value, type: registerTypeOf(dtype) };
  return { shape, inputs: [], steps: [], outputs: [{ ref, dtype }], text: "fill" };
}
