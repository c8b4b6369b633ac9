// Evaluations as text.

import { checkObject } from "@figment/tensor";
import type { Evaluation, EvaluationRow } from "./evaluate.js";

/** Columns: a title, and what a row has there. */
const columns: readonly (readonly [title: string, cell: (row: EvaluationRow) => string])[] = [
  ["", ({ name }) => name],
  ["Fréchet", ({ frechet }) => significant(frechet)],
  ["× floor", ({ ratio }) => ratio.toFixed(2)],
  ["kernel", ({ kernel }) => significant(kernel)],
  ["precision", ({ precision }) => precision.toFixed(3)],
  ["recall", ({ recall }) => recall.toFixed(3)],
  ["density", ({ density }) => density.toFixed(3)],
  ["coverage", ({ coverage }) => coverage.toFixed(3)],
];

/** Four digits. */
const significant = (x: number): string => (x === 0 ? "0" : Number(x.toPrecision(4)).toString());

/**
 * An evaluation as a table of text, the floor first. Intervals, where there are some, stand behind the distance.
 *
 * @example
 * const row = { name: "training images", frechet: 2.4, ratio: 1, interval: null, kernel: 0, precision: 1, recall: 1, density: 1, coverage: 1 };
 * console.log(evaluationTable({ reference: "mnist test", count: 10_000, dims: 500, floor: row, rows: [] }));
 */
export function evaluationTable(evaluation: Evaluation): string {
  const { reference, count, dims, floor, rows } = checkObject(
    "evaluationTable",
    "evaluation",
    evaluation,
    "reference",
    "rows",
  );
  const lines = [
    columns.map(([title]) => title),
    ...[floor, ...rows].map((row) =>
      columns.map(([title, cell]) =>
        title === "Fréchet" && row.interval
          ? `${cell(row)} [${significant(row.interval.low)}, ${significant(row.interval.high)}]`
          : cell(row),
      ),
    ),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => (line[i] as string).length)));
  const text = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join("  "),
  );
  return [`${count} images each, ${dims} features, beside ${reference}`, ...text]
    .map((line) => line.trimEnd())
    .join("\n");
}
