// Reads golden vectors that Python scripts recorded from PyTorch, and compares tensors with them.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "@figment/tensor";
import { expect } from "vitest";

interface Entry {
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

type Metadata = Readonly<Record<"torch" | "script_sha256" | "seed", string>>;

/**
 * Largest error, relative to the norm of what is expected (absolute where that is below 1: some derivatives are zero
 * but for rounding), that rounding explains in these small cases.
 */
const tolerance = 1e-5;

/** A file of recorded tensors. */
export interface GoldenFile {
  /** Where the vectors came from. */
  readonly metadata: Metadata;
  /** The hash of the script as it is now. */
  scriptHash(): string;
  /** The names of the cases below a prefix, such as those of "conv2d"; of all cases without one. */
  cases(prefix?: string): string[];
  /** The names of the tensors of a case. */
  keys(name: string): string[];
  read(key: string): { array: Float32Array | Int32Array; shape: readonly number[] };
  /** The recorded tensor; the caller's own. */
  tensor(key: string): Tensor;
  /** Expects a tensor to be the recorded one but for rounding: shape, and distance relative to the norm. */
  expect(actual: Tensor, key: string): void;
}

/** Opens <name>.safetensors in a folder, which <name>.py beside it wrote. */
export function goldenFile(name: string, folder: URL): GoldenFile {
  const file = readFileSync(new URL(`${name}.safetensors`, folder));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    Entry
  > & { readonly __metadata__: Metadata };

  const below = (prefix: string): string[] =>
    Object.keys(entries).flatMap((key) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []));
  const read: GoldenFile["read"] = (key) => {
    const entry = entries[key];
    if (!entry) throw new Error(`no golden tensor named ${key}`);
    const [from, to] = entry.data_offsets;
    const bytes = file.buffer.slice(file.byteOffset + 8 + headerBytes + from, file.byteOffset + 8 + headerBytes + to);
    return { array: entry.dtype === "I32" ? new Int32Array(bytes) : new Float32Array(bytes), shape: entry.shape };
  };
  return {
    metadata,
    scriptHash: () =>
      createHash("sha256")
        .update(readFileSync(new URL(`${name}.py`, folder)))
        .digest("hex"),
    cases: (prefix) => [
      ...new Set(below(prefix === undefined ? "" : `${prefix}/`).map((key) => key.split("/")[0] as string)),
    ],
    keys: (name) => below(`${name}/`),
    read,
    tensor: (key) => {
      const { array, shape } = read(key);
      return tensor(array, { shape });
    },
    expect: (actual, key) => {
      const { array, shape } = read(key);
      expect(actual.shape, `shape of ${key}`).toEqual(shape);
      const data = actual.dataSync();
      const distance = Math.hypot(...array.map((x, i) => x - (data[i] as number)));
      expect(distance / Math.max(1, Math.hypot(...array)), `relative distance from ${key}`).toBeLessThan(tolerance);
    },
  };
}
