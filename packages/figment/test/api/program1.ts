// Program 1 of the public surface, the README's first example to the letter.

import { AdamW, Diffusion, UNet, compileStep, cosineBetas, ddim, mnist, rng, saveGrid, saveModel } from "figment";

const random = rng(0);
const data = await mnist("data/mnist");
const model = new UNet({ inChannels: 1, channels: [32, 64, 64], attention: [7], dropout: 0.1 }).init(random.fork("weights"));
const diffusion = new Diffusion({ betas: cosineBetas(1000), predict: "epsilon" });

const step = compileStep(model, new AdamW(model, { lr: 1e-3 }),
  (net, { image }) => diffusion.loss(net, image, random),
  { clipNorm: 1, ema: 0.995 });

for await (const batch of data.loader({ batchSize: 128, steps: 3000, rng: random.fork("data") })) {
  const { loss } = step(batch);                       // one native call
  if (step.count % 100 === 0) console.log(step.count, await loss.item());
}
await saveModel("ddpm.safetensors", step.ema.model);

const images = await diffusion.sample(step.ema.model, { shape: [64, 28, 28, 1], sampler: ddim({ steps: 50 }), rng: random.fork("samples") });
await saveGrid("samples.png", images, { columns: 8 });
images.dispose();
