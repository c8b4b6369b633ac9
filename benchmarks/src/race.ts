// Times contestants that do the same work in one interleaved run: each round times every contestant once, so drift of
// the machine (frequency, neighbours) meets all of them. Medians are reported, and the ratio is the median over rounds
// of (peer's time / ours in the same round), not the ratio of two medians. A general benchmark runner times its tasks
// one after another, which is why this loop is our own.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export interface Contestant {
  readonly name: string;
  /** Does the work `repeats` times and resolves when the results are there. */
  run(repeats: number): Promise<void>;
  dispose(): Promise<void> | void;
}

export interface Timing {
  readonly name: string;
  /** Median seconds of one call. */
  readonly seconds: number;
  /** Shortest seconds of one call over the rounds. */
  readonly best: number;
  /** Median over rounds of this contestant's time divided by the first one's. */
  readonly ratio: number;
}

export interface RaceOptions {
  /** Time to spend, seconds, split among the contestants. */
  readonly budget: number;
  /** Rounds at least. Default 5. */
  readonly rounds?: number;
}

// A timed batch lasts at least this long, so that the clock and one turn of the event loop do not matter.
const batchSeconds = 0.008;
// A virtual machine's idle core takes tens of milliseconds to run at full speed.
const warmSeconds = 0.03;
const minRounds = 5;
const maxRounds = 40;
// A contestant so slow that it alone has used so many seconds sits out after its second round; a rival whose first call
// takes as long is not called again.
const longestSeconds = 8;
const fewestRounds = 2;
// Worker pools spin for a while after their last call (onnxruntime's for some 40 ms): a contestant starts only once the
// process leaves the processor alone for one such look, or after the longest wait.
const lookMilliseconds = 8;
const quietShare = 0.15;
const longestWaitMilliseconds = 250;

const now = (): number => performance.now() / 1000;

// Garbage is collected before a contestant starts, or V8's threads would collect the last one's beside it.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

async function quiet(): Promise<void> {
  collectGarbage();
  for (let waited = 0; waited < longestWaitMilliseconds; waited += lookMilliseconds) {
    const [before, start] = [process.cpuUsage(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, lookMilliseconds));
    const { user, system } = process.cpuUsage(before);
    if ((user + system) / 1000 < quietShare * (performance.now() - start)) return;
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function time(contestant: Contestant, repeats: number): Promise<number> {
  const start = now();
  await contestant.run(repeats);
  return (now() - start) / repeats;
}

/**
 * Runs until caches and branch predictors know the work and the processor's cores are awake and at speed again, which is
 * little beside a call that lasts much longer.
 */
async function warm(contestant: Contestant, seconds: number): Promise<void> {
  if (seconds > 10 * warmSeconds) return;
  for (const end = now() + warmSeconds; now() < end; ) await contestant.run(1);
}

/** Repeats per batch such that a batch is long enough, and the seconds of one. Warms caches, thread pools and the compiler. */
async function calibrate(contestant: Contestant): Promise<{ repeats: number; seconds: number }> {
  const first = await time(contestant, 1);
  if (first > longestSeconds / fewestRounds) return { repeats: 1, seconds: first };
  let repeats = 1;
  let seconds = await time(contestant, 1);
  while (seconds * repeats < batchSeconds) {
    repeats = Math.max(repeats + 1, Math.ceil(Math.min(batchSeconds / seconds, repeats * 10)));
    seconds = await time(contestant, repeats);
  }
  return { repeats, seconds };
}

export async function race(
  contestants: readonly Contestant[],
  { budget, rounds = minRounds }: RaceOptions,
): Promise<Timing[]> {
  const calls: { repeats: number; seconds: number }[] = [];
  for (const contestant of contestants) calls.push(await calibrate(contestant));
  const tooSlow = calls.map(({ seconds }, i) => i > 0 && seconds > longestSeconds);
  const seconds = calls.map(({ seconds }, i): number[] => (tooSlow[i] ? [seconds] : []));
  const deadline = now() + budget;
  const spent = (i: number): number => seconds[i]!.length * calls[i]!.repeats * calls[i]!.seconds;
  for (let round = 0; round < maxRounds && (round < rounds || now() < deadline); round++) {
    for (const [i, contestant] of contestants.entries()) {
      if (tooSlow[i] || (round >= fewestRounds && spent(i) > longestSeconds)) continue;
      await quiet();
      await warm(contestant, calls[i]!.seconds);
      seconds[i]!.push(await time(contestant, calls[i]!.repeats));
    }
  }
  return contestants.map(({ name }, i) => ({
    name,
    seconds: median(seconds[i]!),
    best: Math.min(...seconds[i]!),
    ratio: median(seconds[i]!.map((value, round) => value / seconds[0]![round]!)),
  }));
}
