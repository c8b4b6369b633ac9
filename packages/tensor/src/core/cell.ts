// Cells: the only things that change. A parameter, a moment, a running mean, a random stream is a cell.
// Its memory keeps its address, so compiled programs are bound to it once.

import { checkDType, type DataArray, type DType, encode } from "../dtype.js";
import { DeviceError, ShapeError, UsageError } from "../errors.js";
import { currentDevice, type Operand, Storage, upload } from "../runtime/device.js";
import { type Device, deviceName, deviceNumber } from "../runtime/devices.js";
import { copyInto, copyOf } from "../runtime/eager.js";
import { checkShape, type Shape, sameShape, showShape, sizeOf } from "../shape.js";
import { readThrough, writeThrough } from "./cellOverlay.js";
import { tapeDepth } from "./tape.js";
import { Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";

/** What a cell holds. */
export interface CellOptions {
  readonly shape: Shape;
  /** Default "f32". */
  readonly dtype?: DType;
  /** Shown in messages. */
  readonly name?: string;
  /** Contents to start from, computed when first needed; without it the cell has no value until `set`. */
  readonly initial?: () => ArrayLike<number>;
  /** A cell whose device this one is on, and follows when that one moves; as the state of an optimiser does a parameter. */
  readonly beside?: Cell;
}

/** How many cells share their memory with tensors now. */
let lentCells = 0;
/** How often cells have changed their device: what is remembered of where they lay holds until the next time. */
let moves = 0;

/** Equal at two times between which no cell has changed its device. */
export const cellMoves = (): number => moves;

/** Whether some cell shares its memory with a tensor: if none does, none needs a look before it is written. */
export const anyCellIsLent = (): boolean => lentCells > 0;

/** The safety net for cells that nobody disposes. */
const registry = new FinalizationRegistry<Storage>((memory) => {
  memory.release();
});

/** An ordered bundle of cells with a structure that clones share, so that compiled programs fit all of them. */
export interface CellTree {
  /** Equal for bundles whose cells correspond one to one in shape, type and use. */
  readonly structure: string;
  /** Modes that the code reading the cells depends on (training or evaluation); part of a call's signature. */
  readonly modes?: string;
  cells(): readonly Cell[];
  /**
   * An object that stays the same as long as structure, modes and cells do. Without it, every call of a compiled function
   * looks at all of them.
   */
  identity?(): object;
}

/**
 * A place that holds one tensor value and can be overwritten. Outside compiled functions reading gives a
 * tensor and writing copies; inside, reading makes an input and writing a donated output.
 *
 * A tensor read from a cell never changes: before the cell is overwritten the old contents are moved away.
 *
 * A cell's memory is made with its first value: on the device of the tensor that is stored, or of the compiled function that
 * reads its initial contents, else on the one that tensors are made on at that time. It stays there until {@link to}; values
 * from other devices are copied over.
 *
 * @example
 * const weight = new Cell({ shape: [2] });
 * weight.set(tensor([1, 2]));
 * weight.set(weight.value.mul(3));
 * weight.value.at(1); // 6
 */
export class Cell {
  readonly shape: Shape;
  readonly dtype: DType;
  private label: string;
  private readonly initial: (() => ArrayLike<number>) | undefined;
  private readonly beside: Cell | undefined;
  private memory: Storage | null = null;
  private lent: Storage | null = null;
  private disposed = false;
  /** The device that its memory has been on. */
  private lastHome: number | undefined;
  private tapedRead: WeakRef<Tensor> | undefined;

  constructor({ shape, dtype = "f32", name = "cell", initial, beside }: CellOptions) {
    checkShape(name, shape);
    checkDType(name, dtype);
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.label = name;
    this.initial = initial;
    this.beside = beside;
  }

  /** What messages call it: the name that it was made with, or its path in the module that initialised it. */
  get name(): string {
    return this.label;
  }

  /** @internal Takes the name that the owner knows it by. */
  rename(name: string): void {
    this.label = name;
    if (this.memory) this.memory.contents = { shape: this.shape, dtype: this.dtype, name };
  }

  /** Whether the cell holds a value (one with initial contents does until it is disposed). */
  get allocated(): boolean {
    return this.memory !== null || (this.initial !== undefined && !this.disposed);
  }

  /** Where its value lies; for a cell without memory yet, where it would be made now. */
  get device(): Device {
    return deviceName(this.home ?? currentDevice());
  }

  /** @internal The number of the device that the cell is bound to; undefined while it could be made on any. */
  get home(): number | undefined {
    return this.beside?.home ?? this.memory?.device;
  }

  /**
   * Moves the cell to another device. Tensors that were read from it stay where they are.
   *
   * @throws UsageError for what names no device, and for a cell that follows another; DeviceError, with the reason, for a
   *   device that cannot be used.
   * @example
   * const weight = new Cell({ shape: [2], initial: () => [1, 2] });
   * weight.to("cpu").device; // "cpu"
   */
  to(device: Device): this {
    const target = deviceNumber("to", device);
    if (currentTrace()) throw new UsageError(`${this.name}: a cell cannot be moved inside a compiled function`);
    if (this.beside) throw new UsageError(`${this.name}: it lies where ${this.beside.name} does; move that cell`);
    if (this.allocated) this.move(this.requireMemory(target), target);
    return this;
  }

  private move(memory: Storage, device: number): Storage {
    if (memory.device === device) return memory;
    const moved = copyOf(this, memory, device);
    this.dispose();
    return this.hold(moved);
  }

  /**
   * The current value. Outside compiled functions the caller owns the handle (or a scope does); it shares
   * the cell's memory until the cell is overwritten.
   *
   * @throws UsageError when the cell has no value yet, DeviceError when it has been disposed.
   */
  get value(): Tensor {
    return readThrough(this, () => this.read());
  }

  private read(): Tensor {
    const trace = currentTrace();
    if (trace) return trace.readCell(this);
    // A tape must meet the same tensor at every read, or it could not tell that they are one parameter.
    const known = tapeDepth() > 0 ? this.tapedRead?.deref() : undefined;
    if (known && !known.disposed) return known;
    if (this.beside) this.requireMemory();
    if (this.lent) this.lent.retain();
    else this.lent = this.lend();
    const tensor = new Tensor(this.shape, this.dtype, { storage: this.lent });
    if (tapeDepth() > 0) this.tapedRead = new WeakRef(tensor);
    return tensor;
  }

  /**
   * Stores a value. No derivative flows through the cell.
   *
   * @throws ShapeError when shape or dtype differ from the cell's.
   */
  set(tensor: Tensor): void {
    if (!sameShape(tensor.shape, this.shape) || tensor.dtype !== this.dtype) {
      throw new ShapeError(
        `${this.name}: the cell holds ${this.dtype} ${showShape(this.shape)}, got ${tensor.dtype} ${showShape(tensor.shape)}`,
      );
    }
    writeThrough(this, tensor, () => this.write(tensor));
  }

  private write(tensor: Tensor): void {
    const trace = currentTrace();
    if (trace) {
      trace.writeCell(this, tensor);
      return;
    }
    const operand = tensor.operand("set");
    if (this.memory === null) {
      this.hold(copyOf(tensor, operand, this.beside?.home ?? placeOf(operand)));
      return;
    }
    this.beforeWrite();
    copyInto(tensor, operand, this.requireMemory());
  }

  /** Stores data from JavaScript, given in row-major order. */
  setData(data: ArrayLike<number>): void {
    if (data.length !== sizeOf(this.shape)) {
      throw new ShapeError(
        `${this.name}: expected ${sizeOf(this.shape)} numbers for shape ${showShape(this.shape)}, got ${data.length}`,
      );
    }
    const storage = upload(encode(data, this.dtype), this.home);
    const tensor = new Tensor(this.shape, this.dtype, { storage });
    this.set(tensor);
    tensor.dispose();
  }

  /** @internal Throws, as reading would, where the cell has no value. */
  requireValue(): void {
    if (this.memory === null) this.requireInitial();
  }

  /** @internal The memory, for binding; it stays the same until `to` and `dispose`. Made on `device` if it is not bound to one. */
  storage(device: number): Storage {
    return this.requireMemory(device);
  }

  /** @internal Moves the contents away from under tensors that were read from this cell. */
  beforeWrite(): void {
    const { lent } = this;
    if (!lent) return;
    const memory = this.memory as Storage;
    const moved = copyOf(this, memory, memory.device);
    moved.contents = { shape: this.shape, dtype: this.dtype };
    lent.moveTo(moved);
    this.takeBack();
    this.tapedRead = undefined;
  }

  /** Frees the memory. Tensors read before keep their contents; reading the cell is an error until something is stored again. */
  dispose(): void {
    this.disposed = true;
    if (this.memory === null) return;
    this.beforeWrite();
    registry.unregister(this);
    this.memory.release();
    this.memory = null;
  }

  private hold(memory: Storage): Storage {
    if (this.lastHome !== undefined && this.lastHome !== memory.device) moves++;
    this.lastHome = memory.device;
    this.memory = memory;
    this.disposed = false;
    memory.contents = { shape: this.shape, dtype: this.dtype, name: this.label };
    registry.register(this, memory, this);
    return memory;
  }

  private lend(): Storage {
    const { handle, bytes, device } = this.requireMemory();
    const lent = new Storage(handle, bytes, device, () => {
      if (this.lent === lent) this.takeBack();
    });
    lentCells++;
    return lent;
  }

  private takeBack(): void {
    this.lent = null;
    lentCells--;
  }

  private requireMemory(device: number = currentDevice()): Storage {
    const where = this.beside?.home;
    if (this.memory !== null)
      return where === undefined || where === this.memory.device ? this.memory : this.move(this.memory, where);
    const initial = this.requireInitial();
    return this.hold(upload(encode(initial(), this.dtype), where ?? device));
  }

  private requireInitial(): () => ArrayLike<number> {
    if (this.disposed) throw new DeviceError(`${this.name} has been disposed`, { code: "ERR_FIGMENT_DISPOSED" });
    if (!this.initial) {
      throw new UsageError(`${this.name} has no value yet: call init(rng) on its module, load weights, or set it`);
    }
    return this.initial;
  }
}

/** The device that a value is on, numbers being anywhere. */
const placeOf = (operand: Operand): number => (operand.handle === 0 ? currentDevice() : (operand as Storage).device);

/**
 * Reads several cells at once as typed arrays, in queue order.
 *
 * @example
 * const count = new Cell({ shape: [1], initial: () => [7] });
 * const [values] = await readCells([count]);
 * values[0]; // 7
 */
export async function readCells(cells: readonly Cell[]): Promise<DataArray[]> {
  const tensors = cells.map((cell) => cell.value);
  try {
    return await Promise.all(tensors.map((tensor) => tensor.data()));
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}
