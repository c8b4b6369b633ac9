// Settings of recipes: plain JSON with defaults. What is allowed follows from the defaults and from rules beside them; texts
// from command lines become values here, and settings from anywhere are checked here, by schemas of valibot.

import { type Json, UsageError } from "@figment/tensor";
import type * as Valibot from "valibot";

/** A tree of settings. */
export type Settings = { readonly [name: string]: Json };

/** What is allowed for one setting. Without a rule: the type of its default. */
export interface FieldRule {
  /** One line for --help. */
  readonly help?: string;
  /** Default: that of the default value; needed where that is null. Of a list, as bounds are, that of its items. */
  readonly type?: "integer" | "number" | "string" | "boolean";
  readonly least?: number;
  readonly most?: number;
  readonly choices?: readonly string[];
  /** How many items a list may have. Default: any number. */
  readonly length?: readonly [least: number, most: number];
  /** Whether null is allowed too. Default: whether it is the default value. */
  readonly nullable?: boolean;
}

/** Most of what is counted over time, such as steps: more than any run needs, and what 32 bits hold. */
const mostCounted = 2 ** 31 - 1;

/** Of what is counted over time, from 1 on. */
export const countedRule = { type: "integer", least: 1, most: mostCounted } as const satisfies FieldRule;

/** Of `sampleEvery`; null for never. */
export const sampleEveryRule = {
  ...countedRule,
  nullable: true,
  help: "steps between grids of samples while training",
} as const satisfies FieldRule;

/** Most of what lies in memory at once: images of a batch, channels of a layer. Much beyond it no machine holds a run. */
export const mostAtOnce = 65_536;

/** Of what networks are made of: channels, latents, the widths of layers. */
export const widthRule = { type: "integer", least: 1, most: mostAtOnce } as const satisfies FieldRule;

/** Of a list of widths, one for each layer or level. */
export const widthsRule = { ...widthRule, length: [1, 64] } as const satisfies FieldRule;

/** Of what must be above 0, such as a bound on norms. */
export const positiveRule = { least: 1e-9 } as const satisfies FieldRule;

/** Of what must stay below 1: decays of averages, shares that are left out. */
export const belowOneRule = { least: 0, most: 1 - 1e-6 } as const satisfies FieldRule;

/** Of Adam's two decays. */
export const betasRule = { ...belowOneRule, length: [2, 2] } as const satisfies FieldRule;

/** Rules by dotted path. */
export type FieldRules = Readonly<Record<string, FieldRule>>;

/** A leaf of the tree: its path, its default and its rule. */
export interface Field {
  readonly path: string;
  readonly initial: Json;
  readonly rule: FieldRule;
}

const isTree = (value: Json): value is Settings => value !== null && typeof value === "object" && !Array.isArray(value);

/** The leaves of a tree of settings, in order. */
export function fieldsOf(settings: Settings, rules: FieldRules, prefix = ""): Field[] {
  return Object.entries(settings).flatMap(([name, initial]) => {
    const path = prefix + name;
    return isTree(initial) ? fieldsOf(initial, rules, `${path}.`) : [{ path, initial, rule: rules[path] ?? {} }];
  });
}

const isNullable = ({ initial, rule }: Field): boolean => rule.nullable ?? initial === null;

const typeOf = ({ initial, rule }: Field): FieldRule["type"] | "list" =>
  Array.isArray(initial) ? "list" : (rule.type ?? (typeof initial as "number" | "string" | "boolean"));

/** The items of a list as a field of their own: the list's rule holds for each. */
const itemOf = ({ path, initial, rule }: Field): Field => ({
  path,
  initial: (initial as readonly Json[])[0] ?? null,
  rule: { ...rule, nullable: false },
});

const hasItemRule = ({ initial, rule }: Field): boolean =>
  Array.isArray(initial) && initial.length > 0 && Object.keys(rule).length > 0;

/** What a field takes, in words: "an integer of at least 1". */
export function describeField(field: Field): string {
  const { least, most, choices } = field.rule;
  const orNull = isNullable(field) ? " or null" : "";
  if (choices) return `${choices.join(" or ")}${orNull}`;
  const type = typeOf(field) ?? "string";
  if (type === "list") {
    const [fewest, largest] = field.rule.length ?? [];
    const count = fewest === undefined ? "" : `, of ${fewest === largest ? fewest : `${fewest} to ${largest}`} items`;
    const each = hasItemRule(field) ? `, each ${describeField(itemOf(field))}` : "";
    return `a list such as ${JSON.stringify(field.initial)}${count}${each}${orNull}`;
  }
  const name = {
    integer: "an integer",
    number: "a number",
    string: "a text that is not empty",
    boolean: "true or false",
  }[type];
  const range =
    least !== undefined && most !== undefined
      ? ` from ${least} to ${most}`
      : least !== undefined
        ? ` of at least ${least}`
        : most !== undefined
          ? ` of at most ${most}`
          : "";
  return `${name}${range}${orNull}`;
}

type Schema = Valibot.GenericSchema<unknown>;

/** The schema of one value of a kind that a default shows. */
function schemaLike(v: typeof Valibot, example: Json): Schema {
  if (typeof example === "number") return v.pipe(v.number(), v.finite());
  if (typeof example === "string") return v.string();
  if (typeof example === "boolean") return v.boolean();
  if (Array.isArray(example)) return v.array(example.length > 0 ? schemaLike(v, example[0] as Json) : v.any());
  return v.any();
}

function listSchema(v: typeof Valibot, field: Field): Schema {
  const { length } = field.rule;
  const list = hasItemRule(field) ? v.array(schemaOf(v, itemOf(field))) : schemaLike(v, field.initial);
  return length
    ? v.pipe(list as Valibot.GenericSchema<unknown[]>, v.minLength(length[0]), v.maxLength(length[1]))
    : list;
}

