// npm run bench: ceilings of this machine, then the suites, as tables on the terminal and as JSON.
//
//   case.ts, cases/   the kernels' work; kernels.ts runs it     race.ts      interleaved timing
//   models.ts         train step, event loop, abort             ceilings.ts  what the machine can do
//   networks/         steps of known networks, ours and PyTorch's, each in its own process
//   overheads.ts      eager dispatch, compiled calls, import    machine.ts   what results belong to
//   digits.ts         what recipes reach on MNIST, in hours;    select.ts    what --filter selects
//                     only where it is asked for
//   peers/            other libraries on the same work: work.ts is what they are told, onnx.ts writes model files

import { access, constants } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Ceilings, fmaCeiling } from "@figment/tensor";
import { Command, InvalidArgumentError, Option } from "commander";
import { makeFolder, writeFileAtomic } from "figment";
import { kernelCases, operationCases } from "./cases/index.js";
import { highestCeilings } from "./ceilings.js";
import { digitTable, runDigits } from "./digits.js";
import { gpuTable, runGpu } from "./gpu.js";
import { kernelTable, runKernels } from "./kernels.js";
import { describeMachine, type Machine } from "./machine.js";
import { modelTable, runModels } from "./models.js";
import { networkTable, runNetworks } from "./networks/suite.js";
import { overheadTable, runOverheads } from "./overheads.js";
import { torchFormatNote } from "./peers/format.js";
import { type FoundPeers, findPeers, type PeerName, peerNames } from "./peers/index.js";
import { selectNamed } from "./select.js";
import { formatTable } from "./table.js";

const suites = ["all", "kernels", "operations", "models", "overheads", "digits", "gpu"] as const;

type Suite = (typeof suites)[number];

interface Options {
  readonly suite: Suite;
  readonly peers: readonly PeerName[];
  readonly threads: readonly number[];
  readonly filter: string;
  readonly quick: boolean;
  readonly small: boolean;
  readonly compile: boolean;
  readonly json?: string;
  readonly data?: string;
  readonly out: string;
  readonly wganGp?: string;
}

// Seconds for each kernel and number of threads.
const fullBudget = 1.5;
const quickBudget = 0.3;
const quickRounds = 2;
// Above this load per core, others' work shows in the figures.
const busyShare = 0.3;

function parseThreads(text: string): number[] {
  const counts = text.split(",").map(Number);
  if (counts.some((count) => !Number.isInteger(count) || count < 1)) {
    throw new InvalidArgumentError("expected counts such as 1,2");
  }
  return counts;
}

function parsePeers(text: string): readonly PeerName[] {
  if (text === "all" || text === "none") return text === "all" ? peerNames : [];
  const names = text.split(",") as PeerName[];
  if (names.every((name) => peerNames.includes(name))) return names;
  throw new InvalidArgumentError(`expected all, none, or names among ${peerNames.join(", ")}`);
}

