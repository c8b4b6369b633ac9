// Trains a small model and reports a digest of its losses and weights; the same for the same seed, wherever it runs.
// As a worker thread it trains with the seed that it is given and posts the digest.

import { createHash } from "node:crypto";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import {
  AdamW,
  assertNoLeaks,
  Conv2d,
  compileStep,
  Dropout,
  gelu,
  Linear,
  Module,
  mse,
  rng,
  scope,
  settled,
} from "figment";

class Net extends Module {
  conv = new Conv2d(1, 8, 3, { padding: 1 });
  dropout = new Dropout(0.1);
  head = new Linear(8 * 8 * 8, 4);
  forward(x) {
    return this.head.forward(this.dropout.forward(gelu(this.conv.forward(x))).reshape([x.dim(0), 8 * 8 * 8]));
  }
}

/** Trains `steps` steps; `onStep` is told of each. Gives a digest of every loss and every weight. */
export async function train(seed, steps, onStep = () => {}) {
  const random = rng(seed);
  const net = new Net().init(random.fork("weights"));
  const optimizer = new AdamW(net, { lr: 1e-3 });
  const step = compileStep(net, optimizer, (model, { x, y }) => mse(model.forward(x), y), { clipNorm: 1, ema: 0.9 });
  const hash = createHash("sha256");
  for (let i = 0; i < steps; i++) {
    const batch = { x: random.normal([16, 8, 8, 1]), y: random.uniform([16, 4]) };
    const { loss } = step(batch);
    for (const tensor of Object.values(batch)) tensor.dispose();
    if (i % 5 === 0) hash.update(Float32Array.of(await loss.item()));
    await onStep(i);
  }
  for (const cell of Object.values(step.captureState().cells)) hash.update(scope(() => cell.value.dataSync()));
  for (const thing of [step, optimizer, net, random]) thing.dispose();
  await settled();
  return hash.digest("hex");
}

if (!isMainThread && workerData?.seed !== undefined) {
  const { seed, steps } = workerData;
  const digest = await train(seed, steps, (i) => i === 0 && parentPort.postMessage("training"));
  let leaks = "";
  try {
    assertNoLeaks();
  } catch (error) {
    leaks = String(error);
  }
  parentPort.postMessage({ digest, leaks });
}
