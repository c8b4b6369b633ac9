// Foreign names of tensors and ours: a table of patterns, read in one direction or the other.

import { UsageError } from "@figment/tensor";
import type { ImageSize } from "./layout.js";

/** What becomes of the tensors that a pattern matches. */
export interface TorchRule {
  /** Their names in our model; several where one foreign tensor holds several of ours, one after another in its rows. */
  readonly to: string | readonly string[];
  /** The image whose pixels the columns of a matrix list, channels first there: a Linear after a flatten. */
  readonly inputImage?: ImageSize;
  /** The image whose pixels its rows, or a vector, list: a Linear before an unflatten. */
  readonly outputImage?: ImageSize;
}

/**
 * Patterns of foreign names, and the names that PyTorch's counterpart of our model has for them; null for what is left
 * out. The first pattern that fits counts; a name that none fits stays as it is. A pattern stands for whole names and for
 * beginnings of them that end before a dot. `{x}` stands for a part without dots, `{x*}` for one with or without.
 *
 * @example
 * const rules: TorchRules = {
 *   "module.main.{i}": "{i}",
 *   "{path*}.attn.in_proj_{kind}": ["{path}.query.{kind}", "{path}.key.{kind}", "{path}.value.{kind}"],
 *   "{path*}.inv_freq": null,
 * };
 */
export type TorchRules = Readonly<Record<string, string | readonly string[] | TorchRule | null>>;

/** Where one foreign tensor goes, or comes from. */
export interface Mapped {
  /** Our names in PyTorch's terms, in the order of the foreign tensor's rows. */
  readonly ours: readonly string[];
  readonly theirs: string;
  readonly rule?: TorchRule;
}

interface Pattern {
  readonly theirs: string;
  readonly rule: TorchRule | null;
}

const patternsOf = (rules: TorchRules): Pattern[] =>
  Object.entries(rules).map(([theirs, to]) => ({
    theirs,
    rule: to === null || (typeof to === "object" && "to" in to) ? to : { to },
  }));

const placeholder = /\{(\w+)(\*?)\}/g;

/** What the placeholders of a pattern stand for in a name, and the rest of the name; null where it does not fit. */
function match(pattern: string, name: string): { values: Map<string, string>; rest: string } | null {
  const names: string[] = [];
  const source = pattern
    .split(/(\{\w+\*?\})/)
    .map((part) => {
      const [, held, any] = /^\{(\w+)(\*?)\}$/.exec(part) ?? [];
      if (held === undefined) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      names.push(held);
      return any ? "(.+?)" : "([^.]+?)";
    })
    .join("");
  const found = new RegExp(`^${source}(\\..*)?$`, "s").exec(name);
  if (!found) return null;
  const values = new Map<string, string>();
  for (const [i, held] of names.entries()) {
    const value = found[i + 1] as string;
    if ((values.get(held) ?? value) !== value) return null;
    values.set(held, value);
  }
  return { values, rest: found.at(-1) ?? "" };
}

function fill(pattern: string, values: ReadonlyMap<string, string>): string {
  return pattern.replace(placeholder, (_whole, name: string) => {
    const value = values.get(name);
    if (value === undefined) throw new UsageError(`rules: {${name}} in "${pattern}" has no counterpart`);
    return value;
  });
}

const listOf = ({ to }: TorchRule): readonly string[] => (typeof to === "string" ? [to] : to);

/** Where a foreign tensor goes; null when it is left out. */
export function mapForeign(rules: TorchRules, theirs: string): Mapped | null {
  for (const { theirs: pattern, rule } of patternsOf(rules)) {
    const found = match(pattern, theirs);
    if (!found) continue;
    if (rule === null) return null;
    const ours = listOf(rule).map((to) => joined(fill(to, found.values), found.rest));
    return { ours, theirs, rule };
  }
  return { ours: [theirs], theirs };
}

/** Which foreign tensor one of ours belongs to. */
export function mapOurs(rules: TorchRules, ours: string): Mapped {
  for (const { theirs: pattern, rule } of patternsOf(rules)) {
    if (rule === null) continue;
    const dotted = new Set([...pattern.matchAll(placeholder)].flatMap(([, name, any]) => (any ? [name] : [])));
    for (const plain of listOf(rule)) {
      const to = plain.replace(placeholder, (_whole, name: string) => (dotted.has(name) ? `{${name}*}` : `{${name}}`));
      const found = to === "" ? { values: new Map<string, string>(), rest: `.${ours}` } : match(to, ours);
      if (!found) continue;
      const theirs = joined(fill(pattern, found.values), found.rest);
      // Only what the table reads back to this name: an earlier pattern may claim it.
      const back = mapForeign(rules, theirs);
      if (back?.ours.includes(ours)) return back;
    }
  }
  return { ours: [ours], theirs: ours };
}

/** A name and the rest of it, which begins with a dot unless there is none. */
const joined = (name: string, rest: string): string => (name === "" ? rest.slice(1) : name + rest);
