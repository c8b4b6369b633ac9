// One loaded model for many requests, from this thread and from worker threads: the weights are there once, requests take
// turns on the device, each can be aborted, and memory is bounded.

import { MessageChannel, type MessagePort } from "node:worker_threads";
import { checkCounts } from "@figment/nn";
import {
  AbortError,
  type Device,
  defaultDevice,
  memory,
  rng,
  setMemoryLimit,
  show,
  type Tensor,
  UsageError,
  withDevice,
} from "@figment/tensor";
import { checkFits } from "../recipe/fits.js";
import { checkAsked, cycledLabels } from "../recipe/labels.js";
import { ability, type OpenedModel } from "../recipe/savedModel.js";
import { RequestQueue } from "./queue.js";
import {
  type Asked,
  fromPlain,
  type InterpolateRequest,
  plainFailure,
  type RequestOptions,
  type SampleRequest,
  type ToClient,
  type ToServer,
} from "./requests.js";

/** How a model is served. */
export interface ServeOptions {
  /** Requests that run at once; their steps take turns on the device. Default 2: one prepares while the other computes. */
  readonly concurrency?: number;
  /** Requests that may wait; more get a BusyError. Default 64. */
  readonly waiting?: number;
  /**
   * Bytes of device memory that the process may hold while the model is served. A request that needs more fails with an
   * OutOfMemoryError; the others and the model are as they were. Default: the limit that there is.
   */
  readonly memoryLimit?: number;
}

/**
 * Serves an opened model, on the device that it lies on. Results are the caller's to dispose. The model is the server's: closing frees it.
 *
 * @example
 * const server = new ModelServer(await openModel("out/first-light"), { memoryLimit: 2 ** 30 });
 * const [threes, fives] = await Promise.all([3, 5].map((label) => server.sample(4, { seed: 1, label })));
 * threes; // [4, 28, 28, 1]
 * await server.close();
 */
export class ModelServer {
  private readonly model: OpenedModel;
  /** The device that the model lies on. */
  readonly device: Device;
  private readonly queue: RequestQueue;
  private readonly limitBefore: number | undefined;
  private readonly running = new Set<Promise<unknown>>();
  private readonly ports = new Set<MessagePort>();
  private closed = false;

  /** @throws UsageError when a number is none that could be kept to. */
  constructor(model: OpenedModel, { concurrency = 2, waiting = 64, memoryLimit }: ServeOptions = {}) {
    checkCounts("ModelServer", { concurrency, waiting });
    if (memoryLimit !== undefined && !(Number.isSafeInteger(memoryLimit) && memoryLimit > 0))
      throw new UsageError(`ModelServer: memoryLimit must be a whole number of bytes ≥ 1, got ${show(memoryLimit)}`);
    this.model = model;
    this.device = model.device;
    this.queue = new RequestQueue(concurrency, waiting);
    if (memoryLimit !== undefined) {
      const before = memory(this.device).limit;
      setMemoryLimit(memoryLimit, this.device);
      this.limitBefore = before;
    }
  }

  /** Requests that run and that wait. */
  get load(): { readonly running: number; readonly waiting: number } {
    return this.queue.load;
  }

  /**
   * n images, [n, H, W, C].
   *
   * @throws UsageError for a model that cannot, a class that it does not know, and a server that is closed; BusyError when
   *   too many wait; OutOfMemoryError; the signal's reason.
   */
  async sample(n: number, { label, seed, signal }: SampleRequest = {}): Promise<Tensor> {
    checkCounts("sample", { n });
    const sample = ability(this.model, "sample");
    const classes = this.classesAsked("sample", label);
    checkFits("sample", n, this.model.facts, this.device);
    return this.answer({ seed, signal }, async (options) => {
      const labels = classes && cycledLabels(n, classes);
      return sample(n, { ...options, ...(labels ? { label: labels } : {}) }).finally(() => labels?.dispose());
    });
  }

  /** What the model makes of images [n, H, W, C] within its range, told their classes if need be. Fails as {@link sample} does. */
  async reconstruct(images: Tensor, { label, ...request }: SampleRequest = {}): Promise<Tensor> {
    const reconstruct = ability(this.model, "reconstruct");
    const classes = this.classesAsked("reconstruct", label);
    this.refuseClosed();
    const own = images.to(this.device);
    return this.answer(request, (options) => {
      const labels = classes && cycledLabels(own.dim(0), classes);
      return reconstruct(own, { ...options, ...(labels ? { label: labels } : {}) }).finally(() => labels?.dispose());
    }).finally(() => own.dispose());
  }

