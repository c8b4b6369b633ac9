import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import {
  type Batch,
  DataError,
  Dataset,
  digits,
  type Loader,
  type LoaderOptions,
  loadCheckpoint,
  openSource,
  saveCheckpoint,
} from "@figment/io";
import { assertNoLeaks, CheckpointError, type Json, rng, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { seeded, temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

const fixtures = new URL("./fixtures/datasets.mjs", import.meta.url).href;
const fixture = (open: string, options: Record<string, unknown>): Promise<Dataset> =>
  openSource({ module: fixtures, open, options });

interface Copy {
  readonly shape: readonly number[];
  readonly image: readonly number[];
  readonly label: readonly number[];
}

const copy = async ({ image, label }: Batch): Promise<Copy> => ({
  shape: image.shape,
  image: [...(await image.data())],
  label: [...(await label.data())],
});

async function collect(loader: Loader, most = Infinity): Promise<Copy[]> {
  const copies: Copy[] = [];
  for await (const batch of loader) {
    copies.push(await copy(batch));
    if (copies.length >= most) break;
  }
  return copies;
}

const labels = (copies: readonly Copy[]): number[] => copies.flatMap(({ label }) => label);
const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe("a loader", () => {
  it("gives images as f32 [B,H,W,C] in [-1, 1] and labels as i32 [B]", async () => {
    const data = await fixture("plain", { length: 10 });
    for await (const { image, label } of data.loader({ batchSize: 5, shuffle: false })) {
      expect([image.dtype, image.shape, label.dtype, label.shape]).toEqual(["f32", [5, 2, 3, 1], "i32", [5]]);
      const first = (await label.data())[0] as number;
      const expected = upTo(6).map((i) => Math.fround(-1 + (2 * (first + 40 * i)) / 255));
      expect([...(await image.data())].slice(0, 6)).toEqual(expected);
    }
  });

  it("maps bytes to another range when asked to", async () => {
    const data = await fixture("plain", { length: 2 });
    const [batch] = await collect(data.loader({ batchSize: 1, shuffle: false, range: [0, 255] }));
    expect(batch?.image).toEqual([0, 40, 80, 120, 160, 200]);
  });

  it("shows every item once an epoch, in an order of its own per epoch and seed", async () => {
    const data = await fixture("plain", { length: 60 });
    const shown = labels(await collect(data.loader({ batchSize: 10, epochs: 2, seed: 1 })));
    const [first, second] = [shown.slice(0, 60), shown.slice(60)];
    expect(ascending(first)).toEqual(upTo(60));
    expect(ascending(second)).toEqual(upTo(60));
    expect(first).not.toEqual(second);
    expect(first).not.toEqual(upTo(60));
    expect(labels(await collect(data.loader({ batchSize: 10, seed: 2 })))).not.toEqual(first);
  });

  it("drops the last partial batch, or gives it at its size", async () => {
    const data = await fixture("plain", { length: 25 });
    expect((await collect(data.loader({ batchSize: 10, epochs: 2 }))).map(({ label }) => label.length)).toEqual([
      10, 10, 10, 10,
    ]);
    const kept = await collect(data.loader({ batchSize: 10, dropLast: false }));
    expect(kept.map(({ shape }) => shape[0])).toEqual([10, 10, 5]);
    expect(ascending(labels(kept))).toEqual(upTo(25));
  });

  it("ends after its steps, across epochs", async () => {
    const data = await fixture("plain", { length: 25 });
    const loader = data.loader({ batchSize: 10, steps: 7 });
    expect(loader.length).toBe(7);
    expect(await collect(loader)).toHaveLength(7);
    expect(loader.position).toBe(7);
    expect(loader.epoch).toBe(3.5);
  });

  it("without end goes on until it is left", async () => {
    const loader = (await fixture("plain", { length: 4 })).loader({ batchSize: 2, epochs: Infinity });
    expect(loader.length).toBe(Infinity);
    expect(await collect(loader, 25)).toHaveLength(25);
  });

  it("gives the same batches on the worker as on the calling thread, from equal seeds or Rng keys", async () => {
    const data = digits({ count: 200 });
    const options: LoaderOptions = { batchSize: 16, steps: 20, rng: rng(3), transforms: [{ flip: 0.5 }] };
    const worker = await collect(data.loader(options));
    expect(await collect(data.loader({ ...options, prefetch: 0 }))).toEqual(worker);
    expect(await collect(data.loader({ ...options, rng: rng(3), prefetch: 5 }))).toEqual(worker);
    expect(await collect(data.loader({ ...options, rng: rng(4) }))).not.toEqual(worker);
  });

  it("stacks batches for steps that take several", async () => {
    const data = await fixture("plain", { length: 40 });
    const flat = await collect(data.loader({ batchSize: 4, epochs: 3, seed: 9 }));
    const stacked = await collect(data.loader({ batchSize: 4, epochs: 3, seed: 9, stack: 5 }));
    expect(stacked.map(({ shape }) => shape)).toEqual(upTo(6).map(() => [5, 4, 2, 3, 1]));
    expect(labels(stacked)).toEqual(labels(flat));
  });

  it("mirrors about half of the images left to right, others in each epoch", async () => {
    const data = await fixture("plain", { length: 100 });
    const range = [0, 255] as const;
    const [first, second] = (await collect(
      data.loader({ batchSize: 100, epochs: 2, shuffle: false, range, transforms: [{ flip: 0.5 }] }),
    )) as [Copy, Copy];
    const mirrored = ({ image }: Copy) =>
      upTo(100).map((n) => {
        const straight = upTo(6).map((i) => (n + 40 * i) % 256);
        const seen = image.slice(6 * n, 6 * n + 6);
        const mirror = [2, 1, 0, 5, 4, 3].map((i) => straight[i]);
        expect([straight, mirror]).toContainEqual(seen);
        return String(seen) === String(mirror);
      });
    const count = mirrored(first).filter(Boolean).length;
    expect(count).toBeGreaterThan(30);
    expect(count).toBeLessThan(70);
    expect(mirrored(second)).not.toEqual(mirrored(first));
  });

  it("lends its batches until the next one is asked for", async () => {
    const data = await fixture("plain", { length: 4 });
    const batches: Batch[] = [];
    for await (const batch of data.loader({ batchSize: 2 })) {
      await expect(batch.image.data()).resolves.toBeDefined();
      if (batches[0]) await expect(batches[0].image.data()).rejects.toThrow();
      batches.push(batch);
    }
    await expect(batches[1]?.label.data()).rejects.toThrow();
  });

  it("refuses options that make no sense", async () => {
    expect(() => digits({ count: 4 }).loader({ batchSize: 2, signal: {} as AbortSignal })).toThrow(
      /loader: expected signal with throwIfAborted, addEventListener, got an object/,
    );
    const data = await fixture("plain", { length: 10 });
    expect(() => data.loader({ batchSize: 11 })).toThrow(/dropLast leaves no batch/);
    expect(() => data.loader({ batchSize: 0 })).toThrow(UsageError);
    expect(() => data.loader({ batchSize: 2, stack: 0 })).toThrow(UsageError);
    expect(() => data.loader({ batchSize: 2, stack: 2, dropLast: false })).toThrow(/stack needs dropLast/);
    expect(() => data.loader({ batchSize: 2, range: [1, 1] })).toThrow(/ascending/);
    expect(() => data.loader({ batchSize: 2, seed: 0.5 })).toThrow(/seed must be an integer/);
  });

  it("refuses a second iteration while one goes on, and after the end says how to start again", async () => {
    const data = await fixture("plain", { length: 4 });
    const loader = data.loader({ batchSize: 2, seed: 5 });
    const first: Copy[] = [];
    for await (const batch of loader) {
      await expect(collect(loader)).rejects.toThrow(/second iteration/);
      expect(() => loader.rewind()).toThrow(UsageError);
      first.push(await copy(batch));
    }
    await expect(collect(loader)).rejects.toThrow(/rewind\(\) starts again/);
    loader.rewind();
    expect(await collect(loader)).toEqual(first);
  });
});

describe("a resumed loader", () => {
  const data = digits({ count: 100, size: 12 });
  const options: LoaderOptions = { batchSize: 8, steps: 40, transforms: [{ flip: 0.5 }] };

  it("goes on bit for bit as if never stopped, from random moments", async () => {
    const whole = await collect(data.loader({ ...options, seed: 77 }));
    const random = seeded(401);
    for (let round = 0; round < 6; round++) {
      const path = join(await temporaryFolder(), "loader.safetensors");
      let resumed: Copy[] = [];
      for (let stops = 1 + random.below(3), at = 0; stops >= 0; stops--) {
        const loader = data.loader({ ...options, seed: round, prefetch: random.below(4) });
        if (at === 0)
          loader.restoreState({ tensors: {}, json: data.loader({ ...options, seed: 77 }).captureState().json });
        else await loadCheckpoint(path, { loader });
        expect(loader.position).toBe(at);
        const until = stops === 0 ? Infinity : 1 + random.below(14);
        resumed = [...resumed, ...(await collect(loader, until))];
        at = loader.position;
        await saveCheckpoint(path, { loader });
      }
      expect(resumed).toEqual(whole);
    }
  });

  it("counts batches handed out, not those prepared", async () => {
    const loader = data.loader({ ...options, prefetch: 8 });
    await collect(loader, 3);
    expect(loader.captureState().json).toMatchObject({ position: 3 });
  });

  it("at its end gives nothing more", async () => {
    const ended = data.loader(options);
    await collect(ended);
    const loader = data.loader(options);
    loader.restoreState({ tensors: {}, json: ended.captureState().json });
    expect(await collect(loader)).toEqual([]);
  });

  it("refuses the state of other batches, saying what differs", () => {
    const state = { tensors: {}, json: data.loader(options).captureState().json };
    expect(() => data.loader({ ...options, batchSize: 4 }).restoreState(state)).toThrow(/batchSize was 8, is 4/);
    expect(() => digits({ count: 99 }).loader(options).restoreState(state)).toThrow(CheckpointError);
    const strangers: Json[] = [null, 3, {}, { position: -1, key: [0, 0] }, { position: 1, key: [0] }];
    for (const json of strangers) {
      expect(() => data.loader(options).restoreState({ tensors: {}, json })).toThrow(CheckpointError);
    }
  });
});

describe("the worker of a loader", () => {
  it("leaves the event loop free while it computes", async () => {
    const data = await fixture("slow", { length: 400, milliseconds: 5 });
    const delays = monitorEventLoopDelay({ resolution: 1 });
    const loader = data.loader({ batchSize: 40, steps: 4 });
    for await (const _ of loader) {
      if (loader.position === 1) delays.enable();
    }
    delays.disable();
    // Contract: a timer fires within 20 ms; tested at the 99th percentile with fivefold slack for busy machines.
    expect(delays.percentile(99) / 1e6).toBeLessThan(100);
  });

  it("prepares the next batches while the consumer works", async () => {
    const counter = new Int32Array(new SharedArrayBuffer(4));
    const data = await fixture("counting", { length: 100, counter });
    const loader = data.loader({ batchSize: 10, prefetch: 3, epochs: 10 });
    for await (const _ of loader) {
      // The batch in hand, and three ahead.
      await expect.poll(() => Atomics.load(counter, 0)).toBe(10 * (loader.position + 3));
      if (loader.position === 4) break;
    }
  });

  it.each(["break", "throw", "abort"] as const)("stops on %s", async (how) => {
    const counter = new Int32Array(new SharedArrayBuffer(4));
    const data = await fixture("counting", { length: 100, counter });
    const stop = new AbortController();
    const reason = new Error("enough");
    const run = async () => {
      for await (const _ of data.loader({ batchSize: 1, epochs: 1e6, prefetch: 4, signal: stop.signal })) {
        if (how === "break") break;
        if (how === "throw") throw reason;
        stop.abort(reason);
      }
    };
    if (how === "break") await run();
    else await expect(run()).rejects.toBe(reason);
    const stoppedAt = Atomics.load(counter, 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(Atomics.load(counter, 0)).toBe(stoppedAt);
  });

  it.each([0, 2])("is not waited for once the signal is aborted, with prefetch %i", async (prefetch) => {
    const data = await fixture("slow", { length: 1000, milliseconds: prefetch === 0 ? 1 : 50 });
    const reason = new Error("enough");
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 20);
    await expect(collect(data.loader({ batchSize: 100, prefetch, signal: stop.signal }))).rejects.toBe(reason);
    await expect(collect(data.loader({ batchSize: 100, prefetch, signal: AbortSignal.abort(reason) }))).rejects.toBe(
      reason,
    );
  });

  it("hands its typed errors to the consumer, after the batches before", async () => {
    const data = await fixture("failing", { length: 40, at: 25, by: "data" });
    const seen: number[] = [];
    const run = async () => {
      for await (const { label } of data.loader({ batchSize: 10, shuffle: false })) seen.push(...(await label.data()));
    };
    const error = await run().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DataError);
    expect(error).toMatchObject({
      code: "ERR_FIGMENT_DATA",
      message: "broken.png: cannot be decoded",
      path: "broken.png",
    });
    expect(seen).toEqual(upTo(20));
  });

  it.each([1.5, Number.NaN, 2 ** 31, "3", undefined])(
    "refuses the label %s of a data set of one's own",
    async (label) => {
      class Labelled extends Dataset {
        readonly name = "labelled";
        readonly length = 2;
        readonly shape = [1, 1, 1] as const;
        readonly source = { module: fixtures, open: "plain", options: {} };
        async get() {
          return { image: new Uint8Array(1), label: label as number };
        }
      }
      const batches = new Labelled().loader({ batchSize: 2, prefetch: 0 })[Symbol.asyncIterator]();
      const failure = await batches.next().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(DataError);
      expect(String(failure)).toMatch(/labelled: item [01] has the label .*, expected an integer of 32 bits/);
    },
  );

  it("reports other errors and its own end as errors of the data", async () => {
    const bug = await fixture("failing", { length: 40, at: 5, by: "bug" });
    await expect(collect(bug.loader({ batchSize: 10 }))).rejects.toThrow(
      /the data set failed: TypeError: no such thing/,
    );
    const end = await fixture("failing", { length: 40, at: 5, by: "exit" });
    await expect(collect(end.loader({ batchSize: 10 }))).rejects.toThrow(/worker ended with code 7/);
  });

  it("does not keep the process alive when an iteration is left hanging", async () => {
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    const io = new URL("../dist/index.js", import.meta.url).href;
    const program = `
      import { digits } from ${JSON.stringify(io)};
      const batches = digits().loader({ batchSize: 8, steps: 100 })[Symbol.asyncIterator]();
      const { value } = await batches.next();
      console.log(value.image.shape.join());
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
      timeout: 20_000,
    });
    expect(stdout.trim()).toBe("8,28,28,1");
  });
});
