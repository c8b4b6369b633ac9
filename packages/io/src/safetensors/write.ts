// Writing safetensors files: atomically, and with bytes that depend on the contents alone.

import { checkObject, show, sizeOf, type Tensor, UsageError } from "@figment/tensor";
import { asBytes, type BytesToWrite, type TensorToWrite } from "../elements/toWrite.js";
import { bytesOfElements } from "../elements/types.js";
import { writeAtomically } from "../files/atomic.js";
import { checkPath } from "../files/checkPath.js";
import { crc32 } from "../files/crc32.js";
import { checksumText, checksumToCome, placeOfChecksum } from "./checksum.js";
import { lengthBytes } from "./header.js";

/**
 * Writes tensors to a safetensors file atomically. Order and bytes of the file depend on names, contents and
 * metadata only. Data is read tensor by tensor, so that one at a time is in JavaScript's memory; the
 * tensors must not be disposed before the promise resolves.
 *
 * @param metadata strings to keep in the header.
 * @throws UsageError for metadata that are no strings; DataError when the file cannot be written.
 * @example
 * await saveTensors("layer.safetensors", { weight, bias }, { trainedOn: "digits" });
 */
export async function saveTensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  checkPath("saveTensors", "path", path);
  await writeTensors(path, new Map(Object.entries(checkObject("saveTensors", "tensors", tensors))), metadata);
}

/** Like {@link saveTensors}, for anything that can say its shape, type and data. */
export function writeTensors(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  return writeBytes(path, new Map([...tensors].map(([name, source]) => [name, asBytes(source)])), metadata);
}

/** Like {@link saveTensors}, for bytes of any file type. */
export async function writeBytes(
  path: string,
  tensors: ReadonlyMap<string, BytesToWrite>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const layout = layOut(tensors);
  const header = encodeHeader(layout, metadata);
  const place = placeOfChecksum(header, checksumToCome);
  await writeAtomically(path, async (write) => {
    await write(header);
    let sum = place === undefined ? 0 : crc32(header);
    for (const { source, bytes } of layout) {
      const data = await source.bytes();
      if (data.byteLength !== bytes) throw new Error(`a tensor of ${bytes} bytes gave ${data.byteLength}`);
      await write(data);
      if (place !== undefined) sum = crc32(data, sum);
    }
    if (place !== undefined) await write(new TextEncoder().encode(checksumText(sum)), place);
  });
}

interface Placed {
  readonly name: string;
  readonly source: BytesToWrite;
  readonly begin: number;
  readonly bytes: number;
}

/** Widest elements first, so that every tensor is aligned to its elements; then by name. */
function layOut(tensors: ReadonlyMap<string, BytesToWrite>): Placed[] {
  const itemBytes = ({ type }: BytesToWrite) => bytesOfElements(type, 1);
  const ordered = [...tensors].sort(
    ([nameA, a], [nameB, b]) => itemBytes(b) - itemBytes(a) || (nameA < nameB ? -1 : 1),
  );
  let begin = 0;
  return ordered.map(([name, source]) => {
    const bytes = bytesOfElements(source.type, sizeOf(source.shape));
    const placed = { name, source, begin, bytes };
    begin += bytes;
    return placed;
  });
}

function encodeHeader(layout: readonly Placed[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const members: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    for (const key of keys)
      if (typeof metadata[key] !== "string")
        throw new UsageError(
          `saveTensors: the metadata ${JSON.stringify(key)} must be a string, got ${show(metadata[key])}`,
        );
    const strings = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    members.push(`"__metadata__":{${strings.join(",")}}`);
  }
  for (const { name, source, begin, bytes } of layout) {
    if (name === "__metadata__") throw new UsageError('saveTensors: "__metadata__" cannot be the name of a tensor');
    const shape = source.shape.join(",");
    members.push(
      `${JSON.stringify(name)}:{"dtype":"${source.type}","shape":[${shape}],"data_offsets":[${begin},${begin + bytes}]}`,
    );
  }
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  // Spaces at the end keep the data aligned to 8 bytes.
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const header = new Uint8Array(lengthBytes + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, lengthBytes);
  return header;
}
