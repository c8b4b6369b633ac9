// The programs of operations outside compiled functions, looked up at every one: by a hash of what the call is, and then by
// the call itself, since to put it into words would take longer than to run it.

import { copyAttrs, hashAttrs, mixed, sameAttrs } from "../ir/attrs.js";
import type { Attrs, Aval } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { sameShape } from "../shape.js";
import { GuardedCache } from "./guardedCache.js";
import { type Program, releaseProgram } from "./program.js";

/** An operation on operands of these shapes and types, on a device; `variant` forces that kernel wherever it can run. */
export interface EagerCall {
  readonly device: number;
  readonly def: OpDef;
  readonly inputs: readonly Aval[];
  readonly attrs: Attrs;
  readonly variant: string | undefined;
}

interface Entry {
  readonly call: EagerCall;
  readonly program: Program;
  readonly bytes: number;
}

/** Most one-op programs kept, and the most bytes of their text. */
const cacheLimits = { count: 4096, bytes: 64 << 20 };

const cache = new GuardedCache<number, Entry>(cacheLimits, ({ program }) => releaseProgram(program));
let hits = 0;
let misses = 0;

/**
 * How often an operation outside compiled functions found its program, how often one had to be made, and how many are
 * held. The least recently used leave first.
 *
 * @example
 * const { hits, misses, programs } = eagerCacheStats();
 */
export const eagerCacheStats = (): { hits: number; misses: number; programs: number } => ({
  hits,
  misses,
  programs: cache.size,
});

/** The program of a call, made by `build` if there is none. */
export function programOf(call: EagerCall, build: () => Program): Program {
  const hash = hashOf(call);
  const found = cache.find(hash, (entry) => sameCall(entry.call, call));
  if (found) {
    hits++;
    return found.program;
  }
  misses++;
  const program = build();
  const inputs = call.inputs.map(({ shape, dtype }) => ({ shape: [...shape], dtype }));
  const kept = { ...call, inputs, attrs: copyAttrs(call.attrs) };
  cache.add(hash, { call: kept, program, bytes: program.bytes });
  return program;
}

const ordinals = new Map<OpDef, number>();

/** A number for each operation. */
function ordinalOf(def: OpDef): number {
  let ordinal = ordinals.get(def);
  if (ordinal === undefined) {
    ordinal = ordinals.size;
    ordinals.set(def, ordinal);
  }
  return ordinal;
}

function hashOf({ device, def, inputs, attrs }: EagerCall): number {
  let hash = mixed(device, ordinalOf(def));
  for (let i = 0; i < inputs.length; i++) {
    const { shape } = inputs[i] as Aval;
    hash = mixed(hash, shape.length);
    for (let axis = 0; axis < shape.length; axis++) hash = mixed(hash, shape[axis] as number);
  }
  return hashAttrs(hash, attrs);
}

function sameCall(a: EagerCall, b: EagerCall): boolean {
  return (
    a.def === b.def &&
    a.device === b.device &&
    a.variant === b.variant &&
    sameAvals(a.inputs, b.inputs) &&
    sameAttrs(a.attrs, b.attrs)
  );
}

function sameAvals(a: readonly Aval[], b: readonly Aval[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const [mine, other] = [a[i] as Aval, b[i] as Aval];
    if (mine.dtype !== other.dtype || !sameShape(mine.shape, other.shape)) return false;
  }
  return true;
}
