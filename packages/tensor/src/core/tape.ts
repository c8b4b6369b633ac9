// Reverse-mode differentiation. A tape notes the operations that touch watched tensors; walking it
// backwards applies each op's derivative rule. The rules emit ordinary operations, which enclosing
// tapes note in turn: that is all that higher-order derivatives need.

import { isFloat } from "../dtype.js";
import { UsageError } from "../errors.js";
import type { Attrs } from "../ir/graph.js";
import { add } from "../ops/arithmetic.js";
import type { OpDef } from "../ops/definition.js";
import { fullLike } from "./create.js";
import { atPath, currentPath } from "./path.js";
import { currentPrecision, withPrecision } from "./precision.js";
import type { Tensor } from "./tensor.js";
import { traceMode, withMode } from "./trace.js";

/** A step that can be walked backwards: cotangents of outputs in, cotangents of inputs out. */
interface TapeEntry {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  backward(cotangents: readonly (Tensor | undefined)[], needs: readonly boolean[]): readonly (Tensor | undefined)[];
}

const active: Tape[] = [];

/** Notes operations on tensors that descend from the watched ones. */
export class Tape {
  private readonly tracked = new Set<Tensor>();
  private readonly entries: TapeEntry[] = [];
  private heard: ((tensor: Tensor) => void) | undefined;

  /** Whether this tape only tells what operations read. */
  get listening(): boolean {
    return this.heard !== undefined;
  }

  watch(tensor: Tensor): void {
    this.tracked.add(tensor);
  }

  tracks(tensor: Tensor): boolean {
    return this.tracked.has(tensor);
  }

  record(entry: TapeEntry): void {
    if (this.heard) for (const input of entry.inputs) this.heard(input);
    if (!entry.inputs.some((x) => this.tracked.has(x))) return;
    this.entries.push(entry);
    for (const output of entry.outputs) if (isFloat(output.dtype)) this.tracked.add(output);
  }

  hear(tensor: Tensor): void {
    this.heard?.(tensor);
  }

  /** Runs `fn`, telling `heard` of every tensor that an op takes; notes nothing. */
  observe<T>(heard: (tensor: Tensor) => void, fn: () => T): T {
    this.heard = heard;
    return this.run(fn);
  }

  /** Runs `fn` with this tape noting. */
  run<T>(fn: () => T): T {
    active.push(this);
    try {
      return fn();
    } finally {
      active.pop();
    }
  }

  /** Cotangents of `wrt`, given those of `outputs`; undefined where there is no path. */
  gradients(
    outputs: readonly Tensor[],
    cotangents: readonly (Tensor | undefined)[],
    wrt: readonly Tensor[],
  ): (Tensor | undefined)[] {
    const sums = new Map<Tensor, Tensor>();
    const accumulate = (tensor: Tensor, cotangent: Tensor): void => {
      const sum = sums.get(tensor);
      sums.set(tensor, sum ? add(sum, cotangent) : cotangent);
    };
    outputs.forEach((output, i) => {
      const cotangent = cotangents[i];
      if (cotangent && this.tracked.has(output)) accumulate(output, cotangent);
    });
    for (let i = this.entries.length - 1; i >= 0; i--) {
      const entry = this.entries[i] as TapeEntry;
      const incoming = entry.outputs.map((output) => sums.get(output));
      if (incoming.every((x) => x === undefined)) continue;
      const needs = entry.inputs.map((x) => this.tracked.has(x));
      const outgoing = entry.backward(incoming, needs);
      entry.inputs.forEach((input, k) => {
        const cotangent = outgoing[k];
        if (cotangent && needs[k]) accumulate(input, cotangent);
      });
    }
    return wrt.map((tensor) => sums.get(tensor));
  }
}

/** Notes an entry on every active tape. Its backward operations belong to the module, mode and precision of now. */
export function recordEntry({ inputs, outputs, backward }: TapeEntry): void {
  if (active.length === 0) return;
  const path = currentPath();
  const mode = traceMode();
  const precision = currentPrecision();
  const entry: TapeEntry = {
    inputs,
    outputs,
    backward: (cotangents, needs) =>
      atPath(path, () => withMode(mode, () => withPrecision(precision, () => backward(cotangents, needs)))),
  };
  for (const tape of active) tape.record(entry);
}

/** The same value under another identity, through which the derivatives of active tapes flow. */
export function follow(x: Tensor): Tensor {
  const handle = x.alias();
  recordEntry({ inputs: [x], outputs: [handle], backward: ([cotangent]) => [cotangent] });
  return handle;
}

/** Whether somebody listens to what operations read. */
export const isObserved = (): boolean => active.some((tape) => tape.listening);

/** Notes the application of an op on every active tape. */
export function recordOp(def: OpDef, inputs: readonly Tensor[], attrs: Attrs, outputs: readonly Tensor[]): void {
  if (active.length === 0 || def.nondifferentiable) return;
  recordEntry({
    inputs,
    outputs,
    backward: (cotangents, needs) => opBackward(def, inputs, attrs, outputs, cotangents, needs),
  });
}

/** Tells those who listen to what operations read that `tensor` was read. */
export function announce(tensor: Tensor): void {
  for (const tape of active) tape.hear(tensor);
}

/** Runs `fn` unseen by the active tapes; `crossed` is told when it reads a tensor that one of them tracks. */
export function apart<T>(crossed: (tensor: Tensor) => void, fn: () => T): T {
  const paused = active.splice(0);
  const hear = (tensor: Tensor): void => {
    if (paused.some((tape) => tape.tracks(tensor))) crossed(tensor);
  };
  try {
    return paused.length > 0 ? new Tape().observe(hear, fn) : fn();
  } finally {
    active.push(...paused);
  }
}

/** Runs `fn` with no tape noting. */
export function untaped<T>(fn: () => T): T {
  const paused = active.splice(0);
  try {
    return fn();
  } finally {
    active.push(...paused);
  }
}

/** Whether any active tape tracks the tensor. */
export const isTracked = (tensor: Tensor): boolean => active.some((tape) => tape.tracks(tensor));

/** How many tapes are noting. */
export const tapeDepth = (): number => active.length;

/**
 * Cotangents of `primals` through `fn` (the vector–Jacobian product), itself differentiable.
 * Undefined where `fn` does not depend on a primal.
 */
export function vjpOf(
  fn: (primals: readonly Tensor[]) => readonly Tensor[],
  primals: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
): (Tensor | undefined)[] {
  const tape = new Tape();
  for (const primal of primals) tape.watch(primal);
  const outputs = tape.run(() => fn(primals));
  return tape.gradients(outputs, cotangents, primals);
}

function opBackward(
  def: OpDef,
  inputs: readonly Tensor[],
  attrs: Attrs,
  outputs: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
  needs: readonly boolean[],
): readonly (Tensor | undefined)[] {
  if (def.vjp) {
    return def.vjp({
      inputs,
      outputs,
      attrs,
      cotangent: (i = 0) => cotangents[i] ?? fullLike(outputs[i] as Tensor, 0),
      needs: (i) => (needs[i] ?? false) && !def.hints?.includes(i),
    });
  }
  if (def.decompose) {
    const decompose = def.decompose.bind(def);
    // Each primal is watched under its own identity even where one tensor fills two places.
    const primals = inputs.map(follow);
    const gradients = vjpOf((xs) => decompose(xs, attrs), primals, cotangents);
    return gradients.map((gradient, i) => (def.hints?.includes(i) ? undefined : gradient));
  }
  throw new UsageError(`${def.name} has no derivative; use stopGradient where none is wanted`);
}
