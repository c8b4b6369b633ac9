// Losses of the two processes whose time is continuous: flow matching (Lipman et al. 2023; Esser et al. 2024) and EDM (Karras
// et al. 2022). Networks trained so are sampled by `flowEuler` and `edm`.

import { checkChoice, checkNotNegative, checkNumbers, checkPositive } from "@figment/nn";
import { checkObject, checkTensor, type Rng, scope, type Tensor } from "@figment/tensor";
import { beside, type Denoiser } from "./step.js";

/** What both losses are given besides images. */
export interface ContinuousLossOptions {
  /** i32 [N], for a network with classes. */
  readonly label?: Tensor;
  /** Channels [N,H,W,K] that the network sees beside x. */
  readonly condition?: Tensor;
}

/** Options of {@link flowMatchingLoss}. */
export interface FlowMatchingOptions extends ContinuousLossOptions {
  /** What noise levels 0 … 1 are told the network as. Default 1000. */
  readonly trainSteps?: number;
  /**
   * How noise levels are drawn: evenly, or as the logistic function of a normal number, which visits the middle more often
   * (Esser et al. 2024, §3.1). Default "uniform".
   */
  readonly levels?: "uniform" | "logit-normal";
}

/** [N, 1, …], so that it scales whole images. */
const perImage = (values: Tensor, like: Tensor): Tensor =>
  values.reshape([like.dim(0), ...like.shape.slice(1).map(() => 1)]);

const ask = (net: Denoiser, x: Tensor, time: Tensor, { label, condition }: ContinuousLossOptions): Tensor =>
  net.forward(beside(x, condition), time, label);

/**
 * The mean squared error of the velocity: x = (1 − σ)·x₀ + σ·ε, and the network is to give ε − x₀, told σ·trainSteps (Lipman et
 * al. 2023, eq. 23 with the straight path). 0-d.
 *
 * @param x0 clean images [N,H,W,C], in [-1, 1].
 * @throws UsageError for levels that there are not.
 * @example
 * flowMatchingLoss(model, images, random, { levels: "logit-normal" }).rank; // 0
 */
export function flowMatchingLoss(net: Denoiser, x0: Tensor, random: Rng, options: FlowMatchingOptions = {}): Tensor {
  checkTensor("flowMatchingLoss", "x0", x0);
  checkObject("flowMatchingLoss", "random", random, "uniform");
  const { trainSteps = 1000, levels = "uniform" } = checkObject("flowMatchingLoss", "options", options);
  checkPositive("flowMatchingLoss", { trainSteps });
  checkChoice("flowMatchingLoss", "levels", levels, ["uniform", "logit-normal"]);
  return scope(() => {
    const n = [x0.dim(0)];
    const sigma = levels === "uniform" ? random.uniform(n) : random.normal(n).sigmoid();
    const noise = random.normal(x0.shape);
    const velocity = noise.sub(x0);
    const x = x0.add(perImage(sigma, x0).mul(velocity));
    return ask(net, x, sigma.mul(trainSteps), options).sub(velocity).square().mean();
  });
}

/** Options of {@link edmLoss}. */
export interface EdmLossOptions extends ContinuousLossOptions {
  /** Mean of ln σ. Default -1.2. */
  readonly logMean?: number;
  /** Standard deviation of ln σ. Default 1.2. */
  readonly logDeviation?: number;
  /** Standard deviation of the data. Default 0.5. */
  readonly sigmaData?: number;
}

/**
 * EDM's loss (Karras et al. 2022, eq. 8 and table 1): λ(σ)·‖D(x₀ + σ·ε; σ) − x₀‖² with ln σ normal, D = c_skip·x + c_out·F(c_in·x,
 * ¼·ln σ) and λ = 1/c_out², which is the mean squared error of F. 0-d.
 *
 * @param x0 clean images [N,H,W,C].
 * @throws UsageError when a number is out of range.
 * @example
 * edmLoss(model, images, random).rank; // 0
 */
export function edmLoss(net: Denoiser, x0: Tensor, random: Rng, options: EdmLossOptions = {}): Tensor {
  checkTensor("edmLoss", "x0", x0);
  checkObject("edmLoss", "random", random, "normal");
  const { logMean = -1.2, logDeviation = 1.2, sigmaData = 0.5 } = checkObject("edmLoss", "options", options);
  checkNumbers("edmLoss", { logMean });
  checkNotNegative("edmLoss", { logDeviation });
  checkPositive("edmLoss", { sigmaData });
  return scope(() => {
    const logSigma = random
      .normal([x0.dim(0)])
      .mul(logDeviation)
      .add(logMean);
    const sigma = perImage(logSigma.exp(), x0);
    const total = sigma.square().add(sigmaData ** 2);
    const root = total.sqrt();
    const x = x0.add(sigma.mul(random.normal(x0.shape)));
    // What F is to give: (x₀ − c_skip·x)/c_out.
    const target = x0.sub(x.mul(sigmaData ** 2).div(total)).mul(root.div(sigma.mul(sigmaData)));
    return ask(net, x.div(root), logSigma.mul(0.25), options).sub(target).square().mean();
  });
}
