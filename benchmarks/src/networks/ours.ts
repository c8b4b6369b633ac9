// The networks of the models' suite in Figment: each as one call, with its parameters and its work.

import { Diffusion, linearBetas, UNet, UNet2DConditionModel } from "@figment/diffusion";
import { compileGame, DcganCritic, DcganGenerator, nonSaturating } from "@figment/gan";
import { Adam, compileStep, type Module, observeForward } from "@figment/nn";
import { compile, type Profile, rng, scope, settled, type Tensor, tensor } from "@figment/tensor";
import { DenseDecoder, DenseEncoder, negativeElbo, VAE } from "@figment/vae";
import { randomTensor } from "../case.js";
import type { Format } from "../work.js";
import type { Configs, DcganConfig, DdpmConfig, Kind, StableConfig, VaeConfig } from "./configs.js";

export interface Built {
  readonly parameters: number;
  /** Multiplications and additions of one call. */
  readonly flops: number;
  run(repeats: number): Promise<void>;
  /** Where the time of a call goes. */
  profile(runs: number): Promise<Profile>;
}

/** A step of training costs a forward pass and two of its size backward. */
const trainingPasses = 3;

/** The suites' formats, and two more that only profiles ask for. */
export type Arithmetic = Format | "f16" | "tf32";

const precisionOf = (format: Arithmetic) => (format === "f32" ? "highest" : format);

/** Multiplications and additions of the layers that `fn` calls. */
function flopsOf(fn: () => void): number {
  let flops = 0;
  const count = (module: Module, inputs: readonly unknown[], output: unknown): void => {
    const own: unknown = Reflect.get(module, "flops");
    if (typeof own === "function") flops += Reflect.apply(own, module, [inputs, output]) as number;
  };
  observeForward(count, fn);
  return flops;
}

/** The cost of a network for one sample, found by running it eagerly. */
const flopsOfOne = (fn: () => unknown): number => flopsOf(() => scope(() => void fn()));

const repeated = (call: () => void) => async (repeats: number) => {
  for (let i = 0; i < repeats; i++) call();
  await settled();
};

function makeVae({ imageSize, hidden, latents }: VaeConfig): VAE {
  const image = [imageSize, imageSize, 1] as const;
  const activation = (x: Tensor): Tensor => x.relu();
  return new VAE({
    encoder: new DenseEncoder({ image, hidden: [hidden], features: 2 * latents, activation }),
    decoder: new DenseDecoder({ latents, hidden: [hidden], image, activation }),
  });
}

function makeDcgan({ imageSize, latents, channels }: DcganConfig) {
  const shape = { imageSize, imageChannels: 3 } as const;
  return {
    generator: new DcganGenerator({ latents, ...shape, channels }),
    critic: new DcganCritic({ ...shape, channels: [...channels].reverse() }),
  };
}

const makeDdpm = ({ batch: _, ...options }: DdpmConfig): UNet => new UNet({ inChannels: 3, ...options });

const makeStable = ({ batch: _, size: _size, tokens: _tokens, ...options }: StableConfig): UNet2DConditionModel =>
  new UNet2DConditionModel(options);

const makers: { readonly [K in Kind]: (config: Configs[K]) => readonly Module[] } = {
  vae: (config) => [makeVae(config)],
  dcgan: (config) => Object.values(makeDcgan(config)),
  ddpm: (config) => [makeDdpm(config)],
  stable: (config) => [makeStable(config)],
};

/** Trainable numbers of a network, of which no memory is taken. */
export const parametersOf = <K extends Kind>(kind: K, config: Configs[K]): number =>
  makers[kind](config).reduce((sum, module) => sum + module.parameterCount, 0);

