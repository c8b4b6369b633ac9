// The table of operations in packages/tensor/docs/operations.md, made from what has been defined and from the kernels that the addon
// was built with. A test compares it with the committed file.

import "../index.js"; // all operations
import type { Isa } from "@figment/native";
import { computeType, type DType, formatOf } from "../dtype.js";
import { type Aval, type Graph, GraphBuilder } from "../ir/graph.js";
import { definedOps, type OpDef, type Sample } from "../ops/definition.js";
import { widenFormats } from "../passes/formats.js";
import { mixPrecision } from "../passes/precision.js";
import { native } from "../runtime/device.js";
import { writeProgram } from "./blob.js";
import { lowerGraph } from "./lower.js";

const isas: readonly Isa[] = ["generic", "avx2", "avx512", "avx512bf16", "amx"];
const formats = Object.keys(formatOf) as DType[];

/** The text of packages/tensor/docs/operations.md. */
export function operationTable(): string {
  const binding = native();
  const { isa } = binding.cpu();
  // Which formats have a fast kernel is asked of the kernels that every machine runs.
  binding.setIsa("generic");
  try {
    return tableText();
  } finally {
    binding.setIsa(isa);
  }
}

function tableText(): string {
  const header = ["operation", "effect", "derivatives", "formats", "reference", ...isas];
  const rows = definedOps().map(row);
  return [
    "# Operations",
    "",
    "Generated from the definitions and from the kernels of the addon by `npm run generate -w @figment/tensor`; do not edit.",
    "",
    "- **effect**: only pure operations are merged, moved or dropped.",
    "- **derivatives**: of every order, by the operation's rule, or through its decomposition into others. Those by a rule",
    "  that has its own kernel are differentiated further through the decomposition.",
    "- **formats**: what its inputs (or, without inputs, its results) may be, as far as its samples show; in parentheses",
    "  those that only the reference kernel takes, in brackets those that are converted around the kernel.",
    "- **kernels**: the reference is the oracle; the others by the widest instruction set that they need. Elementwise",
    "  operations are register code of the `elementwise` kernels; views are another look at the same memory.",
    "",
    line(header),
    line(header.map(() => "---")),
    ...rows.map(line),
    "",
  ].join("\n");
}

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

function row(def: OpDef): string[] {
  const kernels = kernelsOf(def);
  const at = (wanted: (name: string, isa: Isa) => boolean): string =>
    kernels
      .flatMap((op) => native().builtVariants(op))
      .filter(({ name, isa }) => wanted(name, isa))
      .map(({ name }) => name)
      .join(", ");
  return [
    `\`${def.name}\``,
    def.effect,
    derivativesOf(def),
    formatsOf(def),
    kernels.length > 0 ? at((name) => name === "reference") || "–" : def.lower.kind,
    ...isas.map((isa) => at((name, own) => name !== "reference" && own === isa)),
  ];
}

function derivativesOf({ nondifferentiable, vjp, decompose }: OpDef): string {
  if (nondifferentiable) return "none";
  if (vjp) return decompose ? "rule, decomposition" : "rule";
  return decompose ? "decomposition" : "none";
}

/** The native operations that an op is lowered to, elementwise copies beside others left out. */
function kernelsOf(def: OpDef): string[] {
  const { kind } = def.lower;
  if (kind === "view" || kind === "constant") return [];
  const records = graphsOf(def, "f32").flatMap((graph) => lowerGraph(graph).spec.records);
  const ops = new Set(records.flatMap((record) => ("schema" in record ? [record.schema.op] : [])));
  return kind === "kernel" ? [...ops].filter((op) => op !== "elementwise") : [...ops];
}

const samplesOf = ({ samples }: OpDef): readonly Sample[] => samples?.() ?? [];

/** Whether a sample leaves the type of an operand open. */
const varies = ({ inputs }: Sample): boolean => inputs.some(({ dtype }) => dtype === undefined);

/** The open types of a sample as `format`; what it derives, such as statistics, may be kept in the type of sums instead. */
function typesOf({ inputs }: Sample, format: DType): DType[][] {
  return inputs.reduce<DType[][]>(
    (found, { dtype, derive }) => {
      const choices = dtype ? [dtype] : derive ? new Set([format, computeType(format)]) : [format];
      return found.flatMap((types) => [...choices].map((type) => [...types, type]));
    },
    [[]],
  );
}

/** A graph of the op alone for each sample, open types as `format`; none where its shape rule refuses all that may be meant. */
function graphsOf(def: OpDef, format: DType, samples = samplesOf(def)): Graph[] {
  return samples.flatMap((sample) => {
    for (const types of typesOf(sample, format)) {
      const builder = new GraphBuilder();
      const inputs = sample.inputs.map(({ shape }, i) => builder.arg({ shape, dtype: types[i] as DType }));
      try {
        const node = builder.node(def, inputs, sample.attrs, def.infer(inputs, sample.attrs), "");
        return [builder.finish(node.outputs)];
      } catch {}
    }
    return [];
  });
}

/**
 * Formats that kernels take, open types tried as each; those that only the reference takes in parentheses. A sample whose
 * types are all given speaks for the type of its first operand alone.
 */
function formatsOf(def: OpDef): string {
  const samples = samplesOf(def);
  if (!samples.some(varies)) return fixedFormats(def);
  const found: Record<Service, string[]> = { variant: [], reference: [], nothing: [], converted: [] };
  for (const format of formats) {
    const speaking = samples.filter((sample) => varies(sample) || sample.inputs[0]?.dtype === format);
    const graphs = graphsOf(def, format, speaking);
    const kinds = graphs.map(servedBy);
    const kind = kinds.includes("variant") ? "variant" : kinds.includes("reference") ? "reference" : "converted";
    if (kind !== "converted" || graphs.some((graph) => servedBy(widenFormats(mixPrecision(graph))) !== "nothing"))
      found[kind].push(format);
  }
  const { variant, reference, converted } = found;
  return [
    ...variant,
    ...(converted.length > 0 ? [`[${converted.join(" ")}]`] : []),
    ...(reference.length > 0 ? [`(${reference.join(" ")})`] : []),
  ].join(" ");
}

type Service = "variant" | "reference" | "converted" | "nothing";

/** What runs a graph where no instruction set but the plain one is: a variant, only the reference, or nothing. */
function servedBy(graph: Graph): Exclude<Service, "converted"> {
  const binding = native();
  let program: number;
  try {
    program = binding.loadProgram(writeProgram(lowerGraph(graph).spec));
  } catch {
    return "nothing";
  }
  const { records } = binding.programInfo(program);
  binding.releaseProgram(program);
  return records.some(({ variant }) => variant === "reference") ? "reference" : "variant";
}

/** Of ops whose samples leave no choice: the formats that they name. */
function fixedFormats(def: OpDef): string {
  const avals = graphsOf(def, "f32").flatMap(({ args, outputs }): readonly Aval[] =>
    args.length > 0 ? args : outputs,
  );
  return formats.filter((format) => avals.some(({ dtype }) => dtype === format)).join(" ");
}
