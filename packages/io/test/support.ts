// What the tests of this package share: temporary folders, seeded numbers, files made by hand.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { CounterRandom } from "#data/counterRandom";

/** A folder that is gone when the test is over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "figment-io-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Random numbers from a seed that is printed, so that a failure can be repeated. */
export function seeded(seed: number): CounterRandom {
  console.info(`seed ${seed}`);
  return new CounterRandom(seed);
}

/** Numbers that are never all equal, in [-2, 2). */
export function randomFloats(count: number, random: CounterRandom): Float32Array {
  return Float32Array.from({ length: count }, () => random.uniform(-2, 2));
}

/** A safetensors file from its header (text or bytes) and data, with an honest length field unless one is given. */
export function safetensorsBytes(
  header: string | Uint8Array,
  data: Uint8Array = new Uint8Array(),
  length?: bigint,
): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.byteLength + data.byteLength);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.byteLength), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.byteLength);
  return bytes;
}

/** Writes bytes under a name in a temporary folder and gives the path. */
export async function temporaryFile(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, bytes);
  return path;
}
