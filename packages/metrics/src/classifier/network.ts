// The network that reads digits: LeNet (LeCun et al. 1998) as Caffe made it known (Jia et al. 2014), with padding and a rectifier
// around the convolutions.

import { Conv2d, Linear, MaxPool2d, Module } from "@figment/nn";
import { relu, reshape, type Tensor } from "@figment/tensor";

/** How many numbers describe an image to the distances: the hidden layer's. */
export const featureCount = 500;
export const classCount = 10;

/** Two convolutions with pooling, a hidden layer, and one for the classes. Images are [N,28,28,1] in [-1, 1]. */
export class DigitNetwork extends Module {
  conv1 = new Conv2d(1, 20, 5, { padding: 2 });
  conv2 = new Conv2d(20, 50, 5);
  pool = new MaxPool2d(2);
  hidden = new Linear(50 * 5 * 5, featureCount);
  output = new Linear(featureCount, classCount);

  /** The hidden layer after its ReLU, [N, 500]. */
  features(x: Tensor): Tensor {
    const first = this.pool.forward(relu(this.conv1.forward(x)));
    const second = this.pool.forward(relu(this.conv2.forward(first)));
    return relu(this.hidden.forward(reshape(second, [x.dim(0), -1])));
  }

  /** Logits [N, 10]. */
  forward(x: Tensor): Tensor {
    return this.output.forward(this.features(x));
  }
}
