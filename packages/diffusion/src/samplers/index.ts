// The samplers, one file per kind; row.ts says what a sampler is.

export * from "./ddpm.js";
export * from "./flow.js";
export * from "./pndm.js";
export type { Mix, Prediction, Process, Sampler, SamplerRow } from "./row.js";
export {
  type EdmOptions,
  edm,
  euler,
  eulerAncestral,
  heun,
  type LmsOptions,
  lms,
  type SigmaOptions,
} from "./sigmaSpace.js";
export type { SigmaSpacing } from "./sigmas.js";
export {
  type DpmSinglestepOptions,
  type DpmSolverOptions,
  deis,
  dpmSolver,
  dpmSolverSinglestep,
  edmDpmSolver,
  type SolverOptions,
} from "./solvers.js";
export { type Spacing, spacedTimesteps, type TimestepOptions, trailingTimesteps } from "./timesteps.js";
export { type UniPcOptions, uniPc } from "./unipc.js";
