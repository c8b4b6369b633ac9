// The suite of overheads: what a call costs beside its work. An eager operation on few elements against eager PyTorch, a
// call of a compiled step, and the import of the umbrella package.

import { spawnSync } from "node:child_process";
import { add, Cell, compile, setThreads, settled, type Tensor } from "@figment/tensor";
import { ourContestant, randomTensor } from "./case.js";
import { createJob, type Job } from "./job.js";
import { median, race } from "./race.js";
import { formatRatio, formatSeconds, formatTable } from "./table.js";
import { torchPeer } from "./torch.js";

export interface OverheadResult {
  readonly name: string;
  readonly seconds: number;
  readonly best: number;
  readonly goal: string;
  readonly torchVersion?: string;
  readonly torchSeconds?: number;
  /** Median of (our time / PyTorch's in the same round): at most 1.5 is the goal. */
  readonly ofTorch?: number;
}

export interface OverheadOptions {
  readonly peers: boolean;
  readonly quick: boolean;
}

const tiny = 16;

async function eagerDispatch({ peers, quick }: OverheadOptions): Promise<OverheadResult> {
  const [a, b] = [randomTensor([tiny], 1), randomTensor([tiny], 2)];
  const own = ourContestant([a, b], () => add(a, b));
  const peer = peers ? await torchPeer("torch", "torch_eager_op.py", { elements: tiny }) : undefined;
  try {
    const [ours, theirs] = await race(peer ? [own, peer] : [own], { budget: quick ? 1 : 5 });
    return {
      name: `eager add of ${tiny} elements`,
      seconds: ours!.seconds,
      best: ours!.best,
      goal: "1.5 × torch",
      torchVersion: peer?.version,
      torchSeconds: theirs?.seconds,
      ofTorch: theirs && 1 / theirs.ratio,
    };
  } finally {
    await own.dispose();
    peer?.dispose();
  }
}

/** A program that does next to nothing, with as many states as the training step has: what is left is the call. */
async function emptyCall(states: number, { quick }: OverheadOptions): Promise<OverheadResult> {
  const cells = Array.from({ length: states }, () => new Cell({ shape: [1], initial: () => [1] }));
  const empty = compile(({ image }: { image: Tensor; label: Tensor }) => {
    for (const cell of cells) cell.value;
    return { loss: image.sum() };
  });
  const batch = { image: randomTensor([tiny]), label: randomTensor([1]) };
  const contestant = ourContestant([empty, ...cells, batch.image, batch.label], () => empty(batch).loss);
  try {
    const [timing] = await race([contestant], { budget: quick ? 1 : 5 });
    const { seconds, best } = timing!;
    return { name: `compiled call, ${states} states, no work`, seconds, best, goal: "10 µs" };
  } finally {
    await contestant.dispose();
  }
}

/** The step is queued for one image: its program has as many states and records as for a batch, and its calls cost as much. */
const queuedBatch = 1;
const bursts = 12;
const callsInBurst = 50;

/** Seconds until a call of the step returns. */
function timeCall({ step, batch }: Job): number {
  const start = performance.now();
  step(batch);
  return (performance.now() - start) / 1e3;
}

/** Calls of the step in a row, all but the first of which find another running: the first burst warms up, then caches are warm. */
async function callsInRow(job: Job): Promise<OverheadResult> {
  const times: number[] = [];
  for (let burst = 0; burst <= bursts; burst++) {
    const inRow = Array.from({ length: callsInBurst }, () => timeCall(job));
    if (burst > 0) times.push(...inRow.slice(1));
    await settled();
  }
  return overhead("call of the training step, in a row behind one that runs", times, "10 µs");
}

const loopCalls = 200;

/** Calls as a training loop makes them, one when the one before the last is done: between them a step has run beside. */
async function callsInLoop(job: Job): Promise<OverheadResult> {
  const times: number[] = [];
  let { loss: last } = job.step(job.batch);
  for (let i = 0; i < loopCalls; i++) {
    const start = performance.now();
    const { loss } = job.step(job.batch);
    times.push((performance.now() - start) / 1e3);
    await last.ready();
    last = loss;
  }
  await settled();
  return overhead("call of the training step, in a loop two steps deep", times, "");
}

const overhead = (name: string, times: readonly number[], goal: string): OverheadResult => ({
  name,
  seconds: median(times),
  best: Math.min(...times),
  goal,
});

const importRuns = 15;

/** Import of the umbrella package in a fresh process. */
function importTime(): OverheadResult {
  const code = `
    const start = performance.now();
    await import("figment");
    console.log(performance.now() - start);
  `;
  const times = Array.from({ length: importRuns }, () => {
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
      cwd: import.meta.dirname,
      encoding: "utf8",
    });
    return Number(stdout) / 1e3;
  });
  return {
    name: 'import "figment", without the start of Node',
    seconds: median(times),
    best: Math.min(...times),
    goal: "150 ms",
  };
}

/** Runs the suite; `progress` is called with the name of each part as it starts. */
export async function runOverheads(
  options: OverheadOptions,
  progress: (name: string) => void,
): Promise<OverheadResult[]> {
  setThreads(1);
  progress("eager dispatch");
  const results = [await eagerDispatch(options)];
  progress("compiled call");
  const job = createJob(queuedBatch);
  try {
    job.step(job.batch);
    await settled();
    const states = Object.keys(job.step.captureState().cells).length;
    results.push(await emptyCall(states, options), await callsInRow(job), await callsInLoop(job));
  } finally {
    job.dispose();
  }
  progress("import");
  return [...results, importTime()];
}

export const overheadTable = (results: readonly OverheadResult[]): string =>
  formatTable(
    ["overhead", "time", "best", "goal", "torch", "× torch"],
    results.map(({ name, seconds, best, goal, torchSeconds, ofTorch }) => [
      name,
      formatSeconds(seconds),
      formatSeconds(best),
      goal,
      torchSeconds ? formatSeconds(torchSeconds) : "–",
      ofTorch ? formatRatio(ofTorch) : "–",
    ]),
  );
