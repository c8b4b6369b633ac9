// Fully connected layer.

import { checkArray, checkTensor, matmul, ShapeError, sizeOf, type Tensor, UsageError } from "@figment/tensor";
import { checkCounts, checkFlags } from "../checks.js";
import { fanInUniform, type Initialiser } from "../initialisers.js";
import { flattenedImages, type ImageSize, type TorchMember } from "../interchange/layout.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link Linear}. */
export interface LinearOptions {
  /** Whether to add a bias. Default true. */
  readonly bias?: boolean;
  /** Default U(−1/√in, 1/√in). */
  readonly weightInit?: Initialiser;
  /** Default U(−1/√in, 1/√in). */
  readonly biasInit?: Initialiser;
  /**
   * The image [height, width, channels] whose pixels x lists, where there is one: after a flatten. Where channels come
   * first they are listed in another order, so weights for and from PyTorch have their columns permuted.
   */
  readonly inputImage?: ImageSize;
  /** Likewise the image that y is made into afterwards, for the rows. */
  readonly outputImage?: ImageSize;
}

/**
 * y = x·Wᵀ + b over the last axis: [..., in] → [..., out]. Weight [out, in], bias [out].
 *
 * @example
 * const layer = new Linear(3, 2).init(rng(0));
 * layer.forward(tensor([[1, 2, 3]])); // [1, 2]
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly inputImage: ImageSize | null;
  readonly outputImage: ImageSize | null;

  /** @throws UsageError unless the numbers are integers of at least 1 and the images as large as they say. */
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: LinearOptions = {},
  ) {
    super();
    checkCounts("Linear", { inFeatures, outFeatures });
    const { bias = true, weightInit = fanInUniform(inFeatures), biasInit = fanInUniform(inFeatures) } = options;
    checkFlags("Linear", { bias });
    const { inputImage = null, outputImage = null } = options;
    for (const [name, image, size] of [
      ["inputImage", inputImage, inFeatures],
      ["outputImage", outputImage, outFeatures],
    ] as const) {
      if (image) checkArray("Linear", name, image);
      if (image && sizeOf(image) !== size)
        throw new UsageError(`Linear: ${name} [${image.join(", ")}] has ${sizeOf(image)} elements, expected ${size}`);
    }
    this.inputImage = inputImage;
    this.outputImage = outputImage;
    this.weight = new Parameter({ shape: [outFeatures, inFeatures], init: weightInit, name: "Linear.weight" });
    this.bias = bias ? new Parameter({ shape: [outFeatures], init: biasInit, name: "Linear.bias" }) : null;
  }

  /** @throws ShapeError when the last axis of x is not `inFeatures`. */
  forward(x: Tensor): Tensor {
    checkTensor("Linear", "x", x);
    if (x.shape.at(-1) !== this.inFeatures) {
      throw new ShapeError(`Linear: expected x of shape [..., ${this.inFeatures}], got [${x.shape.join(", ")}]`);
    }
    const rows = x.rank === 2 ? x : x.reshape([x.size / this.inFeatures, this.inFeatures]);
    const product = matmul(rows, this.weight.as(x.dtype), { transposeB: true });
    const y = this.bias ? product.add(this.bias.as(x.dtype)) : product;
    return x.rank === 2 ? y : y.reshape([...x.shape.slice(0, -1), this.outFeatures]);
  }

  override torchMember(name: string): TorchMember {
    const [input, output] = [this.inputImage ?? undefined, this.outputImage ?? undefined];
    if (name === "weight" && (input || output))
      return { name, layout: flattenedImages(this.weight.shape, [output, input]) };
    if (name === "bias" && output) return { name, layout: flattenedImages([this.outFeatures], [output]) };
    return { name };
  }

  /** Multiplications and additions of one call, as summaries count them. */
  flops(inputs: readonly unknown[]): number {
    const [x] = inputs as [Tensor];
    return 2 * x.size * this.outFeatures;
  }
}
