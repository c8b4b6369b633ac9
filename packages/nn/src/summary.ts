// A table of a model: modules, output shapes, parameters and FLOPs.

import { checkObject, scope, Tensor } from "@figment/tensor";
import { internals, type Module, observeForward } from "./module.js";

/** One call of one module. */
export interface SummaryRow {
  /** Dotted path; empty for the model itself. */
  readonly path: string;
  /** The module's class. */
  readonly type: string;
  /** Shape of the output, where it is a tensor. */
  readonly output: readonly number[] | null;
  /** Parameters in this module and below. */
  readonly parameters: number;
  /** Multiplications and additions of products and convolutions in this module and below. */
  readonly flops: number;
}

/** What {@link summary} found. */
export interface Summary {
  readonly rows: readonly SummaryRow[];
  readonly parameters: number;
  readonly flops: number;
  /** The table as text. */
  toString(): string;
}

/** Layers that do products tell their cost; everything else counts as nothing beside them. */
interface Costly {
  flops(inputs: readonly unknown[], output: unknown): number;
}

const isCostly = (module: object): module is Costly => typeof Reflect.get(module, "flops") === "function";

/**
 * Runs the model once, in evaluation mode, and lists every module called with its output shape, its
 * parameters and its FLOPs (2 per multiplication and addition; of matrix products, convolutions and
 * attention, which is nearly all).
 *
 * @param inputs the arguments of `forward`; they stay the caller's.
 * @example
 * console.log(String(summary(new Linear(3, 2).init(rng(0)), tensor([[1, 2, 3]]))));
 */
export function summary<M extends Module & { forward(...inputs: never[]): unknown }>(
  model: M,
  ...inputs: Parameters<M["forward"]>
): Summary {
  checkObject("summary", "model", model, "namedModules");
  const own = new Map<Module, { flops: number; output: readonly number[] | null }>();
  const watch = (module: Module, args: readonly unknown[], output: unknown): void => {
    const flops = (own.get(module)?.flops ?? 0) + (isCostly(module) ? module.flops(args, output) : 0);
    own.set(module, { flops, output: output instanceof Tensor ? output.shape : null });
  };
  inEvaluation(model, () =>
    scope(() => {
      observeForward(watch, () => Reflect.apply(model.forward, model, inputs));
    }),
  );
  const rows = [...model.namedModules()]
    .filter(([, module]) => own.has(module))
    .map(([path, module]): SummaryRow => {
      const flops = [...module.namedModules()].reduce((sum, [, part]) => sum + (own.get(part)?.flops ?? 0), 0);
      const output = own.get(module)?.output ?? null;
      return { path, type: module.constructor.name, output, parameters: module.parameterCount, flops };
    });
  const totals = { parameters: model.parameterCount, flops: rows[0]?.flops ?? 0 };
  return { rows, ...totals, toString: () => table(rows) };
}

/** Runs `fn` with the model in evaluation mode, then puts every module back into the mode that it had. */
function inEvaluation(model: Module, fn: () => void): void {
  const before = [...model.namedModules()].map(([, module]) => [module, module[internals].training] as const);
  model.eval();
  try {
    fn();
  } finally {
    for (const [module, training] of before) module[internals].training = training;
  }
}

function table(rows: readonly SummaryRow[]): string {
  const count = (n: number): string => n.toLocaleString("en-US");
  const lines = [
    ["module", "type", "output", "parameters", "FLOPs"],
    ...rows.map(({ path, type, output, parameters, flops }) => [
      path || "(model)",
      type,
      output ? `[${output.join(", ")}]` : "",
      count(parameters),
      count(flops),
    ]),
  ];
  const widths = [0, 1, 2, 3, 4].map((i) => Math.max(...lines.map((line) => (line[i] as string).length)));
  const numeric = (i: number): boolean => i >= 3;
  return lines
    .map((line) =>
      line
        .map((cell, i) => (numeric(i) ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
