// The checksum of a file, in its metadata: what disks and transfers damage is noticed before anything goes on from it.
// It is known when the data have been written, so the header first holds a text of its length.

import { CheckpointError } from "@figment/tensor";
import { crc32 } from "../files/crc32.js";
import type { SafetensorsFile } from "./read.js";

/** The metadata key; its value is the CRC-32 of the file with {@link checksumToCome} in its place, in hexadecimal digits. */
export const checksumKey = "figment.checksum";
/** Metadata keys of what Figment writes with a checksum: one that has lost it, by a bit of its name, is damaged too. */
export const checkpointKey = "figment.checkpoint";
export const modelKey = "figment.model";
/** Asks a writer for the checksum, and keeps its place. */
export const checksumToCome = "????????";

/** A checksum as the metadata hold it. */
export const checksumText = (sum: number): string => sum.toString(16).padStart(checksumToCome.length, "0");

/** Where in a header the checksum `text` is; undefined where it is not. */
export function placeOfChecksum(header: Uint8Array, text: string): number | undefined {
  const member = `${JSON.stringify(checksumKey)}:"`;
  const at = Buffer.from(header.buffer).indexOf(`${member}${text}"`);
  return at < 0 ? undefined : at + member.length;
}

/** Throws CheckpointError where a file is not as it was written; files of others pass, which have no checksum. */
export async function checkBytes(file: SafetensorsFile): Promise<void> {
  const written = file.metadata.get(checksumKey);
  if (written === undefined) {
    const mark = [checkpointKey, modelKey].find((key) => file.metadata.has(key));
    if (mark === undefined) return;
    throw new CheckpointError(
      `${file.path}: it is damaged: the metadata have "${mark}", but no "${checksumKey}", which is written with it`,
    );
  }
  const header = await file.readHeader();
  const place = placeOfChecksum(header, written);
  if (place !== undefined) header.fill(checksumToCome.charCodeAt(0), place, place + checksumToCome.length);
  let sum = crc32(header);
  for (const name of file.tensors.keys()) sum = crc32(new Uint8Array(await file.readBytes(name)), sum);
  if (checksumText(sum) !== written)
    throw new CheckpointError(
      `${file.path}: it is damaged: its checksum is ${checksumText(sum)}, not ${written} as when it was written`,
    );
}
