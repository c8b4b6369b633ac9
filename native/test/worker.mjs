// A worker thread for workers.test.ts. `task` says what it does; it reports by messages.

import { parentPort, workerData } from "node:worker_threads";
import { loadBinding } from "@figment/native";

const native = loadBinding();
const { task, program: blob, count, seed } = workerData;

function input(values) {
  const handle = native.allocate(0, values.byteLength);
  native.write(handle, 0, values);
  return handle;
}

function run(program, inputs) {
  const outputs = new Float64Array(1);
  native.run(program, 0, Float64Array.from(inputs), outputs, 0);
  return outputs[0];
}

/** Adds up many times, inline and queued, and checks every sum. */
async function sums() {
  const program = native.loadProgram(blob);
  for (let round = 0; round < 200; round++) {
    const values = Float32Array.from({ length: count }, (_, i) => ((i * 7 + seed + round) % 1000) / 8);
    const a = input(values);
    const sum = run(program, [a, a]);
    const result = new Float32Array(
      round % 2 === 0 ? native.readSync(sum, 0, 4 * count) : await native.read(sum, 0, 4 * count),
    );
    if (!values.every((value, i) => result[i] === value + value)) throw new Error(`wrong sum in round ${round}`);
    native.release(a);
    native.release(sum);
  }
  native.releaseProgram(program);
  const { live, liveBuffers } = native.memory();
  parentPort.postMessage({ live, liveBuffers });
}

/** Queues long work, tells so, and waits for an answer that its end may forestall. */
async function long() {
  const program = native.loadProgram(blob, "reference");
  const x = input(new Float32Array(count));
  for (let i = 0; i < 3; i++) native.read(run(program, [x]), 0, 4).catch(() => undefined);
  parentPort.postMessage("running");
  await native.settled();
  parentPort.postMessage("done");
}

await { sums, long }[task]();
