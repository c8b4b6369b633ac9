// Elementwise regions: several elementwise nodes that run as one pass over memory. A region is a node
// whose body is symbolic register code; lowering assigns registers and encodes the instructions.

import type { DType } from "../dtype.js";
import type { Attrs, Node, Value } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { instructionBytes, type Opcode, opcodes, type RegisterType, registerTypes } from "../ops/opcodes.js";
import type { Shape } from "../shape.js";

/** The most registers, inputs and outputs that the interpreter takes. */
export const regionLimits = { registers: 64, inputs: 24, outputs: 8, steps: 96 } as const;

/** What a step reads. */
export type RegionRef =
  | { readonly input: number }
  | { readonly step: number }
  | { readonly constant: number; readonly type: RegisterType };

/** One instruction on symbolic registers. */
export interface RegionStep {
  readonly opcode: Opcode;
  readonly type: RegisterType;
  readonly args: readonly RegionRef[];
  /** For casts: the register type of the argument. */
  readonly from?: RegisterType;
}

/** The body of a region: what it computes for one element. */
export interface RegionBody {
  /** The shape over which the region runs: that of all its outputs. */
  readonly shape: Shape;
  readonly inputs: readonly DType[];
  readonly steps: readonly RegionStep[];
  readonly outputs: readonly { readonly ref: RegionRef; readonly dtype: DType }[];
  /** For printing. */
  readonly text: string;
}

/** The register type that holds values of a dtype. */
export const registerTypeOf = (dtype: DType): RegisterType =>
  dtype === "f64" ? "f64" : dtype === "i32" || dtype === "u8" || dtype === "bool" ? "i32" : "f32";

/** A region as an op: made by the fusion pass only. */
export const regionDef: OpDef<{ body: RegionBody } & Attrs> = {
  name: "region",
  effect: "pure",
  infer: (_inputs, { body }) => body.outputs.map(({ dtype }) => ({ shape: body.shape, dtype })),
  lower: { kind: "elementwise", opcode: "load" },
};

/** Collects the nodes of a region into its body. */
export class RegionBuilder {
  readonly inputs: Value[] = [];
  private readonly steps: RegionStep[] = [];
  private readonly refs = new Map<Value, RegionRef>();
  private readonly text: string[] = [];

  /** Adds an elementwise node; its inputs are earlier nodes of the region, constants or region inputs. */
  add(node: Node): void {
    const output = node.outputs[0] as Value;
    const args = node.inputs.map((value) => this.refOf(value));
    this.refs.set(output, this.stepFor(node, output, args));
    this.text.push(node.def.name);
  }

  finish(outputs: readonly Value[], shape: Shape): RegionBody {
    return {
      shape,
      inputs: this.inputs.map((value) => value.dtype),
      steps: this.steps,
      outputs: outputs.map((value) => ({ ref: this.refOf(value), dtype: value.dtype })),
      text: this.text.join("·"),
    };
  }

  private stepFor(node: Node, output: Value, args: readonly RegionRef[]): RegionRef {
    const { lower } = node.def;
    if (lower.kind !== "elementwise") throw new Error(`internal: ${node.def.name} is not elementwise`);
    const first = node.inputs[0] as Value;
    if (lower.opcode === "cast") return this.castRef(args[0] as RegionRef, first.dtype, output.dtype);
    const comparison = output.dtype === "bool" && lower.opcode !== "select";
    const type = registerTypeOf(comparison ? first.dtype : output.dtype);
    return this.push({ opcode: lower.opcode, type, args });
  }

  private castRef(ref: RegionRef, from: DType, to: DType): RegionRef {
    const source = registerTypeOf(from);
    const target = registerTypeOf(to);
    if (to === "bool" && from !== "bool") {
      return this.push({ opcode: "ne", type: source, args: [ref, { constant: 0, type: source }] });
    }
    return source === target ? ref : this.push({ opcode: "cast", type: target, args: [ref], from: source });
  }

  private push(step: RegionStep): RegionRef {
    this.steps.push(step);
    return { step: this.steps.length - 1 };
  }

  private refOf(value: Value): RegionRef {
    const known = this.refs.get(value);
    if (known) return known;
    const ref: RegionRef =
      value.node?.def.lower.kind === "constant"
        ? { constant: Number(value.node.attrs.value), type: registerTypeOf(value.dtype) }
        : { input: this.inputs.push(value) - 1 };
    this.refs.set(value, ref);
    return ref;
  }
}

