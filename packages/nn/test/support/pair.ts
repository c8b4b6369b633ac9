// The model of the tests of optimisers and averages.

import { Module, Parameter, zeroInit } from "@figment/nn";

/** Two parameters, as the golden optimiser runs have them. */
export class Pair extends Module {
  readonly first = new Parameter({ shape: [4, 3], init: zeroInit, name: "first" });
  readonly second = new Parameter({ shape: [5], init: zeroInit, name: "second" });
}
