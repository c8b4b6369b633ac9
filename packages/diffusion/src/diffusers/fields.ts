// Reading the fields of diffusers' configurations: those that must be as they are, defaults for what is missing, and the types
// of what is given.

import { CheckpointError, checkObject } from "@figment/tensor";

/** The fields of a config.json. */
export type UNetConfig = Readonly<Record<string, unknown>>;

export const refuse = (owner: string, field: string, value: unknown, expected: string): CheckpointError =>
  new CheckpointError(`${owner}: ${field} is ${JSON.stringify(value)}; expected ${expected}`);

/** Which fields of a class of diffusers are read. */
export interface Fields<D extends object> {
  /** The class, for errors. */
  readonly owner: string;
  /** Fields whose only value with a counterpart is this one. */
  readonly fixed: Readonly<Record<string, unknown>>;
  /** diffusers' defaults of the fields that are read. */
  readonly defaults: D;
  /** Those that may be null. */
  readonly nullable: readonly string[];
  /** Those that may be one number or a list of them. */
  readonly numberOrList: readonly string[];
}

/** Checks that a field has the type of its default. */
function checkType<D extends object>(
  { owner, nullable, numberOrList }: Fields<D>,
  field: string,
  value: unknown,
  example: unknown,
): void {
  if (value === null && nullable.includes(field)) return;
  const list = Array.isArray(example);
  const expected = example === null ? "number" : typeof example;
  const isList = Array.isArray(value) && value.every((item) => typeof item === (list ? typeof example[0] : "number"));
  const good = list ? isList : typeof value === expected || (numberOrList.includes(field) && isList);
  if (!good) throw refuse(owner, field, value, list ? `a list of ${typeof example[0]}s` : `a ${expected}`);
}

/**
 * The fields that are read, with their defaults.
 *
 * @throws CheckpointError naming the field whose value has no counterpart or another type.
 */
export function readFields<D extends object>(config: UNetConfig, fields: Fields<D>): D {
  checkObject(fields.owner, "config", config);
  for (const [field, value] of Object.entries(fields.fixed))
    if (config[field] !== undefined && config[field] !== value)
      throw refuse(fields.owner, field, config[field], JSON.stringify(value));
  const read = { ...fields.defaults };
  for (const [field, example] of Object.entries(fields.defaults)) {
    const value = config[field];
    if (value === undefined) continue;
    checkType(fields, field, value, example);
    Object.assign(read, { [field]: value });
  }
  return read;
}

/** The types of a network's blocks in its configuration. */
export interface BlockTypes {
  readonly down_block_types: readonly string[];
  readonly up_block_types: readonly string[];
  readonly block_out_channels: readonly number[];
  readonly layers_per_block: number;
  readonly norm_num_groups: number;
}

/** More than any network has: what a file asks for is built before its weights can say otherwise. */
const [mostLevels, mostBlocks] = [32, 64];

/** Checks how many blocks of a kind follow each other. */
export function checkDepth(owner: string, field: string, blocks: number): void {
  if (!Number.isInteger(blocks) || blocks < 1 || blocks > mostBlocks)
    throw refuse(owner, field, blocks, `an integer from 1 to ${mostBlocks}`);
}

/**
 * Levels with attention, from the types of blocks: `plain` or `attending`, each with Down or Up in place of {}.
 *
 * @throws CheckpointError for other types, other numbers of levels, attention on one way alone, or groups that do not divide.
 */
export function attendedLevels(owner: string, fields: BlockTypes, plain: string, attending: string): number[] {
  const attends = (field: "down_block_types" | "up_block_types", way: string): boolean[] => {
    const [none, some] = [plain.replace("{}", way), attending.replace("{}", way)];
    return fields[field].map((type) => {
      if (type !== none && type !== some) throw refuse(owner, field, type, `${none} or ${some}`);
      return type === some;
    });
  };
  const down = attends("down_block_types", "Down");
  const up = attends("up_block_types", "Up").reverse();
  const { block_out_channels: channels, norm_num_groups: groups } = fields;
  if (down.length !== channels.length || up.length !== channels.length)
    throw refuse(
      owner,
      "block_out_channels",
      channels,
      `as many levels as down_block_types and up_block_types (${down.length}, ${up.length})`,
    );
  if (down.join() !== up.join())
    throw refuse(
      owner,
      "up_block_types",
      fields.up_block_types,
      "attention at the levels where down_block_types has it",
    );
  if (channels.length > mostLevels)
    throw refuse(owner, "block_out_channels", channels.length, `at most ${mostLevels} levels`);
  checkDepth(owner, "layers_per_block", fields.layers_per_block);
  const uneven = channels.find((count) => count % groups !== 0);
  if (uneven !== undefined)
    throw refuse(owner, "norm_num_groups", groups, `a divisor of all channels, ${uneven} among them`);
  return down.flatMap((does, level) => (does ? [level] : []));
}
