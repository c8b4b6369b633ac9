// The parameters that an optimiser trains: found in its target, each with its states, and dealt out to groups.

import { Cell, DTypeError, show, sizeOf, UsageError } from "@figment/tensor";
import { checkNotNegative } from "../checks.js";
import { joinPath } from "../members.js";
import { Module } from "../module.js";
import type { Parameter } from "../parameter.js";

/** What an optimiser trains: a module, several, or several by name (which then prefixes their paths). */
export type Trainable = Module | readonly Module[] | Readonly<Record<string, Module>>;

/** Parameters with options of their own. */
export interface ParameterGroup {
  /** Whether a parameter belongs to the group. */
  select(path: string, parameter: Parameter): boolean;
  /** In place of the optimiser's. */
  readonly weightDecay?: number;
  /** Factor of the learning rate. Default 1. */
  readonly lrScale?: number;
}

/**
 * Parameters of fewer than two dimensions, biases and the scales of norms, without weight decay.
 *
 * @example
 * new AdamW(model, { lr: 1e-3, weightDecay: 0.1, groups: [vectorsWithoutDecay] });
 */
export const vectorsWithoutDecay: ParameterGroup = {
  select: (_path, { shape }) => shape.length < 2,
  weightDecay: 0,
};

/** A parameter with its states. */
export interface Slot {
  readonly path: string;
  readonly parameter: Parameter;
  readonly states: Readonly<Record<string, Cell>>;
}

/** Parameters of one type that are updated alike. */
export interface SlotGroup {
  readonly slots: readonly Slot[];
  readonly weightDecay: number;
  readonly lrScale: number;
}

/** The parameters that a target trains, each once, with room for states of these names. */
export function slotsOf(name: string, target: Trainable, stateNames: readonly string[]): Slot[] {
  const misfit = (): never => {
    throw new UsageError(
      `${name}: expected a module to train, an array of modules, or modules by name, got ${show(target)}`,
    );
  };
  if (target === null || typeof target !== "object") return misfit();
  const named: [string, Module][] =
    target instanceof Module
      ? [["", target]]
      : Array.isArray(target)
        ? target.map((module: Module, i: number): [string, Module] => [target.length > 1 ? String(i) : "", module])
        : Object.entries(target as Record<string, Module>);
  const seen = new Set<Parameter>();
  const slots: Slot[] = [];
  for (const [prefix, module] of named) {
    if (!(module instanceof Module)) return misfit();
    for (const [path, parameter] of module.namedParameters()) {
      if (seen.has(parameter)) continue;
      if (parameter.dtype !== "f32" && parameter.dtype !== "f64")
        throw new DTypeError(
          `${name}: ${joinPath(prefix, path)} is ${parameter.dtype}; optimisers train f32 and f64 parameters, which small updates do not leave: keep those, and use a clone({ dtype: "${parameter.dtype}" }) where memory counts`,
        );
      seen.add(parameter);
      slots.push(slotOf(joinPath(prefix, path), parameter, stateNames));
    }
  }
  if (slots.length === 0) throw new UsageError(`${name}: there are no parameters to train`);
  return slots;
}

function slotOf(path: string, parameter: Parameter, stateNames: readonly string[]): Slot {
  const { shape, dtype } = parameter;
  const size = sizeOf(shape);
  const states = stateNames.map((name) => {
    const initial = (): Float32Array => new Float32Array(size);
    return [name, new Cell({ shape, dtype, name: `${path}.${name}`, initial, beside: parameter })] as const;
  });
  return { path, parameter, states: Object.fromEntries(states) };
}

/** Deals the slots out to the groups, each type for itself; those that none selects form groups of their own. */
export function groupsOf(
  name: string,
  slots: readonly Slot[],
  groups: readonly ParameterGroup[],
  weightDecay: number,
): SlotGroup[] {
  const members = new Map<ParameterGroup | undefined, Slot[]>();
  for (const slot of slots) {
    const group = groups.find((candidate) => candidate.select(slot.path, slot.parameter));
    members.set(group, [...(members.get(group) ?? []), slot]);
  }
  return [...members].flatMap(([group, own]) => {
    const options = { weightDecay: group?.weightDecay ?? weightDecay, lrScale: group?.lrScale ?? 1 };
    checkNotNegative(name, options);
    const types = [...new Set(own.map(({ parameter }) => parameter.dtype))];
    return types.map((dtype) => ({ slots: own.filter(({ parameter }) => parameter.dtype === dtype), ...options }));
  });
}
