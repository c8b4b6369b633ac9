// What the recipes reach on MNIST: trained by the command, evaluated by the command, the digits they draw set beside real and
// damaged ones. Hours of work: what lies in the folder of runs, trained or evaluated, is not done again.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import {
  type Evaluation,
  evaluateSamples,
  gaussianBlur,
  generate,
  importTorch,
  listCheckpoints,
  loadTorch,
  type MnistClassifier,
  makeFolder,
  mnist,
  mnistClassifier,
  ResizeGenerator,
  realImages,
  resizeGeneratorNames,
  rng,
  type SampleSource,
  tensor,
  UsageError,
} from "figment";
import { type Json, kept, readObject } from "./kept.js";
import { selectNamed } from "./select.js";
import { formatSeconds, formatTable } from "./table.js";

/** A recipe, and how what it has trained is measured. */
interface Work {
  /** The recipe's. */
  readonly name: string;
  /** Each a run of `figment evaluate` with these arguments. */
  readonly evaluations: readonly (readonly string[])[];
}

const drawn = ["--samples", "10000"];

const works: readonly Work[] = [
  { name: "vae-mnist", evaluations: [drawn] },
  { name: "conv-vae-mnist", evaluations: [drawn] },
  { name: "vqvae-mnist", evaluations: [[]] },
  { name: "dcgan-mnist", evaluations: [drawn] },
  { name: "ddpm-mnist", evaluations: [drawn, ["--samples", "2000", "--set", "guidance=1.5"]] },
];

export interface References {
  /** The folder of MNIST's four files. */
  readonly data: string;
  /** Weights of a public conditional WGAN-GP (generator.pth), drawn beside. */
  readonly wganGp?: string;
}

export interface DigitOptions extends References {
  /** Where runs are, or come to be. */
  readonly out: string;
  /** Only recipes that {@link selectNamed} selects by this. */
  readonly filter: string;
}

/** Numbers of one evaluation, and the command that gave them. */
interface Measured {
  readonly command: string;
  readonly numbers: Json;
}

export interface DigitResult {
  readonly recipe: string;
  readonly parameters: number;
  readonly steps: number;
  /** Of the training itself, on `threads` threads, whatever else the machine did. */
  readonly trainingSeconds: number;
  readonly threads: number;
  /** The steps at the rate that `figment bench` has just measured on all cores. */
  readonly secondsAtMeasuredRate: number;
  readonly config: unknown;
  readonly evaluations: readonly Measured[];
}

export interface DigitResults {
  readonly judgeAccuracy: number;
  readonly references: Evaluation;
  readonly results: readonly DigitResult[];
}

const cli = join(dirname(createRequire(import.meta.url).resolve("figment")), "..", "bin", "figment.js");

