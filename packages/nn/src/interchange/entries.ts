// The cells of a module as PyTorch's counterpart of it knows them: its name, shape and layout for each.

import { Cell, UsageError } from "@figment/tensor";
import { visitMembers } from "../members.js";
import { Module } from "../module.js";
import { shapeInTorch, type TorchLayout, type TorchMember } from "./layout.js";

/** One cell of a module, seen from PyTorch. */
export interface TorchEntry {
  readonly name: string;
  /** Other names that files may have for it. */
  readonly aliases: readonly string[];
  /** In PyTorch. */
  readonly shape: readonly number[];
  readonly layout: TorchLayout;
  readonly cell: Cell;
}

const join = (prefix: string, name: string): string => (prefix && name ? `${prefix}.${name}` : prefix || name);

/** Parameters and buffers of a module and of all below it, each once, by their names in PyTorch. */
export function torchEntries(root: Module): Map<string, TorchEntry> {
  const entries = new Map<string, TorchEntry>();
  const seen = new Set<Module | Cell>();
  const visit = (module: Module, prefix: string, renamed: NonNullable<TorchMember["members"]>): void => {
    seen.add(module);
    visitMembers(module, (member, value) => {
      if (!(value instanceof Module || value instanceof Cell) || seen.has(value)) return;
      const said = { ...module.torchMember(member), ...renamed[member] };
      const name = join(prefix, said.name);
      if (value instanceof Module) {
        visit(value, name, said.members ?? {});
        return;
      }
      seen.add(value);
      const { layout = {}, aliases = [] } = said;
      if (entries.has(name)) throw new UsageError(`${root.constructor.name}: two cells are called ${name} in PyTorch`);
      const shape = shapeInTorch(value.shape, layout);
      entries.set(name, { name, aliases: aliases.map((alias) => join(prefix, alias)), shape, layout, cell: value });
    });
  };
  visit(root, "", {});
  return entries;
}