/** The region of one node alone. */
export function singleRegion(node: Node): { body: RegionBody; inputs: readonly Value[] } {
  if (node.def === regionDef) return { body: node.attrs.body as RegionBody, inputs: node.inputs };
  const builder = new RegionBuilder();
  if (node.def.lower.kind === "elementwise") builder.add(node);
  const output = node.outputs[0] as Value;
  return { body: builder.finish([output], output.shape), inputs: builder.inputs };
}

/** Register code for a body: the tail of an `elementwise` record, and how many registers it uses. */
export function encodeRegion(body: RegionBody): { code: Uint8Array; instructions: number; registers: number } {
  const allocator = new RegisterAllocator(body);
  const code: number[][] = [];
  body.steps.forEach((step, i) => {
    const args = step.args.map((ref) => allocator.read(ref, i, code));
    allocator.expire(i);
    const dst = allocator.define(i);
    const [a = 0, b = 0, c = 0] = args;
    const from = step.from === undefined ? b : registerTypes.indexOf(step.from);
    code.push([opcodes.indexOf(step.opcode), dst, a, from, c, registerTypes.indexOf(step.type), 0]);
    allocator.store({ step: i }, code);
  });
  allocator.storeRest(code);
  const bytes = new Uint8Array(code.length * instructionBytes);
  const view = new DataView(bytes.buffer);
  code.forEach(([op = 0, dst = 0, a = 0, b = 0, c = 0, type = 0, imm = 0], i) => {
    const at = i * instructionBytes;
    view.setUint16(at, op, true);
    for (const [k, x] of [dst, a, b, c, type].entries()) view.setUint8(at + 2 + k, x);
    view.setFloat64(at + 8, imm, true);
  });
  return { code: bytes, instructions: code.length, registers: allocator.used };
}

const refKey = (ref: RegionRef): string =>
  "input" in ref
    ? `i${ref.input}`
    : "step" in ref
      ? `s${ref.step}`
      : `c${ref.type}:${Object.is(ref.constant, -0) ? "-0" : ref.constant}`;

/** Linear-scan registers: a register is free again after its last reader. Values are loaded when first read. */
class RegisterAllocator {
  used = 0;
  private readonly body: RegionBody;
  private readonly lastUse = new Map<string, number>();
  private readonly at = new Map<string, number>();
  private readonly free: number[] = [];
  private readonly stored = new Set<number>();

  constructor(body: RegionBody) {
    this.body = body;
    body.steps.forEach((step, i) => {
      for (const ref of step.args) this.lastUse.set(refKey(ref), i);
    });
  }

  read(ref: RegionRef, step: number, code: number[][]): number {
    const key = refKey(ref);
    const known = this.at.get(key);
    if (known !== undefined) return known;
    const register = this.take(key);
    if ("input" in ref) {
      const type = registerTypeOf(this.body.inputs[ref.input] as DType);
      code.push([opcodes.indexOf("load"), register, ref.input, 0, 0, registerTypes.indexOf(type), 0]);
    } else if ("constant" in ref) {
      code.push([opcodes.indexOf("constant"), register, 0, 0, 0, registerTypes.indexOf(ref.type), ref.constant]);
    } else {
      throw new Error(`internal: step ${step} of a region reads a step that has no register`);
    }
    return register;
  }

  define(step: number): number {
    return this.take(`s${step}`);
  }

  expire(step: number): void {
    for (const [key, register] of this.at) {
      if ((this.lastUse.get(key) ?? -1) > step || this.neededByOutput(key)) continue;
      this.at.delete(key);
      this.free.push(register);
    }
  }

  /** Stores the outputs that are this very step, so that its register can be free again. */
  store(ref: RegionRef, code: number[][]): void {
    this.body.outputs.forEach((output, k) => {
      if (this.stored.has(k) || refKey(output.ref) !== refKey(ref)) return;
      this.storeOutput(k, code);
    });
  }

  storeRest(code: number[][]): void {
    this.body.outputs.forEach((_, k) => {
      if (!this.stored.has(k)) this.storeOutput(k, code);
    });
  }

  private storeOutput(k: number, code: number[][]): void {
    const { ref, dtype } = this.body.outputs[k] as { ref: RegionRef; dtype: DType };
    const register = this.read(ref, -1, code);
    code.push([opcodes.indexOf("store"), 0, register, k, 0, registerTypes.indexOf(registerTypeOf(dtype)), 0]);
    this.stored.add(k);
  }

  private neededByOutput(key: string): boolean {
    return this.body.outputs.some(({ ref }, k) => !this.stored.has(k) && refKey(ref) === key);
  }

  private take(key: string): number {
    const register = this.free.pop() ?? this.used++;
    this.at.set(key, register);
    return register;
  }
}
