// Times contestants that do the same work in one interleaved run: each round times every contestant once, so drift of
// the machine (frequency, neighbours) meets all of them. Medians are reported, and the ratio is the median over rounds
// of (peer's time / ours in the same round), not the ratio of two medians. A general benchmark runner times its tasks
// one after another, which is why this loop is our own.

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
}

// A timed batch lasts at least this long, so that the clock and one turn of the event loop do not matter.
const batchSeconds = 0.008;
const minRounds = 5;
const maxRounds = 40;
// Worker pools keep spinning for a while after their last call; the pause keeps them out of the next one's time.
const pauseMilliseconds = 3;

const now = (): number => performance.now() / 1000;
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMilliseconds));

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

/** Repeats per batch such that a batch is long enough. Warms caches, thread pools and the just-in-time compiler. */
async function calibrate(contestant: Contestant): Promise<number> {
  await time(contestant, 1);
  let repeats = 1;
  let seconds = await time(contestant, 1);
  while (seconds * repeats < batchSeconds) {
    repeats = Math.max(repeats + 1, Math.ceil(Math.min(batchSeconds / seconds, repeats * 10)));
    seconds = await time(contestant, repeats);
  }
  return repeats;
}

export async function race(contestants: readonly Contestant[], { budget }: RaceOptions): Promise<Timing[]> {
  const repeats: number[] = [];
  for (const contestant of contestants) repeats.push(await calibrate(contestant));
  const seconds = contestants.map((): number[] => []);
  const deadline = now() + budget;
  for (let round = 0; round < maxRounds && (round < minRounds || now() < deadline); round++) {
    for (const [i, contestant] of contestants.entries()) {
      await pause();
      await contestant.run(1);
      seconds[i]!.push(await time(contestant, repeats[i]!));
    }
  }
  return contestants.map(({ name }, i) => ({
    name,
    seconds: median(seconds[i]!),
    best: Math.min(...seconds[i]!),
    ratio: median(seconds[i]!.map((value, round) => value / seconds[0]![round]!)),
  }));
}
