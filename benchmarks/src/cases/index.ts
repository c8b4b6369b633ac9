// All kernel cases, in the order of the table.

import type { KernelCase } from "../case.js";
import { attentionCases } from "./attention.js";
import { convCases } from "./conv.js";
import { diffusionCases } from "./diffusion.js";
import { imageCases } from "./image.js";
import { matmulCases } from "./matmul.js";
import { normCases } from "./norm.js";
import { rowCases } from "./rows.js";
import { smallCases } from "./small.js";

export const kernelCases: readonly KernelCase[] = [
  ...matmulCases,
  ...convCases,
  ...attentionCases,
  ...normCases,
  ...imageCases,
  ...rowCases,
  ...diffusionCases,
  ...smallCases,
];
