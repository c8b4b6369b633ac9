// NumPy's names of element types: a kind and a size in bytes.

import type { FileType } from "./types.js";

const types: ReadonlyMap<string, FileType> = new Map([
  ["f8", "F64"],
  ["f4", "F32"],
  ["f2", "F16"],
  ["c8", "C64"],
  ["i8", "I64"],
  ["i4", "I32"],
  ["i2", "I16"],
  ["i1", "I8"],
  ["u8", "U64"],
  ["u4", "U32"],
  ["u2", "U16"],
  ["u1", "U8"],
  ["b1", "BOOL"],
]);

/** The element type that NumPy calls `code` ("f4"), or nothing for those that no file type has. */
export const typeOfNumpy = (code: string): FileType | undefined => types.get(code);

/** NumPy's name of an element type, or nothing for those that NumPy lacks. */
export function numpyOfType(type: FileType): string | undefined {
  for (const [code, known] of types) if (known === type) return code;
  return undefined;
}

/** The strides of an array in row-major or, as Fortran has it, column-major order. */
export function denseStrides(shape: readonly number[], columnMajor: boolean): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  let stride = 1;
  for (let i = 0; i < shape.length; i++) {
    const axis = columnMajor ? i : shape.length - 1 - i;
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  return strides;
}