function schemaOf(v: typeof Valibot, field: Field): Schema {
  const { rule } = field;
  const type = typeOf(field);
  const checks = [
    ...(type === "integer" ? [v.safeInteger()] : []),
    ...(rule.least === undefined ? [] : [v.minValue(rule.least)]),
    ...(rule.most === undefined ? [] : [v.maxValue(rule.most)]),
  ] as unknown as [ReturnType<typeof v.finite>];
  const choices = rule.choices;
  const schema: Schema = choices
    ? v.picklist([...choices])
    : type === "integer" || type === "number"
      ? v.pipe(v.number(), v.finite(), ...checks)
      : type === "string"
        ? v.pipe(v.string(), v.nonEmpty())
        : type === "boolean"
          ? v.boolean()
          : listSchema(v, field);
  return isNullable(field) ? v.nullable(schema) : schema;
}

// Loaded where settings are checked only: most programs that import the toolkit never do.
const loadValibot = (): Promise<typeof Valibot> => import("valibot");

/** A text as the value that a field takes, if it is one; else the text itself, for the check to refuse. */
function readText(field: Field, text: string): Json {
  if (isNullable(field) && text === "null") return null;
  const type = typeOf(field);
  if (type === "string" || field.rule.choices) return text;
  try {
    return JSON.parse(type === "list" && !text.trim().startsWith("[") ? `[${text}]` : text) as Json;
  } catch {
    return text;
  }
}

/** A setting in words of a command line: `--steps 100` or `--set optimizer.lr=1e-4`. */
export interface Override {
  readonly path: string;
  readonly text: string;
  /** How messages call it. */
  readonly label: string;
}

/** Reads "a.b=value". */
export function readOverride(argument: string): Override {
  const at = argument.indexOf("=");
  if (at < 1) throw new UsageError(`--set: expected name=value, got ${JSON.stringify(argument)}`);
  const path = argument.slice(0, at);
  return { path, text: argument.slice(at + 1), label: `--set ${path}` };
}

/**
 * The settings with some of them replaced.
 *
 * @throws UsageError for a name that there is not, or a value that is not allowed.
 */
export async function applyOverrides<C extends Settings>(
  settings: C,
  rules: FieldRules,
  overrides: readonly Override[],
): Promise<C> {
  if (overrides.length === 0) return settings;
  const v = await loadValibot();
  const fields = fieldsOf(settings, rules);
  return overrides.reduce((config, { path, text, label }) => {
    const field = fields.find((candidate) => candidate.path === path);
    if (!field) {
      const names = fields.map((known) => known.path);
      const meant = closest(path, names);
      const hint = meant === undefined ? "" : `did you mean ${meant}? `;
      throw new UsageError(`${label}: there is no such setting; ${hint}there are ${names.join(", ")}`);
    }
    const { success, output } = v.safeParse(schemaOf(v, field), readText(field, text));
    if (!success) throw new UsageError(`${label}: expected ${describeField(field)}, got ${JSON.stringify(text)}`);
    return replaced(config, path.split("."), output as Json) as C;
  }, settings);
}

/** The name that a misspelt one most likely stands for: at most a third of its letters differ. */
function closest(name: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((known) => ({ known, distance: editDistance(name.toLowerCase(), known.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return best && best.distance <= Math.ceil(best.known.length / 3) ? best.known : undefined;
}

/** Letters inserted, removed or exchanged on the way from one text to another (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const exchanged = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(exchanged, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

function replaced(settings: Settings, [name, ...rest]: readonly string[], value: Json): Settings {
  const key = name as string;
  return { ...settings, [key]: rest.length === 0 ? value : replaced(settings[key] as Settings, rest, value) };
}

/**
 * Checks settings that come from a file against a recipe's defaults: the same names, those that are missing as by default,
 * and allowed values.
 *
 * @throws UsageError that lists what is wrong.
 */
export async function checkSettings<C extends Settings>(
  owner: string,
  found: Json,
  defaults: C,
  rules: FieldRules,
): Promise<C> {
  const v = await loadValibot();
  const treeSchema = (tree: Settings, prefix: string): Schema =>
    v.strictObject(
      Object.fromEntries(
        Object.entries(tree).map(([name, initial]) => {
          const path = prefix + name;
          const schema = isTree(initial)
            ? treeSchema(initial, `${path}.`)
            : schemaOf(v, { path, initial, rule: rules[path] ?? {} });
          return [name, schema];
        }),
      ),
    );
  const { success, output, issues } = v.safeParse(treeSchema(defaults, ""), completed(found, defaults));
  if (success) return output as C;
  const problems = issues.map((issue) => `${v.getDotPath(issue) ?? "the whole"}: ${issue.message}`);
  throw new UsageError(`${owner}: the settings do not fit\n  ${problems.join("\n  ")}`);
}

/** Settings that a file lacks, since they came after it, as they are by default: what it was before them. */
function completed(found: Json, defaults: Settings): Json {
  if (!isTree(found)) return found;
  const missing = Object.entries(defaults).filter(([name]) => !(name in found));
  const known = Object.entries(found).map(([name, value]) => {
    const initial = Object.hasOwn(defaults, name) ? defaults[name] : undefined;
    return [name, initial !== undefined && isTree(initial) ? completed(value, initial) : value] as const;
  });
  return Object.fromEntries([...known, ...missing]);
}

/** Names of settings in which two configurations differ, those of the list aside. */
export function differences(a: Settings, b: Settings, ignored: readonly string[] = []): string[] {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].filter((name) => !ignored.includes(name) && JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}
