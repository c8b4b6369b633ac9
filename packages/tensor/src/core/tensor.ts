// The tensor: an immutable value, either held in device memory or standing for a value in a graph
// that is being traced. Methods for every op are attached by methods.ts.

import { bytesOf, type DataArray, type DType, decode, isHalf } from "../dtype.js";
import { DeviceError, DTypeError, ShapeError, UsageError } from "../errors.js";
import type { Value } from "../ir/graph.js";
import {
  computed,
  download,
  downloadSync,
  type InlineNumber,
  inlineBytes,
  type Operand,
  type Storage,
  upload,
} from "../runtime/device.js";
import { currentDevice, type Device, deviceName } from "../runtime/devices.js";
import { listedBytes } from "../runtime/live.js";
import { type Shape, show, showShape, sizeOf } from "../shape.js";
import { formatNested, nest } from "./format.js";
import type { TensorMethods } from "./methods.js";
import { unwatch, watch } from "./reclaim.js";
import { own } from "./scope.js";
import { follow } from "./tape.js";
import type { Trace } from "./trace.js";

/** Nested arrays of numbers, as deep as the tensor has dimensions. */
export type NestedArray = number | NestedArray[];

/** A tuple of N numbers. */
export type NumberTuple<N extends number, T extends number[] = []> = number extends N
  ? number[]
  : T["length"] extends N
    ? T
    : NumberTuple<N, [...T, number]>;

/**
 * What fills a tensor: memory, a number that travels with calls (and has memory where a program captured it), or a value of
 * the trace that it belongs to.
 */
type Body =
  | { readonly storage: Storage }
  | { readonly inline: InlineNumber; readonly memory?: Storage }
  | { readonly trace: Trace; readonly value: Value };

// Interface merging gives the class the methods that methods.ts installs on its prototype.
export interface Tensor extends TensorMethods {}

