// An inspection as text: the tree of names with types, shapes and sizes in columns.

import { checkObject } from "@figment/tensor";
import type { InspectedEntry, Inspection } from "./inspect.js";

/** A name on its level, and what lies below it. */
interface Branch {
  readonly children: Map<string, Branch>;
  entry?: InspectedEntry;
}

/** Values of metadata are cut here. */
const maxMetadataShown = 100;

/**
 * Bytes as people say them: 1.5 MB.
 *
 * @example
 * const size = showBytes(1536);
 * size.length; // 6
 */
export function showBytes(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/**
 * Draws what {@link inspectFile} found as a tree.
 *
 * @example
 * console.log(showInspection(await inspectFile("weights.pth")));
 */
export function showInspection(inspection: Inspection): string {
  const { path, format, fileBytes, entries, metadata, classes, tensors, parameters, tensorBytes } = checkObject(
    "showInspection",
    "inspection",
    inspection,
    "entries",
  );
  const root: Branch = { children: new Map() };
  for (const entry of entries) plant(root, entry);
  const rows = rowsOf(root, "");
  const width = Math.max(0, ...rows.map(({ label }) => label.length));
  const typeWidth = Math.max(0, ...rows.map(({ entry }) => entry?.type?.length ?? 0));
  const lines = rows.map(({ label, entry }) =>
    entry ? `${label.padEnd(width)}  ${describe(entry, typeWidth)}` : label,
  );
  const strings = Object.entries(metadata).map(
    ([key, value]) => `  ${key}: ${value.length > maxMetadataShown ? `${value.slice(0, maxMetadataShown)}…` : value}`,
  );
  return [
    `${path}: ${format}${fileBytes === undefined ? "" : `, ${showBytes(fileBytes)}`}`,
    ...lines.map((line) => `  ${line}`),
    ...(tensors > 0
      ? [`${tensors} tensors, ${parameters.toLocaleString("en")} elements, ${showBytes(tensorBytes)}`]
      : []),
    ...(strings.length > 0 ? ["metadata", ...strings] : []),
    ...(classes.length > 0 ? [`objects of ${classes.join(", ")} (described, never run)`] : []),
  ]
    .map(withoutControls)
    .join("\n");
}

/** Names come from files of anybody: what would steer a terminal, or begin a line, is shown as its code. */
const withoutControls = (line: string): string =>
  line.replace(/\p{Cc}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

function plant(root: Branch, entry: InspectedEntry): void {
  let branch = root;
  for (const name of entry.name.split(".")) {
    let next = branch.children.get(name);
    if (!next) {
      next = { children: new Map() };
      branch.children.set(name, next);
    }
    branch = next;
  }
  branch.entry = entry;
}

interface Row {
  readonly label: string;
  readonly entry: InspectedEntry | undefined;
}

/** Depth first; a branch with a single child shares its line. */
function rowsOf(branch: Branch, indent: string): Row[] {
  return [...branch.children].flatMap(([first, child]) => {
    let name = first;
    let at = child;
    while (!at.entry && at.children.size === 1) {
      const [[next, only]] = [...at.children] as [[string, Branch]];
      name = `${name}.${next}`;
      at = only;
    }
    return [{ label: `${indent}${name}`, entry: at.entry }, ...rowsOf(at, `${indent}  `)];
  });
}

function describe({ type, shape, bytes, value }: InspectedEntry, typeWidth: number): string {
  if (shape === undefined) return value ?? "";
  return `${(type ?? "").padEnd(typeWidth)}  [${shape.join(", ")}]  ${showBytes(bytes ?? 0)}`;
}
