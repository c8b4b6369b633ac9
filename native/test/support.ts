// What the native tests share: the binding, seeded random numbers, short ways to make and read buffers, and
// the check that a call throws a typed error.

import { loadBinding, type NativeBinding } from "@figment/native";
import { expect } from "vitest";

export const native: NativeBinding = loadBinding();

/** The CPU's device number. */
export const cpu = 0;

/** Gives numbers in [0, 1). */
export type Random = () => number;

export const pick = <T>(next: Random, items: readonly T[]): T => items[Math.floor(next() * items.length)]!;
export const whole = (next: Random, below: number): number => Math.floor(next() * below);

/** A small seeded generator (mulberry32) of numbers in [0, 1). */
export function random(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomFloats(next: () => number, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => next() * 4 - 2);
}

/** A buffer that holds these values. */
export function buffer(data: ArrayBufferView): number {
  const handle = native.allocate(cpu, data.byteLength);
  native.write(handle, 0, data);
  return handle;
}

export const floatsOf = async (handle: number): Promise<Float32Array> =>
  new Float32Array(await native.read(handle, 0, native.byteLength(handle)));

/** Runs a program and answers its outputs. */
export function run(program: number, inputs: readonly number[], outputCount = 1, binding = 0, cancel = 0): number[] {
  const outputs = new Float64Array(outputCount);
  native.run(program, binding, Float64Array.from(inputs), outputs, cancel);
  return [...outputs];
}

/** What every native error looks like. */
export const isNativeError = (error: unknown): error is Error & { code: string } =>
  error instanceof Error &&
  typeof (error as { code?: unknown }).code === "string" &&
  isTyped((error as { code?: unknown }).code);

const isTyped = (code: unknown): boolean => typeof code === "string" && code.startsWith("ERR_FIGMENT_");

/** Expects a thrown native error with this code, and a message like this one. */
export function expectError(call: () => unknown, code: string, message: RegExp = /./): void {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code });
  expect((thrown as Error).message).toMatch(message);
}

export async function expectRejection(promise: Promise<unknown>, code: string, message: RegExp = /./): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code });
  expect((error as Error).message).toMatch(message);
}

/** Releases a buffer that a fuzzed call may have replaced by nonsense. */
export function release(handle: number): void {
  try {
    native.release(handle);
  } catch (error) {
    if (!isNativeError(error)) throw error;
  }
}
