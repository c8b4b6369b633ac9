// The network that reads digits: LeNet (LeCun et al. 1998) with ReLU, max pooling and dropout.

import { Conv2d, Dropout, Linear, MaxPool2d, Module } from "@figment/nn";
import { relu, reshape, type Tensor } from "@figment/tensor";

/** How many numbers describe an image to the distances: LeNet's last hidden layer. */
export const featureCount = 84;
export const classCount = 10;

/** Two convolutions with pooling, two hidden layers, and one for the classes. Images are [N,28,28,1] in [-1, 1]. */
export class DigitNetwork extends Module {
  conv1 = new Conv2d(1, 8, 5, { padding: 2 });
  conv2 = new Conv2d(8, 16, 5);
  pool = new MaxPool2d(2);
  hidden1 = new Linear(16 * 5 * 5, 120);
  hidden2 = new Linear(120, featureCount);
  dropout = new Dropout(0.2);
  output = new Linear(featureCount, classCount);

  /** The last hidden layer after its ReLU, [N, 84]. */
  features(x: Tensor): Tensor {
    const first = this.pool.forward(relu(this.conv1.forward(x)));
    const second = this.pool.forward(relu(this.conv2.forward(first)));
    return relu(this.hidden2.forward(relu(this.hidden1.forward(reshape(second, [x.dim(0), -1])))));
  }

  /** Logits [N, 10]. */
  forward(x: Tensor): Tensor {
    return this.output.forward(this.dropout.forward(this.features(x)));
  }
}
