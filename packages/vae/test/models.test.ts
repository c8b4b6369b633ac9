// The models: shapes, what they refuse, and that each loss trains, eagerly and compiled alike.

import { Adam, compileStep, exportTorch, importTorch, type Module, SGD } from "@figment/nn";
import { assertNoLeaks, full, type Rng, rng, scope, type Tensor, tensor, zeros } from "@figment/tensor";
import {
  BernoulliLikelihood,
  BurgessDecoder,
  BurgessEncoder,
  betaTcLoss,
  CategoricalVAE,
  ConvDecoder,
  ConvEncoder,
  DenseDecoder,
  DenseEncoder,
  DiscretisedLogisticLikelihood,
  GaussianLikelihood,
  gumbelSoftmax,
  importanceWeightedBound,
  LadderVAE,
  type Likelihood,
  linearAnnealing,
  mergeGaussians,
  negativeElbo,
  VAE,
  VQVAE,
} from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { meanOf, tinyVae } from "./support.js";

const seed = 13;
console.log(`model tests: seed ${seed}`);
const random = rng(seed);
const image = [8, 8, 1] as const;
/** Eight binary images: one bright column each. */
const columns = scope(() => {
  const data = new Float32Array(8 * 64);
  for (let i = 0; i < 8; i++) for (let row = 0; row < 8; row++) data[64 * i + 8 * row + i] = 1;
  return tensor(data, { shape: [8, 8, 8, 1] });
});
const labels = tensor(Int32Array.from({ length: 8 }, (_, i) => i));
afterAll(() => {
  for (const owner of [random, columns, labels]) owner.dispose();
  assertNoLeaks();
});

const convVae = (likelihood?: Likelihood, classes?: number): VAE => {
  const options = { image, channels: [8, 8], hidden: 16, classes };
  return new VAE({
    encoder: new ConvEncoder({ ...options, features: 6 }),
    decoder: new ConvDecoder({ ...options, latents: 3, outputs: likelihood?.outputs }),
    likelihood,
  });
};
const denseVae = (likelihood?: Likelihood, classes?: number): VAE =>
  new VAE({
    encoder: new DenseEncoder({ image, hidden: [16], features: 6, classes }),
    decoder: new DenseDecoder({ latents: 3, hidden: [16], image, outputs: likelihood?.outputs, classes }),
    likelihood,
  });
const categorical = (hard = false): CategoricalVAE =>
  new CategoricalVAE({
    encoder: new DenseEncoder({ image, hidden: [16], features: 12 }),
    decoder: new DenseDecoder({ latents: 12, hidden: [16], image }),
    variables: 3,
    classes: 4,
    hard,
  });
const ladder = (): LadderVAE => new LadderVAE({ image, latents: [6, 3], hidden: [16, 12] });
const vq = (): VQVAE => new VQVAE({ imageChannels: 1, channels: [8, 8], blocks: 1, codes: 6, dim: 4 });

/** A model and a loss of it. */
interface Case {
  readonly model: Module;
  readonly loss: (x: Tensor, stream: Rng) => Tensor;
}

const caseOf = <M extends Module>(model: M, loss: (model: M, x: Tensor, stream: Rng) => Tensor): Case => ({
  model,
  loss: (x, stream) => loss(model, x, stream),
});

const cases: Readonly<Record<string, () => Case>> = {
  "ELBO, dense": () => caseOf(denseVae(), (net, x, stream) => negativeElbo(net, x, stream).loss),
  "ELBO, convolutional": () => caseOf(convVae(), (net, x, stream) => negativeElbo(net, x, stream).loss),
  "β-VAE with free bits": () =>
    caseOf(denseVae(), (net, x, stream) => negativeElbo(net, x, stream, { beta: 4, freeBits: 0.1 }).loss),
  "conditional, dense": () =>
    caseOf(denseVae(undefined, 8), (net, x, stream) => negativeElbo(net, x, stream, { label: labels }).loss),
  "conditional, convolutional": () =>
    caseOf(convVae(undefined, 8), (net, x, stream) => negativeElbo(net, x, stream, { label: labels }).loss),
  "Gaussian likelihood, shared variance": () =>
    caseOf(denseVae(new GaussianLikelihood({ range: [0, 1] })), (net, x, stream) => negativeElbo(net, x, stream).loss),
  "Gaussian likelihood, variance of each pixel": () =>
    caseOf(
      convVae(new GaussianLikelihood({ variance: "pixel" })),
      (net, x, stream) => negativeElbo(net, x, stream).loss,
    ),
  "discretised logistic likelihood": () =>
    caseOf(
      convVae(new DiscretisedLogisticLikelihood()),
      (net, x, stream) => negativeElbo(net, x.mul(2).sub(1), stream).loss,
    ),
  "β-TC-VAE": () => caseOf(denseVae(), (net, x, stream) => betaTcLoss(net, x, stream, { datasetSize: 8 }).loss),
  IWAE: () => caseOf(denseVae(), (net, x, stream) => importanceWeightedBound(net, x, stream, { k: 3 }).mean().neg()),
  "ladder VAE": () => caseOf(ladder(), (net, x, stream) => negativeElbo(net, x, stream).loss),
  "IWAE of a ladder": () =>
    caseOf(ladder(), (net, x, stream) => importanceWeightedBound(net, x, stream, { k: 2 }).mean().neg()),
  "categorical VAE": () => caseOf(categorical(), (net, x, stream) => negativeElbo(net, x, stream).loss),
  "categorical VAE, straight-through": () =>
    caseOf(categorical(true), (net, x, stream) => negativeElbo(net, x, stream).loss),
  "VQ-VAE": () => caseOf(vq(), (net, x) => net.loss(x.mul(2).sub(1)).loss),
};

