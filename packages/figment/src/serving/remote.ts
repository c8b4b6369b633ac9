// A model that another thread serves, as a worker thread sees it: nothing of it is loaded here.

import type { MessagePort } from "node:worker_threads";
import { type Tensor, throwIfAborted, UsageError } from "@figment/tensor";
import {
  type Asked,
  fromPlain,
  type InterpolateRequest,
  revive,
  type SampleRequest,
  type ToClient,
  type ToServer,
} from "./requests.js";

interface Pending {
  resolve(images: Tensor): void;
  reject(error: unknown): void;
}

const gone = (): Error =>
  revive({ name: "Error", code: "ERR_FIGMENT_CLOSED", message: "the model is no longer served" });

/**
 * Asks a {@link ModelServer} of another thread. Results are tensors of this thread.
 *
 * @param port what the server's `port()` gave, handed over as workerData or by a message, and in the list of transfers.
 * @example
 * const server = new ModelServer(await openModel("out/first-light"));
 * const remote = new RemoteModel(server.port()); // in a worker: new RemoteModel(workerData.port)
 * const images = await remote.sample(2, { seed: 1 });
 * images; // [2, 28, 28, 1]
 * remote.close();
 * await server.close();
 */
export class RemoteModel {
  private readonly port: MessagePort;
  private readonly pending = new Map<number, Pending>();
  private asked = 0;
  private closed = false;

  constructor(port: MessagePort) {
    this.port = port;
    port.on("message", (reply: ToClient) => {
      const request = this.pending.get(reply.id);
      this.settle(reply.id);
      if ("failure" in reply) request?.reject(revive(reply.failure));
      else request?.resolve(fromPlain(reply.images));
    });
    port.on("close", () => {
      this.closed = true;
      for (const [id, request] of this.pending) {
        this.settle(id);
        request.reject(gone());
      }
    });
    port.unref();
  }

  /** As {@link ModelServer}'s. */
  sample(n: number, { signal, ...request }: SampleRequest = {}): Promise<Tensor> {
    return this.ask({ ability: "sample", n, request }, signal);
  }

  /** As {@link ModelServer}'s. */
  async reconstruct(images: Tensor, { signal, ...request }: SampleRequest = {}): Promise<Tensor> {
    const data = Float32Array.from(await images.data());
    return this.ask({ ability: "reconstruct", images: { data, shape: images.shape }, request }, signal);
  }

  /** As {@link ModelServer}'s. */
  interpolate({ signal, ...request }: InterpolateRequest = {}): Promise<Tensor> {
    return this.ask({ ability: "interpolate", request }, signal);
  }

  /** Ends the connection; what was asked and not answered is aborted. */
  close(): void {
    this.port.close();
  }

  private async ask(asked: Asked, signal: AbortSignal | undefined): Promise<Tensor> {
    throwIfAborted(signal);
    if (this.closed) throw gone();
    const id = this.asked++;
    const send = (message: ToServer): void => this.port.postMessage(message);
    const abort = (): void => send({ id, abort: true });
    try {
      send({ id, asked });
    } catch (cause) {
      throw new UsageError(`RemoteModel: a request that cannot be sent to another thread: ${(cause as Error).message}`);
    }
    const answer = new Promise<Tensor>((resolve, reject) => this.pending.set(id, { resolve, reject }));
    this.port.ref();
    signal?.addEventListener("abort", abort, { once: true });
    return answer.finally(() => signal?.removeEventListener("abort", abort));
  }

  private settle(id: number): void {
    this.pending.delete(id);
    if (this.pending.size === 0) this.port.unref();
  }
}
