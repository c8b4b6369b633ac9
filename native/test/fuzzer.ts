// Mutated programs: a program's bytes are changed in a few places, loaded and run. Anything but a typed error, or a
// result, fails; a crash would take the test's process with it.

import { buffer, isNativeError, native, pick, type Random, release, whole } from "./support.ts";

const longestMicros = 1e5;
/** Where the header holds the number of states. */
const stateCountAt = 32;

/** Changes a few bytes, words or lengths of a program. */
function mutate(next: Random, source: Uint8Array): Uint8Array {
  let bytes = source.slice();
  const edits = 1 + whole(next, 3);
  for (let e = 0; e < edits; e++) {
    const at = whole(next, bytes.length);
    const view = new DataView(bytes.buffer);
    const word = at - (at % 4);
    pick(next, [
      () => (bytes[at] = whole(next, 256)),
      () => (bytes[at]! ^= 1 << whole(next, 8)),
      () =>
        word + 4 <= bytes.length &&
        view.setUint32(word, pick(next, [0, 1, 2, 7, 8, 255, 0x7fffffff, 0x80000000, 0xffffffff]), true),
      () =>
        word + 8 <= bytes.length &&
        view.setBigInt64(word, pick(next, [0n, 1n, -1n, 3n, 64n, 1n << 31n, 1n << 46n, 1n << 62n, -(1n << 63n)]), true),
      () => (bytes = bytes.slice(0, whole(next, 20) === 0 ? at : bytes.length)),
      () => bytes.copyWithin(word, whole(next, bytes.length), word + 8),
    ])();
  }
  return bytes;
}

const typed = (error: unknown): void => {
  if (!isNativeError(error)) throw error;
};

/**
 * Loads and runs mutations of a program (the first is the program itself), two of three with `variant` where it can run;
 * counts how many got how far.
 */
export function fuzzProgram(
  next: Random,
  source: Uint8Array,
  rounds: number,
  variant?: string,
): { loaded: number; ran: number } {
  const states = new DataView(source.buffer, source.byteOffset).getUint32(stateCountAt, true);
  // Small whole numbers: valid as indices, denormal as floats. Larger than any operand of these programs, so that
  // mutations of sizes have room to run.
  const contents = (): Int32Array => Int32Array.from({ length: 1 << 15 }, () => whole(next, 5));
  const operands = Array.from({ length: 4 }, () => buffer(contents()));
  const state = buffer(contents());
  const inputs = Float64Array.from({ length: 32 }, (_, i) => operands[i % operands.length]!);
  const outputs = new Float64Array(32);
  const counts = { loaded: 0, ran: 0 };
  for (let i = 0; i < rounds; i++) {
    const mutated = i === 0 ? source : mutate(next, source);
    let program: number;
    try {
      program = native.loadProgram(mutated, i % 3 === 2 ? "reference" : variant);
    } catch (error) {
      typed(error);
      continue;
    }
    counts.loaded++;
    outputs.fill(0);
    let binding = 0;
    try {
      // A mutation may have made a small program long: one that would take seconds is not run.
      if (native.programInfo(program).predictedMicros < longestMicros) {
        if (states > 0) binding = native.bind(program, new Float64Array(states).fill(state));
        native.run(program, binding, inputs, outputs, 0);
        counts.ran++;
        native.settleSync();
      }
    } catch (error) {
      typed(error);
    }
    for (const output of outputs) if (output > 0) release(output);
    if (binding > 0) native.releaseBinding(binding);
    native.releaseProgram(program);
  }
  for (const handle of [...operands, state]) native.release(handle);
  return counts;
}