/**
 * An n-dimensional array of one element type. Immutable: operations make new tensors. Memory is freed by
 * `dispose`, by the enclosing {@link scope}, or — as a safety net — by the garbage collector.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * const y = x.mul(2).add(x.transpose()); // [2, 2]
 * y.at(0, 1).itemSync(); // 7
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods are installed in methods.ts
export class Tensor {
  /** Extent of each dimension. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
  private body: Body | null;
  /** @internal Whether the garbage collector tells when this goes. */
  watched = false;
  /** @internal Of a constant: makes the same one on the current device. */
  remake: (() => Tensor) | undefined = undefined;

  /** @internal Use {@link tensor}, {@link zeros} and friends. */
  constructor(shape: Shape, dtype: DType, body: Body) {
    this.shape = shape;
    this.dtype = dtype;
    this.body = body;
    if ("trace" in body) return;
    if ("storage" in body) {
      if (body.storage.bytes >= listedBytes) body.storage.contents ??= { shape, dtype };
      watch(this, body.storage);
    }
    own(this);
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /**
   * Where the data lies: "cpu", or a GPU by its number, as in "cuda:0". A number made by {@link scalar} is on any device, and
   * names the one that tensors are made on now.
   */
  get device(): Device {
    const body = this.requireBody("device");
    return deviceName("storage" in body ? body.storage.device : currentDevice());
  }

  /** @internal The number of the device that the data lies on; undefined for what is on any, or not there yet. */
  get home(): number | undefined {
    const { body } = this;
    return body && "storage" in body ? body.storage.device : undefined;
  }

  /** @internal The memory that this holds, if it has some. */
  get memory(): Storage | undefined {
    const { body } = this;
    if (body === null || "trace" in body) return undefined;
    return "storage" in body ? body.storage : body.memory;
  }

  /** Whether the tensor has been disposed. */
  get disposed(): boolean {
    return this.body === null;
  }

  /** Whether this stands for a value of a function being traced, which has no data yet. */
  get traced(): boolean {
    return this.body !== null && "trace" in this.body;
  }

  /** The extent of dimension `i`, counted from the end when negative. */
  dim(i: number): number {
    const extent = this.shape.at(i);
    if (extent === undefined)
      throw new ShapeError(`dim: ${show(i)} is out of range for shape ${showShape(this.shape)}`);
    return extent;
  }

  /**
   * The shape as a tuple of known length.
   *
   * @throws ShapeError when the tensor has another number of dimensions.
   * @example
   * const [n, h, w, c] = zeros([2, 8, 8, 3]).dims(4);
   */
  dims<N extends number>(rank: N): NumberTuple<N> {
    if (this.rank !== rank) {
      throw new ShapeError(`dims: expected ${rank} dimensions, got shape ${showShape(this.shape)}`);
    }
    return [...this.shape] as NumberTuple<N>;
  }

  /**
   * The elements in row-major order, once the work queued before is done. The array is the caller's own: a Float32Array
   * for bf16 and f16, whose bits {@link bits} gives.
   */
  async data(): Promise<DataArray> {
    return decode(await this.bytes("data"), this.dtype);
  }

  /**
   * When the value has been computed; rejects with the error of the work that should have made it.
   *
   * @example
   * const product = rng(0).normal([64, 64]).matmul(ones([64, 64]));
   * await product.ready();
   */
  async ready(): Promise<void> {
    const operand = this.operand("ready");
    if (operand.handle !== 0) await computed(operand as Storage);
  }

  /** Like {@link data}, but blocks the thread until the data is there. */
  dataSync(): DataArray {
    return decode(this.bytesSync("dataSync"), this.dtype);
  }

  /**
   * The bits of the elements of a bf16 or f16 tensor, in row-major order.
   *
   * @throws DTypeError for another element type.
   * @example
   * const bits = await tensor([1, -2.5], { dtype: "bf16" }).bits();
   * bits[0]; // 16256
   */
  async bits(): Promise<Uint16Array> {
    this.requireHalf("bits");
    return new Uint16Array(await this.bytes("bits"));
  }

  /** Like {@link bits}, but blocks the thread until the data is there. */
  bitsSync(): Uint16Array {
    this.requireHalf("bitsSync");
    return new Uint16Array(this.bytesSync("bitsSync"));
  }

  /** The only element. */
  async item(): Promise<number> {
    this.requireOne("item");
    return (await this.data())[0] as number;
  }

  /** The only element; blocks the thread until it is there. */
  itemSync(): number {
    this.requireOne("itemSync");
    return this.dataSync()[0] as number;
  }

  /** The elements as nested arrays. */
  async array(): Promise<NestedArray> {
    return nest(await this.data(), this.shape);
  }

  /** Another handle to the same value, with a life of its own. Costs no copy. */
  clone(): Tensor {
    return follow(this);
  }

  /** @internal Another tensor object for the same memory or traced value, seen with another shape of equal size. */
  alias(shape: Shape = this.shape): Tensor {
    const body = this.requireBody("clone");
    if ("trace" in body) return new Tensor(shape, this.dtype, body);
    if ("inline" in body) return new Tensor(shape, this.dtype, { inline: body.inline });
    const alias = new Tensor(shape, this.dtype, { storage: body.storage.retain() });
    if (shape === this.shape) alias.remake = this.remake;
    return alias;
  }

  /** Frees the memory, unless other handles share it. Disposing twice is allowed. */
  dispose(): void {
    const body = this.body;
    if (body === null) return;
    if ("trace" in body) return;
    const { memory } = this;
    this.body = null;
    if (!memory) return;
    unwatch(this);
    memory.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The type and, for a tensor with data, its elements (read synchronously), long axes abbreviated. */
  toString(): string {
    const head = `Tensor ${this.dtype} ${showShape(this.shape)}`;
    if (this.body === null) return `${head} (disposed)`;
    if (this.traced) return `${head} (traced)`;
    return `${head}\n${formatNested(this.dataSync(), this.shape, this.dtype)}`;
  }

  /**
   * Text for text; a tensor is no number, so that `loss > 3` fails instead of being false.
   *
   * @throws UsageError when JavaScript wants a number.
   */
  [Symbol.toPrimitive](hint: string): string {
    if (hint !== "number") return this.toString();
    throw new UsageError(
      `a tensor (${this.dtype} ${showShape(this.shape)}) is no JavaScript number: use operations (x.gt(3), x.mul(2), select), or read it with await x.item()`,
    );
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** @internal The memory of a concrete tensor; a number gets some on the device. `op` names who asks. */
  storage(op: string, device: number = currentDevice()): Storage {
    const operand = this.operand(op);
    if (operand.handle !== 0) return operand as Storage;
    const body = this.body as { readonly inline: InlineNumber; readonly memory?: Storage };
    if (body.memory?.device === device) return body.memory;
    unwatch(this);
    body.memory?.release();
    const memory = upload(new Uint8Array(inlineBytes(body.inline, bytesOf[this.dtype])), device);
    this.body = { inline: body.inline, memory };
    watch(this, memory);
    return memory;
  }

  /** @internal What a call works on; `op` names who asks. */
  operand(op: string): Operand {
    const body = this.requireBody(op);
    if ("trace" in body) {
      throw new UsageError(
        `${op}: this tensor (${this.dtype} ${showShape(this.shape)}) stands for a value inside a compiled function and has no data while it is traced; return it from the function and read it there`,
      );
    }
    return "storage" in body ? body.storage : body.inline;
  }

  /** @internal The graph value, if this is a traced tensor. */
  tracedValue(op: string): { readonly trace: Trace; readonly value: Value } | null {
    const body = this.requireBody(op);
    return "trace" in body ? body : null;
  }

  private async bytes(op: string): Promise<ArrayBuffer> {
    const [operand, bytes] = [this.operand(op), this.size * bytesOf[this.dtype]];
    return operand.handle === 0 ? inlineBytes(operand as InlineNumber, bytes) : download(operand as Storage, 0, bytes);
  }

  private bytesSync(op: string): ArrayBuffer {
    const [operand, bytes] = [this.operand(op), this.size * bytesOf[this.dtype]];
    return operand.handle === 0
      ? inlineBytes(operand as InlineNumber, bytes)
      : downloadSync(operand as Storage, 0, bytes);
  }

  private requireBody(op: string): Body {
    if (this.body === null) {
      throw new DeviceError(`${op}: the tensor (${this.dtype} ${showShape(this.shape)}) has been disposed`, {
        code: "ERR_FIGMENT_DISPOSED",
      });
    }
    return this.body;
  }

  private requireHalf(op: string): void {
    if (isHalf(this.dtype)) return;
    throw new DTypeError(`${op}: the tensor is ${this.dtype}; only bf16 and f16 are read as bits: use data()`);
  }

  private requireOne(op: string): void {
    if (this.size !== 1) {
      throw new ShapeError(`${op}: expected a tensor of one element, got shape ${showShape(this.shape)}; use data()`);
    }
  }
}
