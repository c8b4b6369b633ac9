// The thread on which a loader's batches are made. It runs ahead of the consumer by the number of batches it was
// allowed; each batch taken allows one more and brings back memory to fill.

import { parentPort, workerData } from "node:worker_threads";
import { openSource } from "../data/dataset.js";
import { Assembler, type RawBatch } from "./assemble.js";
import { describeFailure, type WorkerReply, type WorkerRequest, type WorkerStart } from "./protocol.js";

if (!parentPort) throw new Error("this module is the worker of a loader and is not imported");
const port = parentPort;
const { source, plan, first, end, prefetch } = workerData as WorkerStart;

let allowed = prefetch;
let wake: (() => void) | undefined;
const spares: RawBatch[] = [];

port.on("message", (spare: WorkerRequest) => {
  spares.push(spare);
  allowed++;
  wake?.();
});

const reply = (message: WorkerReply, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

try {
  const assembler = new Assembler(await openSource(source), plan);
  for (let index = first; index < (end ?? Infinity); index++) {
    while (allowed === 0) await new Promise<void>((resolve) => (wake = resolve));
    allowed--;
    const batch = await assembler.make(index, spares.pop());
    reply({ batch }, [batch.image.buffer, batch.label.buffer]);
  }
} catch (error) {
  reply({ failure: describeFailure(error) });
}