describe("every loss", () => {
  const names = Object.keys(cases);

  it.each(names)("%s: is the same eagerly and compiled, and so are the updates", (name) => {
    const [eager, compiled] = [cases[name]!(), cases[name]!()];
    const [a, b] = [rng(3), rng(3)];
    for (const { model } of [eager, compiled]) {
      const weights = rng(5);
      model.init(weights);
      weights.dispose();
    }
    const [optA, optB] = [new SGD(eager.model, { lr: 1e-3 }), new SGD(compiled.model, { lr: 1e-3 })];
    const step = compileStep(compiled.model, optB, (_net, { x }: { x: Tensor }) => compiled.loss(x, b));
    for (let i = 0; i < 3; i++) {
      scope(() => {
        const expected = optA.minimize(() => eager.loss(columns, a)).itemSync() as number;
        const got = step({ x: columns }).loss.itemSync() as number;
        expect(Math.abs(got - expected)).toBeLessThan(1e-5 * Math.max(1, Math.abs(expected)));
      });
    }
    const cellsOf = (model: Module) => Object.entries(model.stateDict());
    scope(() => {
      const others = Object.fromEntries(cellsOf(compiled.model));
      for (const [path, cell] of cellsOf(eager.model)) {
        const [x, y] = [cell.value.dataSync(), others[path]!.value.dataSync()];
        const distance = Math.hypot(...x.map((v, i) => v - (y[i] as number)));
        expect(distance, path).toBeLessThan(1e-5 * Math.max(1, Math.hypot(...x)));
      }
    });
    for (const owner of [step, optA, optB, eager.model, compiled.model, a, b]) owner.dispose();
  });

  it.each(names)("%s: falls", (name) => {
    const { model, loss } = cases[name]!();
    const [weights, stream] = [rng(6), rng(7)];
    model.init(weights);
    const optimizer = new Adam(model, { lr: 5e-3 });
    const step = compileStep(model, optimizer, (_net, { x }: { x: Tensor }) => loss(x, stream));
    const losses = Array.from({ length: 120 }, () => scope(() => step({ x: columns }).loss.itemSync() as number));
    const [first, last] = [meanOf(losses.slice(0, 10)), meanOf(losses.slice(-10))];
    expect(last.mean).toBeLessThan(first.mean - 0.1 * Math.abs(first.mean));
    for (const owner of [step, optimizer, model, weights, stream]) owner.dispose();
  });
});

