// The header of a safetensors file, read as the word of a stranger: every claim is checked before any of
// it is used. File layout: u64 header length N (little-endian), N bytes of JSON (which may end in spaces),
// then the data, in which the tensors lie back to back without gaps.
// Format: https://github.com/huggingface/safetensors#format

import { CheckpointError } from "@figment/tensor";
import { bytesOfElements, type FileType, fileTypes, isFileType } from "../elements/types.js";
import { type JsonNode, JsonSyntaxError, parseJson } from "./json.js";

/** One tensor as the header describes it. */
export interface TensorEntry {
  readonly type: FileType;
  readonly shape: readonly number[];
  /** Where its bytes begin, from the start of the file. */
  readonly fileOffset: number;
  readonly byteLength: number;
}

/** A checked header: its tensors in the order of their bytes, and the free-form strings. */
export interface Header {
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data begin, from the start of the file. */
  readonly dataStart: number;
}

/** Bytes of the length field that opens a file. */
export const lengthBytes = 8;

/** Longest header that is read, as in the reference implementation. */
const maxHeaderBytes = 100_000_000;

/** The key of the strings that belong to no tensor. */
const metadataKey = "__metadata__";

/** An error at a byte of a file. */
export function errorAt(path: string, offset: number, message: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`${path}, byte ${offset}: ${message}`, { cause });
}

/**
 * The length of the JSON header, from the first eight bytes.
 *
 * @throws CheckpointError when the file cannot hold such a header.
 */
export function readHeaderLength(path: string, prefix: Uint8Array, fileBytes: number): number {
  if (prefix.byteLength < lengthBytes) {
    throw errorAt(
      path,
      prefix.byteLength,
      `a safetensors file starts with ${lengthBytes} bytes of header length, the file ends here`,
    );
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) {
    throw errorAt(
      path,
      0,
      `the header claims ${length} bytes, more than the ${maxHeaderBytes} allowed; is this a safetensors file?`,
    );
  }
  if (length > BigInt(fileBytes - lengthBytes)) {
    throw errorAt(path, 0, `the header claims ${length} bytes, but only ${fileBytes - lengthBytes} follow`);
  }
  return Number(length);
}

/**
 * Parses and checks the JSON header of a file of `fileBytes` bytes.
 *
 * @throws CheckpointError naming the byte at which the header goes wrong.
 */
export function parseHeader(path: string, json: Uint8Array, fileBytes: number): Header {
  const text = decodeText(path, json);
  const byteAt = (index: number) => lengthBytes + Buffer.byteLength(text.slice(0, index));
  const fail = (at: number, message: string): never => {
    throw errorAt(path, byteAt(at), message);
  };

  let root: JsonNode;
  try {
    root = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw errorAt(path, byteAt(error.at), `the header is not valid JSON: ${error.message}`, error);
  }
  if (!(root.value instanceof Map)) return fail(root.at, "the header is not a JSON object");

  const dataStart = lengthBytes + json.byteLength;
  const dataBytes = fileBytes - dataStart;
  let metadata: ReadonlyMap<string, string> = new Map();
  const claims: Claim[] = [];
  for (const [name, node] of root.value) {
    if (name === metadataKey) metadata = readMetadata(node, fail);
    else claims.push(readClaim(name, node, dataBytes, fail));
  }
  checkCoverage(claims, dataBytes, fail);

  const entries = new Map<string, TensorEntry>();
  for (const { name, type, shape, begin, end } of claims) {
    entries.set(name, { type, shape, fileOffset: dataStart + begin, byteLength: end - begin });
  }
  return { entries, metadata, dataStart };
}