/** Runs the command with this terminal as its own; gives what it printed. */
function figment(args: readonly string[]): string {
  const command = `figment ${args.join(" ")}`;
  const { status, stdout } = spawnSync(process.execPath, [cli, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`${command}: exit code ${status}`);
  return stdout;
}

async function runWork({ name: recipe, evaluations }: Work, { data, out }: DigitOptions): Promise<DigitResult> {
  const run = join(out, recipe);
  const summaryFile = join(run, "summary.json");
  if (!existsSync(summaryFile)) {
    const begun = await listCheckpoints(join(run, "checkpoints"));
    figment(["train", recipe, "--data", data, "--out", run, ...(begun.length > 0 ? ["--resume"] : [])]);
  }
  const summary = (await readObject(summaryFile)) as Record<string, number>;
  const steps = summary.steps as number;
  const rate = JSON.parse(figment(["bench", recipe, "--set", `data=${data}`, "--json"])).stepsPerSecond as number;
  const measured: Measured[] = [];
  for (const [i, flags] of evaluations.entries()) {
    const evaluate = ["evaluate", run, "--data", data, "--json", ...flags];
    measured.push({
      command: `figment evaluate out/${recipe} ${flags.join(" ")}`.trim(),
      numbers: await kept(join(run, `evaluation-${i}.json`), summaryFile, () => figment(evaluate)),
    });
  }
  return {
    recipe,
    parameters: summary.parameters as number,
    steps,
    trainingSeconds: summary.trainingSeconds as number,
    threads: summary.threads as number,
    secondsAtMeasuredRate: steps / rate,
    config: { ...(summary.config as unknown as object), data: "mnist" },
    evaluations: measured,
  };
}

/** Digits of the public generator, all ten in turn. */
async function publicGenerator(file: string): Promise<{ readonly draw: SampleSource; dispose(): void }> {
  const generator = new ResizeGenerator({ classes: 10 });
  const tensors = await loadTorch(file);
  importTorch(generator, tensors, { rules: resizeGeneratorNames(generator) });
  const random = rng(0);
  return {
    async draw(count, first) {
      using label = tensor(Int32Array.from({ length: count }, (_, i) => (first + i) % 10));
      return await generate(generator, { count, rng: random, label });
    },
    dispose() {
      for (const owner of [generator, random, ...Object.values(tensors)]) owner.dispose();
    },
  };
}

/** What stands beside generated digits: other real ones, slightly blurred ones, those of the public weights. */
async function compareReferences(judge: MnistClassifier, { data, wganGp }: References): Promise<Evaluation> {
  const sets = { train: await mnist(data), test: await mnist(data, { split: "test" }) };
  const blurred = (sigma: number): SampleSource =>
    realImages(sets.train, { seed: 1, transform: (images) => gaussianBlur(images, sigma) });
  const generator = wganGp === undefined ? undefined : await publicGenerator(wganGp);
  try {
    return await evaluateSamples({
      data: sets,
      features: judge.features,
      sources: {
        "other training images": realImages(sets.train, { seed: 1 }),
        "blurred, σ = 0.5": blurred(0.5),
        "blurred, σ = 0.7": blurred(0.7),
        ...(generator ? { "public conditional WGAN-GP": generator.draw } : {}),
      },
    });
  } finally {
    generator?.dispose();
  }
}

/** The judge of digits, and what real digits, damaged ones and those of the public weights reach before it. */
export async function judgeReferences(
  options: References,
): Promise<Pick<DigitResults, "judgeAccuracy" | "references">> {
  const { data } = options;
  const judge = await mnistClassifier({
    data: { train: await mnist(data), test: await mnist(data, { split: "test" }) },
  });
  try {
    return { judgeAccuracy: judge.accuracy, references: await compareReferences(judge, options) };
  } finally {
    judge.dispose();
  }
}

/** Trains what has not been trained, and measures all of it. */
export async function runDigits(options: DigitOptions): Promise<DigitResults> {
  const asked = { ...options, data: resolve(options.data), out: resolve(options.out) };
  const chosen = selectNamed(works, asked.filter);
  if (chosen.length === 0)
    throw new UsageError(
      `--filter ${asked.filter}: no recipe's name contains it; there are ${works.map(({ name }) => name).join(", ")}`,
    );
  // A folder that cannot be made is said now, not after hours.
  await makeFolder(asked.out);
  const judged = await judgeReferences(asked);
  const results: DigitResult[] = [];
  for (const work of chosen) results.push(await runWork(work, asked));
  return { ...judged, results };
}

/** Columns of numbers that some evaluations have. */
const columns: readonly (readonly [title: string, key: string, show: (value: number) => string])[] = [
  ["−ELBO, nats", "binarisedNegativeElboNats", (x) => x.toFixed(2)],
  ["k = 50", "binarisedNegativeIwae50Nats", (x) => x.toFixed(2)],
  ["grey", "greyNegativeElboNats", (x) => x.toFixed(2)],
  ["PSNR, dB", "psnrDb", (x) => x.toFixed(1)],
  ["codes used", "codesUsed", String],
  ["Fréchet", "frechet", (x) => x.toFixed(2)],
  ["× floor", "frechetRatio", (x) => x.toFixed(2)],
  ["label read", "labelAgreement", (x) => `${(100 * x).toFixed(1)} %`],
];

/** The results as text. */
export function digitTable({ references, results }: DigitResults): string {
  const number = (x: unknown, show: (value: number) => string): string => (typeof x === "number" ? show(x) : "");
  const real = [references.floor, ...references.rows].map(({ name, frechet, ratio }) => [
    name,
    "",
    ...columns.map(([, key, show]) =>
      number(key === "frechet" ? frechet : key === "frechetRatio" ? ratio : null, show),
    ),
  ]);
  const trained = results.flatMap(({ recipe, secondsAtMeasuredRate, evaluations }) =>
    evaluations.map(({ command, numbers }) => [
      `${recipe}${/ --set (.*)/.exec(command)?.[0] ?? ""}`,
      formatSeconds(secondsAtMeasuredRate),
      ...columns.map(([, key, show]) => number(numbers[key], show)),
    ]),
  );
  return formatTable(["digits", "training", ...columns.map(([title]) => title)], [...real, ...trained]);
}
