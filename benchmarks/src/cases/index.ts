// The cases of the suites, in the order of the tables: the kernels that peers have too, and all other operations.

import type { KernelCase } from "../case.js";
import { attentionCases, decodeCases } from "./attention.js";
import { backwardCases } from "./backward.js";
import { convCases } from "./conv.js";
import { diffusionCases } from "./diffusion.js";
import { generatedCases } from "./generated.js";
import { halfCases } from "./half.js";
import { imageCases } from "./image.js";
import { indexingCases } from "./indexing.js";
import { matmulCases } from "./matmul.js";
import { groupNormCases, normCases } from "./norm.js";
import { rowCases } from "./rows.js";
import { randnCases, smallCases } from "./small.js";
import { trainingCases } from "./training.js";

/** The work of image models, at sizes that matter, in both formats. */
export const kernelCases: readonly KernelCase[] = [
  ...convCases,
  ...attentionCases,
  ...groupNormCases,
  ...matmulCases,
  ...diffusionCases,
  ...randnCases,
];

const written: readonly KernelCase[] = [
  ...decodeCases,
  ...halfCases,
  ...normCases,
  ...imageCases,
  ...rowCases,
  ...indexingCases,
  ...backwardCases,
  ...trainingCases,
  ...smallCases,
];

const timed = new Set([...kernelCases, ...written].map(({ op }) => op));

/** Every other operation. */
export const operationCases: readonly KernelCase[] = [...written, ...generatedCases(timed)];
