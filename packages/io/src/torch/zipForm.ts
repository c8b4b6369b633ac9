// The form of PyTorch 1.6 and later: a zip archive with <root>/data.pkl and one member for each storage, <root>/data/<key>.

import type { FileType } from "../elements/types.js";
import type { ByteFile } from "../files/byteFile.js";
import { ZipArchive, type ZipEntry } from "../files/zip.js";
import { PickleError } from "../pickle/cursor.js";
import { unpickle } from "../pickle/machine.js";
import { brief, type PickleValue } from "../pickle/values.js";
import { TorchHost, type UnknownObjects } from "./host.js";
import { maxPickleBytes } from "./legacyForm.js";
import { checkSame, type Storage } from "./storage.js";

const pickleName = "data.pkl";

/** Reads the object of a zip archive; its storages stay in the file. */
export async function readZipForm(file: ByteFile, objects: UnknownObjects): Promise<PickleValue> {
  const archive = await ZipArchive.open(file);
  const { root, entry } = findPickle(file, archive);
  await checkByteOrder(file, archive, root);
  if (entry.bytes > maxPickleBytes)
    throw file.error(`${entry.name} has ${entry.bytes} bytes; at most ${maxPickleBytes} are read`);
  const host = new TorchHost(objects, storageFinder(archive, root), (message, cause) => file.error(message, cause));
  try {
    return unpickle(await archive.read(entry), 0, host).value;
  } catch (error) {
    if (!(error instanceof PickleError)) throw error;
    throw file.error(`${entry.name}, byte ${error.at}: ${error.message}`, error);
  }
}

/** The one member named data.pkl, and the folder that it lies in. */
function findPickle(file: ByteFile, archive: ZipArchive): { root: string; entry: ZipEntry } {
  const found = [...archive.entries.values()].filter(({ name }) => name.endsWith(`/${pickleName}`));
  const [entry] = found;
  if (!entry || found.length > 1) {
    throw file.error(`a PyTorch archive has one member <root>/${pickleName}, this zip archive has ${found.length}`);
  }
  return { root: entry.name.slice(0, -pickleName.length), entry };
}

async function checkByteOrder(file: ByteFile, archive: ZipArchive, root: string): Promise<void> {
  const entry = archive.entries.get(`${root}byteorder`);
  // Files from before there was such a member come from little-endian machines.
  if (!entry || entry.bytes > 16) return;
  const order = new TextDecoder().decode(await archive.read(entry)).trim();
  if (order !== "little") throw file.error(`the byte order is ${JSON.stringify(order)}; little-endian files are read`);
}

function storageFinder(archive: ZipArchive, root: string) {
  const found = new Map<string, Storage>();
  return (id: readonly PickleValue[], type: FileType, byteLength: number, at: number): Storage => {
    const key = brief(id[2]);
    const known = found.get(key);
    if (known) {
      checkSame(known, type, byteLength, at);
      return known;
    }
    const entry = archive.entries.get(`${root}data/${key}`);
    if (!entry) throw new PickleError(at, `the archive has no member ${JSON.stringify(`${root}data/${key}`)}`);
    if (entry.bytes < byteLength) {
      throw new PickleError(
        at,
        `the storage ${JSON.stringify(key)} takes ${byteLength} bytes, its member has ${entry.bytes}`,
      );
    }
    const read = (begin: number, end: number) => archive.readRange(entry, begin, end);
    const storage = { key, type, byteLength, read };
    found.set(key, storage);
    return storage;
  };
}
