// Finiteness looked for while a training step is traced: what its modules give, and the gradients of its optimisers, by the
// names that the step knows them by.

import { checkFinite, currentPath, isFloat, leavesOf, type Tensor } from "@figment/tensor";
import { joinPath } from "./members.js";
import { type ForwardObserver, internals, type Module, observeForward } from "./module.js";
import type { Parameter } from "./parameter.js";

/** Says how an optimiser's checks call a parameter; null where none are asked for. */
export type ParameterNames = (path: string, parameter: Parameter) => string;

let names: ParameterNames | null = null;

/** What the training step that is being traced asks of its optimisers; null when it asks nothing. */
export const namesForChecks = (): ParameterNames | null => names;

/** What a training step looks at: "gradients" are those and the losses, true is everything. */
export type Checks = boolean | "gradients";

/** Runs `fn` with checks of the parameters, the batch, and what every module and optimiser gives on the way. */
export function checked<T>(
  modules: Readonly<Record<string, Module>>,
  batch: Readonly<Record<string, Tensor>>,
  checks: Checks,
  fn: () => T,
): T {
  if (checks === false) return fn();
  const known = pathsBelow(modules);
  const previous = names;
  names = (path, parameter) => known.get(parameter) ?? path;
  try {
    return checks === true ? watched(modules, known, batch, fn) : fn();
  } finally {
    names = previous;
  }
}

/** Paths of all modules and parameters, each once; those of a single module without its own name. */
function pathsBelow(modules: Readonly<Record<string, Module>>): Map<object, string> {
  const paths = new Map<object, string>();
  const alone = Object.keys(modules).length === 1;
  for (const [name, root] of Object.entries(modules)) {
    const prefix = alone ? "" : name;
    for (const [path, item] of [...root.namedModules(), ...root.namedParameters()])
      if (!paths.has(item)) paths.set(item, joinPath(prefix, path));
  }
  return paths;
}

function watched<T>(
  modules: Readonly<Record<string, Module>>,
  known: ReadonlyMap<object, string>,
  batch: Readonly<Record<string, Tensor>>,
  fn: () => T,
): T {
  const parameters = Object.values(modules)
    .flatMap((module) => module.parameters())
    .map((parameter) => [`the parameter ${known.get(parameter)}`, parameter.value]);
  const inputs = Object.entries(batch)
    .filter(([, x]) => isFloat(x.dtype))
    .map(([name, x]) => [`the batch's ${name}`, x]);
  checkFinite(Object.fromEntries([...parameters, ...inputs]));
  const check: ForwardObserver = (module, _inputs, output) => {
    const path = known.get(module) ?? joinPath(currentPath(), module[internals].segment);
    const results = leavesOf(output).filter((x) => isFloat(x.dtype));
    checkFinite(
      Object.fromEntries(
        results.map((x, i) => [
          `${results.length > 1 ? `result ${i}` : "the result"} of ${path || module.constructor.name}`,
          x,
        ]),
      ),
    );
  };
  return observeForward(check, fn);
}
