// The trainer: what it leaves in its folder, that stopping changes nothing, and what it says when something is wrong.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { digits, loadImage, saveCheckpoint } from "@figment/io";
import {
  AdamW,
  compileStep,
  compileTraining,
  EMA,
  Linear,
  listCheckpoints,
  readLog,
  SGD,
  Trainer,
  type TrainerOptions,
} from "@figment/nn";
import {
  AbortError,
  assertNoLeaks,
  CheckpointError,
  NonFiniteError,
  rng,
  type Stateful,
  scope,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventsOf } from "./support/eventFile.js";

const seed = 29;
console.log(`trainer: seed ${seed}`);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-trainer-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

type Batch = { readonly image: Tensor; readonly label: Tensor };

/** A denoiser of flat digits with everything that can be resumed: optimiser, average, random stream, loader, place in it. */
function makeRun({ checkFinite = false, steps = 12 }: { checkFinite?: boolean; steps?: number } = {}) {
  const random = rng(seed);
  const model = new Linear(64, 64).init(random);
  const optimizer = new AdamW(model, { lr: 1e-3 });
  const average = new EMA(model, { decay: 0.9 });
  const noise = random.fork("noise");
  const step = compileTraining(
    { model, optimizer, average },
    ({ image }: Batch) => {
      const flat = image.reshape([4, 64]);
      const noisy = flat.add(noise.normal([4, 64]));
      const loss = optimizer.minimize(() => model.forward(noisy).sub(flat).square().mean());
      average.update();
      return { loss, lr: optimizer.lr.value };
    },
    { checkFinite },
  );
  const data = digits({ count: 20, size: 8 }).loader({ batchSize: 4, steps, seed });
  const owners = [step, optimizer, average, model, noise, random];
  const dispose = (): void => {
    for (const owner of owners) owner.dispose();
  };
  return { model, step, data, noise, dispose };
}

type Run = ReturnType<typeof makeRun>;

const trainerOf = (run: Run, options: Partial<TrainerOptions<Batch>>): Trainer<Batch> =>
  new Trainer<Batch>({
    step: run.step,
    data: run.data,
    state: { noise: run.noise },
    steps: 12,
    logEvery: 2,
    saveEvery: 5,
    progress: false,
    ...options,
  });

const numbersOf = (...things: Stateful[]): unknown =>
  scope(() =>
    things.map((thing) => {
      const { cells, json } = thing.captureState();
      return [Object.entries(cells).map(([name, cell]) => [name, [...cell.value.dataSync()].map(Number)]), json];
    }),
  );

const stateOf = ({ step, data, noise }: Run): unknown => numbersOf(step, data, noise);

/** The lines of a log without the time, which is another in each run. */
const linesOf = async (out: string): Promise<unknown[]> =>
  (await readLog(out)).map(({ seconds: _, ...record }) => record);

async function eventFilesOf(out: string): Promise<Buffer[]> {
  const names = (await readdir(path.join(out, "events"))).sort();
  return Promise.all(names.map((name) => readFile(path.join(out, "events", name))));
}

