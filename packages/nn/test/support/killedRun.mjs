// A run of its own process, to be killed: node killedRun.mjs FOLDER STEPS. Goes on from the folder's latest checkpoint, if
// there is one, and at its end prints a digest of weights, moments, average, streams and place in the data.

import { createHash } from "node:crypto";
import { digits } from "@figment/io";
import { AdamW, compileStep, Dropout, Linear, Sequential, Trainer } from "@figment/nn";
import { relu, rng, scope } from "@figment/tensor";

const [, , out, text] = process.argv;
const steps = Number(text);
const random = rng(7);
const model = new Sequential(new Linear(64, 32), relu, new Dropout(0.2), new Linear(32, 64)).init(
  random.fork("weights"),
);
const noise = random.fork("noise");
const optimizer = new AdamW(model, { lr: 1e-3 });
const loss = (net, { image }) => {
  const flat = image.reshape([4, 64]);
  return net
    .forward(flat.add(noise.normal([4, 64])))
    .sub(flat)
    .square()
    .mean();
};
const step = compileStep(model, optimizer, loss, { ema: 0.9, clipNorm: 1 });
const data = digits({ count: 60, size: 8 }).loader({ batchSize: 4, steps, seed: 7, prefetch: 0 });
const hook = { every: 30, run: ({ step: at, scalars }) => scalars({ seen: at }) };
const state = { noise };
const trainer = new Trainer({
  step,
  data,
  state,
  steps,
  out,
  resume: "auto",
  saveEvery: 10,
  logEvery: 5,
  hooks: [hook],
  progress: false,
});
console.log("begun");
await trainer.run();
const hash = createHash("sha256");
for (const part of [step, noise, data]) {
  const { cells, json } = part.captureState();
  hash.update(JSON.stringify(json));
  for (const cell of Object.values(cells))
    hash.update(scope(() => new Uint8Array(cell.value.dataSync().buffer.slice(0))));
}
console.log(`digest ${hash.digest("hex")}`);
