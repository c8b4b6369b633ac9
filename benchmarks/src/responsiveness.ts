// Whether JavaScript goes on while kernels run: how late a timer fires during training and during sampling, and how
// soon an abort of sampling takes effect.

import type { Sampler } from "@figment/diffusion";
import { settled } from "@figment/tensor";
import type { Job } from "./job.js";
import { formatSeconds, formatTable } from "./table.js";

export interface Latency {
  readonly name: string;
  readonly samples: number;
  /** Seconds. */
  readonly median: number;
  readonly p99: number;
  readonly max: number;
}

const timerMilliseconds = 5;

function latency(name: string, seconds: readonly number[]): Latency {
  const sorted = seconds.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { name, samples: sorted.length, median: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

/** How late each firing of a 5 ms timer was while `work` ran. */
async function timerLateness(name: string, work: () => Promise<void>): Promise<Latency> {
  const late: number[] = [];
  await new Promise(setImmediate);
  let due = performance.now() + timerMilliseconds;
  const timer = setInterval(() => {
    const now = performance.now();
    late.push(Math.max(0, now - due) / 1000);
    due = now + timerMilliseconds;
  }, timerMilliseconds);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return latency(name, late);
}

/** Trains for `seconds` as a training loop does: two steps in flight, the loss read now and then. */
async function train({ step, batch }: Job, seconds: number): Promise<void> {
  const readEvery = 20;
  const deadline = performance.now() + seconds * 1000;
  let previous = Promise.resolve();
  for (let count = 1; performance.now() < deadline; count++) {
    const { loss } = step(batch);
    await previous;
    previous = settled();
    if (count % readEvery === 0) await loss.item();
  }
  await previous;
}

/** Seconds from abort() to the rejection, and to an idle device, at moments spread over the run. */
async function aborts(job: Job, sampler: Sampler, trials: number): Promise<[Latency, Latency]> {
  const rejected: number[] = [];
  const idle: number[] = [];
  for (let trial = 0; trial < trials; trial++) {
    const controller = new AbortController();
    const sampling = job.sample(sampler, controller.signal);
    // Moments that share no period with the steps: multiples of the golden ratio, up to a third of a second.
    const moment = ((trial * 0.618) % 1) * 330 + 10;
    let aborted = 0;
    const timer = setTimeout(() => {
      aborted = performance.now();
      controller.abort();
    }, moment);
    try {
      (await sampling).dispose();
      clearTimeout(timer);
    } catch (error) {
      if (!controller.signal.aborted) throw error;
      rejected.push((performance.now() - aborted) / 1000);
      await settled().catch(() => {});
      idle.push((performance.now() - aborted) / 1000);
    }
  }
  return [
    latency("abort of sampling: rejected after", rejected),
    latency("abort of sampling: device idle after", idle),
  ];
}

const timerRow = (during: string): string => `${timerMilliseconds} ms timer during ${during}: late by`;

/** The first calls, which trace and compile on the JavaScript thread; run this before anything else on the job. */
export async function measureFirstCalls(job: Job, sampler: Sampler): Promise<Latency[]> {
  const training = await timerLateness(timerRow("the first training step (compiles)"), async () => {
    await job.step(job.batch).loss.item();
  });
  const sampling = await timerLateness(timerRow("the first sampling (compiles)"), async () => {
    (await job.sample(sampler)).dispose();
  });
  return [training, sampling];
}

/** Training, sampling and aborts once everything is compiled. */
export async function measureResponsiveness(job: Job, sampler: Sampler, quick: boolean): Promise<Latency[]> {
  const training = await timerLateness(timerRow("training"), () => train(job, quick ? 2 : 10));
  const sampling = await timerLateness(timerRow("sampling"), async () => {
    (await job.sample(sampler)).dispose();
  });
  return [training, sampling, ...(await aborts(job, sampler, quick ? 5 : 40))];
}

export const latencyTable = (latencies: readonly Latency[]): string =>
  formatTable(
    ["responsiveness", "samples", "median", "99 %", "max"],
    latencies.map(({ name, samples, median, p99, max }) => [
      name,
      String(samples),
      ...[median, p99, max].map(formatSeconds),
    ]),
  );
