// What the names in a PyTorch file mean: a short list of things that only describe data. Everything else is refused by its
// name or, when whole modules are walked, kept as a record of what the file says. Nothing is ever imported or called.

import type { FigmentError } from "@figment/tensor";
import { decodeElements, ElementError } from "../elements/decode.js";
import { checkView } from "../elements/strides.js";
import { bytesOfElements, type FileType } from "../elements/types.js";
import { PickleError } from "../pickle/cursor.js";
import type { PickleHost } from "../pickle/machine.js";
import { brief, type Opaque, opaque, PickleGlobal, PickleRecord, type PickleValue, tupleOf } from "../pickle/values.js";
import { bytesOfText, NumpyDtype, numpyArray } from "./numpy.js";
import { type Storage, storageTypes, torchTypes } from "./storage.js";
import { TorchTensor } from "./tensor.js";

/** What to do with objects of classes that are not known: "refuse" them, or keep them as "records". */
export type UnknownObjects = "refuse" | "records";

/** Finds the storage of a persistent id; `at` is for errors. */
export type FindStorage = (id: readonly PickleValue[], type: FileType, byteLength: number, at: number) => Storage;

/** A storage while the pickle is read. */
class StorageValue implements Opaque {
  readonly [opaque] = true;
  readonly storage: Storage;
  constructor(storage: Storage) {
    this.storage = storage;
  }
}

/** A NumPy array before its state is set; afterwards it stands for `tensor`. */
class NumpyDraft implements Opaque {
  readonly [opaque] = true;
  tensor: TorchTensor | undefined;
}

type Rule = (args: readonly PickleValue[], at: number) => PickleValue;

/** The host of PyTorch's pickles. */
export class TorchHost implements PickleHost {
  private readonly objects: UnknownObjects;
  private readonly findStorage: FindStorage;
  private readonly errorOf: (message: string, cause?: unknown) => FigmentError;
  private readonly rules: ReadonlyMap<string, Rule>;

  constructor(
    objects: UnknownObjects,
    findStorage: FindStorage,
    errorOf: (message: string, cause?: unknown) => FigmentError,
  ) {
    this.objects = objects;
    this.findStorage = findStorage;
    this.errorOf = errorOf;
    const view: Rule = ([storage, offset, shape, strides], at) =>
      this.rebuild(storage, offset, shape, strides, undefined, at);
    const reconstruct: Rule = () => new NumpyDraft();
    const scalar: Rule = ([dtype, bytes], at) => scalarOf(dtype, bytes, at);
    this.rules = new Map<string, Rule>([
      ["collections.OrderedDict", dictOf],
      ["collections.Counter", ([counts], at) => (counts instanceof Map ? new Map(counts) : dictOf([], at))],
      ["torch._utils._rebuild_tensor", view],
      ["torch._utils._rebuild_tensor_v2", view],
      [
        "torch._utils._rebuild_tensor_v3",
        ([storage, offset, shape, strides, , , type], at) => this.rebuild(storage, offset, shape, strides, type, at),
      ],
      ["torch._utils._rebuild_parameter", parameterOf],
      ["torch._utils._rebuild_parameter_with_state", parameterOf],
      [
        "torch.Size",
        ([extents], at) => (Array.isArray(extents) ? tupleOf([...extents]) : refuseArguments("torch.Size", at)),
      ],
      [
        "torch.device",
        (args, at) => (typeof args[0] === "string" ? args.map(brief).join(":") : refuseArguments("torch.device", at)),
      ],
      [
        "torch.serialization._get_layout",
        ([layout], at) => (typeof layout === "string" ? layout : refuseArguments("a layout", at)),
      ],
      ["_codecs.encode", ([text], at) => bytesOfText(text, at)],
      ["builtins.bytearray", ([content], at) => bytesOfText(content ?? "", at)],
      ["__builtin__.bytearray", ([content], at) => bytesOfText(content ?? "", at)],
      ["builtins.set", setOf],
      ["__builtin__.set", setOf],
      ["numpy.dtype", (args, at) => new NumpyDtype(args, at)],
      ["numpy.core.multiarray.scalar", scalar],
      ["numpy._core.multiarray.scalar", scalar],
      ["numpy.core.multiarray._reconstruct", reconstruct],
      ["numpy._core.multiarray._reconstruct", reconstruct],
      ["numpy.ndarray", (_args, at) => refuseArguments("numpy.ndarray", at)],
    ]);
  }

  global(name: string, at: number): PickleGlobal | string {
    if (torchTypes.has(name)) return name;
    const known = this.rules.has(name) || storageTypes.has(name);
    if (known || this.objects === "records") return new PickleGlobal(name);
    throw new PickleError(
      at,
      `the file wants to import ${name.slice(0, 200)}, which is refused: weights need no code. { objects: "records" } reads it as a description, without running anything`,
    );
  }

  call(callee: PickleValue, args: readonly PickleValue[], at: number): PickleValue {
    const name = callee instanceof PickleGlobal ? callee.name : undefined;
    const rule = name === undefined ? undefined : this.rules.get(name);
    if (rule) return rule(args, at);
    if (this.objects === "refuse")
      throw new PickleError(at, `${name ?? "something that is no class"} is called, which is refused`);
    // How protocol 2 makes objects of plain classes: (class, object, None).
    if (name === "copy_reg._reconstructor" || name === "copyreg._reconstructor") {
      if (args[0] instanceof PickleGlobal) return new PickleRecord(args[0].name, []);
    }
    if (name !== undefined) return new PickleRecord(name, args);
    if (callee instanceof PickleRecord) return new PickleRecord(`${callee.type}(…)`, args);
    throw new PickleError(at, "something that is no class is called");
  }

