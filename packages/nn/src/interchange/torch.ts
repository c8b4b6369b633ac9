// Weights from and for PyTorch: channels first, by PyTorch's names. Which name and layout a cell has there is said by
// the layer that it belongs to (`Module.torchMember`); names that a foreign model has instead are a table (rules.ts).

import {
  type Cell,
  CheckpointError,
  checkObject,
  checkTensor,
  concat,
  isFloat,
  scope,
  type Tensor,
} from "@figment/tensor";
import type { Module } from "../module.js";
import { type TorchEntry, torchEntries } from "./entries.js";
import { flattenedImages, fromTorch, shapeInTorch, type TorchLayout, toTorch } from "./layout.js";
import { type Mapped, mapForeign, mapOurs, type TorchRule, type TorchRules } from "./rules.js";

/** Options of {@link exportTorch} and {@link torchShapes}. */
export interface ExportTorchOptions {
  /** The foreign names, as {@link importTorch} takes them. Default: none, the names are those of our layers. */
  readonly rules?: TorchRules;
}

/** Options of {@link importTorch}. */
export interface ImportTorchOptions {
  /** Foreign names and ours. Default: none, the tensors are called as {@link exportTorch} calls them. */
  readonly rules?: TorchRules;
}

/** PyTorch's batch norms count their calls; ours have no use for it, nor has PyTorch when it loads a state dict. */
const counter = /(^|\.)num_batches_tracked$/;

/** A rule's word on the layout counts before the layer's. */
function layoutOf({ cell, layout }: TorchEntry, rule: TorchRule | undefined): TorchLayout {
  if (!rule?.inputImage && !rule?.outputImage) return layout;
  return flattenedImages(cell.shape, [rule.outputImage, rule.inputImage]);
}

/** A foreign tensor and the cells that it stands for, in the order of its rows. */
interface Part {
  readonly theirs: string;
  readonly shape: readonly number[];
  readonly cells: readonly { readonly entry: TorchEntry; readonly layout: TorchLayout; readonly rows: number }[];
}

function partOf({ theirs, rule }: Mapped, entries: readonly TorchEntry[]): Part {
  const cells = entries.map((entry) => {
    const layout = layoutOf(entry, rule);
    return { entry, layout, rows: shapeInTorch(entry.cell.shape, layout)[0] ?? 1 };
  });
  const [first] = cells as [(typeof cells)[number]];
  const shape = shapeInTorch(first.entry.cell.shape, first.layout);
  if (cells.length === 1) return { theirs, shape, cells };
  return { theirs, shape: [cells.reduce((n, { rows }) => n + rows, 0), ...shape.slice(1)], cells };
}

/** What a file of the module's weights holds, in the order of the module. */
function partsOf(module: Module, rules: TorchRules): Map<string, Part> {
  const entries = torchEntries(module);
  const parts = new Map<string, Part>();
  for (const name of entries.keys()) {
    const mapped = mapOurs(rules, name);
    if (parts.has(mapped.theirs)) continue;
    const found = mapped.ours.flatMap((ours) => entries.get(ours) ?? []);
    parts.set(mapped.theirs, partOf(mapped, found));
  }
  return parts;
}

/**
 * The weights of any module as PyTorch has them: convolutions [O,I,kH,kW], transposed ones [I,O,kH,kW], running
 * statistics and spectral norms by PyTorch's names, the columns of a Linear after a flatten in the order of [C,H,W]. Save
 * them with `saveTensors`; `load_state_dict` of a PyTorch module of the same structure takes them.
 *
 * @returns tensors by name, the caller's own; in the types of the cells.
 * @example
 * const weights = exportTorch(new Conv2d(3, 8, 5).init(rng(0)));
 * weights.weight; // [8, 3, 5, 5]
 */
export function exportTorch(module: Module, options: ExportTorchOptions = {}): Record<string, Tensor> {
  checkObject("exportTorch", "module", module, "torchMember");
  const { rules = {} } = checkObject("exportTorch", "options", options);
  return scope(() => {
    const parts = [...partsOf(module, rules).values()];
    return Object.fromEntries(
      parts.map(({ theirs, cells }) => {
        const pieces = cells.map(({ entry, layout }) => toTorch(entry.cell.value, layout));
        return [theirs, pieces.length === 1 ? (pieces[0] as Tensor).clone() : concat(pieces, 0)];
      }),
    );
  });
}

