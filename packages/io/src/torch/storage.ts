// Where the elements of PyTorch's tensors lie: typed runs of memory that several tensors may look into.

import type { FileType } from "../elements/types.js";
import { PickleError } from "../pickle/cursor.js";

/** The element types of the storage classes that files may name. */
export const storageTypes: ReadonlyMap<string, FileType> = new Map([
  ["torch.DoubleStorage", "F64"],
  ["torch.FloatStorage", "F32"],
  ["torch.HalfStorage", "F16"],
  ["torch.BFloat16Storage", "BF16"],
  ["torch.LongStorage", "I64"],
  ["torch.IntStorage", "I32"],
  ["torch.ShortStorage", "I16"],
  ["torch.CharStorage", "I8"],
  ["torch.ByteStorage", "U8"],
  ["torch.BoolStorage", "BOOL"],
  ["torch.ComplexFloatStorage", "C64"],
  // Bytes: what lies in them is said by each tensor.
  ["torch.storage.UntypedStorage", "U8"],
]);

/** The element types of the dtypes that files may name. */
export const torchTypes: ReadonlyMap<string, FileType> = new Map([
  ["torch.float64", "F64"],
  ["torch.float32", "F32"],
  ["torch.float16", "F16"],
  ["torch.bfloat16", "BF16"],
  ["torch.float8_e4m3fn", "F8_E4M3"],
  ["torch.float8_e5m2", "F8_E5M2"],
  ["torch.float8_e4m3fnuz", "F8_E4M3FNUZ"],
  ["torch.float8_e5m2fnuz", "F8_E5M2FNUZ"],
  ["torch.float8_e8m0fnu", "F8_E8M0"],
  ["torch.complex64", "C64"],
  ["torch.int64", "I64"],
  ["torch.int32", "I32"],
  ["torch.int16", "I16"],
  ["torch.int8", "I8"],
  ["torch.uint64", "U64"],
  ["torch.uint32", "U32"],
  ["torch.uint16", "U16"],
  ["torch.uint8", "U8"],
  ["torch.bool", "BOOL"],
]);

/** Reads bytes `begin` to `end` of a storage, into memory of their own. */
export type ReadStorage = (begin: number, end: number) => Promise<ArrayBuffer>;

/** A run of memory in a file. */
export interface Storage {
  /** Its name in the file; tensors of one key share their elements. */
  readonly key: string;
  readonly type: FileType;
  readonly byteLength: number;
  readonly read: ReadStorage;
}

/** Refuses a storage that is spoken of again as another type or size. */
export function checkSame({ key, ...known }: Storage, type: FileType, byteLength: number, at: number): void {
  if (known.type !== type || known.byteLength !== byteLength)
    throw new PickleError(at, `the storage ${JSON.stringify(key)} is said to be of two types or sizes`);
}