describe("a trainer", () => {
  it("leaves a log, event files and the latest checkpoints, and says how it went", async () => {
    const out = path.join(folder, "whole");
    const run = makeRun();
    const summary = await trainerOf(run, { out, keep: 2 }).run();
    expect(summary).toMatchObject({ steps: 12, stepsHere: 12, seconds: summary.secondsHere });
    expect(summary.seconds).toBeGreaterThan(0);
    expect((await listCheckpoints(path.join(out, "checkpoints"))).map(({ step }) => step)).toEqual([12, 10]);
    const log = await readLog(out);
    expect(log.map(({ step }) => step)).toEqual([1, 2, 4, 6, 8, 10, 12]);
    expect(Object.keys(log[0] ?? {})).toEqual(["step", "loss", "lr", "seconds"]);
    expect((log.at(-1)?.loss ?? 1) < (log[0]?.loss ?? 0)).toBe(true);
    run.dispose();
  });

  it("writes events that TensorBoard's format describes: the version first, then the scalars of each line", async () => {
    const files = await eventFilesOf(path.join(folder, "whole"));
    expect(files.length).toBe(1);
    const [version, ...events] = eventsOf(files[0] as Buffer);
    expect(version).toMatchObject({ step: 0, version: "brain.Event:2" });
    const log = await readLog(path.join(folder, "whole"));
    expect(events.map(({ step }) => step)).toEqual(log.map(({ step }) => step));
    events.forEach(({ scalars, wallTime }, i) => {
      expect(Object.keys(scalars)).toEqual(["loss", "lr"]);
      expect(scalars.loss).toBe(Math.fround(log[i]?.loss as number));
      expect(Math.abs(wallTime - Date.now() / 1000)).toBeLessThan(600);
    });
  });

  it("trains without a folder, and writes nothing", async () => {
    const run = makeRun();
    const before = process.cwd();
    const empty = await mkdtemp(path.join(folder, "empty-"));
    process.chdir(empty);
    await trainerOf(run, {
      hooks: [
        {
          every: 5,
          run: ({ picture, step }) => picture("x", [] as unknown as Tensor).then(() => expect(step).toBeGreaterThan(0)),
        },
      ],
    })
      .run()
      .finally(() => process.chdir(before));
    expect(await readdir(empty)).toEqual([]);
    expect(run.step.count).toBe(12);
    run.dispose();
  });

  it("takes a loader's stacks as the small batches of one update", async () => {
    const weights: number[][] = [];
    for (const stack of [undefined, 4]) {
      const model = new Linear(64, 64).init(rng(seed));
      const optimizer = new SGD(model, { lr: 0.05 });
      const loss = (net: Linear, { image }: { image: Tensor }): Tensor => {
        const flat = image.reshape([image.dim(0), 64]);
        return net.forward(flat).sub(flat).square().mean();
      };
      const step = compileStep(model, optimizer, loss, { accumulate: stack });
      const options = stack === undefined ? { batchSize: 8 } : { batchSize: 2, stack };
      const data = digits({ count: 16, size: 8 }).loader({ ...options, steps: 6, seed });
      expect(await new Trainer({ step, data, steps: 6, progress: false }).run()).toMatchObject({ steps: 6 });
      weights.push(scope(() => [...model.weight.value.dataSync()].map(Number)));
      for (const owner of [step, optimizer, model]) owner.dispose();
    }
    weights[1]?.forEach((weight, i) => {
      expect(weight).toBeCloseTo(weights[0]?.[i] as number, 5);
    });
  });

  it("begins anew where a folder has an older run, unless it is to go on", async () => {
    const out = path.join(folder, "again");
    for (const steps of [12, 4]) {
      const run = makeRun();
      await trainerOf(run, { out, steps }).run();
      run.dispose();
    }
    expect((await listCheckpoints(path.join(out, "checkpoints"))).map(({ step }) => step)).toEqual([4]);
    expect((await readLog(out)).map(({ step }) => step)).toEqual([1, 2, 4]);
    expect((await eventFilesOf(out)).length).toBe(1);
  });

  it.each([true, false])(
    "removes checkpoints whose writing was cut short, where it is to go on: %s",
    async (resume) => {
      const out = path.join(folder, `cut-${resume}`);
      const before = makeRun();
      await trainerOf(before, { out, steps: 4 }).run();
      before.dispose();
      const cut = ".step-00000006.safetensors.1-12345678.tmp";
      for (const name of [cut, ".mine.tmp"]) await writeFile(path.join(out, "checkpoints", name), "half of it");
      const after = makeRun();
      await trainerOf(after, { out, steps: 5, resume }).run();
      after.dispose();
      const left = await readdir(path.join(out, "checkpoints"));
      expect(left).toContain(".mine.tmp");
      expect(left).not.toContain(cut);
    },
  );
});

describe("hooks", () => {
  it("run every so many steps and after the last, log numbers and save pictures", async () => {
    const out = path.join(folder, "hooks");
    const run = makeRun();
    const seen: number[] = [];
    const hook = {
      every: 5,
      run: async ({
        step,
        scalars,
        picture,
        file,
      }: Parameters<NonNullable<TrainerOptions<Batch>["hooks"]>[0]["run"]>[0]) => {
        seen.push(step);
        await scalars({ quality: step / 2 });
        const random = rng(step);
        const images = random.uniform([4, 8, 8, 3]);
        await picture("noise", images, { columns: 2 });
        await writeFile(file(`note-${step}`), "");
        images.dispose();
        random.dispose();
      },
    };
    await trainerOf(run, { out, hooks: [hook] }).run();
    expect(seen).toEqual([5, 10, 12]);
    expect((await readdir(path.join(out, "samples"))).sort()).toEqual([
      "noise-000005.png",
      "noise-000010.png",
      "noise-000012.png",
    ]);
    using picture = await loadImage(path.join(out, "samples/noise-000005.png"));
    expect(picture.shape).toEqual([22, 22, 3]);
    expect(await linesOf(out)).toContainEqual({ step: 5, quality: 2.5 });
    const images = (await eventFilesOf(out)).flatMap(eventsOf).filter(({ images }) => images.noise);
    expect(images.map(({ step }) => step)).toEqual([5, 10, 12]);
    expect(images[0]?.images.noise).toMatchObject({ width: 22, height: 22, channels: 3 });
    expect(images[0]?.images.noise?.png.equals(await readFile(path.join(out, "samples/noise-000005.png")))).toBe(true);
    run.dispose();
  });
});

