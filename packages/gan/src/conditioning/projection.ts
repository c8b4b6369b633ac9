// The projection discriminator (Miyato & Koyama 2018): if the classes' log-likelihood ratios are linear in features φ(x), so is
// the critic, up to a term that every class shares. The label enters by one inner product, where concatenating it would leave
// the network to find that out.
//
//   s(x, y) = ⟨V_y, φ(x)⟩ + ψ(φ(x))                                   (eq. 3)

import { checkCounts, Embedding, Linear, Module, normalInit, SpectralNorm } from "@figment/nn";
import { scope, type Tensor } from "@figment/tensor";

/** Options of {@link ProjectionHead} and {@link AuxiliaryHead}. */
export interface HeadOptions {
  /** Whether the head's weights are divided by their largest singular values. Default false. */
  readonly spectral?: boolean;
}

/** A linear layer, spectrally normalised on request. */
export const linearHead = (features: number, outputs: number, spectral: boolean): Linear | SpectralNorm<Linear> => {
  const layer = new Linear(features, outputs);
  return spectral ? new SpectralNorm(layer) : layer;
};

/**
 * Scores features for a label: ⟨V_y, φ⟩ + w·φ + b (Miyato & Koyama 2018, eq. 3).
 *
 * @example
 * const head = new ProjectionHead(8, 10).init(rng(0));
 * head.forward(random.normal([2, 8]), tensor([3, 7], { dtype: "i32" })); // [2, 1]
 */
export class ProjectionHead extends Module {
  /** ψ: [N, features] → [N, 1]. */
  readonly linear: Linear | SpectralNorm<Linear>;
  /** V, one row a class. */
  readonly embedding: Embedding | SpectralNorm<Embedding>;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(features: number, classes: number, { spectral = false }: HeadOptions = {}) {
    super();
    checkCounts("ProjectionHead", { features, classes });
    const embedding = new Embedding(classes, features, { init: normalInit(1 / Math.sqrt(features)) });
    this.linear = linearHead(features, 1, spectral);
    this.embedding = spectral ? new SpectralNorm(embedding) : embedding;
  }

  /**
   * @param features φ(x), [N, features].
   * @param label i32 [N].
   * @returns scores [N, 1].
   */
  forward(features: Tensor, label: Tensor): Tensor {
    return scope(() => {
      const projection = this.embedding.forward(label).cast(features.dtype).mul(features).sum(1, { keepDims: true });
      return this.linear.forward(features).add(projection);
    });
  }
}
