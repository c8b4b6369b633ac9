// What every function and class of the packages makes of arguments that are none: an error of its own, that names them.

import * as diffusion from "@figment/diffusion";
import * as gan from "@figment/gan";
import * as io from "@figment/io";
import * as metrics from "@figment/metrics";
import * as nn from "@figment/nn";
import { FigmentError, rng, Tensor, zeros } from "@figment/tensor";
import * as vae from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";

type Callable = (...args: unknown[]) => unknown;

const x = zeros([2, 2]);
afterAll(() => x.dispose());
const arguments_ = [undefined, null, Number.NaN, {}, x];
const lists = [...arguments_.map((a) => [a]), ...arguments_.flatMap((a) => arguments_.map((b) => [a, b]))];

/** Open files and their tensors are made by the functions that open them; the others take any arguments there are. */
const others = ["SafetensorsFile", "TorchFile", "TorchTensor", "onInterrupt", "showProgress", "writeJson"];

const isClass = (f: Callable): boolean => /^class\b/.test(Function.prototype.toString.call(f));

async function failureOf(f: Callable, args: readonly unknown[]): Promise<unknown> {
  try {
    const result = await (isClass(f) ? Reflect.construct(f, args) : f(...args));
    if (result instanceof Tensor && result !== x) result.dispose();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe.each(Object.entries({ diffusion, gan, io, metrics, nn, vae }))("what %s exports", (_name, exported) => {
  const callable = Object.entries(exported as Readonly<Record<string, unknown>>).filter(
    (entry): entry is [string, Callable] =>
      typeof entry[1] === "function" && !others.includes(entry[0]) && !(entry[1].prototype instanceof Error),
  );

  it.each(callable)("%s refuses arguments that are none by a typed error", async (_function, f) => {
    for (const args of lists) {
      const failure = await failureOf(f, args);
      if (failure !== undefined) expect(failure).toBeInstanceOf(FigmentError);
    }
  });
});

const averaged = new nn.Linear(2, 2).init(rng(0));
const image = [8, 8, 1];
const encoder = new vae.DenseEncoder({ image: [8, 8, 1], hidden: [8], features: 4 });
const decoder = new vae.DenseDecoder({ latents: 2, hidden: [8], image: [8, 8, 1] });
const digits = io.digits({ count: 8, size: 8 });
const steps = { length: 20, alphasCumprod: diffusion.alphasCumprod(diffusion.linearBetas(20)), predict: "v" } as const;
const rows = (sampler: diffusion.Sampler): unknown => sampler.rows(steps);

/** Options that are right, of functions and classes that take some. */
const optionsOf: readonly (readonly [string, (options: never) => unknown, Readonly<Record<string, unknown>>])[] = [
  ["DenseEncoder", (o) => new vae.DenseEncoder(o), { image, hidden: [8], features: 4, classes: 2 }],
  [
    "ConvDecoder",
    (o) => new vae.ConvDecoder(o),
    { image, channels: [4], latents: 4, blocks: 1, hidden: 8, dropout: 0 },
  ],
  ["VAE", (o) => new vae.VAE(o), { encoder, decoder, likelihood: new vae.BernoulliLikelihood() }],
  ["LadderVAE", (o) => new vae.LadderVAE(o), { image, latents: [4, 2], hidden: [8, 8] }],
  [
    "VQVAE",
    (o) => new vae.VQVAE(o),
    { imageChannels: 1, channels: [4], codes: 4, dim: 2, commitment: 0.25, decay: 0.9 },
  ],
  ["GaussianLikelihood", (o) => new vae.GaussianLikelihood(o), { variance: 1, range: [-1, 1] }],
  ["linearAnnealing", (o) => vae.linearAnnealing(o), { from: 0, to: 1, steps: 5 }],
  ["DcganGenerator", (o) => new gan.DcganGenerator(o), { latents: 4, imageSize: 8, channels: [4], embedding: 2 }],
  ["DcganCritic", (o) => new gan.DcganCritic(o), { imageSize: 8, channels: [4], norm: "batch", condition: "channel" }],
  ["MlpCritic", (o) => new gan.MlpCritic(o), { features: 2, hidden: [4] }],
  ["GaussianGrid", (o) => new gan.GaussianGrid(o), { side: 2, spacing: 1, deviation: 0.1 }],
  ["Diffusion", (o) => new diffusion.Diffusion(o), { betas: [0.1], predict: "v", variance: "fixed", boundWeight: 1 }],
  ["weighting", (o) => new diffusion.Diffusion({ betas: [0.1], weighting: o }), { p2: 1, k: 1 }],
  ["UNet", (o) => new diffusion.UNet(o), { inChannels: 1, channels: [8, 8], attention: [4], sinusoids: {}, heads: 1 }],
  ["ddim", (o) => rows(diffusion.ddim(o)), { steps: 5, finalAlpha: "one", spacing: "leading", stepsOffset: 1 }],
  [
    "dpmSolver",
    (o) => rows(diffusion.dpmSolver(o)),
    { steps: 5, order: 2, kind: "heun", sigmas: "karras", finalSigma: "zero" },
  ],
  ["uniPc", (o) => rows(diffusion.uniPc(o)), { steps: 5, order: 2, kind: "bh2", uncorrected: [0] }],
  [
    "edm",
    (o) => rows(diffusion.edm(o)),
    { steps: 5, sigmaMin: 0.1, sigmaMax: 10, sigmaData: 0.5, rho: 7, output: "F" },
  ],
  ["digits", (o) => io.digits(o), { seed: 0, size: 8, split: "train", count: 4, styles: "train" }],
  ["loader", (o) => digits.loader(o), { batchSize: 2, steps: 2, epochs: 1, seed: 0, range: [-1, 1], transforms: [] }],
  ["crop", (o) => digits.loader({ batchSize: 2, transforms: [o] }), { crop: 4, at: "random", padding: 1 }],
  ["normalize", (o) => digits.loader({ batchSize: 2, transforms: [o] }), { normalize: { mean: [0], std: [1] } }],
  ["lossCurve", (o) => io.lossCurve([{ step: 1, loss: 1 }], o), { title: "a", label: "b", width: 100, height: 100 }],
  ["AdamW", (o) => new nn.AdamW(encoder, o), { lr: 1e-3, betas: [0.9, 0.99], eps: 1e-8, groups: [] }],
  ["cosineLr", (o) => nn.cosineLr(o), { from: 1, to: 0, steps: 5 }],
];

describe("an option of another type or out of range", () => {
  it.each(optionsOf)("is refused by %s with its name or is taken, and never fails untyped", (_name, make, right) => {
    expect(() => make(right as never)).not.toThrow();
    for (const name of Object.keys(right))
      for (const value of [null, Number.NaN, "text", {}, -1, 1.5, 1e12, true]) {
        const failure = thrownBy(() => make({ ...right, [name]: value } as never));
        if (failure !== undefined) expect(failure, `${name}: ${value}`).toBeInstanceOf(FigmentError);
      }
  });

  it.each(optionsOf)("NaN is refused by %s, whatever option it is", (_name, make, right) => {
    for (const name of Object.keys(right))
      expect(
        thrownBy(() => make({ ...right, [name]: Number.NaN } as never)),
        name,
      ).toBeInstanceOf(FigmentError);
  });
});

/** Options that are true or false, of what takes some. */
const flagsOf: readonly (readonly [string, (options: never) => unknown, readonly string[]])[] = [
  ["ddpm", (o) => diffusion.ddpm(o), ["noiseAtEnd"]],
  ["ddim", (o) => diffusion.ddim(o), ["clippedNoise", "evenSteps"]],
  ["ddimInversion", (o) => diffusion.ddimInversion(o), ["evenSteps"]],
  ["pndm", (o) => diffusion.pndm(o), ["rungeKutta", "evenSteps"]],
  ["dpmSolver", (o) => diffusion.dpmSolver(o), ["sde", "lowerOrderFinal", "eulerAtFinal"]],
  ["dpmSolverSinglestep", (o) => diffusion.dpmSolverSinglestep(o), ["sde", "lowerOrderFinal"]],
  ["edmDpmSolver", (o) => diffusion.edmDpmSolver(o), ["sde", "lowerOrderFinal", "eulerAtFinal"]],
  ["deis", (o) => diffusion.deis(o), ["lowerOrderFinal"]],
  ["uniPc", (o) => diffusion.uniPc(o), ["lowerOrderFinal"]],
  ["flowEuler", (o) => diffusion.flowEuler(o), ["stochastic"]],
  [
    "UNet",
    (o: object) => new diffusion.UNet({ inChannels: 1, channels: [8], classes: 2, ...o }),
    ["scaleShift", "nullClass", "middleAttention"],
  ],
  ["DcganCritic", (o) => new gan.DcganCritic(o), ["minibatchStd"]],
  ["ProjectionHead", (o) => new gan.ProjectionHead(4, 2, o), ["spectral"]],
  ["loader", (o: object) => digits.loader({ batchSize: 2, ...o }), ["shuffle", "dropLast"]],
  ["Linear", (o) => new nn.Linear(2, 2, o), ["bias"]],
  ["Conv2d", (o) => new nn.Conv2d(2, 2, 1, o), ["bias"]],
  ["ConvTranspose2d", (o) => new nn.ConvTranspose2d(2, 2, 1, o), ["bias"]],
  ["LayerNorm", (o) => new nn.LayerNorm(2, o), ["affine", "bias"]],
  ["RMSNorm", (o) => new nn.RMSNorm(2, o), ["affine"]],
  ["BatchNorm", (o) => new nn.BatchNorm(2, o), ["affine", "trackRunningStats"]],
  ["GroupNorm", (o) => new nn.GroupNorm(1, 2, o), ["silu"]],
  ["MultiHeadAttention", (o) => new nn.MultiHeadAttention(4, 2, o), ["bias", "causal"]],
  ["TransformerBlock", (o) => new nn.TransformerBlock(4, o), ["causal", "attentionBias", "gated"]],
  ["TimestepEmbedding", (o) => new nn.TimestepEmbedding(4, 4, o), ["cosinesFirst"]],
  ["RMSProp", (o) => new nn.RMSProp(encoder, o), ["centered"]],
  ["SGD", (o: object) => new nn.SGD(encoder, { momentum: 0.9, ...o }), ["nesterov"]],
  ["EMA", (o) => new nn.EMA(averaged, o), ["warmup"]],
];

describe("an option that is true or false", () => {
  it.each(flagsOf)("is nothing else to %s", (_name, make, flags) => {
    for (const flag of flags) {
      for (const value of [true, false, undefined]) expect(() => make({ [flag]: value } as never)).not.toThrow();
      for (const value of ["yes", "no", "", 0, 1, null])
        expect(() => make({ [flag]: value } as never)).toThrow(new RegExp(`${flag} must be true or false, got `));
    }
  });
});

function thrownBy(make: () => unknown): unknown {
  try {
    make();
    return undefined;
  } catch (error) {
    return error;
  }
}
