// What a golden case of a layer is, and the comparison that most of them make.

import type { Module } from "@figment/nn";
import * as nn from "@figment/nn";
import { type Cell, grad, scope, type Tensor, valueAndGrad } from "@figment/tensor";
import type { GoldenFile } from "../../tensor/test/support/golden.js";

/** One recorded case of one exported layer. */
export interface LayerCase {
  /** The class. */
  readonly layer: { readonly name: string };
  /** Which of its cases. */
  readonly variant: string;
  /** Compares values and derivatives with what was recorded. */
  compare(): void;
}

/** Where a case is recorded, and what it is given. */
export interface Recorded {
  readonly file: GoldenFile;
  readonly name: string;
  /** The names of the inputs. Default x. */
  readonly inputs?: readonly string[];
}

/**
 * Loads the recorded weights into a module, which it disposes, and compares the output, the derivatives of the inputs
 * that have one, and those of all weights.
 */
export function expectLayer<M extends Module>(
  { file, name, inputs: names = ["x"] }: Recorded,
  module: M,
  forward: (module: M, ...inputs: Tensor[]) => Tensor,
): void {
  const at = (key: string): string => `${name}/${key}`;
  scope(() => {
    const weights: Readonly<Record<string, Cell>> = module.stateDict();
    module.loadStateDict(Object.fromEntries(Object.keys(weights).map((path) => [path, file.tensor(at(path))])));
    const inputs = names.map((input) => file.tensor(at(input)));
    file.expect(forward(module, ...inputs), at("y"));
    const dy = file.tensor(at("dy"));
    const weighted = (...given: Tensor[]): Tensor =>
      forward(module, ...given)
        .mul(dy)
        .sum();
    names.forEach((input, i) => {
      if (inputs[i]?.dtype === "i32") return;
      file.expect(grad((x: Tensor) => weighted(...inputs.with(i, x)))(inputs[i] as Tensor), at(`d${input}`));
    });
    const { grads } = valueAndGrad(() => weighted(...inputs), { wrt: module })();
    for (const [path, cell] of Object.entries(weights)) file.expect(grads.get(cell), at(`d${path}`));
  });
  module.dispose();
}

/** The classes that @figment/nn exports below another, which itself is not one of them. */
export const subclassesOf = (base: { readonly prototype: object }): LayerCase["layer"][] =>
  Object.values<unknown>(nn).flatMap((value) =>
    typeof value === "function" && value.prototype instanceof (base as never) ? [value] : [],
  );