/**
 * The names and shapes of {@link exportTorch}, without weights.
 *
 * @example
 * torchShapes(new BatchNorm(4)).running_mean[0]; // 4
 */
export function torchShapes(module: Module, options: ExportTorchOptions = {}): Record<string, readonly number[]> {
  checkObject("torchShapes", "module", module, "torchMember");
  const { rules = {} } = checkObject("torchShapes", "options", options);
  return Object.fromEntries([...partsOf(module, rules)].map(([theirs, { shape }]) => [theirs, shape]));
}

/**
 * Copies foreign weights into a module: names through the table, layouts as the layers say. Float types are converted to
 * those of the cells. Counters of batch norms are left out. Takes no ownership of the tensors.
 *
 * @throws CheckpointError listing every missing, unexpected and mis-shaped tensor; then nothing has changed.
 * @example
 * const theirs = { "main.0.weight": rng(0).normal([8, 3, 5, 5]), "main.0.bias": zeros([8]) };
 * const model = new Sequential(new Conv2d(3, 8, 5));
 * importTorch(model, theirs, { rules: { "main.{i}": "{i}" } });
 */
export function importTorch<M extends Module>(
  module: M,
  tensors: Readonly<Record<string, Tensor>>,
  options: ImportTorchOptions = {},
): M {
  checkObject("importTorch", "module", module, "torchMember");
  checkObject("importTorch", "tensors", tensors);
  const { rules = {} } = checkObject("importTorch", "options", options);
  const entries = new Map(
    [...torchEntries(module).values()].flatMap((entry) =>
      [entry.name, ...entry.aliases].map((name): [string, TorchEntry] => [name, entry]),
    ),
  );
  const filled = new Map<Cell, string>();
  const problems = { unexpected: [] as string[], misshaped: [] as string[], twice: [] as string[] };
  const parts: { readonly part: Part; readonly tensor: Tensor }[] = [];
  for (const [theirs, tensor] of Object.entries(tensors)) {
    checkTensor("importTorch", theirs, tensor);
    if (counter.test(theirs)) continue;
    const mapped = mapForeign(rules, theirs);
    if (!mapped) continue;
    const found = mapped.ours.flatMap((name) => entries.get(name) ?? []);
    if (found.length < mapped.ours.length) {
      problems.unexpected.push(`${theirs}${mapped.ours[0] === theirs ? "" : ` (as ${mapped.ours.join(", ")})`}`);
      continue;
    }
    for (const { cell, name } of found) {
      const other = filled.get(cell);
      if (other !== undefined) problems.twice.push(`${name}: ${other} and ${theirs}`);
      filled.set(cell, theirs);
    }
    const part = partOf(mapped, found);
    const shapes = [part.shape.join(), tensor.shape.join()];
    if (shapes[0] !== shapes[1])
      problems.misshaped.push(`${theirs}: expected [${part.shape.join(", ")}], got [${tensor.shape.join(", ")}]`);
    parts.push({ part, tensor });
  }
  const missing = [...new Set(entries.values())].flatMap(({ name, cell, shape }) =>
    filled.has(cell) ? [] : [`${mapOurs(rules, name).theirs} [${shape.join(", ")}]`],
  );
  const lines = [
    ...(missing.length ? [`missing: ${missing.join(", ")}`] : []),
    ...(problems.unexpected.length ? [`unexpected: ${problems.unexpected.join(", ")}`] : []),
    ...(problems.misshaped.length ? [`mis-shaped: ${problems.misshaped.join("; ")}`] : []),
    ...(problems.twice.length ? [`given twice: ${problems.twice.join("; ")}`] : []),
  ];
  if (lines.length > 0)
    throw new CheckpointError(`${module.constructor.name}: these weights do not fit\n  ${lines.join("\n  ")}`);
  scope(() => parts.forEach(fillCells));
  return module;
}

function fillCells({ part, tensor }: { readonly part: Part; readonly tensor: Tensor }): void {
  let row = 0;
  for (const { entry, layout, rows } of part.cells) {
    const { cell } = entry;
    const begin = tensor.shape.map((_, axis) => (axis === 0 ? row : 0));
    const piece = part.cells.length === 1 ? tensor : tensor.slice(begin, [rows, ...tensor.shape.slice(1)]);
    row += rows;
    const ours = fromTorch(piece, layout, cell.shape);
    cell.set(isFloat(cell.dtype) && isFloat(ours.dtype) ? ours.cast(cell.dtype) : ours);
  }
}
