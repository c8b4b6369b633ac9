// What the arguments of a compiled function come to: the signature that programs are kept by, the tensors and the cells.

import type { Cell, CellTree } from "../core/cell.js";
import { Tensor } from "../core/tensor.js";
import { deepestTree, isPlainObject } from "../core/tree.js";
import type { DType } from "../dtype.js";
import { DeviceError, UsageError } from "../errors.js";
import { type Shape, sameShape, show } from "../shape.js";
import { currentDevice, deviceName } from "./devices.js";

/** The arguments of a call. */
export interface Arguments {
  readonly key: string;
  readonly tensors: Tensor[];
  readonly trees: CellTree[];
  /** The number of the device that they lie on; undefined where none of them lies on any. */
  readonly device: number | undefined;
}

const isCellTree = (x: unknown): x is CellTree =>
  x !== null &&
  typeof x === "object" &&
  typeof (x as CellTree).cells === "function" &&
  typeof (x as CellTree).structure === "string";

/** A lone cell is a tree of one. */
const isCell = (x: unknown): x is Cell => x !== null && typeof x === "object" && "setData" in x;

/** Which cells the arguments share: part of the signature. */
function sharedCells(trees: readonly CellTree[]): string {
  if (trees.length < 2) return "";
  const first = new Map<Cell, string>();
  let shared = "";
  trees.forEach((tree, t) => {
    tree.cells().forEach((cell, c) => {
      const known = first.get(cell);
      if (known === undefined) first.set(cell, `${t}.${c}`);
      else shared += `;${t}.${c}=${known}`;
    });
  });
  return shared;
}

/** Whether a key can stand in a signature as it is. */
const isPlainName = (key: string): boolean => /^[\p{L}\p{N}_$]+$/u.test(key);

/** "argument 1" of "argument 1.a[0].b". */
const argumentOf = (path: string): string => /^argument \d+/.exec(path)?.[0] ?? path;

type Static = null | undefined | number | boolean | string;

const isStatic = (x: unknown): x is Static =>
  x === null || x === undefined || typeof x === "number" || typeof x === "boolean" || typeof x === "string";

/**
 * Takes the arguments of a call apart.
 *
 * @throws UsageError for what a compiled function does not take, saying where it stands; DeviceError for arguments on two
 *   devices.
 */
export function flattenArguments(name: string, args: readonly unknown[], fixedMode: boolean): Arguments {
  const tensors: Tensor[] = [];
  const trees: CellTree[] = [];
  /** Arrays and objects that what is visited lies in. */
  const around: object[] = [];
  const within = (x: object, path: string, inner: () => string): string => {
    if (around.includes(x))
      throw new UsageError(`${name}: ${path} holds itself: it is one of the objects that it lies in`);
    if (around.length >= deepestTree - 1)
      throw new UsageError(`${name}: ${argumentOf(path)} nests more than ${deepestTree - 1} objects and arrays`);
    around.push(x);
    const text = inner();
    around.pop();
    return text;
  };
  let place: { readonly device: number; readonly what: string } | undefined;
  const put = (device: number | undefined, what: string): void => {
    if (device === undefined) return;
    place ??= { device, what };
    if (device === place.device) return;
    const [here, there] = [deviceName(place.device), deviceName(device)];
    throw new DeviceError(
      `${name}: ${place.what} is on ${here}, ${what} on ${there}; move one of them, for example with .to("${here}")`,
    );
  };
  const addTree = (tree: CellTree, path: string): void => {
    trees.push(tree);
    for (const cell of tree.cells()) put(cell.home, cell.name === "cell" ? path : `${cell.name} of ${path}`);
  };
  const visit = (x: unknown, path: string): string => {
    if (x instanceof Tensor) {
      if (x.traced) throw new UsageError(`${name}: ${path} is a traced tensor, used outside its trace`);
      put(x.home, path);
      tensors.push(x);
      return `${path}=${x.dtype}[${x.shape.join()}]`;
    }
    if (isCell(x)) {
      addTree({ structure: `cell:${x.dtype}[${x.shape.join()}]`, cells: () => [x] }, path);
      return `${path}=${trees.at(-1)?.structure}`;
    }
    if (isCellTree(x)) {
      addTree(x, path);
      return `${path}=${x.structure}${fixedMode ? "" : `/${x.modes ?? ""}`}`;
    }
    if (isStatic(x))
      return `${path}=${typeof x === "string" ? JSON.stringify(x) : Object.is(x, -0) ? "-0" : String(x)}`;
    if (Array.isArray(x))
      return within(x, path, () => {
        const parts = x.map((item, i) => visit(item, `${path}[${i}]`));
        return [`${path}.length=${x.length}`, ...parts].join(";");
      });
    if (isPlainObject(x))
      return within(x, path, () => {
        const keys = Object.keys(x);
        const parts = keys.map((key) => visit(x[key], `${path}.${isPlainName(key) ? key : JSON.stringify(key)}`));
        return [`${path}.keys=${keys.length}`, ...parts].join(";");
      });
    throw new UsageError(
      `${name}: ${path} is ${show(x)}; expected tensors, cells, modules, numbers, booleans, strings, or plain objects and arrays of those`,
    );
  };
  const key = args.map((arg, i) => visit(arg, `argument ${i}`)).join(";");
  const device = place?.device;
  const where = `;device=${deviceName(device ?? currentDevice())}`;
  return { key: key + sharedCells(trees) + where, tensors, trees, device };
}

