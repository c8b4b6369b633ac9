// Writes ONNX models as bytes: the few protobuf messages that the peers' graphs need (ModelProto and its parts), with
// the field numbers of onnx.proto. Imports nothing.

/** Numbers of TensorProto.DataType. */
const elementTypes = { f32: 1, i32: 6, i64: 7 } as const;
export type OnnxType = keyof typeof elementTypes;

export interface OnnxValue {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type?: OnnxType;
}

export interface OnnxConstant extends OnnxValue {
  readonly data: Float32Array | Int32Array | BigInt64Array;
}

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ints?: Readonly<Record<string, number | readonly number[]>>;
  readonly floats?: Readonly<Record<string, number>>;
  readonly strings?: Readonly<Record<string, string>>;
}

export interface OnnxGraph {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants?: readonly OnnxConstant[];
  readonly nodes: readonly OnnxNode[];
}

// Protobuf wire types.
const varint = 0;
const lengthDelimited = 2;
const fixed32 = 5;

const opsetVersion = 21;
const irVersion = 10;

/** One message under construction: fields are appended in order. */
class Message {
  private readonly parts: Uint8Array[] = [];

  /** Seven bits a byte, the lowest first; a negative number as the 64 bits of its two's complement. */
  private number(value: number): void {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    bytes.push(Number(rest));
    this.parts.push(Uint8Array.from(bytes));
  }

  /** An integer. */
  int(field: number, value: number): this {
    this.number((field << 3) | varint);
    this.number(value);
    return this;
  }

  float(field: number, value: number): this {
    this.number((field << 3) | fixed32);
    this.parts.push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.number((field << 3) | lengthDelimited);
    this.number(value.byteLength);
    this.parts.push(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

function valueInfo({ name, shape, type = "f32" }: OnnxValue): Message {
  const dims = new Message();
  for (const size of shape) dims.message(1, new Message().int(1, size));
  const tensorType = new Message().int(1, elementTypes[type]).message(2, dims);
  return new Message().text(1, name).message(2, new Message().message(1, tensorType));
}

function constant({ name, shape, type = "f32", data }: OnnxConstant): Message {
  const message = new Message();
  for (const size of shape) message.int(1, size);
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message.int(2, elementTypes[type]).text(8, name).bytes(9, raw);
}

// AttributeProto.type: FLOAT 1, INT 2, STRING 3, INTS 7.
function nodeMessage({ op, inputs, outputs, ints = {}, floats = {}, strings = {} }: OnnxNode): Message {
  const node = new Message();
  for (const name of inputs) node.text(1, name);
  for (const name of outputs) node.text(2, name);
  node.text(4, op);
  for (const [name, value] of Object.entries(ints)) {
    const attribute = new Message().text(1, name);
    if (typeof value === "number") attribute.int(3, value).int(20, 2);
    else {
      for (const item of value) attribute.int(8, item);
      attribute.int(20, 7);
    }
    node.message(5, attribute);
  }
  for (const [name, value] of Object.entries(floats)) {
    node.message(5, new Message().text(1, name).float(2, value).int(20, 1));
  }
  for (const [name, value] of Object.entries(strings)) {
    node.message(5, new Message().text(1, name).text(4, value).int(20, 3));
  }
  return node;
}

/** The bytes of a model file that holds one graph. */
export function onnxModel(graph: OnnxGraph): Uint8Array {
  const message = new Message();
  for (const node of graph.nodes) message.message(1, nodeMessage(node));
  message.text(2, "benchmark");
  for (const value of graph.constants ?? []) message.message(5, constant(value));
  for (const value of graph.inputs) message.message(11, valueInfo(value));
  for (const value of graph.outputs) message.message(12, valueInfo(value));
  const opset = new Message().text(1, "").int(2, opsetVersion);
  return new Message().int(1, irVersion).text(2, "figment").message(7, message).message(8, opset).finish();
}