  build(target: PickleValue, state: PickleValue, at: number): void {
    if (target instanceof PickleRecord) target.state = state;
    else if (target instanceof NumpyDtype) target.build(state, at);
    else if (target instanceof NumpyDraft) target.tensor = this.arrayOf(state, at);
    // An ordered dict's attributes, such as the versions of the modules of a state dict: nothing that weights need.
    else if (!(target instanceof Map)) throw new PickleError(at, "state is set on something that has none");
  }

  /** Persistent ids are ('storage', class, key, location, count, …) or, for classes with their source, ('module', class, …). */
  persistent(id: PickleValue, at: number): PickleValue {
    const parts = Array.isArray(id) ? (id as readonly PickleValue[]) : [];
    const [kind, type, , , count] = parts;
    if (kind === "module" && type instanceof PickleGlobal) return type;
    const elementType = type instanceof PickleGlobal ? storageTypes.get(type.name) : undefined;
    if (kind !== "storage" || elementType === undefined) {
      const what = type instanceof PickleGlobal ? `a storage of class ${type.name}` : "an id that is no storage";
      throw new PickleError(at, `${what} is referred to; known are ${[...storageTypes.keys()].join(", ")}`);
    }
    if (typeof count !== "number" || !Number.isSafeInteger(8 * count) || count < 0) {
      throw new PickleError(at, `a storage of ${brief(count)} elements`);
    }
    return new StorageValue(this.findStorage(parts, elementType, bytesOfElements(elementType, count), at));
  }

  private rebuild(
    source: PickleValue | undefined,
    offset: PickleValue | undefined,
    shape: PickleValue | undefined,
    strides: PickleValue | undefined,
    dtype: PickleValue | undefined,
    at: number,
  ): TorchTensor {
    const type = dtype === undefined ? undefined : torchTypes.get(brief(dtype));
    if (
      !(source instanceof StorageValue) ||
      typeof offset !== "number" ||
      !areNumbers(shape) ||
      !areNumbers(strides) ||
      (dtype !== undefined && !type)
    ) {
      throw new PickleError(at, "a tensor is not described by storage, offset, shape and strides of a known type");
    }
    return this.tensorOf(source.storage, type ?? source.storage.type, offset, shape, strides, at);
  }

  private arrayOf(state: PickleValue, at: number): TorchTensor {
    const { type, shape, strides, bytes } = numpyArray(state, at);
    const storage: Storage = {
      key: `numpy@${at}`,
      type,
      byteLength: bytes.byteLength,
      read: async (begin, end) => bytes.slice(begin, end).buffer as ArrayBuffer,
    };
    return this.tensorOf(storage, type, 0, shape, strides, at);
  }

  private tensorOf(
    storage: Storage,
    type: FileType,
    offset: number,
    shape: number[],
    strides: number[],
    at: number,
  ): TorchTensor {
    const problem = checkView(type, offset, shape, strides, storage.byteLength);
    if (problem !== undefined) throw new PickleError(at, `a tensor has ${problem}`);
    return new TorchTensor(storage, { type, offset, shape, strides }, this.errorOf);
  }
}

/** What a value that the host made stands for in the tree. */
export function settle(value: PickleValue): PickleValue {
  if (value instanceof NumpyDraft) return value.tensor ?? null;
  if (value instanceof NumpyDtype) return `numpy ${value.type}`;
  if (value instanceof StorageValue) return `storage ${value.storage.key}`;
  return value;
}

const areNumbers = (value: PickleValue | undefined): value is number[] =>
  Array.isArray(value) && value.every((element) => typeof element === "number");

function refuseArguments(what: string, at: number): never {
  throw new PickleError(at, `${what} with arguments of another kind`);
}

function dictOf([pairs]: readonly PickleValue[], at: number): PickleValue {
  const dict = new Map<PickleValue, PickleValue>();
  if (pairs === undefined) return dict;
  if (!Array.isArray(pairs)) refuseArguments("an ordered dict", at);
  for (const pair of pairs as readonly PickleValue[]) {
    if (!Array.isArray(pair) || pair.length !== 2) refuseArguments("an ordered dict", at);
    const [key, value] = pair as [PickleValue, PickleValue];
    if (dict.has(key)) throw new PickleError(at, `the key ${JSON.stringify(brief(key))} is set twice in one dict`);
    dict.set(key, value);
  }
  return dict;
}

const setOf: Rule = ([elements], at) =>
  elements === undefined || Array.isArray(elements) ? new Set(elements ?? []) : refuseArguments("a set", at);

const parameterOf: Rule = ([data], at) => (data instanceof TorchTensor ? data : refuseArguments("a parameter", at));

function scalarOf(dtype: PickleValue | undefined, content: PickleValue | undefined, at: number): PickleValue {
  if (!(dtype instanceof NumpyDtype)) return refuseArguments("a NumPy number", at);
  const bytes = bytesOfText(content, at);
  if (bytes.byteLength !== bytesOfElements(dtype.type, 1)) return refuseArguments("a NumPy number", at);
  const buffer = bytes.slice().buffer as ArrayBuffer;
  try {
    const value = decodeElements(buffer, dtype.type)[0] as number;
    return dtype.type === "BOOL" ? value !== 0 : value;
  } catch (error) {
    if (!(error instanceof ElementError)) throw error;
    const view = new DataView(buffer);
    if (dtype.type === "U32") return view.getUint32(0, true);
    const wide = dtype.type === "U64" ? view.getBigUint64(0, true) : view.getBigInt64(0, true);
    return Number.isSafeInteger(Number(wide)) ? Number(wide) : wide;
  }
}
