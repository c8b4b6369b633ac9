// The form of PyTorch 0.1.10 to 1.5: five pickles (magic number, version, machine, object, keys of the storages), then for each
// key an eight-byte count of elements and the elements.

import { bytesOfElements, type FileType } from "../elements/types.js";
import type { ByteFile } from "../files/byteFile.js";
import { PickleEndError, PickleError } from "../pickle/cursor.js";
import { type PickleHost, unpickle } from "../pickle/machine.js";
import { brief, type PickleValue } from "../pickle/values.js";
import { TorchHost, type UnknownObjects } from "./host.js";
import { checkSame, type Storage } from "./storage.js";

const magicNumber = 0x1950a86a20f9469cfc6cn;
const formatVersion = 1001;

/** Largest pickle that is read: that of a state dict of a million tensors. */
export const maxPickleBytes = 2 ** 28;

/** How much of the file is read at first; state dicts of a thousand tensors fit. */
const firstRead = 2 ** 20;

/** Bytes of the count before each storage. */
const countBytes = 8;

/** Whether a file may be of this form: a pickle of protocol 2 begins with an integer of ten bytes. */
export const isLegacyStart = (start: Uint8Array): boolean =>
  start[0] === 0x80 && start[1] === 2 && start[2] === 0x8a && start[3] === 10;

/** Reads the object; its storages stay in the file. */
export async function readLegacyForm(file: ByteFile, objects: UnknownObjects): Promise<PickleValue> {
  // How long the pickles are is known once they are read; where they run out of bytes, more are taken.
  for (let length = firstRead; ; length *= 2) {
    const bytes = new Uint8Array(await file.read(0, Math.min(length, file.size)));
    try {
      return await readPickles(file, bytes, objects);
    } catch (error) {
      const more = bytes.byteLength < file.size && bytes.byteLength < maxPickleBytes;
      if (error instanceof PickleEndError && more) continue;
      if (error instanceof PickleError) throw file.errorAt(error.at, error.message, error);
      throw error;
    }
  }
}

async function readPickles(file: ByteFile, bytes: Uint8Array, objects: UnknownObjects): Promise<PickleValue> {
  let at = 0;
  const next = (host: PickleHost): PickleValue => {
    const { value, end } = unpickle(bytes, at, host);
    at = end;
    return value;
  };
  const expect = (what: string, value: PickleValue, expected: PickleValue): void => {
    if (value !== expected)
      throw file.errorAt(at, `not a PyTorch file: the ${what} is ${brief(value)}, expected ${expected}`);
  };
  expect("magic number", next(plainHost), magicNumber);
  expect("version of the format", next(plainHost), formatVersion);
  const machine = next(plainHost);
  if (machine instanceof Map && machine.get("little_endian") === false) {
    throw file.errorAt(at, "the file was written by a big-endian machine; little-endian files are read");
  }
  const storages = new LegacyStorages(file);
  const host = new TorchHost(objects, storages.find, (message, cause) => file.error(message, cause));
  const value = next(host);
  const keys = next(plainHost);
  if (!Array.isArray(keys)) throw file.errorAt(at, "the keys of the storages are no list");
  await storages.locate(keys, at);
  return value;
}

/** For the pickles around the object, which have no business outside themselves. */
const plainHost: PickleHost = {
  global: (name, at) => refuse(`the file wants to import ${name.slice(0, 200)}, which is refused`, at),
  call: (_callee, _args, at) => refuse("something is called, which is refused", at),
  build: (_target, _state, at) => refuse("state is set, which is refused", at),
  persistent: (_id, at) => refuse("a storage is referred to where there is none", at),
};

function refuse(message: string, at: number): never {
  throw new PickleError(at, message);
}

/** A storage of which the pickle spoke, and where it turned out to be. */
interface Placed extends Storage {
  offset: number | undefined;
}

class LegacyStorages {
  private readonly file: ByteFile;
  private readonly found = new Map<string, Placed>();
  private readonly views = new Map<string, Storage>();

  constructor(file: ByteFile) {
    this.file = file;
  }

  /** The storage of a persistent id. A sixth part, (key, offset, count), makes it a view of the storage named first. */
  readonly find = (id: readonly PickleValue[], type: FileType, byteLength: number, at: number): Storage => {
    const root = this.root(brief(id[2]), type, byteLength, at);
    const view = id[5];
    if (view === null || view === undefined) return root;
    const [key, offset, count] = Array.isArray(view) ? (view as readonly PickleValue[]) : [];
    const begin = bytesOfElements(type, Number(offset));
    const length = bytesOfElements(type, Number(count));
    if (
      !Number.isSafeInteger(begin) ||
      !Number.isSafeInteger(length) ||
      begin < 0 ||
      length < 0 ||
      begin + length > byteLength
    ) {
      throw new PickleError(
        at,
        `a view of elements ${brief(offset)} to ${brief(offset)} + ${brief(count)} of a storage of ${byteLength} bytes`,
      );
    }
    const name = `${root.key}/${brief(key)}`;
    const known = this.views.get(name);
    if (known && known.byteLength === length) return known;
    const storage: Storage = {
      key: name,
      type,
      byteLength: length,
      read: (from, to) => root.read(begin + from, begin + to),
    };
    this.views.set(name, storage);
    return storage;
  };

  private root(key: string, type: FileType, byteLength: number, at: number): Storage {
    const known = this.found.get(key);
    if (known) {
      checkSame(known, type, byteLength, at);
      return known;
    }
    const storage: Placed = {
      key,
      type,
      byteLength,
      offset: undefined,
      read: (begin, end) => this.file.read((storage.offset as number) + begin, end - begin),
    };
    this.found.set(key, storage);
    return storage;
  }

  /** Finds the storages in what follows the pickles, in the order of the keys. */
  async locate(keys: readonly PickleValue[], start: number): Promise<void> {
    const { file } = this;
    let at = start;
    for (const key of keys) {
      const storage = this.found.get(brief(key));
      if (!storage) throw file.errorAt(at, `the storage ${JSON.stringify(brief(key))} belongs to no tensor`);
      if (storage.offset !== undefined)
        throw file.errorAt(at, `the storage ${JSON.stringify(storage.key)} is there twice`);
      if (at + countBytes > file.size)
        throw file.errorAt(at, `the storage ${JSON.stringify(storage.key)} should be here; the file ends`);
      const count = new DataView(await file.read(at, countBytes)).getBigInt64(0, true);
      at += countBytes;
      const expected = storage.byteLength / bytesOfElements(storage.type, 1);
      if (count !== BigInt(expected))
        throw file.errorAt(
          at,
          `the storage ${JSON.stringify(storage.key)} has ${count} elements, its tensors say ${expected}`,
        );
      if (at + storage.byteLength > file.size) {
        throw file.errorAt(
          at,
          `the storage ${JSON.stringify(storage.key)} takes ${storage.byteLength} bytes; ${file.size - at} are left`,
        );
      }
      storage.offset = at;
      at += storage.byteLength;
    }
    const lost = [...this.found.values()].find(({ offset }) => offset === undefined);
    if (lost) throw file.errorAt(at, `the storage ${JSON.stringify(lost.key)} is missing`);
  }
}
