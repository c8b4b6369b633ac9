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
  /** Default: that of the default value; needed where that is null. */
  readonly type?: "integer" | "number" | "string" | "boolean";
  readonly least?: number;
  readonly most?: number;
  readonly choices?: readonly string[];
  /** Whether null is allowed too. Default: whether it is the default value. */
  readonly nullable?: boolean;
}

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
  rule.type ?? (Array.isArray(initial) ? "list" : (typeof initial as "number" | "string" | "boolean"));

/** What a field takes, in words: "an integer of at least 1". */
export function describeField(field: Field): string {
  const { least, most, choices } = field.rule;
  const orNull = isNullable(field) ? " or null" : "";
  if (choices) return `${choices.join(" or ")}${orNull}`;
  const names = {
    integer: "an integer",
    number: "a number",
    string: "a text",
    boolean: "true or false",
    list: `a list such as ${JSON.stringify(field.initial)}`,
  };
  const name = names[typeOf(field) ?? "string"];
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

function schemaOf(v: typeof Valibot, field: Field): Schema {
  const { rule, initial } = field;
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
        ? v.string()
        : type === "boolean"
          ? v.boolean()
          : schemaLike(v, initial);
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
    if (!field)
      throw new UsageError(`${label}: there is no such setting; there are ${fields.map((f) => f.path).join(", ")}`);
    const { success, output } = v.safeParse(schemaOf(v, field), readText(field, text));
    if (!success) throw new UsageError(`${label}: expected ${describeField(field)}, got ${JSON.stringify(text)}`);
    return replaced(config, path.split("."), output as Json) as C;
  }, settings);
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