describe("a run that is stopped and goes on", () => {
  const hooks = (signalAt?: { step: number; abort: () => void }) => [
    {
      every: 3,
      run: async ({
        step,
        scalars,
        signal,
      }: {
        step: number;
        scalars: (v: Record<string, number>) => Promise<void>;
        signal: AbortSignal;
      }) => {
        await scalars({ before: step });
        if (signalAt?.step === step) signalAt.abort();
        signal.throwIfAborted();
        await scalars({ after: step });
      },
    },
  ];

  let reference: { state: unknown; lines: unknown[] };
  beforeAll(async () => {
    const out = path.join(folder, "reference");
    const run = makeRun();
    await trainerOf(run, { out, hooks: hooks() }).run();
    reference = { state: stateOf(run), lines: await linesOf(out) };
    run.dispose();
  });

  /** Goes on until the end, in runs of their own. */
  const finish = async (out: string): Promise<void> => {
    const run = makeRun();
    await trainerOf(run, { out, resume: true, hooks: hooks() }).run();
    expect(stateOf(run)).toEqual(reference.state);
    expect(await linesOf(out)).toEqual(reference.lines);
    run.dispose();
  };

  it("ends as if it had not been, wherever a signal stopped it: state, data, streams and log", async () => {
    for (let stop = 1; stop <= 12; stop++) {
      const out = path.join(folder, `stopped-${stop}`);
      const run = makeRun();
      const controller = new AbortController();
      const reason = new AbortError("enough");
      const stopping = {
        ...run.data,
        captureState: () => run.data.captureState(),
        restoreState: (state: Parameters<Stateful["restoreState"]>[0]) => run.data.restoreState(state),
        async *[Symbol.asyncIterator]() {
          for await (const batch of run.data) {
            if (run.data.position === stop) controller.abort(reason);
            yield batch;
          }
        },
      };
      const { signal } = controller;
      await expect(trainerOf(run, { out, data: stopping, signal, hooks: hooks() }).run()).rejects.toBe(reason);
      expect(run.step.count).toBe(stop);
      run.dispose();
      await finish(out);
    }
  });

  it("runs a hook again that was interrupted, without its lines twice", async () => {
    const out = path.join(folder, "hook");
    const run = makeRun();
    const controller = new AbortController();
    const stop = { step: 6, abort: () => controller.abort(new AbortError("in the hook")) };
    const { signal } = controller;
    await expect(trainerOf(run, { out, signal, hooks: hooks(stop) }).run()).rejects.toThrow("in the hook");
    run.dispose();
    expect(await linesOf(out)).toContainEqual({ step: 6, before: 6 });
    await finish(out);
  });

  it("goes on from the last checkpoint when its process ended in the middle; later lines and events are void", async () => {
    const out = path.join(folder, "killed");
    for (let round = 0; round < 2; round++) {
      const run = makeRun();
      const failing = {
        every: 8,
        run: () => {
          throw new Error("power cut");
        },
      };
      await expect(trainerOf(run, { out, resume: "auto", hooks: [...hooks(), failing] }).run()).rejects.toThrow(
        "power cut",
      );
      run.dispose();
      expect((await listCheckpoints(path.join(out, "checkpoints"))).map(({ step }) => step)).toEqual([5]);
    }
    await finish(out);
    const told = (await eventFilesOf(out)).flatMap(eventsOf);
    expect(told.filter(({ restart }) => restart).map(({ step }) => step)).toEqual([6]);
    const steps = told.filter(({ scalars }) => "loss" in scalars).map(({ step }) => step);
    expect(steps).toEqual([1, 2, 4, 6, 8, 10, 12]);
  });

  it("goes on after the last whole line of a log that was cut in the middle of one", async () => {
    const out = path.join(folder, "cut");
    const run = makeRun();
    await trainerOf(run, { out, steps: 6, hooks: hooks() }).run();
    run.dispose();
    const file = path.join(out, "log.jsonl");
    const log = await readFile(file);
    await writeFile(file, log.subarray(0, log.lastIndexOf("\n", -2) + 4));
    const again = makeRun();
    await trainerOf(again, { out, resume: true, hooks: hooks() }).run();
    again.dispose();
    const steps = (await readLog(out)).filter((line) => "loss" in line).map(({ step }) => step);
    expect(steps.slice(-3)).toEqual([8, 10, 12]);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  });

  it("passes a damaged checkpoint over for the one before it, and says so", async () => {
    const out = path.join(folder, "damaged");
    const run = makeRun();
    await trainerOf(run, { out, steps: 10, hooks: hooks() }).run();
    run.dispose();
    const [latest] = await listCheckpoints(path.join(out, "checkpoints"));
    const bytes = await readFile(latest?.path as string);
    await writeFile(latest?.path as string, bytes.subarray(0, bytes.length / 2));
    await mkdir(path.join(out, "checkpoints", "step-00000011.safetensors")); // is none
    const told = vi.spyOn(console, "error").mockImplementation(() => {});
    await finish(out);
    expect(told.mock.calls.join()).toMatch(/step-00000010[\s\S]*Going on from .*step-00000005/);
    told.mockRestore();
  });

  it("does nothing again when it had ended", async () => {
    const out = path.join(folder, "reference");
    const run = makeRun();
    const summary = await trainerOf(run, { out, resume: true, hooks: hooks() }).run();
    expect(summary).toMatchObject({ steps: 12, stepsHere: 0 });
    expect(stateOf(run)).toEqual(reference.state);
    expect(await linesOf(out)).toEqual(reference.lines);
    run.dispose();
  });

  it("gives back what was kept in the checkpoint, and lets the run refuse it", async () => {
    const out = path.join(folder, "extra");
    const run = makeRun();
    await trainerOf(run, { out, steps: 3, extra: () => ({ recipe: "digits", seen: run.step.count }) }).run();
    run.dispose();
    const other = makeRun();
    const restore = (extra: unknown): void => {
      expect(extra).toEqual({ recipe: "digits", seen: 3 });
      throw new CheckpointError("of another recipe");
    };
    await expect(trainerOf(other, { out, resume: true, restore }).run()).rejects.toThrow("of another recipe");
    other.dispose();
  });

  it.each([null, 3, []])("refuses a checkpoint that is not a trainer's, which holds %j", async (extra) => {
    const out = path.join(folder, "others");
    const run = makeRun();
    await trainerOf(run, { out, steps: 3 }).run();
    const [latest] = await listCheckpoints(path.join(out, "checkpoints"));
    await saveCheckpoint(latest?.path ?? "", { training: run.step, data: run.data, noise: run.noise }, extra);
    const failed = trainerOf(run, { out, resume: true }).run();
    await expect(failed).rejects.toThrow(CheckpointError);
    await expect(failed).rejects.toThrow(/is not that of a Trainer/);
    run.dispose();
  });
});