  /** Rows between samples, [count·frames, H, W, C]. Fails as {@link sample} does. */
  async interpolate({ frames = 10, count = 1, ...request }: InterpolateRequest = {}): Promise<Tensor> {
    checkCounts("interpolate", { frames, count });
    const interpolate = ability(this.model, "interpolate");
    checkFits("interpolate", count * frames, this.model.facts, this.device);
    return this.answer(request, (options) => interpolate({ ...options, frames, count }));
  }

  /** @throws UsageError for classes that the model does not know. */
  private classesAsked(what: string, label: SampleRequest["label"]): readonly number[] | undefined {
    if (label === undefined) return undefined;
    const classes = [label].flat();
    checkAsked(what, classes, this.model.classes);
    return classes;
  }

  /** An end of a channel, to be handed to a worker thread, which connects to the model by it: see {@link RemoteModel}. */
  port(): MessagePort {
    this.refuseClosed();
    const { port1, port2 } = new MessageChannel();
    this.ports.add(port1);
    const requests = new Map<number, AbortController>();
    port1.on("message", (message: ToServer) => {
      if ("abort" in message) requests.get(message.id)?.abort(new AbortError());
      else void this.serve(port1, message.id, message.asked, requests);
    });
    port1.on("close", () => {
      this.ports.delete(port1);
      for (const request of requests.values()) request.abort(new AbortError("the thread that asked has ended"));
    });
    // Requests keep the process alive, a port that waits for some does not.
    port1.unref();
    return port2;
  }

  /** Takes no more requests, waits for those that run, refuses those that wait, and frees the model. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.queue.refuse(new UsageError("ModelServer: the server was closed before this request had its turn"));
    await Promise.allSettled(this.running);
    for (const port of this.ports) port.close();
    if (this.limitBefore !== undefined) setMemoryLimit(this.limitBefore, this.device);
    this.model.dispose();
  }

  private refuseClosed(): void {
    if (this.closed) throw new UsageError("ModelServer: the server is closed");
  }

  private answer(
    { seed = 0, signal }: RequestOptions,
    use: (options: { readonly rng: ReturnType<typeof rng>; readonly signal?: AbortSignal }) => Promise<Tensor>,
  ): Promise<Tensor> {
    this.refuseClosed();
    const work = async (): Promise<Tensor> => {
      const random = rng(seed);
      try {
        const images = await use({ rng: random, ...(signal ? { signal } : {}) });
        // Work that fails in the queue fails here, and not where somebody reads the result.
        await images.ready().catch((error: unknown) => {
          images.dispose();
          throw error;
        });
        return images;
      } finally {
        random.dispose();
      }
    };
    const answered = this.queue.run(
      () => (this.device === defaultDevice() ? work() : withDevice(this.device, work)),
      signal,
    );
    const settled: Promise<unknown> = Promise.allSettled([answered]).finally(() => this.running.delete(settled));
    this.running.add(settled);
    return answered;
  }

  /** Answers a request from another thread. */
  private async serve(
    port: MessagePort,
    id: number,
    asked: Asked,
    requests: Map<number, AbortController>,
  ): Promise<void> {
    const controller = new AbortController();
    requests.set(id, controller);
    try {
      using images = await this.perform(asked, controller.signal);
      const data = Float32Array.from(await images.data());
      const reply: ToClient = { id, images: { data, shape: images.shape } };
      port.postMessage(reply, [data.buffer]);
    } catch (error) {
      const reply: ToClient = { id, failure: plainFailure(error) };
      port.postMessage(reply);
    } finally {
      requests.delete(id);
    }
  }

  private async perform(asked: Asked, signal: AbortSignal): Promise<Tensor> {
    const request = { ...asked.request, signal };
    if (asked.ability === "sample") return this.sample(asked.n, request);
    if (asked.ability === "interpolate") return this.interpolate(request);
    using images = fromPlain(asked.images);
    return await this.reconstruct(images, request);
  }
}
