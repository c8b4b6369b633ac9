// All kernel cases, in the order of the table.

import type { KernelCase } from "../case.js";
import { attentionCases } from "./attention.js";
import { backwardCases } from "./backward.js";
import { convCases } from "./conv.js";
import { diffusionCases } from "./diffusion.js";
import { generatedCases } from "./generated.js";
import { halfCases } from "./half.js";
import { imageCases } from "./image.js";
import { indexingCases } from "./indexing.js";
import { matmulCases } from "./matmul.js";
import { normCases } from "./norm.js";
import { rowCases } from "./rows.js";
import { smallCases } from "./small.js";
import { trainingCases } from "./training.js";

const written: readonly KernelCase[] = [
  ...matmulCases,
  ...convCases,
  ...attentionCases,
  ...halfCases,
  ...normCases,
  ...imageCases,
  ...rowCases,
  ...indexingCases,
  ...backwardCases,
  ...trainingCases,
  ...diffusionCases,
  ...smallCases,
];

export const kernelCases: readonly KernelCase[] = [...written, ...generatedCases(new Set(written.map(({ op }) => op)))];
