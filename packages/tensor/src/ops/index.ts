// Every operation that the engine knows, by name. An op left out is a compile error here.

import { fullDef } from "../core/create.js";
import { attentionDef, attentionGradDef } from "./attention.js";
import { conv2dDef, conv2dInputGradDef, conv2dWeightGradDef } from "./conv.js";
import type { OpDef } from "./definition.js";
import { dynamicSliceDef, dynamicUpdateSliceDef } from "./dynamicSlice.js";
import { elementwiseDefs } from "./elementwise.js";
import { gatherDef, scatterAddDef } from "./indexing.js";
import { crossEntropyDef, crossEntropyGradDef } from "./loss.js";
import { mathDefs } from "./math.js";
import { matmulDef } from "./matmul.js";
import { movementDefs } from "./movement.js";
import { groupNormDef, groupNormGradDef } from "./norm.js";
import { adamDef, emaUpdateDef, sumSquaresDef } from "./optimizer.js";
import type { nativeSchemas } from "./params.js";
import { randomNormalDef, randomUniformDef } from "./random.js";
import { maxDef, sumDef } from "./reduce.js";
import { avgPoolDef, avgPoolGradDef, resizeNearestDef, resizeNearestGradDef } from "./resize.js";
import { addNoiseDef, samplerStepDef } from "./sampler.js";
import { softmaxDef, softmaxGradDef } from "./softmax.js";

/** The ops that share one native kernel stand in its place. */
type Kernel = Exclude<keyof typeof nativeSchemas, "elementwise" | "reduce">;

/** The names of all operations: one for each native kernel, and those that share one or need none. */
export type CoreOpName =
  | Kernel
  | "sum"
  | "max"
  | "full"
  | keyof typeof elementwiseDefs
  | keyof typeof mathDefs
  | keyof typeof movementDefs;

export const coreOps = {
  ...elementwiseDefs,
  ...mathDefs,
  ...movementDefs,
  full: fullDef,
  sum: sumDef,
  max: maxDef,
  matmul: matmulDef,
  conv2d: conv2dDef,
  conv2dInputGrad: conv2dInputGradDef,
  conv2dWeightGrad: conv2dWeightGradDef,
  resizeNearest: resizeNearestDef,
  resizeNearestGrad: resizeNearestGradDef,
  avgPool: avgPoolDef,
  avgPoolGrad: avgPoolGradDef,
  gather: gatherDef,
  scatterAdd: scatterAddDef,
  dynamicSlice: dynamicSliceDef,
  dynamicUpdateSlice: dynamicUpdateSliceDef,
  randomUniform: randomUniformDef,
  randomNormal: randomNormalDef,
  softmax: softmaxDef,
  softmaxGrad: softmaxGradDef,
  groupNorm: groupNormDef,
  groupNormGrad: groupNormGradDef,
  attention: attentionDef,
  attentionGrad: attentionGradDef,
  crossEntropy: crossEntropyDef,
  crossEntropyGrad: crossEntropyGradDef,
  adam: adamDef,
  emaUpdate: emaUpdateDef,
  sumSquares: sumSquaresDef,
  addNoise: addNoiseDef,
  samplerStep: samplerStepDef,
} satisfies Record<CoreOpName, OpDef>;
