// The checksum of a file's data, in its metadata: what disks and transfers damage is noticed before anything goes on from it.
// It is known when the data have been written, so the header first holds a text of its length.

import { CheckpointError } from "@figment/tensor";
import { crc32 } from "../files/crc32.js";
import type { SafetensorsFile } from "./read.js";

/** The metadata key; its value is the CRC-32 of all tensors' bytes in their order, in hexadecimal digits. */
export const checksumKey = "figment.crc32";
/** Asks a writer for the checksum, and keeps its place. */
export const checksumToCome = "????????";

/** A checksum as the metadata hold it. */
export const checksumText = (sum: number): string => sum.toString(16).padStart(checksumToCome.length, "0");

/** Where in a header the checksum goes; undefined where none was asked for. */
export function placeOfChecksum(header: Uint8Array, metadata: Readonly<Record<string, string>>): number | undefined {
  if (metadata[checksumKey] !== checksumToCome) return undefined;
  const member = `${JSON.stringify(checksumKey)}:"`;
  return Buffer.from(header.buffer).indexOf(`${member}${checksumToCome}"`) + member.length;
}

/** Throws CheckpointError where the data of a file are not those that were written; files without a checksum pass. */
export async function checkData(file: SafetensorsFile): Promise<void> {
  const written = file.metadata.get(checksumKey);
  if (written === undefined) return;
  let sum = 0;
  for (const name of file.tensors.keys()) sum = crc32(new Uint8Array(await file.readBytes(name)), sum);
  if (checksumText(sum) !== written)
    throw new CheckpointError(
      `${file.path}: its data are damaged: their checksum is ${checksumText(sum)}, not ${written} as when they were written`,
    );
}
