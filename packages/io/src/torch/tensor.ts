// A tensor of a PyTorch file: a strided view of a storage, whose elements are read when they are asked for.

import type { DataArray, DType, FigmentError, Tensor } from "@figment/tensor";
import { decodeElements, ElementError, type ReadOptions, tensorOfBytes } from "../elements/decode.js";
import { gather, isContiguous, reach } from "../elements/strides.js";
import { bytesOfElements, type FileType, tensorTypeOf } from "../elements/types.js";
import { type Opaque, opaque } from "../pickle/values.js";
import type { Storage } from "./storage.js";

/** The numbers of a view. */
export interface StridedView {
  readonly type: FileType;
  /** Elements of the view's type before the first one. */
  readonly offset: number;
  readonly shape: readonly number[];
  /** Elements from one index to the next, for each dimension. */
  readonly strides: readonly number[];
}

/**
 * A tensor in a PyTorch file. Nothing of it is in memory until it is read.
 *
 * @example
 * await using file = await readTorch("weights.pth");
 * const weight = await file.tensor("conv.weight").tensor(); // [2, 3]
 */
export class TorchTensor implements Opaque {
  readonly [opaque] = true;
  /** Its path from the root of the file, the first one if there are several. */
  readonly name: string;
  /** Element type in the file. */
  readonly type: FileType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** The storage's name in the file; tensors of one storage may share elements. */
  readonly storage: string;
  private readonly view: StridedView;
  private readonly source: Storage;
  private readonly errorOf: (message: string, cause?: unknown) => FigmentError;

  /** @internal The view lies in the storage; see `checkView`. */
  constructor(source: Storage, view: StridedView, errorOf: (message: string, cause?: unknown) => FigmentError) {
    this.name = `storage ${source.key}`;
    this.type = view.type;
    this.shape = view.shape;
    this.strides = view.strides;
    this.storage = source.key;
    this.view = view;
    this.source = source;
    this.errorOf = errorOf;
  }

  /** The tensor type that it is loaded as, or undefined where none can hold its elements. */
  get dtype(): DType | undefined {
    return tensorTypeOf[this.type];
  }

  /** Its elements in row-major order, as little-endian bytes of its type. */
  async bytes(): Promise<ArrayBuffer> {
    const { type, shape, strides, offset } = this.view;
    if (shape.includes(0)) return new ArrayBuffer(0);
    const begin = bytesOfElements(type, offset);
    const buffer = await this.source.read(begin, begin + bytesOfElements(type, reach(shape, strides)));
    return isContiguous(shape, strides) ? buffer : gather(buffer, bytesOfElements(type, 1), shape, strides);
  }

  /** Its elements; 16-bit and 8-bit floats come as f32, integers of other widths than u8 as i32. */
  async data(): Promise<DataArray> {
    return this.convert(await this.bytes(), (bytes) => decodeElements(bytes, this.type));
  }

  /**
   * Loads it. The caller owns the result.
   *
   * @throws CheckpointError when no tensor type holds its elements, or the file cannot be read.
   */
  async tensor(options: ReadOptions = {}): Promise<Tensor> {
    return this.convert(await this.bytes(), (bytes) => tensorOfBytes(bytes, this.type, this.shape, options));
  }

  private convert<T>(bytes: ArrayBuffer, decode: (bytes: ArrayBuffer) => T): T {
    try {
      return decode(bytes);
    } catch (error) {
      if (!(error instanceof ElementError)) throw error;
      throw this.errorOf(`tensor ${JSON.stringify(this.name)}: ${error.message}; bytes() gives its bytes`, error);
    }
  }
}

/** Names a tensor after its path. */
export function nameTensor(tensor: TorchTensor, name: string): void {
  (tensor as { name: string }).name = name;
}