interface Claim {
  readonly at: number;
  readonly name: string;
  readonly type: FileType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

type Fail = (at: number, message: string) => never;

function readClaim(name: string, node: JsonNode, dataBytes: number, fail: Fail): Claim {
  const label = `tensor ${JSON.stringify(name)}`;
  const fields = node.value;
  if (!(fields instanceof Map)) return fail(node.at, `${label}: expected an object`);
  const field = (key: string): JsonNode => fields.get(key) ?? fail(node.at, `${label}: "${key}" is missing`);

  const typeNode = field("dtype");
  const type = typeNode.value;
  if (typeof type !== "string" || !isFileType(type)) {
    return fail(typeNode.at, `${label}: unknown dtype ${showNode(typeNode)}; known are ${fileTypes.join(", ")}`);
  }

  const shapeNode = field("shape");
  const shape = readIntegers(shapeNode, `${label}: "shape"`, fail);
  const offsetsNode = field("data_offsets");
  const offsets = readIntegers(offsetsNode, `${label}: "data_offsets"`, fail);
  if (offsets.length !== 2) fail(offsetsNode.at, `${label}: "data_offsets" has ${offsets.length} numbers, expected 2`);
  const [begin, end] = offsets as [number, number];
  if (begin > end) fail(offsetsNode.at, `${label}: data offsets [${begin}, ${end}] run backwards`);
  if (end > dataBytes)
    fail(offsetsNode.at, `${label}: data offsets [${begin}, ${end}] overrun the ${dataBytes} bytes of data`);

  let elements = 1;
  for (const extent of shape) {
    elements *= extent;
    // Bits of elements that take a byte or more must be exact, too.
    if (!Number.isSafeInteger(elements * 64))
      fail(shapeNode.at, `${label}: shape [${shape.slice(0, 8)}] has too many elements`);
  }
  const bytes = bytesOfElements(type, elements);
  if (bytes !== end - begin) {
    fail(offsetsNode.at, `${label}: ${type} [${shape}] takes ${bytes} bytes, its data offsets hold ${end - begin}`);
  }
  return { at: offsetsNode.at, name, type, shape, begin, end };
}

/** Sorts the claims by place and checks that they cover the data exactly. */
function checkCoverage(claims: Claim[], dataBytes: number, fail: Fail): void {
  claims.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  let before = "the header";
  for (const { at, name, begin, end } of claims) {
    const label = `tensor ${JSON.stringify(name)}`;
    if (begin < covered)
      fail(at, `${label} overlaps ${before}: it begins at data byte ${begin}, before byte ${covered}`);
    if (begin > covered) fail(at, `${begin - covered} bytes between ${before} and ${label} belong to no tensor`);
    covered = end;
    before = label;
  }
  if (covered !== dataBytes) fail(0, `the last ${dataBytes - covered} bytes of the file belong to no tensor`);
}

function readMetadata(node: JsonNode, fail: Fail): ReadonlyMap<string, string> {
  if (!(node.value instanceof Map)) return fail(node.at, `"${metadataKey}": expected an object of strings`);
  const strings = new Map<string, string>();
  for (const [key, { at, value }] of node.value) {
    strings.set(
      key,
      typeof value === "string" ? value : fail(at, `"${metadataKey}": ${JSON.stringify(key)} is not a string`),
    );
  }
  return strings;
}

function readIntegers(node: JsonNode, label: string, fail: Fail): number[] {
  if (!Array.isArray(node.value)) return fail(node.at, `${label}: expected an array of integers`);
  return (node.value as readonly JsonNode[]).map(({ at, value }) =>
    Number.isSafeInteger(value) && (value as number) >= 0
      ? (value as number)
      : fail(at, `${label}: expected an integer from 0 to 2^53 - 1`),
  );
}

const showNode = ({ value }: JsonNode): string =>
  typeof value === "object" && value !== null ? "(a structure)" : String(JSON.stringify(value)).slice(0, 40);

function decodeText(path: string, json: Uint8Array): string {
  if (json[0] !== 0x7b)
    throw errorAt(path, lengthBytes, "the header does not start with '{'; is this a safetensors file?");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch (error) {
    throw errorAt(path, lengthBytes + firstBadByte(json), "the header is not valid UTF-8", error);
  }
}

/** The length of the longest prefix that can still become valid UTF-8. */
function firstBadByte(bytes: Uint8Array): number {
  const begins = (length: number): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (begins(middle)) good = middle;
    else bad = middle;
  }
  return good;
}