function vae(config: VaeConfig, format: Arithmetic): Built {
  const { batch, imageSize } = config;
  const image = [imageSize, imageSize, 1] as const;
  const model = makeVae(config).init(rng(0));
  const noise = rng(1);
  const step = compileStep(
    model,
    new Adam(model, { lr: 1e-3 }),
    (net, { x }: { x: Tensor }) => negativeElbo(net, x, noise).loss,
    { precision: precisionOf(format) },
  );
  const x = scope(() => randomTensor([batch, ...image]).abs());
  const one = flopsOfOne(() => model.forward(randomTensor([1, ...image])));
  return {
    parameters: model.parameterCount,
    flops: trainingPasses * batch * one,
    run: repeated(() => step({ x })),
    profile: (runs) => step.profile(runs, { x }),
  };
}

function dcgan(config: DcganConfig, format: Arithmetic): Built {
  const { batch, imageSize, latents } = config;
  const made = makeDcgan(config);
  const [generator, critic] = [made.generator.init(rng(0)), made.critic.init(rng(1))];
  const options = { lr: 2e-4, betas: [0.5, 0.999] } as const;
  const players = {
    generator,
    critic,
    generatorOptimizer: new Adam(generator, options),
    criticOptimizer: new Adam(critic, options),
    random: rng(2),
  };
  const step = compileGame(players, { objective: nonSaturating() }, { precision: precisionOf(format) });
  const image = randomTensor([batch, imageSize, imageSize, 3]);
  const drawing = flopsOfOne(() => generator.forward(randomTensor([1, latents])));
  const judging = flopsOfOne(() => critic.forward(randomTensor([1, imageSize, imageSize, 3])));
  // The critic's update draws, and judges two batches with their gradients; the generator's judges one without those of the
  // critic's weights.
  const flops = (1 + trainingPasses) * drawing + (2 * trainingPasses + 2) * judging;
  return {
    parameters: generator.parameterCount + critic.parameterCount,
    flops: batch * flops,
    run: repeated(() => step({ image })),
    profile: (runs) => step.profile(runs, { image }),
  };
}

function ddpm(config: DdpmConfig, format: Arithmetic): Built {
  const { batch, imageSize } = config;
  const model = makeDdpm(config).init(rng(0));
  const diffusion = new Diffusion({ betas: linearBetas(1000) });
  const noise = rng(1);
  const step = compileStep(
    model,
    new Adam(model, { lr: 2e-4 }),
    (net, { x }: { x: Tensor }) => diffusion.loss(net, x, noise),
    { precision: precisionOf(format), clipNorm: 1, ema: 0.9999 },
  );
  const shape = [imageSize, imageSize, 3];
  const x = randomTensor([batch, ...shape]);
  const one = flopsOfOne(() => model.forward(randomTensor([1, ...shape]), tensor([5], { dtype: "i32" })));
  return {
    parameters: model.parameterCount,
    flops: trainingPasses * batch * one,
    run: repeated(() => step({ x })),
    profile: (runs) => step.profile(runs, { x }),
  };
}

function stable(config: StableConfig, format: Arithmetic): Built {
  const { batch, size, tokens, contextDim } = config;
  const wide = makeStable(config).init(rng(0)).eval();
  const model = format === "bf16" || format === "f16" ? wide.clone({ dtype: format }) : wide;
  if (model !== wide) wide.dispose();
  const forward = compile((x: Tensor, t: Tensor, context: Tensor) => model.forward(x, t, context), {
    precision: precisionOf(format),
    mode: "eval",
  });
  const x = randomTensor([batch, size, size, 4]);
  const context = randomTensor([batch, tokens, contextDim]);
  const t = tensor(new Int32Array(batch).fill(500));
  const call = (): void => forward(x, t, context).dispose();
  // Traced, the layers are called once.
  const flops = flopsOf(call);
  return {
    parameters: model.parameterCount,
    flops,
    run: repeated(call),
    profile: (runs) => forward.profile(runs, x, t, context),
  };
}

const builders: { readonly [K in Kind]: (config: Configs[K], format: Arithmetic) => Built } = {
  vae,
  dcgan,
  ddpm,
  stable,
};

/** Builds a network; it lives as long as the process. */
export const build = <K extends Kind>(kind: K, config: Configs[K], format: Arithmetic): Built =>
  builders[kind](config, format);
