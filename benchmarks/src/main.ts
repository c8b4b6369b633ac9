// npm run bench: ceilings of this machine, then the suites, as tables on the terminal and as JSON.
//
//   case.ts, cases/   the kernels' work; kernels.ts runs it     race.ts      interleaved timing
//   models.ts         train step, event loop, abort             ceilings.ts  what the machine can do
//   overheads.ts      eager dispatch, compiled calls, import
//   digits.ts         what recipes reach on MNIST, in hours; only where it is asked for
//   ort.ts, onnx.ts   the peer and its model files              machine.ts   what results belong to

import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Ceilings, fmaCeiling } from "@figment/tensor";
import { Command, Option } from "commander";
import { highestCeilings } from "./ceilings.js";
import { digitTable, runDigits } from "./digits.js";
import { kernelTable, runKernels } from "./kernels.js";
import { describeMachine, type Machine } from "./machine.js";
import { modelTable, runModels } from "./models.js";
import { loadOrt, type OrtModule, ortVersion } from "./ort.js";
import { overheadTable, runOverheads } from "./overheads.js";
import { formatTable } from "./table.js";

interface Options {
  readonly suite: "all" | "kernels" | "models" | "overheads" | "digits";
  readonly peers: "all" | "none";
  readonly threads: readonly number[];
  readonly filter: string;
  readonly quick: boolean;
  readonly json?: string;
  readonly data?: string;
  readonly out: string;
  readonly wganGp?: string;
}

// Seconds for each kernel and number of threads.
const fullBudget = 1.5;
const quickBudget = 0.3;
// Above this load per core, others' work shows in the figures.
const busyShare = 0.3;

function parseThreads(text: string): number[] {
  const counts = text.split(",").map(Number);
  if (counts.some((count) => !Number.isInteger(count) || count < 1)) {
    throw new Error(`--threads takes counts such as 1,2; got ${text}`);
  }
  return counts;
}

function parseOptions(): Options {
  const defaultThreads = [...new Set([1, availableParallelism()])];
  const command = new Command("npm run bench --")
    .description("Measures kernels and models against this machine's ceilings and against peers")
    .addOption(
      new Option("--suite <name>", "what to run")
        .choices(["all", "kernels", "models", "overheads", "digits"])
        .default("all"),
    )
    .addOption(new Option("--peers <which>", "what to compare with").choices(["all", "none"]).default("all"))
    .option("--threads <counts>", "numbers of threads", parseThreads, defaultThreads)
    .option("--filter <text>", "only kernels whose name contains this", "")
    .option("--quick", "fewer rounds: minutes become seconds, figures become rough", false)
    .option("--data <folder>", "suite digits: MNIST's four files")
    .option("--out <folder>", "suite digits: where runs are, or come to be", "out")
    .option("--wgan-gp <file>", "suite digits: weights of a public generator to set beside")
    .option("--json <file>", "write the results here (a full run also writes benchmarks/results/)");
  return command.parse().opts<Options>();
}

function ceilingTable(ceilings: readonly Ceilings[]): string {
  const footprints = ceilings[0]!.copy.map(({ bytes }) => bytes);
  const label = (bytes: number): string => (bytes < 2 ** 20 ? `${bytes / 2 ** 10} KiB` : `${bytes / 2 ** 20} MiB`);
  return formatTable(
    ["ceilings", ...ceilings.map(({ threads }) => `${threads} thread${threads > 1 ? "s" : ""}`)],
    [
      ["f32 multiply-add, GFLOP/s", ...ceilings.map((ceiling) => fmaCeiling(ceiling).toFixed(0))],
      ...footprints.map((bytes, i) => [
        `copy ${label(bytes)}, GB/s`,
        ...ceilings.map(({ copy }) => copy[i]!.gbps.toFixed(1)),
      ]),
    ],
  );
}

/** The peer if wanted and there; otherwise says why not. */
function peer(options: Options): OrtModule | undefined {
  if (options.peers === "none" || !["all", "kernels"].includes(options.suite)) return undefined;
  const ort = loadOrt();
  if (typeof ort !== "string") return ort;
  console.log(`No comparison with onnxruntime: ${ort}`);
  return undefined;
}

/** A result file of one machine class: benchmarks/results/amd-epyc-family-25-model-17.json, or …-digits.json. */
function resultPath({ cpu }: Machine, suffix = ""): string {
  const slug = cpu
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return fileURLToPath(new URL(`../results/${slug}${suffix}.json`, import.meta.url));
}

function save(files: readonly string[], result: unknown): void {
  for (const file of files) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
    console.log(`Results: ${file}`);
  }
}

function progress(name: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${name}`);
}

const options = parseOptions();
const machine = describeMachine();
console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.isa}, ${machine.memoryGiB} GiB, Node ${machine.node}\n`);
if (machine.load > busyShare * machine.cores) {
  console.log(
    `The machine is busy (load ${machine.load.toFixed(1)}): the figures will be too low and the ratios unsure.\n`,
  );
}

if (options.suite === "digits") {
  if (options.data === undefined) throw new Error("--suite digits needs --data, the folder of MNIST's four files");
  const { data, out, wganGp, filter } = options;
  const digits = await runDigits({ data, out, filter, ...(wganGp === undefined ? {} : { wganGp }) });
  console.log(digitTable(digits));
  const files = [...(filter === "" ? [resultPath(machine, "-digits")] : []), ...(options.json ? [options.json] : [])];
  save(files, { machine, digits });
  process.exit();
}

const ceilings = await highestCeilings(options.threads);
console.log(`${ceilingTable(ceilings)}\n`);

const budget = options.quick ? quickBudget : fullBudget;
const ort = peer(options);
const result: Record<string, unknown> = { machine, ceilings, peers: ort ? { onnxruntime: ortVersion() } : {} };
if (options.suite === "all" || options.suite === "kernels") {
  const kernels = await runKernels({ filter: options.filter, ceilings, ort, budget }, progress);
  progress("");
  console.log(`${kernelTable(kernels)}\n`);
  result.kernels = kernels;
}
if (options.suite === "all" || options.suite === "models") {
  const models = await runModels({ ceilings, peers: options.peers === "all", quick: options.quick }, progress);
  progress("");
  console.log(`${modelTable(models)}\n`);
  result.models = models;
}
if (options.suite === "all" || options.suite === "overheads") {
  const overheads = await runOverheads({ peers: options.peers === "all", quick: options.quick }, progress);
  progress("");
  console.log(`${overheadTable(overheads)}\n`);
  result.overheads = overheads;
}

const complete = options.suite === "all" && options.peers === "all" && options.filter === "" && !options.quick;
const files = [...(complete ? [resultPath(machine)] : []), ...(options.json ? [options.json] : [])];
save(files, result);