describe("a VAE", () => {
  it("reconstructs what it has learned, and decodes the label that it is told", () => {
    const model = denseVae(undefined, 8);
    const weights = rng(6);
    model.init(weights);
    const optimizer = new Adam(model, { lr: 1e-2 });
    const beta = linearAnnealing({ steps: 100 });
    const step = compileStep(
      model,
      optimizer,
      (net, { x }: { x: Tensor }) =>
        negativeElbo(net, x, random, { label: labels, beta: beta(optimizer.step.value) }).loss,
    );
    for (let i = 0; i < 300; i++) scope(() => void step({ x: columns }));
    scope(() => {
      const error = model.reconstruct(columns, labels).sub(columns).abs().mean().itemSync();
      expect(error).toBeLessThan(0.05);
      const drawn = model.sample(8, random, { label: labels });
      expect(drawn.sub(columns).abs().mean().itemSync()).toBeLessThan(0.1);
    });
    for (const owner of [step, optimizer, model, weights]) owner.dispose();
  });

  it("samples by decoding the prior's draws, which a temperature scales", () => {
    const model = tinyVae();
    scope(() => {
      const cold = model.sample(2, random, { temperature: 0 });
      const expected = model.decode(zeros([2, 3]));
      expect([...cold.dataSync()]).toEqual([...expected.dataSync()]);
    });
    model.dispose();
  });

  it("refuses parts that do not fit, and labels that it cannot use", () => {
    const encoder = new DenseEncoder({ image, hidden: [8], features: 6 });
    const decoder = new DenseDecoder({ latents: 4, hidden: [8], image });
    expect(() => new VAE({ encoder, decoder })).toThrow(/needs 8 features, the encoder gives 6/);
    const [plain, conditional] = [denseVae().init(random), denseVae(undefined, 8).init(random)];
    scope(() => {
      expect(() => plain.reconstruct(columns, labels)).toThrow(/takes no labels/);
      expect(() => conditional.reconstruct(columns)).toThrow(/give labels/);
      expect(() => plain.reconstruct(full([1, 7, 7, 1], 0))).toThrow(/\[N, 8, 8, 1\]/);
      expect(() => plain.decode(zeros([1, 4]))).toThrow(/\[N, 3\]/);
    });
    plain.dispose();
    conditional.dispose();
  });
});

describe("networks", () => {
  it.each([
    () => new DenseEncoder({ image, hidden: [], features: 2 }),
    () => new DenseEncoder({ image, hidden: [4], features: 0 }),
    () => new DenseDecoder({ latents: 0, hidden: [4], image }),
    () => new DenseDecoder({ latents: 2, hidden: [4.5], image }),
    () => new ConvEncoder({ image: [28, 28, 1], channels: [8, 8, 8], features: 2 }),
    () => new ConvEncoder({ image, channels: [], features: 2 }),
    () => new ConvDecoder({ image, channels: [8], latents: 2, dropout: 1 }),
    () => new BurgessEncoder({ size: 28 as 32, features: 2 }),
    () => new BurgessDecoder({ size: 64, latents: -1 }),
    () => new VQVAE({ imageChannels: 1, channels: [], codes: 4, dim: 2 }),
    () => new VQVAE({ imageChannels: 1, channels: [4], codes: 0, dim: 2 }),
    () => new VQVAE({ imageChannels: 1, channels: [4], codes: 4, dim: 2, commitment: -1 }),
    () => new LadderVAE({ image, latents: [4], hidden: [8] }),
  ])("are refused when made from numbers out of range: %s", (make) => {
    expect(make).toThrow(expect.objectContaining({ name: "UsageError" }));
  });

  it("of 64 pixels have one convolution more", () => {
    const model = new VAE({
      encoder: new BurgessEncoder({ size: 64, imageChannels: 3, features: 8 }),
      decoder: new BurgessDecoder({ size: 64, latents: 4, outputChannels: 3 }),
    }).init(random);
    scope(() => expect(model.reconstruct(zeros([2, 64, 64, 3])).shape).toEqual([2, 64, 64, 3]));
    expect(model.stateDict()["encoder.convs.3.weight"]?.shape).toEqual([32, 4, 4, 32]);
    model.dispose();
  });
});

describe("a ladder VAE", () => {
  it("merges Gaussians by their precisions", () =>
    scope(() => {
      const [a, b] = [
        { mean: tensor([1, -50]), logVariance: tensor([0.5, -12]) },
        { mean: tensor([-2, 50]), logVariance: tensor([-1, 6]) },
      ];
      const { mean, logVariance } = mergeGaussians(a, b);
      const precision = [0, 1].map((i) => {
        const of = (g: typeof a) => Math.exp(-(g.logVariance.dataSync()[i] as number));
        return [of(a), of(b)] as const;
      });
      precision.forEach(([p, q], i) => {
        expect(logVariance.dataSync()[i]).toBeCloseTo(-Math.log(p + q), 4);
        const [m, n] = [a.mean.dataSync()[i] as number, b.mean.dataSync()[i] as number];
        expect(mean.dataSync()[i]).toBeCloseTo((m * p + n * q) / (p + q), 3);
      });
    }));

  it("has a divergence for each layer, whose sum its draws have in the mean", () => {
    const model = ladder().init(random);
    scope(() => {
      const n = 20_000;
      const x = columns
        .at(2)
        .reshape([1, ...image])
        .broadcastTo([n, ...image]);
      const { kl, logRatio, latents } = model.draw(model.infer(x), x, random);
      expect(latents.map(({ shape }) => shape[1])).toEqual([6, 3]);
      const sum = kl.map((layer) => layer.sum(1)).reduce((a, b) => a.add(b));
      const { mean, error } = meanOf(sum.add(logRatio).dataSync());
      expect(Math.abs(mean)).toBeLessThan(5 * error);
      for (const layer of kl) expect(layer.min().itemSync()).toBeGreaterThan(-1e-5);
      expect(model.sample(3, random).shape).toEqual([3, ...image]);
      expect(model.reconstruct(columns).shape).toEqual([8, ...image]);
    });
    model.dispose();
  });
});

