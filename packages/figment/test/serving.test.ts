// One loaded model for many requests: turns, aborts, a memory limit, and threads that share it.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import {
  AbortError,
  assertNoLeaks,
  BusyError,
  findRecipe,
  ModelServer,
  memory,
  type OpenedModel,
  OutOfMemoryError,
  openModel,
  RemoteModel,
  runRecipe,
  type SamplingOptions,
  type ServeOptions,
  type Tensor,
  tensor,
  UsageError,
} from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { figment } from "./support/command.js";
import { flatRecipe } from "./support/flatRecipe.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-serving-"));
  await writeFile(path.join(folder, "flat.ts"), flatRecipe("ts"));
  await runRecipe(await findRecipe(path.join(folder, "flat.ts")), { out: path.join(folder, "run") });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

const open = (): Promise<OpenedModel> => openModel(path.join(folder, "run"), { recipe: path.join(folder, "flat.ts") });

async function serving<T>(options: ServeOptions, use: (server: ModelServer) => Promise<T>): Promise<T> {
  const server = new ModelServer(await open(), options);
  try {
    return await use(server);
  } finally {
    await server.close();
  }
}

const numbers = async (images: Promise<Tensor>): Promise<number[]> => {
  using made = await images;
  return [...(await made.data())];
};

/** A server whose model waits for a gate of its own before it draws; `begun` tells the sizes of what has begun. */
async function gated<T>(
  options: ServeOptions,
  use: (server: ModelServer, begun: number[], open: (n: number) => void) => Promise<T>,
): Promise<T> {
  const model = await open();
  const begun: number[] = [];
  const gates = new Map<number, () => void>();
  const sample = async (n: number, request: SamplingOptions): Promise<Tensor> => {
    begun.push(n);
    await new Promise<void>((resolve, reject) => {
      gates.set(n, resolve);
      request.signal?.addEventListener("abort", () => reject(request.signal?.reason));
    });
    return (model.sample as NonNullable<OpenedModel["sample"]>)(n, request);
  };
  const server = new ModelServer({ ...model, sample }, options);
  try {
    return await use(server, begun, (n) => gates.get(n)?.());
  } finally {
    await server.close();
  }
}

