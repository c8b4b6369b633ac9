// NumPy's arrays and numbers inside PyTorch files: best scores, statistics, class weights.

import { denseStrides, typeOfNumpy } from "../elements/numpy.js";
import type { FileType } from "../elements/types.js";
import { PickleError } from "../pickle/cursor.js";
import { brief, type Opaque, opaque, type PickleValue } from "../pickle/values.js";

/** A dtype while it is put together. */
export class NumpyDtype implements Opaque {
  readonly [opaque] = true;
  readonly type: FileType;

  constructor(args: readonly PickleValue[], at: number) {
    const code = args[0];
    const type = typeof code === "string" ? typeOfNumpy(code) : undefined;
    if (!type) throw new PickleError(at, `the NumPy dtype ${JSON.stringify(brief(code))}; numbers are read`);
    this.type = type;
  }

  /** The state is (version, byte order, …); only simple little-endian types are read. */
  build(state: PickleValue, at: number): void {
    const order = Array.isArray(state) ? state[1] : undefined;
    if (order !== "<" && order !== "|" && order !== "=") {
      throw new PickleError(
        at,
        `a NumPy dtype of byte order ${JSON.stringify(brief(order))}; little-endian ones are read`,
      );
    }
  }
}

/** The bytes of a string that has one character for each. */
export function bytesOfText(value: PickleValue | undefined, at: number): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const codes =
    typeof value === "string" ? Array.from(value, (character) => character.codePointAt(0) as number) : [256];
  if (codes.some((code) => code > 255)) throw new PickleError(at, "bytes are expected here");
  return Uint8Array.from(codes);
}

/** The parts of an array's state: (version, shape, dtype, column-major, bytes). */
export function numpyArray(
  state: PickleValue,
  at: number,
): { type: FileType; shape: number[]; strides: number[]; bytes: Uint8Array } {
  const [, shape, dtype, columnMajor, content] = Array.isArray(state) ? state : [];
  if (!Array.isArray(shape) || !shape.every((extent) => typeof extent === "number") || !(dtype instanceof NumpyDtype)) {
    throw new PickleError(at, "a NumPy array without shape and dtype");
  }
  const strides = denseStrides(shape as number[], columnMajor === true);
  return { type: dtype.type, shape: [...(shape as number[])], strides, bytes: bytesOfText(content, at) };
}
