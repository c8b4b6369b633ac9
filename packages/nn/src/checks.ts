// Validation shared by the constructors of layers, optimisers, schedules and averages, so that a number out of range is
// refused where it is written and not where it is used. Every message says whose argument it is, what was given and what
// was expected. Imports tensor only.

import { checkArray, checkObject, show, UsageError } from "@figment/tensor";

/** One number for both axes, or [height, width]. */
export type Pair = number | readonly [number, number];

/** Both halves of what may be given as one number. */
export const pairOf = <T extends Pair>(x: number | readonly [T, T]): readonly [T | number, T | number] =>
  typeof x === "number" ? [x, x] : x;

/** The same on opposite sides as {@link Pair} says, or [[top, bottom], [left, right]]. */
export type Padding = Pair | readonly [readonly [number, number], readonly [number, number]];

type Named = Readonly<Record<string, unknown>>;

/** Extents are below this (see Shape). */
const pastExtent = 2 ** 31;

const isCount = (x: unknown, least: number): boolean =>
  typeof x === "number" && Number.isInteger(x) && x >= least && x < pastExtent;

function check(owner: string, values: Named, valid: (x: unknown) => boolean, expected: string): void {
  for (const [name, value] of Object.entries(checkObject(owner, "values", values)))
    if (!valid(value)) throw new UsageError(`${owner}: ${name} must be ${expected}, got ${show(value)}`);
}

const finite = (x: unknown, valid: (x: number) => boolean): boolean =>
  typeof x === "number" && Number.isFinite(x) && valid(x);

/**
 * Checks whole numbers of at least 1, or another `least`, and below 2³¹: channels, groups, heads.
 *
 * @param owner whose arguments they are; the message begins with it.
 * @throws UsageError naming the first that is none, what it is and what was expected.
 * @example
 * checkCounts("Encoder", { latentChannels: 4, levels: 3 });
 */
export function checkCounts(owner: string, values: Named, least = 1): void {
  check(owner, values, (x) => Number.isInteger(x) && (x as number) >= least, `an integer ≥ ${least}`);
  check(owner, values, (x) => isCount(x, least), "below 2³¹");
}

/**
 * Checks a list of whole numbers of at least 1: the channels of levels, the widths of layers.
 *
 * @param owner whose argument it is; the message begins with it.
 * @throws UsageError when it is no list, or naming the first item that is no such number.
 * @example
 * checkCountsOf("Encoder", "channels", [32, 64]);
 */
export function checkCountsOf(owner: string, name: string, list: readonly number[]): void {
  checkArray(owner, name, list);
  checkCounts(owner, Object.fromEntries(list.map((count, i) => [`${name}[${i}]`, count])));
}

/**
 * Checks an option that has one of a few values.
 *
 * @param owner whose option it is; the message begins with it.
 * @throws UsageError naming the option, what it is and what there is.
 * @example
 * checkChoice("Encoder", "norm", "batch", ["batch", "layer"]);
 */
export function checkChoice(owner: string, name: string, value: unknown, choices: readonly unknown[]): void {
  checkArray(owner, "choices", choices);
  if (!choices.includes(value))
    throw new UsageError(`${owner}: ${name} must be ${choices.map(show).join(" or ")}, got ${show(value)}`);
}

/**
 * Checks options that are true or false: other values would count as whether they are empty.
 *
 * @param owner whose options they are; the message begins with it.
 * @throws UsageError naming the first that is neither, and what it is.
 * @example
 * checkFlags("Encoder", { residual: true });
 */
export const checkFlags = (owner: string, values: Named): void =>
  check(owner, values, (x) => typeof x === "boolean", "true or false");

/**
 * Checks finite numbers, of any sign.
 *
 * @param owner whose arguments they are; the message begins with it.
 * @throws UsageError naming the first that is none, what it is and what was expected.
 * @example
 * checkNumbers("Encoder", { offset: -0.5 });
 */
export const checkNumbers = (owner: string, values: Named): void =>
  check(owner, values, (x) => finite(x, () => true), "a finite number");

/**
 * Checks finite numbers above 0: scales, powers.
 *
 * @param owner whose arguments they are; the message begins with it.
 * @throws UsageError naming the first that is none, what it is and what was expected.
 * @example
 * checkPositive("Game", { scale: 0.5 });
 */
export const checkPositive = (owner: string, values: Named): void =>
  check(owner, values, (x) => finite(x, (n) => n > 0), "a positive number");

/** Where the f32 count of an optimiser's updates stands still: 2²⁴ + 1 rounds to 2²⁴. */
const mostUpdates = 2 ** 24;

/**
 * Checks numbers of updates that a schedule lasts: above 0, and no more than optimisers count.
 *
 * @param owner whose arguments they are; the message begins with it.
 * @throws UsageError naming the first that is none, what it is and what was expected.
 * @example
 * checkUpdates("coolingLr", { steps: 1000 });
 */
export function checkUpdates(owner: string, values: Named): void {
  checkPositive(owner, values);
  check(owner, values, (x) => (x as number) <= mostUpdates, "at most 2²⁴ updates, where the count of f32 ends");
}

/**
 * Checks finite numbers that are not negative: weights of losses, rates.
 *
 * @param owner whose arguments they are; the message begins with it.
 * @throws UsageError naming the first that is none, what it is and what was expected.
 * @example
 * checkNotNegative("Game", { gradientPenalty: 10 });
 */
export const checkNotNegative = (owner: string, values: Named): void =>
  check(owner, values, (x) => finite(x, (n) => n >= 0), "a finite number ≥ 0");

/**
 * Checks numbers in [0, 1): decays, probabilities of dropping.
 *
 * @param owner whose arguments they are; the message begins with it.
 * @throws UsageError naming the first that is none, what it is and what was expected.
 * @example
 * checkFractions("Encoder", { dropout: 0.1 });
 */
export const checkFractions = (owner: string, values: Named): void =>
  check(owner, values, (x) => finite(x, (n) => n >= 0 && n < 1), "in [0, 1)");

/** Checks numbers in [0, 1]. */
export const checkShares = (owner: string, values: Named): void =>
  check(owner, values, (x) => finite(x, (n) => n >= 0 && n <= 1), "in [0, 1]");

/** Checks that counts divide into parts, both being valid. */
export function checkDivisible(
  owner: string,
  what: string,
  counts: readonly number[],
  parts: number,
  of: string,
): void {
  if (counts.some((count) => count % parts !== 0))
    throw new UsageError(`${owner}: ${counts.join(" and ")} ${what} do not divide into ${parts} ${of}`);
}

const isPair = (x: unknown, least: number): boolean =>
  isCount(x, least) || (Array.isArray(x) && x.length === 2 && x.every((side) => isCount(side, least)));

/** Checks integers of at least `least`, one for both axes or [height, width]. */
export const checkPairs = (owner: string, values: Named, least = 1): void =>
  check(owner, values, (x) => isPair(x, least), `an integer ≥ ${least} or [height, width]`);

/** Checks {@link Padding}. */
export const checkPadding = (owner: string, padding: unknown): void =>
  check(
    owner,
    { padding },
    (x) =>
      isPair(x, 0) ||
      (Array.isArray(x) && x.length === 2 && x.every((sides) => Array.isArray(sides) && isPair(sides, 0))),
    "an integer ≥ 0, [height, width] or [[top, bottom], [left, right]]",
  );
