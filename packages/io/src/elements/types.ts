// The element types of files of weights: their names and sizes, and the tensor types that they become.
// The names are those of safetensors (https://github.com/huggingface/safetensors#format); other formats are told in them too.

import type { DType } from "@figment/tensor";

/** Bits per element of every element type. */
const bitsOf = {
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F8_E8M0: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
  C64: 64,
  I64: 64,
  I32: 32,
  I16: 16,
  I8: 8,
  U64: 64,
  U32: 32,
  U16: 16,
  U8: 8,
  BOOL: 8,
} as const;

/** Element types that a file of weights may hold. */
export type FileType = keyof typeof bitsOf;

/** The names of all element types. */
export const fileTypes = Object.keys(bitsOf) as readonly FileType[];

/** Whether a string names an element type. */
export const isFileType = (name: string): name is FileType => Object.hasOwn(bitsOf, name);

/** Bytes that `count` elements take, packed; a fraction where they fill no whole bytes. */
export const bytesOfElements = (type: FileType, count: number): number => (count * bitsOf[type]) / 8;

/** The file type in which each tensor type is written. */
export const fileTypeOf: Readonly<Record<DType, FileType>> = {
  f32: "F32",
  f64: "F64",
  f16: "F16",
  bf16: "BF16",
  i32: "I32",
  u8: "U8",
  bool: "BOOL",
};

/** The tensor type into which each readable file type is loaded. 64-bit and unsigned integers must fit. */
export const tensorTypeOf: Readonly<Partial<Record<FileType, DType>>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  F8_E4M3: "f32",
  F8_E5M2: "f32",
  F8_E4M3FNUZ: "f32",
  F8_E5M2FNUZ: "f32",
  F8_E8M0: "f32",
  I64: "i32",
  I32: "i32",
  I16: "i32",
  I8: "i32",
  U64: "i32",
  U32: "i32",
  U16: "i32",
  U8: "u8",
  BOOL: "bool",
};
