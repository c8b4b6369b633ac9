// What a step gave: read, looked at, put into words.

import { checkFinite, isFloat, NonFiniteError, type SavedState, scope, settled } from "@figment/tensor";
import type { StepResults } from "../training.js";

/**
 * Waits for the results of step number `at`, and frees them.
 *
 * @param state what the step keeps, asked for when something is wrong.
 * @throws NonFiniteError that names the step and what is not finite.
 */
export async function readResults(
  at: number,
  results: StepResults,
  state: () => SavedState,
): Promise<Record<string, number>> {
  const named = Object.entries(results);
  try {
    const values = await Promise.all(named.map(async ([name, result]) => [name, await result.item()] as const));
    const bad = values.find(([, value]) => !Number.isFinite(value));
    if (bad) throw new NonFiniteError(`${bad[0]} became ${bad[1]}; ${await firstBad(state())}`);
    return Object.fromEntries(values);
  } catch (error) {
    throw error instanceof NonFiniteError
      ? new NonFiniteError(`step ${at}: ${error.message}`, { cause: error })
      : error;
  } finally {
    for (const [, result] of named) result.dispose();
  }
}

/** Names a part of the state that is no longer finite. */
async function firstBad({ cells }: SavedState): Promise<string> {
  const floats = Object.entries(cells).filter(([, cell]) => cell.allocated && isFloat(cell.dtype));
  scope(() => checkFinite(Object.fromEntries(floats.map(([name, cell]) => [name, cell.value]))));
  const found = await settled().then(
    () => "all that the step keeps is finite",
    (error: Error) => `by now ${error.message}`,
  );
  return `${found} (with the option checkFinite the step names where it begins, and changes nothing)`;
}

/** Digits of numbers beside a progress bar. */
const shownDigits = 4;

/** Results as a progress bar shows them. */
export const showResults = (values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(shownDigits))}`)
    .join("  ");