/** Lets everything happen that waits for nothing. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe("a model that is served", () => {
  it("gives each of many requests at once what it would have got alone", async () => {
    await serving({ concurrency: 3 }, async (server) => {
      const alone: number[][] = [];
      for (const seed of [1, 2, 3, 4, 5]) alone.push(await numbers(server.sample(2, { seed })));
      const together = await Promise.all([1, 2, 3, 4, 5].map((seed) => numbers(server.sample(2, { seed }))));
      expect(together).toEqual(alone);
      expect(new Set(alone.map(String)).size).toBe(5);
    });
  });

  it("does all that the model can, and says what it cannot", async () => {
    await serving({}, async (server) => {
      using images = tensor(new Float32Array(64), { shape: [1, 8, 8, 1] });
      expect(await numbers(server.reconstruct(images))).toHaveLength(64);
      expect(await numbers(server.interpolate({ frames: 3, count: 2 }))).toHaveLength(6 * 64);
      for (const label of [10, -1, [0, 1.5], []]) await expect(server.sample(1, { label })).rejects.toThrow(UsageError);
      await expect(server.sample(0)).rejects.toThrow(UsageError);
    });
  });

  it("runs so many at a time in their order, lets so many wait, and refuses the rest", async () => {
    await gated({ concurrency: 2, waiting: 1 }, async (server, begun, opened) => {
      const [one, two, three] = [1, 2, 3].map((n) => numbers(server.sample(n)));
      await expect(server.sample(4)).rejects.toThrow(BusyError);
      await settle();
      expect([begun, server.load]).toEqual([[1, 2], { running: 2, waiting: 1 }]);
      opened(2);
      await two;
      await settle();
      expect([begun, server.load]).toEqual([[1, 2, 3], { running: 2, waiting: 0 }]);
      opened(1);
      opened(3);
      await Promise.all([one, three]);
      expect(server.load).toEqual({ running: 0, waiting: 0 });
    });
  });

  it("ends the one request that is aborted, waiting or running, and no other", async () => {
    await gated({ concurrency: 1 }, async (server, begun, opened) => {
      const [running, waiting, before] = [new AbortController(), new AbortController(), new AbortController()];
      before.abort(new AbortError("before"));
      const first = server.sample(1, { signal: running.signal });
      const second = server.sample(2, { signal: waiting.signal });
      const third = numbers(server.sample(3));
      await expect(server.sample(4, { signal: before.signal })).rejects.toThrow("before");
      waiting.abort(new AbortError("while waiting"));
      await expect(second).rejects.toThrow("while waiting");
      running.abort(new AbortError("while running"));
      await expect(first).rejects.toThrow("while running");
      await settle();
      opened(3);
      expect(await third).toHaveLength(3 * 64);
      expect(begun).toEqual([1, 3]);
    });
  });

  it("fails a request that needs more memory than allowed, with the others and the model as they were", async () => {
    const before = memory().limit;
    await serving({ memoryLimit: 64 * 2 ** 20 }, async (server) => {
      expect(memory().limit).toBe(64 * 2 ** 20);
      const expected = await numbers(server.sample(2, { seed: 1 }));
      const [small, large, again] = await Promise.allSettled([
        numbers(server.sample(2, { seed: 1 })),
        numbers(server.sample(10_000_000, { seed: 1 })),
        numbers(server.sample(2, { seed: 1 })),
      ]);
      expect(large).toMatchObject({ status: "rejected", reason: expect.any(OutOfMemoryError) });
      for (const other of [small, again]) expect(other).toEqual({ status: "fulfilled", value: expected });
    });
    expect(memory().limit).toBe(before);
  });

  it.each([0, 0.5, 1e300])("refuses %s bytes as its memory limit", (memoryLimit) => {
    const serve = (): ModelServer => new ModelServer({} as OpenedModel, { memoryLimit });
    expect(serve).toThrow(/memoryLimit must be a whole number of bytes/);
  });

  it("refuses more images than memory could hold at once, before anything is made for them", async () => {
    await serving({ memoryLimit: 2 ** 30 }, async (server) => {
      await expect(server.sample(10 ** 9, { label: 1 })).rejects.toThrow(
        /images of \[8, 8, 1\] take 256000000000 bytes/,
      );
      await expect(server.interpolate({ count: 10 ** 9 })).rejects.toThrow(OutOfMemoryError);
    });
    const recipe = ["--recipe", path.join(folder, "flat.ts")];
    const huge = await figment(["sample", path.join(folder, "run"), ...recipe, "--count", String(2 ** 40)]);
    expect([huge.code, huge.stderr]).toEqual([5, expect.stringMatching(/--count: 1099511627776 images/)]);
  });

  it("when it is closed waits for what runs and refuses what waits and what comes", async () => {
    await gated({ concurrency: 1 }, async (server, _begun, opened) => {
      const running = numbers(server.sample(1));
      const waiting = server.sample(2);
      await settle();
      const closing = server.close();
      await expect(waiting).rejects.toThrow(/closed before this request/);
      await expect(server.sample(3)).rejects.toThrow(/the server is closed/);
      expect(() => server.port()).toThrow(UsageError);
      opened(1);
      expect(await running).toHaveLength(64);
      await closing;
    });
  });
});

describe("worker threads", () => {
  const worker = (server: ModelServer): Worker => {
    const port = server.port();
    const workerData = { port };
    return new Worker(new URL("support/servedWorker.mjs", import.meta.url), { workerData, transferList: [port] });
  };

  it("share the one model: the same images, typed errors, aborts of their own", async () => {
    await serving({}, async (server) => {
      const drawn = await numbers(server.sample(2, { seed: 5, label: 3 }));
      const told = await Promise.all([1, 2].map(() => once(worker(server), "message")));
      for (const [results] of told) {
        expect(results.drawn).toEqual({ shape: [2, 8, 8, 1], numbers: drawn });
        expect(results.rows.shape).toEqual([3, 8, 8, 1]);
        expect(results.wrong).toEqual({ name: "UsageError", message: "sample: the model knows 10 classes, got 10" });
        expect(["AbortError", undefined]).toContain(results.stopped.name);
      }
    });
  });

  it("are told where a request cannot be sent, and wait for no answer to it", async () => {
    await serving({}, async (server) => {
      const remote = new RemoteModel(server.port());
      const request = { seed: (() => 1) as unknown as number };
      await expect(remote.sample(1, request)).rejects.toThrow(UsageError);
      remote.close();
      await settle();
    });
  });

  it("that end take their requests with them, and a server that ends tells its threads", async () => {
    await gated({}, async (server, begun) => {
      const remote = new RemoteModel(server.port());
      const asked = remote.sample(7);
      asked.catch(() => {});
      while (begun.length === 0) await settle();
      remote.close();
      await expect(asked).rejects.toMatchObject({ code: "ERR_FIGMENT_CLOSED" });
      while (server.load.running > 0) await settle();
    });
    const server = new ModelServer(await open());
    const remote = new RemoteModel(server.port());
    await server.close();
    await expect(remote.sample(1)).rejects.toMatchObject({ code: "ERR_FIGMENT_CLOSED" });
    await settle();
    await expect(remote.sample(1)).rejects.toMatchObject({ code: "ERR_FIGMENT_CLOSED" });
  });
});
