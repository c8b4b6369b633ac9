// The projection discriminator (Miyato & Koyama 2018): if the classes' log-likelihood ratios are linear in features φ(x), so is
// the critic, up to a term that every class shares. The label enters by one inner product, where concatenating it would leave
// the network to find that out.
//
//   s(x, y) = ⟨V_y, φ(x)⟩ + ψ(φ(x))                                   (eq. 3)

import {
  checkCounts,
  checkFlags,
  Embedding,
  flattenedImages,
  type ImageSize,
  Linear,
  Module,
  normalInit,
  SpectralNorm,
  type TorchMember,
} from "@figment/nn";
import { scope, type Tensor } from "@figment/tensor";

/** Options of {@link ProjectionHead} and {@link AuxiliaryHead}. */
export interface HeadOptions {
  /** Whether the head's weights are divided by their largest singular values. Default false. */
  readonly spectral?: boolean;
  /** The image [height, width, channels] whose pixels the features list, where there is one: see nn's `LinearOptions`. */
  readonly inputImage?: ImageSize;
}

/** A linear layer, spectrally normalised on request. */
export const linearHead = (
  features: number,
  outputs: number,
  { spectral = false, inputImage }: HeadOptions,
): Linear | SpectralNorm<Linear> => {
  checkFlags("a critic's head", { spectral });
  const layer = new Linear(features, outputs, { inputImage });
  return spectral ? new SpectralNorm(layer) : layer;
};

/** A vector of features for each class, whose columns may list the pixels of an image. */
class ClassVectors extends Embedding {
  readonly inputImage: ImageSize | null;

  constructor(classes: number, features: number, inputImage: ImageSize | undefined) {
    super(classes, features, { init: normalInit(1 / Math.sqrt(features)) });
    this.inputImage = inputImage ?? null;
  }

  override torchMember(name: string): TorchMember {
    if (!this.inputImage) return { name };
    return { name, layout: flattenedImages(this.weight.shape, [undefined, this.inputImage]) };
  }
}

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
  constructor(features: number, classes: number, options: HeadOptions = {}) {
    super();
    checkCounts("ProjectionHead", { features, classes });
    const vectors = new ClassVectors(classes, features, options.inputImage);
    this.linear = linearHead(features, 1, options);
    this.embedding = options.spectral ? new SpectralNorm<Embedding>(vectors) : vectors;
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
