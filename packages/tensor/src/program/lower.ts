// Lowering: a graph becomes records of native kernels over slots. Views cost nothing, elementwise nodes
// become register code, the rest kernel calls; then memory is planned and writes to states come last.

import { bytesOf } from "../dtype.js";
import { type Graph, GraphBuilder, loopOf, type Node, type Value } from "../ir/graph.js";
import { packParams, type Schema } from "../ir/schema.js";
import { castAllDef } from "../ops/castAll.js";
import { elementwiseSchema } from "../ops/opcodes.js";
import { sizeOf } from "../shape.js";
import type { LoopSpan } from "./arena.js";
import type { ProgramSpec } from "./blob.js";
import { type CommitSection, commitSections } from "./commit.js";
import { type Part, partsOf } from "./parts.js";
import { type Buffer, box, broadcast, fills, isContiguous, type Place, reshaped, whole } from "./place.js";
import { type Draft, placed } from "./placed.js";
import { encodeRegion, type RegionBody, registerTypeOf, singleRegion } from "./region.js";

/** The work of a commit section. */
interface Commit {
  readonly updates: readonly Node[];
  readonly copies: readonly { readonly from: Place; readonly to: Place }[];
  /** The state that each written value goes to. */
  readonly targetOf: ReadonlyMap<Value, Buffer>;
}

type Loop = NonNullable<ReturnType<typeof loopOf>>;

/** A lowered graph. */
export interface Lowered {
  readonly spec: ProgramSpec;
  /** The node that each tag stands for. */
  readonly tags: readonly Node[];
}

/** Lowers a graph to a program. `atOnce`: its device runs records at the same time that do not touch the same memory. */
export function lowerGraph(graph: Graph, atOnce = false): Lowered {
  return new Lowerer(graph, atOnce).run();
}

class Lowerer {
  private readonly graph: Graph;
  private readonly atOnce: boolean;
  private readonly places = new Map<Value, Place>();
  private readonly dense = new Map<Value, Place>();
  private readonly buffers: Buffer[] = [];
  private readonly records: Draft[] = [];
  private readonly loops: LoopSpan[] = [];
  private readonly tags: Node[] = [];
  private readonly parts: ReadonlyMap<Value, Part>;
  private readonly outputs: Buffer[];
  /** The first output slot of each result. */
  private readonly outputOf = new Map<Value, Buffer>();
  private readonly states: Buffer[];
  private tag = 0;

  constructor(graph: Graph, atOnce: boolean) {
    this.graph = graph;
    this.atOnce = atOnce;
    this.parts = partsOf(graph);
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
  }

  run(): Lowered {
    const commitStart = this.block(this.graph, this.states);
    const { buffers, loops, records, atOnce } = this;
    return { spec: placed({ buffers, loops, records, commitStart, atOnce }), tags: this.tags };
  }

  /** The records of a graph whose states lie in these buffers. Gives the first of its last commit section. */
  private block(graph: Graph, states: readonly Buffer[]): number {
    const sections = commitSections(graph);
    const updates = new Set([...sections.values()].flatMap((section) => section.updates));
    const waiting = new Set(graph.nodes);
    for (const node of graph.nodes) {
      if (updates.has(node)) continue;
      waiting.delete(node);
      if (node.def.lower.kind === "loop") this.loop(node, graph, states, sections.get(node) as CommitSection, waiting);
      else this.node(node, this.resultBuffers(node));
    }
    graph.outputs.forEach((value, i) => {
      const target = this.outputs[i] as Buffer;
      if (this.place(value).buffer !== target) this.copy(this.place(value), whole(target, value));
    });
    return this.commit(this.prepare(sections.get(null) as CommitSection, states));
  }

  /** What a commit section does: updates in place, and copies from where no write to a state reaches. */
  private prepare({ writes, updates }: CommitSection, states: readonly Buffer[]): Commit {
    const targetOf = new Map(writes.map(({ state, value }) => [value, states[state] as Buffer]));
    const copies = writes.flatMap(({ state, value }): Commit["copies"] => {
      const target = states[state] as Buffer;
      if (value.node && updates.includes(value.node)) return [];
      return fills(this.place(value), target) ? [] : [{ from: this.detached(value), to: whole(target, value) }];
    });
    return { updates, copies, targetOf };
  }

  /** The records of a commit section. Gives the first. */
  private commit({ updates, copies, targetOf }: Commit): number {
    const start = this.records.length;
    for (const node of updates) {
      this.node(
        node,
        node.outputs.map((value) => targetOf.get(value)),
      );
    }
    this.copyAll(copies);
    return start;
  }

  /**
   * A loop: what was written before it is committed, in a block that runs once; then its body, whose states are those
   * of the graph around it. `waiting`: the nodes that run later.
   */
  private loop(node: Node, graph: Graph, states: readonly Buffer[], section: CommitSection, waiting: Set<Node>): void {
    const { count, body, homes, captured, initial } = loopOf(node) as Loop;
    const own = homes.map((home) => states[home] as Buffer);
    const tag = this.tags.push(node) - 1;
    this.tag = tag;
    for (const update of section.updates) waiting.delete(update);
    const changed = new Set(body.writes.map(({ state }) => own[state] as Buffer));
    initial.forEach((value, k) => {
      const stays = !(value.node && section.updates.includes(value.node)) && fills(this.place(value), own[k] as Buffer);
      if (!stays) changed.add(own[k] as Buffer);
    });
    const later = [...waiting].flatMap(({ inputs }) => inputs);
    this.keep(graph, states, changed, [...captured, ...later, ...graph.outputs, ...graph.writes.map((w) => w.value)]);

    const inside = captured.map((value) => this.place(value));
    const early = this.prepare(section, states);
    if (early.updates.length + early.copies.length > 0) this.repeat(1, [], () => this.commit(early));
    const [counter, ...args] = body.args as [Value, ...Value[]];
    const counted = whole(this.buffer("arena", 0, counter), counter);
    this.places.set(counter, counted);
    args.forEach((value, k) => {
      this.places.set(value, inside[k] as Place);
    });
    body.states.forEach((value, k) => {
      this.places.set(value, whole(own[k] as Buffer, value));
    });
    this.tag = tag;
    this.repeat(count, [counted], () => this.block(body, own));
    node.outputs.forEach((value, k) => {
      this.places.set(value, whole(own[k] as Buffer, value));
    });
  }