function parseOptions(): Options {
  const defaultThreads = [...new Set([1, availableParallelism()])];
  const command = new Command("npm run bench --")
    .description("Measures kernels and models against this machine's ceilings and against peers")
    .addOption(new Option("--suite <name>", "what to run").choices(suites).default("all"))
    .option(
      "--peers <which>",
      `what to compare with: all, none, or some of ${peerNames.join(",")}`,
      parsePeers,
      peerNames,
    )
    .option("--threads <counts>", "numbers of threads", parseThreads, defaultThreads)
    .option(
      "--filter <text>",
      "only kernels, models and recipes whose name contains this, or one of these between commas",
      "",
    )
    .option("--quick", "fewer rounds: minutes become seconds, figures become rough", false)
    .option("--small", "suite models: the same networks, tiny, to see that everything runs", false)
    .option("--data <folder>", "suite digits: MNIST's four files")
    .option("--out <folder>", "suite digits: where runs are, or come to be", "out")
    .option("--wgan-gp <file>", "suite digits: weights of a public generator to set beside")
    .option("--no-compile", "suite gpu: without torch.compile, which takes minutes to prepare")
    .option("--json <file>", "write the results here (a full run also writes benchmarks/results/)");
  const parsed = command.parse().opts<Options>();
  if (parsed.suite === "digits" && parsed.data === undefined)
    command.error("error: --suite digits needs --data, the folder of MNIST's four files");
  return parsed;
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

/** Finds the peers of kernels, where a suite has some, and says what is missing. */
async function kernelPeers({ peers, suite }: Options): Promise<FoundPeers> {
  if (suite === "models" || suite === "overheads") return { peers: [], missing: [] };
  const found = await findPeers(peers);
  for (const { name, reason } of found.missing) console.log(`No comparison with ${name}: ${reason}`);
  if (found.missing.length > 0) console.log("");
  return found;
}

/** A result file of one machine class: benchmarks/results/amd-epyc-family-25-model-17.json, or …-digits.json. */
function resultPath({ cpu }: Machine, suffix = ""): string {
  const slug = cpu
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return fileURLToPath(new URL(`../results/${slug}${suffix}.json`, import.meta.url));
}

/** The files that results go to, in folders that are there and can be written to: said before hours of work, not after. */
async function resultFiles(machine: Machine): Promise<readonly string[]> {
  const { suite, peers, filter, quick, small, json } = options;
  const everything = suite === "all" && peers.length === peerNames.length && !quick && !small;
  const complete = (everything || suite === "digits") && filter === "";
  const own = complete ? [resultPath(machine, suite === "digits" ? "-digits" : "")] : [];
  const files = [...own, ...(json === undefined ? [] : [json])];
  for (const file of files) {
    await makeFolder(dirname(file));
    await access(dirname(file), constants.W_OK);
  }
  return files;
}

async function save(result: unknown): Promise<void> {
  for (const file of files) {
    await writeFileAtomic(file, `${JSON.stringify(result, null, 1)}\n`);
    console.log(`Results: ${file}`);
  }
}

function progress(name: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${name}`);
}

const options = parseOptions();
const machine = describeMachine();
const files = await resultFiles(machine);
console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.isa}, ${machine.memoryGiB} GiB, Node ${machine.node}\n`);
if (machine.load > busyShare * machine.cores) {
  console.log(
    `The machine is busy (load ${machine.load.toFixed(1)}): the figures will be too low and the ratios unsure.\n`,
  );
}

if (options.suite === "digits" && options.data !== undefined) {
  const { data, out, wganGp, filter } = options;
  const digits = await runDigits({ data, out, filter, ...(wganGp === undefined ? {} : { wganGp }) });
  console.log(digitTable(digits));
  await save({ machine, digits });
  process.exit();
}

if (options.suite === "gpu") {
  const { filter, quick, small, compile } = options;
  const gpu = await runGpu({ filter, quick, small, compile }, async (line, soFar) => {
    console.log(line);
    for (const file of files) await writeFileAtomic(file, `${JSON.stringify({ machine, gpu: soFar }, null, 1)}\n`);
  });
  console.log(`\n${gpuTable(gpu)}\n`);
  await save({ machine, gpu });
  process.exit();
}

const ceilings = await highestCeilings(options.threads);
console.log(`${ceilingTable(ceilings)}\n`);

const runs = (suite: Suite): boolean => options.suite === "all" || options.suite === suite;
const { peers, missing } = await kernelPeers(options);
const versions = Object.fromEntries(peers.map(({ name, version }) => [name, version]));
const result: Record<string, unknown> = { machine, ceilings, peers: versions, missing };
if (torchFormatNote && options.peers.includes("torch")) {
  console.log(`${torchFormatNote}\n`);
  result.notes = [torchFormatNote];
}
const measuring = {
  ceilings,
  peers,
  caches: machine.caches,
  ...(options.quick ? { budget: quickBudget, rounds: quickRounds } : { budget: fullBudget }),
};
for (const [suite, cases] of [["kernels", kernelCases] as const, ["operations", operationCases] as const]) {
  if (!runs(suite)) continue;
  const results = await runKernels({ ...measuring, cases: selectNamed(cases, options.filter) }, progress);
  progress("");
  console.log(`${kernelTable(suite, results)}\n`);
  result[suite] = results;
}
for (const peer of peers) peer.dispose();
const comparing = { peers: options.peers.includes("torch"), quick: options.quick };
if (runs("models")) {
  const known = await runNetworks({ ceilings, ...comparing, filter: options.filter, small: options.small }, progress);
  progress("");
  console.log(`${networkTable(known)}\n`);
  result.networks = known;
}
if (runs("models") && options.filter === "" && !options.small) {
  const models = await runModels({ ceilings, ...comparing }, progress);
  progress("");
  console.log(`${modelTable(models)}\n`);
  result.models = models;
}
if (runs("overheads")) {
  const overheads = await runOverheads(comparing, progress);
  progress("");
  console.log(`${overheadTable(overheads)}\n`);
  result.overheads = overheads;
}

await save(result);
