// A small classifier of digits: the judge of what the diffusion model draws. Trained here, on the embedded
// digits, and itself judged on digits and styles that it has not seen.

import {
  AdamW,
  Conv2d,
  compile,
  compileStep,
  crossEntropy,
  type Dataset,
  digits,
  Linear,
  Module,
  mean,
  relu,
  reshape,
  rng,
  softmax,
  type Tensor,
  warmupCosineLr,
} from "figment";

/** Two strided convolutions and two dense layers. */
export class DigitClassifier extends Module {
  conv1 = new Conv2d(1, 16, 3, { stride: 2, padding: 1 });
  conv2 = new Conv2d(16, 32, 3, { stride: 2, padding: 1 });
  hidden = new Linear(32 * 7 * 7, 128);
  output = new Linear(128, 10);

  /** Logits [N,10] of images [N,28,28,1]. */
  forward(x: Tensor): Tensor {
    const features = relu(this.conv2.forward(relu(this.conv1.forward(x))));
    return this.output.forward(relu(this.hidden.forward(reshape(features, [x.dim(0), -1]))));
  }
}

/** A trained classifier with what it needs to judge images. */
export interface Judge {
  /** The most probable class of each image [N,28,28,1] and its probability. */
  classify(images: Tensor): Promise<{ label: number; confidence: number }[]>;
  /** The share of a data set's first `count` items that it gets right. */
  accuracy(dataset: Dataset, count: number): Promise<number>;
  dispose(): void;
}

/** Trains a judge on the training digits. */
export async function trainJudge({ steps = 3000, batchSize = 64 } = {}): Promise<Judge> {
  const seed = rng(77);
  const model = new DigitClassifier().init(seed);
  const optimizer = new AdamW(model, {
    lr: warmupCosineLr({ peak: 3e-3, warmup: 30, total: steps }),
    weightDecay: 0,
  });
  const step = compileStep(
    model,
    optimizer,
    (net: DigitClassifier, { image, label }: { image: Tensor; label: Tensor }) =>
      mean(crossEntropy(net.forward(image), label)),
  );
  for await (const { image, label } of digits({ seed: 5 }).loader({ batchSize, steps, seed: 5 })) {
    await step({ image, label }).loss.item();
  }
  const probabilities = compile((net: DigitClassifier, x: Tensor) => softmax(net.forward(x)), { mode: "eval" });

  const classify = async (images: Tensor): Promise<{ label: number; confidence: number }[]> => {
    const result = probabilities(model, images);
    const rows = (await result.array()) as number[][];
    result.dispose();
    return rows.map((row) => {
      const confidence = Math.max(...row);
      return { label: row.indexOf(confidence), confidence };
    });
  };
  return {
    classify,
    async accuracy(dataset, count) {
      let right = 0;
      let seen = 0;
      for await (const { image, label } of dataset.loader({ batchSize: 100, steps: count / 100, shuffle: false })) {
        const labels = await label.data();
        for (const [i, { label: guess }] of (await classify(image)).entries()) right += Number(guess === labels[i]);
        seen += labels.length;
      }
      return right / seen;
    },
    dispose() {
      probabilities.dispose();
      step.dispose();
      optimizer.dispose();
      for (const cell of model.cells()) cell.dispose();
      seed.dispose();
    },
  };
}
