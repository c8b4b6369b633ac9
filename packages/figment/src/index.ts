// figment: the whole toolkit under one name.
//   recipe/    what recipes are, how they are run, and how what they have trained is opened again
//   recipes/   those that are built in
//   serving/   one loaded model for many requests and threads
//   evaluation/  what models draw, judged
//   commands/  the figment command

export * from "@figment/diffusion";
export * from "@figment/gan";
export * from "@figment/io";
export * from "@figment/metrics";
export * from "@figment/nn";
export * from "@figment/tensor";
export * from "@figment/vae";
export type { FieldRule, FieldRules, Override, Settings } from "./recipe/config.js";
export {
  type Abilities,
  type AbilityOptions,
  type BaseConfig,
  type Built,
  defineRecipe,
  type FinishContext,
  type FullConfig,
  type ImageFacts,
  type InterpolationOptions,
  precisionOf,
  type Recipe,
  type RecipeDefinition,
  type ReconstructionOptions,
  type SamplingOptions,
  type TrainContext,
  type Training,
} from "./recipe/recipe.js";
export { findRecipe, recipes } from "./recipe/registry.js";
export { type RunOptions, type RunSummary, runRecipe } from "./recipe/run.js";
export { type OpenedModel, type OpenOptions, openModel } from "./recipe/savedModel.js";
export { RemoteModel } from "./serving/remote.js";
export { BusyError, type InterpolateRequest, type RequestOptions, type SampleRequest } from "./serving/requests.js";
export { ModelServer, type ServeOptions } from "./serving/server.js";
