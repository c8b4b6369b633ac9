// What writers of files are given: tensors, or bytes of any file type, whose contents are asked for when their turn comes.

import { checkObject, type DataArray, type DType } from "@figment/tensor";
import { encodeElements } from "./encode.js";
import { type FileType, fileTypeOf } from "./types.js";

/** A tensor to be written: its shape and type now, its data when its turn comes. */
export interface TensorToWrite {
  readonly shape: readonly number[];
  readonly dtype: DType;
  data(): Promise<DataArray>;
  /** The elements of a bf16 or f16 tensor; without it they are taken from `data`, all NaNs alike. */
  bits?(): Promise<Uint16Array>;
}

/** A tensor of any file type to be written: its little-endian bytes when its turn comes. */
export interface BytesToWrite {
  readonly shape: readonly number[];
  readonly type: FileType;
  bytes(): Promise<Uint8Array>;
}

/** A tensor as bytes of the file type of its tensor type. */
export const asBytes = (source: TensorToWrite): BytesToWrite => ({
  shape: checkObject("saving tensors", "a tensor", source, "shape", "dtype").shape,
  type: fileTypeOf[source.dtype],
  bytes: async () => {
    const half = source.dtype === "bf16" || source.dtype === "f16";
    if (half && source.bits) return new Uint8Array((await source.bits()).buffer);
    return encodeElements(await source.data(), source.dtype);
  },
});