describe("what goes wrong", () => {
  it("names the step, the result and what else is not finite by now", async () => {
    const run = makeRun();
    run.model.weight.setData([Number.NaN, ...new Array(64 * 64 - 1).fill(0)]);
    const failure = await trainerOf(run, {})
      .run()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(NonFiniteError);
    expect(String(failure)).toMatch(/step 1: loss became NaN; .*model\.weight is not finite: element 0 of 4096/);
    run.dispose();
  });

  it("names step and parameter, with nothing changed, where the step checks", async () => {
    const out = path.join(folder, "finite");
    const run = makeRun({ checkFinite: true });
    await trainerOf(run, { out, steps: 3 }).run();
    run.model.weight.setData([Number.NaN, ...new Array(64 * 64 - 1).fill(0)]);
    const failure = await trainerOf(run, {})
      .run()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(NonFiniteError);
    expect(String(failure)).toContain("step 4: the parameter weight is not finite: element 0 of 4096 is NaN");
    expect(run.step.count).toBe(3);
    run.dispose();
  });

  it("refuses what no run can be made of", async () => {
    const run = makeRun({ steps: 6 });
    for (const [options, message] of [
      [{ steps: 0 }, /steps/],
      [{ keep: 0.5 }, /keep/],
      [{ hooks: [{ every: 0, run: () => {} }] }, /every of hook 0/],
      [{ saveEvry: 3 }, /unknown option "saveEvry"/],
      [{ state: { data: run.noise } }, /"data"/],
      [{ resume: true }, /"out"/],
    ] as [Partial<TrainerOptions<Batch>>, RegExp][]) {
      expect(() => trainerOf(run, options)).toThrow(UsageError);
      expect(() => trainerOf(run, options)).toThrow(message);
    }
    await expect(trainerOf(run, { out: path.join(folder, "none"), resume: true }).run()).rejects.toThrow(
      /there is no checkpoint/,
    );
    const both = trainerOf(run, {});
    const first = both.run();
    await expect(both.run()).rejects.toThrow(UsageError);
    await expect(first).rejects.toThrow(/the data ended after 6 of 12 steps/);
    run.dispose();
  });
});