describe("a categorical VAE", () => {
  it("draws classes with the probabilities that its logits have", () =>
    scope(() => {
      const n = 40_000;
      const logits = tensor([0, 1, -1]);
      const rows = logits.reshape([1, 3]).broadcastTo([n, 3]);
      const shares = logits.softmax().dataSync();
      const drawn = gumbelSoftmax(rows, random, 1, true).mean(0).dataSync();
      // The largest element of a relaxed draw is as often each class.
      const relaxed = gumbelSoftmax(rows, random, 0.1);
      const largest = relaxed
        .eq(relaxed.max(1, { keepDims: true }))
        .cast("f32")
        .mean(0)
        .dataSync();
      for (const share of [drawn, largest])
        for (const [i, p] of shares.entries())
          expect(Math.abs((share[i] as number) - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
    }));

  it("needs a temperature above 0", () => {
    scope(() => {
      for (const temperature of [0, -1, Number.NaN])
        expect(() => gumbelSoftmax(zeros([1, 3]), random, temperature)).toThrow(/temperature must be/);
    });
  });

  it("has finite draws from the smallest and the largest uniform numbers that there are", () => {
    const extremes = { uniform: () => tensor([[0, 1 - 2 ** -24, 0.5]]) } as unknown as Rng;
    scope(() => {
      expect([...gumbelSoftmax(zeros([1, 3]), extremes, 1).dataSync()].map((x) => x.toFixed(3))).toEqual([
        "0.000",
        "1.000",
        "0.000",
      ]);
    });
  });

  it("decodes one-hot latents in evaluation, and has a bound that its draws have in the mean", () => {
    const model = categorical().init(random).eval();
    scope(() => {
      const n = 20_000;
      const x = columns
        .at(1)
        .reshape([1, ...image])
        .broadcastTo([n, ...image]);
      const { latents, kl, logRatio } = model.draw(model.infer(x), x, random);
      expect(new Set(latents[0]!.dataSync())).toEqual(new Set([0, 1]));
      const { mean, error } = meanOf(logRatio.dataSync());
      const closed = kl[0]!.sum(1).at(0).itemSync() as number;
      expect(closed).toBeGreaterThan(0);
      expect(Math.abs(mean + closed)).toBeLessThan(5 * error);
      expect(model.sample(2, random).shape).toEqual([2, ...image]);
    });
    model.dispose();
  });

  it("has likelihoods of its own: the default is Bernoulli's", () => {
    expect(categorical().likelihood).toBeInstanceOf(BernoulliLikelihood);
  });
});

describe("weights for PyTorch", () => {
  const models: Readonly<Record<string, () => Module>> = {
    "dense VAE": () => denseVae(undefined, 4),
    "convolutional VAE": () => convVae(),
    "ladder VAE": ladder,
    "categorical VAE": categorical,
    "VQ-VAE": vq,
  };

  it.each(Object.keys(models))("of a %s come back as they were", (name) => {
    const [a, b] = [models[name]!().init(random), models[name]!()];
    scope(() => importTorch(b, exportTorch(a)));
    scope(() => {
      const other = b.stateDict();
      for (const [path, cell] of Object.entries(a.stateDict()))
        expect([...other[path]!.value.dataSync()], path).toEqual([...cell.value.dataSync()]);
    });
    for (const model of [a, b]) model.dispose();
  });

  it("have channels first, and a dense layer's columns in the order of [C,H,W] after a flatten", () => {
    const model = convVae().init(random);
    scope(() => {
      const weights = exportTorch(model);
      expect(weights["encoder.down.1.weight"]?.shape).toEqual([8, 8, 4, 4]);
      expect(weights["decoder.up.0.weight"]?.shape).toEqual([8, 8, 4, 4]);
      // The features of 2×2 pixels and 8 channels: our column 1 is channel 1 of pixel 0, which there comes after 4 pixels.
      const [ours, theirs] = [model.stateDict()["encoder.dense.weight"]!.value, weights["encoder.dense.weight"]!];
      expect(theirs.at(3, 4).itemSync()).toBe(ours.at(3, 1).itemSync());
    });
    model.dispose();
  });
});
