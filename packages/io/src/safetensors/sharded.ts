// Safetensors files that are one of several: an index, *.index.json, says which file holds which tensor.
// Format: Hugging Face's "weight_map" (huggingface_hub, "Serialization").

import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CheckpointError } from "@figment/tensor";
import { TensorFileBase, type TensorInfo } from "../elements/tensorFile.js";
import { listSome, messageOf } from "../errors.js";
import { withoutWaiting } from "../files/withoutWaiting.js";
import { type JsonNode, JsonSyntaxError, parseJson } from "./json.js";
import { SafetensorsFile } from "./read.js";

/** Most files that an index may name. */
const maxShards = 1024;

/** Files whose tensors are read as if they were in one. */
export class ShardedFile extends TensorFileBase {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  private readonly shards: readonly SafetensorsFile[];
  private readonly shardOf: ReadonlyMap<string, SafetensorsFile>;

  private constructor(path: string, shards: readonly SafetensorsFile[], shardOf: ReadonlyMap<string, SafetensorsFile>) {
    super();
    this.path = path;
    this.shards = shards;
    this.shardOf = shardOf;
    this.tensors = new Map([...shardOf].map(([name, shard]) => [name, shard.tensors.get(name) as TensorInfo]));
    this.metadata = new Map(shards.flatMap(({ metadata }) => [...metadata]));
  }

  /** Opens all files of an index and checks that they hold what it says, and nothing else. */
  static async open(path: string): Promise<ShardedFile> {
    const places = await readIndex(path);
    const files = [...new Set(places.values())].sort();
    if (files.length > maxShards)
      throw new CheckpointError(`${path}: names ${files.length} files; at most ${maxShards} are opened`);
    const opened = new Map<string, SafetensorsFile>();
    try {
      for (const file of files) opened.set(file, await SafetensorsFile.open(join(dirname(path), file)));
      const shardOf = new Map([...places].map(([name, file]) => [name, opened.get(file) as SafetensorsFile]));
      checkShards(path, shardOf, [...opened.values()]);
      return new ShardedFile(path, [...opened.values()], shardOf);
    } catch (error) {
      for (const shard of opened.values()) await shard.close();
      throw error;
    }
  }

  readBytes(name: string): Promise<ArrayBuffer> {
    return this.shard(name).readBytes(name);
  }

  async close(): Promise<void> {
    for (const shard of this.shards) await shard.close();
  }

  protected override errorOf(name: string, message: string, cause?: unknown): CheckpointError {
    return new CheckpointError(`${this.shard(name).path}: tensor ${JSON.stringify(name)}: ${message}`, { cause });
  }

  private shard(name: string): SafetensorsFile {
    const shard = this.shardOf.get(name);
    if (shard) return shard;
    throw new CheckpointError(
      `${this.path}: has no tensor ${JSON.stringify(name)}; it has ${listSome([...this.shardOf.keys()])}`,
    );
  }
}

/** The file that holds each tensor, by the index. */
async function readIndex(path: string): Promise<Map<string, string>> {
  const fail = (at: number, message: string, cause?: unknown): never => {
    throw new CheckpointError(`${path}, character ${at}: ${message}`, { cause });
  };
  const text = await readFile(path, { encoding: "utf8", flag: withoutWaiting }).catch((error: unknown) => {
    throw new CheckpointError(`${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  });
  let root: JsonNode;
  try {
    root = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return fail(error.at, `the index is not valid JSON: ${error.message}`, error);
  }
  const map = root.value instanceof Map ? (root.value.get("weight_map") as JsonNode | undefined) : undefined;
  if (!map || !(map.value instanceof Map)) return fail(root.at, 'an index has an object "weight_map"');
  const places = new Map<string, string>();
  for (const [name, { at, value }] of map.value as ReadonlyMap<string, JsonNode>) {
    // A path would let an index open any file of the machine.
    const isName =
      typeof value === "string" && value !== "" && value !== ".." && value !== "." && basename(value) === value;
    if (!isName || value.includes("\\"))
      fail(
        at,
        `${JSON.stringify(name)} is said to be in ${JSON.stringify(value)}; expected the name of a file beside the index`,
      );
    places.set(name, value as string);
  }
  return places;
}

function checkShards(
  path: string,
  shardOf: ReadonlyMap<string, SafetensorsFile>,
  shards: readonly SafetensorsFile[],
): void {
  for (const [name, shard] of shardOf) {
    if (!shard.tensors.has(name))
      throw new CheckpointError(
        `${path}: says that ${JSON.stringify(name)} is in ${shard.path}, which does not have it`,
      );
  }
  for (const shard of shards) {
    const lost = [...shard.tensors.keys()].filter((name) => shardOf.get(name) !== shard);
    if (lost.length > 0) throw new CheckpointError(`${path}: does not say that ${shard.path} has ${listSome(lost)}`);
  }
}