/** Names the first part in which two signatures differ, if they do. */
export function whatChanged(before: string, after: string): string | undefined {
  const a = before.split(";");
  const b = after.split(";");
  const i = b.findIndex((part, k) => part !== a[k]);
  return i < 0 ? undefined : `an argument changed from ${a[i] ?? "nothing"} to ${b[i]}`;
}

/** What arguments must be like to have a known signature: sooner compared than its text is made. */
export type Pattern =
  | { readonly kind: "tensor"; readonly shape: Shape; readonly dtype: DType }
  | { readonly kind: "static"; readonly value: Static }
  | { readonly kind: "cells"; readonly tree: CellTree | Cell; readonly identity: object | undefined }
  | { readonly kind: "array"; readonly items: readonly Pattern[] }
  | { readonly kind: "object"; readonly keys: readonly string[]; readonly items: readonly Pattern[] };

/** The pattern of arguments that have been taken apart; null where a bundle of cells cannot tell whether it changes. */
export function patternOf(x: unknown): Pattern | null {
  if (x instanceof Tensor) return { kind: "tensor", shape: x.shape, dtype: x.dtype };
  if (isStatic(x)) return { kind: "static", value: x };
  if (isCell(x)) return { kind: "cells", tree: x, identity: undefined };
  if (isCellTree(x)) return x.identity ? { kind: "cells", tree: x, identity: x.identity() } : null;
  const keys = Array.isArray(x) ? null : Object.keys(x as object);
  const values: unknown[] = Array.isArray(x) ? x : Object.values(x as object);
  const items: Pattern[] = [];
  for (const value of values) {
    const item = patternOf(value);
    if (item === null) return null;
    items.push(item);
  }
  return keys ? { kind: "object", keys, items } : { kind: "array", items };
}

/** Whether `x` fits a pattern, and lies on the device; its tensors are appended to `tensors`. */
export function fits(pattern: Pattern, x: unknown, tensors: Tensor[], device: number): boolean {
  if (pattern.kind === "tensor") {
    if (!(x instanceof Tensor) || x.traced || x.dtype !== pattern.dtype || !sameShape(x.shape, pattern.shape))
      return false;
    const { home } = x;
    if (home !== undefined && home !== device) return false;
    tensors.push(x);
    return true;
  }
  if (pattern.kind === "static") return Object.is(x, pattern.value);
  if (pattern.kind === "cells") {
    const { tree, identity } = pattern;
    return x === tree && (identity === undefined || (tree as CellTree).identity?.() === identity);
  }
  const { items } = pattern;
  if (pattern.kind === "array") {
    if (!Array.isArray(x) || x.length !== items.length) return false;
    for (let i = 0; i < items.length; i++) if (!fits(items[i] as Pattern, x[i], tensors, device)) return false;
    return true;
  }
  if (!isPlainObject(x) || isCell(x) || isCellTree(x)) return false;
  const { keys } = pattern;
  let i = 0;
  for (const key in x) {
    if (key !== keys[i] || !fits(items[i] as Pattern, x[key], tensors, device)) return false;
    i++;
  }
  return i === keys.length;
}
