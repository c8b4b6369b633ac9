// Saved state: everything that a run needs to go on, or the weights of one module, in one safetensors file.
// Cells become tensors, named "part.path.of.the.cell"; the JSON part of the state lies in the header's
// metadata. Files are written atomically, and a file that does not fit leaves everything as it was.

import {
  type Cell,
  CheckpointError,
  checkObject,
  DeviceError,
  type Json,
  OutOfMemoryError,
  type Stateful,
  type StateToRestore,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { readAll, type TensorFile } from "../elements/tensorFile.js";
import { listSome, messageOf } from "../errors.js";
import { checkPath } from "../files/checkPath.js";
import { checkBytes, checkpointKey, checksumKey, checksumToCome, modelKey } from "../safetensors/checksum.js";
import { openSafetensors } from "../safetensors/load.js";
import { SafetensorsFile } from "../safetensors/read.js";
import { writeTensors } from "../safetensors/write.js";

/** The parts of a checkpoint, each under a name of the caller's choice. */
export type CheckpointParts = Readonly<Record<string, Stateful>>;

/** The version of what {@link checkpointKey} and {@link modelKey} mark, and metadata keys of what is in it. */
const formatVersion = "1";
const stateKey = "figment.state";
const extraKey = "figment.extra";

/**
 * Saves the state of several things at once, atomically. The state is the one at the moment of the call, in the
 * order of queued work: training may go on while the file is written.
 *
 * @param parts what to save; names must not contain a dot.
 * @param extra any JSON to keep with it, given back by {@link loadCheckpoint}.
 * @throws UsageError for what has no value to save, as it has not been initialised or has been disposed.
 * @example
 * await saveCheckpoint("run.safetensors", { model, random: rng(0) }, { step: 3 });
 */
export async function saveCheckpoint(path: string, parts: CheckpointParts, extra: Json = null): Promise<void> {
  checkPath("saveCheckpoint", "path", path);
  const cells = new Map<string, Cell>();
  const state: Record<string, Json> = {};
  for (const [part, stateful] of Object.entries(checkObject("saveCheckpoint", "parts", parts))) {
    if (part === "" || part.includes(".")) {
      throw new UsageError(`saveCheckpoint: the part name ${JSON.stringify(part)} must be non-empty and without dots`);
    }
    const captured = checkObject("saveCheckpoint", part, stateful, "captureState").captureState();
    for (const [name, cell] of Object.entries(captured.cells)) cells.set(`${part}.${name}`, cell);
    state[part] = captured.json;
  }
  await writeSnapshot("saveCheckpoint", path, cells, {
    [checkpointKey]: formatVersion,
    [stateKey]: JSON.stringify(state),
    [extraKey]: JSON.stringify(extra),
    [checksumKey]: checksumToCome,
  });
}

/**
 * Restores what {@link saveCheckpoint} saved, into things that are built the same way. If any
 * of them does not fit, all go back to what they were.
 *
 * @returns the `extra` that was saved along.
 * @throws CheckpointError listing missing, unexpected and mis-shaped tensors and parts, or where the file is not as it was
 *   written.
 *
 * @example
 * await saveCheckpoint("run.safetensors", { model }, { step: 3 });
 * const extra = await loadCheckpoint("run.safetensors", { model });
 */
export async function loadCheckpoint(path: string, parts: CheckpointParts): Promise<Json> {
  await using file = await SafetensorsFile.open(path);
  const version = file.metadata.get(checkpointKey);
  if (version !== formatVersion) {
    const found =
      version === undefined ? "this file holds weights or comes from elsewhere" : `this file has version ${version}`;
    throw new CheckpointError(`${path}: not a Figment checkpoint of version ${formatVersion}: ${found}`);
  }
  const state = readJson(file, stateKey);
  if (typeof state !== "object" || state === null || Array.isArray(state)) {
    throw new CheckpointError(`${path}: the metadata "${stateKey}" is not an object`);
  }
  const partsMismatch = describeMismatch("part", Object.keys(parts), Object.keys(state));
  if (partsMismatch.length > 0) throw new CheckpointError(`${path} does not fit:\n  ${partsMismatch.join("\n  ")}`);

  const extra = readJson(file, extraKey);
  await checkBytes(file);
  const tensors = await readAll(file, () => ({}));
  try {
    restoreAll(path, parts, (part) => ({
      tensors: withoutPrefix(tensors, `${part}.`),
      json: (state as Record<string, Json>)[part] as Json,
    }));
  } finally {
    for (const tensor of Object.values(tensors)) tensor.dispose();
  }
  return extra;
}

/**
 * Saves the weights of one module, atomically, under their own names: a file for other programs too.
 *
 * @param options `metadata`: strings to keep in the header, such as what the model was built from;
 * {@link SafetensorsFile.metadata} gives them back.
 * @throws UsageError for a metadata key that Figment keeps for itself, and for a module that has no weights to save, as it has
 *   not been initialised or has been disposed.
 * @example
 * await saveModel("ddpm.safetensors", model, { metadata: { dataset: "digits" } });
 */
export async function saveModel(
  path: string,
  module: Stateful,
  options: { readonly metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  checkPath("saveModel", "path", path);
  const { metadata = {} } = checkObject("saveModel", "options", options);
  for (const key of [stateKey, modelKey, checksumKey])
    if (Object.hasOwn(metadata, key)) throw new UsageError(`saveModel: the metadata key "${key}" is taken`);
  const { cells, json } = checkObject("saveModel", "module", module, "captureState").captureState();
  const own: Record<string, string> = {
    ...(json === null ? {} : { [stateKey]: JSON.stringify(json) }),
    [modelKey]: formatVersion,
    [checksumKey]: checksumToCome,
  };
  await writeSnapshot("saveModel", path, new Map(Object.entries(cells)), { ...metadata, ...own });
}

/**
 * Loads weights into a module that is built the same way, from one file or from all files of an index (*.index.json). Float
 * types are converted to those of the module.
 *
 * @throws CheckpointError listing missing, unexpected and mis-shaped tensors, or where a file of {@link saveModel} is not as
 *   it was written; nothing has changed then.
 *
 * @example
 * await saveModel("linear.safetensors", model);
 * await loadModel("linear.safetensors", model);
 */
export async function loadModel(path: string, module: Stateful): Promise<void> {
  checkPath("loadModel", "path", path);
  await using file = await openSafetensors(path);
  const { cells } = module.captureState();
  const isWide = (name: string) => Object.hasOwn(cells, name) && cells[name]?.dtype !== "f32";
  const tensors = await readAll(file, (name) => ({ floats: isWide(name) ? "keep" : "f32" }));
  try {
    module.restoreState({ tensors, json: file.metadata.has(stateKey) ? readJson(file, stateKey) : null });
  } catch (error) {
    // Not the file's fault: memory that runs short, a variable of the environment that makes no sense.
    if (error instanceof OutOfMemoryError || error instanceof DeviceError || messageOf(error).startsWith("FIGMENT_"))
      throw error;
    throw new CheckpointError(`${path}: ${messageOf(error)}`, { cause: error });
  } finally {
    for (const tensor of Object.values(tensors)) tensor.dispose();
  }
}

/** Restores all parts or, with an error that tells of every part that does not fit, none. */
function restoreAll(path: string, parts: CheckpointParts, stateOf: (part: string) => StateToRestore): void {
  const previous = Object.values(parts).map((stateful) => holdState(stateful));
  const problems: string[] = [];
  try {
    for (const [part, stateful] of Object.entries(parts)) {
      try {
        stateful.restoreState(stateOf(part));
      } catch (error) {
        problems.push(`${part}: ${messageOf(error)}`);
      }
    }
    if (problems.length === 0) return;
    for (const [i, stateful] of Object.values(parts).entries()) {
      try {
        stateful.restoreState(previous[i] as StateToRestore);
      } catch {
        // A part that had no values yet has none to go back to.
      }
    }
  } finally {
    for (const { tensors } of previous) for (const tensor of Object.values(tensors)) tensor.dispose();
  }
  throw new CheckpointError(`${path} does not fit\n${problems.join("\n")}`);
}

/** The present state, as handles that keep what they saw when the cells are overwritten. */
function holdState(stateful: Stateful): StateToRestore {
  const { cells, json } = stateful.captureState();
  const allocated = Object.entries(cells).filter(([, cell]) => cell.allocated);
  return { tensors: Object.fromEntries(allocated.map(([name, cell]) => [name, cell.value])), json };
}

/**
 * Takes handles of all cells now, then writes their contents one by one.
 *
 * @throws UsageError for cells without a value: a file without them could not be loaded, and take the place of one that can.
 */
async function writeSnapshot(
  owner: string,
  path: string,
  cells: ReadonlyMap<string, Cell>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const empty = [...cells].filter(([, cell]) => !cell.allocated).map(([name]) => name);
  if (empty.length > 0)
    throw new UsageError(
      `${owner}: no value yet, or no longer, have ${listSome(empty)}; save after init(rng) or loading, and before dispose()`,
    );
  const values = new Map<string, Tensor>();
  try {
    for (const [name, cell] of cells) values.set(name, cell.value);
    await writeTensors(path, values, metadata);
  } finally {
    for (const value of values.values()) value.dispose();
  }
}

function describeMismatch(kind: string, expected: readonly string[], found: readonly string[]): string[] {
  const expectedNames = new Set(expected);
  const foundNames = new Set(found);
  const missing = expected.filter((name) => !foundNames.has(name));
  const unexpected = found.filter((name) => !expectedNames.has(name));
  return [
    ...(missing.length > 0 ? [`missing: ${missing.length} ${kind}(s): ${listSome(missing, 20)}`] : []),
    ...(unexpected.length > 0 ? [`unexpected: ${unexpected.length} ${kind}(s): ${listSome(unexpected, 20)}`] : []),
  ];
}

function withoutPrefix(tensors: Readonly<Record<string, Tensor>>, prefix: string): Record<string, Tensor> {
  const chosen: Record<string, Tensor> = Object.create(null);
  for (const [name, tensor] of Object.entries(tensors)) {
    if (name.startsWith(prefix)) chosen[name.slice(prefix.length)] = tensor;
  }
  return chosen;
}

function readJson(file: TensorFile, key: string): Json {
  const text = file.metadata.get(key);
  if (text === undefined) throw new CheckpointError(`${file.path}: the metadata "${key}" is missing`);
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new CheckpointError(`${file.path}: the metadata "${key}" is not JSON: ${messageOf(error)}`, { cause: error });
  }
}
