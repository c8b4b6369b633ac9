// Reads the golden vectors that golden/record.py recorded from PyTorch, and compares tensors with them.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "@figment/tensor";
import { expect } from "vitest";

interface Entry {
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const folder = new URL("./golden/", import.meta.url);
const file = readFileSync(new URL("golden.safetensors", folder));
const headerBytes = Number(file.readBigUInt64LE(0));
const { __metadata__: metadata, ...entries } = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Record<
  string,
  Entry
> & { readonly __metadata__: Readonly<Record<"torch" | "script_sha256" | "seed", string>> };

/** Where the vectors came from. */
export { metadata };

/** The hash of the script as it is now. */
export const scriptHash = (): string =>
  createHash("sha256")
    .update(readFileSync(new URL("record.py", folder)))
    .digest("hex");

/** The names of the cases below a prefix, such as those of "conv2d". */
export const casesOf = (prefix: string): string[] => [
  ...new Set(
    Object.keys(entries)
      .filter((key) => key.startsWith(`${prefix}/`))
      .map((key) => key.slice(prefix.length + 1).split("/")[0] as string),
  ),
];

/** The names of the tensors of a case. */
export const namesOf = (name: string): string[] =>
  Object.keys(entries)
    .filter((key) => key.startsWith(`${name}/`))
    .map((key) => key.slice(name.length + 1));

/** The recorded tensor; the caller's own. */
export function golden(key: string): Tensor {
  const { array, shape } = read(key);
  return tensor(array, { shape });
}

/** The recorded numbers. */
export const numbers = (key: string): number[] => [...read(key).array];

function read(key: string): { array: Float32Array | Int32Array; shape: readonly number[] } {
  const entry = entries[key];
  if (!entry) throw new Error(`no golden tensor named ${key}`);
  const [from, to] = entry.data_offsets;
  const bytes = file.buffer.slice(file.byteOffset + 8 + headerBytes + from, file.byteOffset + 8 + headerBytes + to);
  return { array: entry.dtype === "I32" ? new Int32Array(bytes) : new Float32Array(bytes), shape: entry.shape };
}

/**
 * Largest error, relative to the norm of what is expected (absolute where that is below 1: some derivatives are zero
 * but for rounding), that rounding explains in these small cases.
 */
const tolerance = 1e-5;

/** Expects a tensor to be the recorded one but for rounding: shape, and distance relative to the norm. */
export function expectGolden(actual: Tensor, key: string): void {
  const { array, shape } = read(key);
  expect(actual.shape, `shape of ${key}`).toEqual(shape);
  const data = actual.dataSync();
  const distance = Math.hypot(...array.map((x, i) => x - (data[i] as number)));
  expect(distance / Math.max(1, Math.hypot(...array)), `relative distance from ${key}`).toBeLessThan(tolerance);
}