  /** Moves those of the values that lie in states about to change out of their way. */
  private keep(
    { states: values }: Graph,
    states: readonly Buffer[],
    changed: ReadonlySet<Buffer>,
    needed: readonly Value[],
  ): void {
    const copies = new Map<Buffer, Buffer>();
    for (const value of new Set(needed)) {
      const place = this.places.get(value);
      if (!place || !changed.has(place.buffer)) continue;
      const state = values[states.indexOf(place.buffer)] as Value;
      let copy = copies.get(place.buffer);
      if (!copy) {
        copy = this.buffer("arena", 0, state);
        copies.set(place.buffer, copy);
        this.copy(whole(place.buffer, state), whole(copy, state));
      }
      this.places.set(value, { ...place, buffer: copy });
    }
  }

  /** A block that runs `count` times; `body` makes its records and gives the first of its commit section. */
  private repeat(count: number, outputs: readonly Place[], body: () => number): void {
    const index = this.push({ block: { count, records: 0, commitStart: 0 } }, [], outputs);
    const commitStart = body() - index - 1;
    const records = this.records.length - index - 1;
    this.records[index] = { ...(this.records[index] as Draft), does: { block: { count, records, commitStart } } };
    if (count > 1) this.loops.push({ first: index, last: index + records });
  }

  /** Output slots for values that are results and can be written there at once. */
  private resultBuffers(node: Node): (Buffer | undefined)[] {
    return node.outputs.map((value) => this.outputOf.get(value));
  }

  /** Where a value that is written to a state lies, safe from other writes to states. */
  private detached(value: Value): Place {
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
    const results = node.outputs.map((value, i) => this.result(value, targets[i]));
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
        if (sizeOf(value.shape) > 0 && !this.parts.has(value))
          this.copy(this.place(value), box(target, starts[i] as readonly number[], value.shape, steps?.[i]));
      });
    } else if (lower.kind === "kernel") {
      const { schema, params, tail, inputs, outputs } = lower.call(node, node.attrs);
      const operands = inputs.map(({ index, dims }) => reshaped(this.contiguous(node.inputs[index] as Value), dims));
      this.record(
        schema,
        packParams(schema, params as Parameters<typeof packParams>[1], tail),
        operands,
        outputs.map(({ index, dims }) => reshaped(results[index] as Place, dims)),
      );
      for (const [o, i] of node.def.inPlace?.(node) ?? []) {
        const slot = inputs.findIndex(({ index }) => index === i);
        this.reuse([operands[slot] as Place], [results[o] as Place], operands);
      }
    }
  }

  /** Where a result is to lie: part of what it is joined to, in a buffer that waits for it, or in one of its own. */
  private result(value: Value, target: Buffer | undefined): Place {
    const known = this.places.get(value);
    if (known) return known;
    const part = this.parts.get(value);
    if (!part) return whole(target ?? this.buffer("arena", 0, value), value);
    const joined = part.of.outputs[0] as Value;
    const place = this.result(joined, this.outputOf.get(joined));
    this.places.set(joined, place);
    return box(place, part.start, value.shape);
  }

  private place(value: Value): Place {
    const known = this.places.get(value);
    if (known) return known;
    if (value.node?.def.lower.kind !== "constant") throw new Error(`internal: value %${value.id} has no place`);
    const place = whole(this.outputOf.get(value) ?? this.buffer("arena", 0, value), value);
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

  /** Copies between places of one type that lie apart; the dense ones, where there are more, in one record. */
  private copyAll(copies: Commit["copies"]): void {
    const dense = copies.filter(({ from }) => isContiguous(from));
    const together = dense.length > 1 ? dense : [];
    for (const copy of copies) if (!together.includes(copy)) this.copy(copy.from, copy.to);
    if (together.length === 0) return;
    const builder = new GraphBuilder();
    const values = together.map(({ from }) => {
      const value = builder.arg(from);
      this.places.set(value, from);
      return value;
    });
    const node = builder.node(castAllDef, values, { dtypes: values.map(({ dtype }) => dtype) }, values, "");
    this.node(
      node,
      together.map(({ to }) => to.buffer),
    );
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
      if (output.buffer.first !== index || !fills(output, output.buffer)) continue;
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
    this.push({ schema, params }, inputs, outputs);
  }

  private push(does: Draft["does"], inputs: readonly Place[], outputs: readonly Place[]): number {
    const index = this.records.push({ does, inputs, outputs, tag: this.tag }) - 1;
    for (const { buffer } of [...inputs, ...outputs]) {
      buffer.first = Math.min(buffer.first, index);
      buffer.last = Math.max(buffer.last, index);
    }
    for (const { buffer } of outputs) buffer.written = true;
    return index;
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
}

/** The body of a region that fills its output with one number. */
function constantBody({ shape, dtype }: Value, value: number): RegionBody {
  const ref = { constant: value, type: registerTypeOf(dtype) };
  return { shape, inputs: [], steps: [], outputs: [{ ref, dtype }], text: "fill" };
}
